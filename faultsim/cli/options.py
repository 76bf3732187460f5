"""Options that several commands take in the same words. What they mean lives in `faultsim.assessment.Options`."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
threads_option = click.option(
    "--threads",
    type=int,
    default=0,
    help="Threads of onnxruntime and torch; all cores, or OMP_NUM_THREADS, by default.",
)
reads_option = click.option(
    "--reads",
    type=click.Choice(["chip", "inference"]),
    default="chip",
    show_default=True,
    help="Noise of a read: one draw a chip (fast), or anew at every inference.",
)


def roles_option(text: str, *, default: str = "") -> Callable[[F], F]:
    """Return ``--roles``, whose value is a tuple of names; empty where it is not given and there is no default.

    Args:
        text: What tensors are chosen for, and what the default is.
        default: Roles, joined by commas, where none is given.
    """
    known = "weight, bias, norm, scale, zero_point, constant, joined by commas"
    return click.option(
        "--roles",
        metavar="ROLES",
        callback=_names,
        default=default,
        show_default=bool(default),
        help=f"{text}: {known}.",
    )


def _names(context: click.Context, option: click.Parameter, given: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in given.split(",")) if given else ()
