"""``faultsim devices``: the library, one profile, the check of a file, the schema. The profiles live in `devices/`."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from faultsim.cli.conditions import condition_options, take_conditions


class _Devices(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise click.UsageError(
                f"no command {args[0]!r}; there are: {', '.join(self.commands)}; a profile is shown by "
                f"'faultsim devices show {args[0]}'",
                ctx,
            )
        return super().resolve_command(ctx, args)


@click.group("devices", cls=_Devices, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the device library; show NAME, check FILE or print the JSON Schema."""
    if ctx.invoked_subcommand is not None:
        return
    from faultsim.device import load_device
    from faultsim.library import list_devices

    for name in list_devices():
        device = load_device(name)
        doubtful = _doubtful(device.spec)
        click.echo(f"{name:<20} {device.spec.title:<44} {doubtful}".rstrip())
    click.echo("\n'faultsim devices show NAME' explains one.\n* rests on numbers that are recalled or illustrative")


def _doubtful(spec: Any) -> str:
    """Mark a profile of which a number that a law uses is from memory or made up."""
    weak = [one for _, _, one in _used(spec) if _weakness(one) in ("recalled", "illustrative")]
    return "*" if weak else ""


def _weakness(quantity: Any) -> str:
    return str(quantity.rests_on if quantity.status == "derived" else quantity.status)


def _used(spec: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield mechanism, parameter and quantity of every number that a law uses."""
    from faultsim.device.laws import why_not
    from faultsim.specs.quantity import quantities

    for one in spec.mechanisms:
        if why_not(one) is None:
            for name, quantity in quantities(one.params):
                yield one.id, name, quantity


@command.command("show")
@click.argument("name")
@click.option("--model", help="Also show what this model's budgets are: radius and count for each mechanism.")
@condition_options
def show(name: str, model: str | None, **options: Any) -> None:
    """Explain a profile: what it is and is not, its laws, conditions, numbers with their status, and sources."""
    from faultsim.device import load_device
    from faultsim.device.knobs import conditions_from, knobs

    device = load_device(name)
    conditions = conditions_from(device.spec, take_conditions(options))
    missing = {one.id: one.reason for one in device.not_simulated()}
    click.echo(f"{device.name}: {device.spec.title}\n")
    click.echo(_wrapped(f"{device.summary} {device.spec.is_not}"))
    click.echo("\nMechanisms:")
    for mechanism in device.spec.mechanisms:
        state = f"left out: {missing[mechanism.id]}" if mechanism.id in missing else "simulated"
        click.echo(_wrapped(f"{mechanism.id:<22} {mechanism.model:<22} {state}", indent="  "))
    click.echo("\nNumbers that the laws use:")
    for owner, parameter, quantity in _used(device.spec):
        status = quantity.trust if quantity.source is None else f"{quantity.trust}: {quantity.source}"
        text = f"{owner}.{parameter} = {_short(quantity.value)} {quantity.unit}  [{status}]"
        click.echo(
            _wrapped(
                text + (f" {quantity.note}" if quantity.note and quantity.status == "illustrative" else ""), indent="  "
            )
        )
    turned = knobs(device.spec)
    if turned:
        click.echo("\nConditions that can be given:")
        for knob in turned.values():
            own = "no value of its own" if knob.own is None else f"by default {knob.show(knob.own)}"
            click.echo(_wrapped(f"--{knob.name:<14} {own}", indent="  "))
    if model is not None:
        _budgets(device, model, conditions)
    criteria = device.spec.assess.acceptance
    if criteria:
        click.echo("\nRecommended requirements:")
        for one in criteria:
            note = f" {one.note}" if one.note else ""
            click.echo(_wrapped(f"{one.metric} {one.limit:g} at {one.at}  [{one.trust}]{note}", indent="  "))
    click.echo("\nSimplified:")
    for text in device.approximations() or ("nothing",):
        click.echo(_wrapped(text, indent="  "))
    click.echo("\nSources:")
    for key, source in device.spec.sources.items():
        where = f" {source.where}." if source.where else ""
        click.echo(_wrapped(f"{key}: {source.cite} (read: {source.read}){where}", indent="  "))


def _budgets(device: Any, model: str, conditions: Any) -> None:
    from faultsim.library import find_model
    from faultsim.model import load_model

    loaded = load_model(find_model(model))
    numbers = loaded.numbers
    stored = device.store({site.name: (site, numbers[site.name]) for site in loaded.sites})
    click.echo(f"\nBudgets on {loaded.name} (each holds for {100 * device.spec.assess.confidence:g} % of the chips):")
    if device.is_conditional(stored, conditions=conditions):
        share = device.event_probability(stored, conditions=conditions)
        click.echo(
            _wrapped(f"A chip meets an event with probability {share:.3g}; the budgets are given one.", indent="  ")
        )
    click.echo(f"  {'tensor':<34}{'mechanism':<20}{'numbers':>10}{'n':>9}{'L2 radius':>12}")
    for budget in device.budgets(stored, conditions=conditions):
        size = (
            stored[budget.scope].site.elements
            if budget.scope in stored
            else sum(s.site.elements for s in stored.values())
        )
        radius = "no ball" if budget.eps == float("inf") else f"{budget.eps:.4g}"
        click.echo(
            f"  {_cut(budget.scope, 33):<34}{_cut(budget.mechanism, 19):<20}{size:>10,}{budget.n:>9,}{radius:>12}"
        )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"…{text[1 - width :]}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_short(one) for one in value) + "]"
    if hasattr(value, "model_dump"):
        return ", ".join(f"{key} {_short(one)}" for key, one in value.model_dump().items())
    return str(value)


def _wrapped(text: str, *, indent: str = "") -> str:
    width = min(max(shutil.get_terminal_size().columns, 60), 100)
    return click.wrap_text(text, width, indent, f"{indent}    " if indent else "")


@command.command("check")
@click.argument("file", type=click.Path())
def check(file: str) -> None:
    """Check a profile: every problem at once, with line and column."""
    from faultsim.device import load_device

    device = load_device(Path(file))
    click.echo(f"{file}: a valid profile of {device.name}")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of device profiles, for editors."""
    from faultsim.specs.device import device_schema

    click.echo(json.dumps(device_schema(), indent=2))
