"""The options that turn a device's conditions, shared by the commands that draw chips. No physics lives here."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_TEXTS = {
    "at": ("TIME", "Time since the array was programmed, such as 1h, 1d, 1mo, 10y; seconds without a unit."),
    "vdd": ("VOLTS", "Supply voltage, in the profile's unit: V, or V over the lowest error-free voltage."),
    "flux": ("FACTOR", "Particle flux over the one that the profile's rate is given for, such as 300."),
    "exposure": (
        "TIME",
        "Time that upsets gather before the memory is written again, such as 1y; seconds without a unit.",
    ),
    "temperature": ("CELSIUS", "Temperature, where the profile's rates depend on it."),
}


def condition_options(command: F) -> F:
    """Add ``--at``, ``--vdd``, ``--flux``, ``--exposure`` and ``--temperature`` to a command."""
    for name in reversed(_TEXTS):
        metavar, text = _TEXTS[name]
        command = click.option(f"--{name}", metavar=metavar, help=f"{text} The profile's own by default.")(command)
    return command


def take_conditions(options: dict[str, Any]) -> dict[str, str]:
    """Take the condition options that were given out of *options*, as texts by name."""
    found = {name: options.pop(name, None) for name in _TEXTS}
    return {name: text for name, text in found.items() if text is not None}
