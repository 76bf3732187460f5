"""``faultsim devices``: the library, one profile, the check of a file, the schema. The profiles live in `devices/`."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import click

from faultsim.cli.conditions import condition_options, take_conditions
from faultsim.cli.files import name_or_file


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
        doubtful = "*" if any(one.weak for one in _numbers(device.spec, "used")) else ""
        click.echo(f"{name:<20} {device.spec.title:<44} {doubtful}".rstrip())
    click.echo("\n'faultsim devices show NAME' explains one.")
    click.echo(_wrapped(f"{_STAR}; 'show' marks those numbers. Recommended requirements do not count."))


_STAR = "* a figure rests on a number that is recalled or illustrative, or derived from one"


def _numbers(spec: Any, role: str) -> list[Any]:
    """Return a profile's numbers of one role: ``used`` by a law, ``beside`` them, or of what is ``left_out``."""
    from faultsim.device.numbers import numbers

    return [one for one in numbers(spec) if one.role == role]


@command.command("show", short_help="Explain a profile: laws, conditions, numbers, sources.")
@click.argument("name")
@click.option("--model", help="Also show what this model's budgets are: radius and count for each mechanism.")
@condition_options
def show(name: str, model: str | None, **options: Any) -> None:
    """Explain a profile: what it is and is not, its laws, conditions, numbers with their status, and sources."""
    from faultsim.device import load_device
    from faultsim.device.knobs import conditions_from, knobs

    device = load_device(name)
    conditions = conditions_from(device.spec, take_conditions(options))
    budgets = [] if model is None else list(_budgets(device, model, conditions))
    missing = {one.id: one.reason for one in device.not_simulated()}
    click.echo(f"{device.name}: {device.spec.title}\n")
    click.echo(_wrapped(f"{device.summary} {device.spec.is_not}"))
    click.echo("\nMechanisms:")
    for mechanism in device.spec.mechanisms:
        state = f"left out: {missing[mechanism.id]}" if mechanism.id in missing else "simulated"
        click.echo(_wrapped(f"{mechanism.id:<22} {mechanism.model:<22} {state}", indent="  "))
    _show_numbers(device.spec)
    turned = knobs(device.spec)
    if turned:
        click.echo("\nConditions that can be given:")
        for knob in turned.values():
            own = "no value of its own" if knob.own is None else f"by default {knob.show(knob.own)}"
            click.echo(_wrapped(f"--{knob.name:<14} {own}  {_origin(device.spec, knob)}".rstrip(), indent="  "))
    for line in budgets:
        click.echo(line)
    criteria = device.spec.assess.acceptance
    if criteria:
        click.echo("\nRecommended requirements (judged only where --require asks for them):")
        for one in criteria:
            text = f"{one.metric} {one.limit:g} at {one.at}  {_status(one)}"
            click.echo(_wrapped(f"{text} {one.note or ''}".rstrip(), indent="  "))
            click.echo(_requirement(one, device.spec.assess.confidence))
    click.echo("\nSimplified:")
    for text in device.approximations() or ("nothing",):
        click.echo(_wrapped(text, indent="  "))
    click.echo("\nSources:")
    for key, source in device.spec.sources.items():
        where = f" {source.where}." if source.where else ""
        click.echo(_wrapped(f"{key}: {source.cite} (read: {source.read}){where}", indent="  "))


def _show_numbers(spec: Any) -> None:
    from faultsim.device.numbers import short

    for title, role in (
        ("Numbers that the laws use:", "used"),
        ("Published numbers beside them, and others that no law reads:", "beside"),
        ("Numbers of mechanisms that are not simulated:", "left_out"),
    ):
        found = _numbers(spec, role)
        if found:
            click.echo(f"\n{title}")
        for one in found:
            quantity, weak = one.quantity, role == "used" and one.weak
            unit = "" if quantity.unit == "1" else f" {quantity.unit}"
            text = f"{one.name} = {short(quantity.value)}{unit}  {_status(quantity)}"
            said = {"illustrative": quantity.note, "derived": quantity.formula}.get(quantity.status)
            click.echo(_wrapped(f"{text} {said or ''}".rstrip(), indent="  ", mark="* " if weak else "  "))
        if role == "used" and any(one.weak for one in found):
            click.echo(_wrapped(f"{_STAR}.", indent="  "))


def _status(said: Any) -> str:
    return f"[{said.trust}]" if said.source is None else f"[{said.trust}: {said.source}]"


def _origin(spec: Any, knob: Any) -> str:
    """Say how far a condition's default can be trusted."""
    if knob.name == "at":
        return "[the profile's choice]" if spec.assess.t_s is not None else "[faultsim's choice]"
    part, field = (spec.assess, "exposure") if knob.name == "exposure" else (spec.environment, _FIELDS[knob.field])
    quantity = getattr(part, field)
    if quantity is not None:
        return _status(quantity)
    return {"flux": "[what the rate is given for]", "exposure": "[faultsim's choice]"}.get(knob.name, "")


_FIELDS = {
    "flux_factor": "flux_factor", "v": "v", "v_norm": "v_norm", "temperature_c": "temperature"
}  # fmt: skip
"""Where a profile's environment keeps what the knobs turn."""


def _requirement(criterion: Any, confidence: float) -> str:
    """Return the line that says how to ask for a recommended requirement, or why that cannot be."""
    from faultsim.criteria import parse_criterion
    from faultsim.errors import OptionError

    limit, percent = f"{criterion.limit:.12g}", round(100 * confidence, 9)
    at = {"mean": "@mean", "quantile": f"@p{percent:02.0f}"}.get(criterion.at, "")
    if criterion.at == "quantile" and criterion.metric in ("top1_drop_abs", "loss_increase") and percent % 1:
        return _wrapped(f"no --require: it knows whole percentiles up to p99, not {percent:g} %", indent="    ")
    text = {
        ("top1_drop_abs", True): f"accuracy_drop<={limit}{at}",
        ("top1_drop_abs", False): f"worst_case_drop<={limit}",
        ("loss_increase", True): f"loss_increase<={limit}{at}",
        ("sdc_fit", criterion.at == "mean"): f"sdc_fit<={limit}",
    }.get((criterion.metric, criterion.at != "worst_case"))
    if text is None:
        why = _NO_REQUIREMENT.get(criterion.metric, f"{criterion.metric} at {criterion.at} is no metric of faultsim")
        return _wrapped(f"no --require: {why}", indent="    ")
    try:
        parse_criterion(text)
    except OptionError:
        return _wrapped(f"no --require: {text} is none that faultsim takes", indent="    ")
    return f"    --require '{text}'"  # unbroken, to be copied


_NO_REQUIREMENT = {
    "p_fail": "faultsim judges no probability that a chip fails; give what chips may lose, such as "
    "accuracy_drop<=0.01@p99",
    "relative_accuracy": "faultsim judges no ratio; give limit times clean accuracy as accuracy>=...",
    "top1_drop_rel": "faultsim judges no ratio; give limit times clean accuracy as accuracy_drop<=...",
}


def _budgets(device: Any, model: str, conditions: Any) -> Iterator[str]:
    from faultsim.device.laws import at_inference
    from faultsim.library import find_model
    from faultsim.model import load_model

    loaded = load_model(find_model(model))
    numbers = loaded.numbers
    stored = device.store({site.name: (site, numbers[site.name]) for site in loaded.sites})
    found = device.budgets(stored, conditions=conditions)
    yield f"\nBudgets on {loaded.name} (each holds for {100 * device.spec.assess.confidence:g} % of the chips):"
    if device.is_conditional(stored, conditions=conditions):
        share = device.event_probability(stored, conditions=conditions)
        given = "the budgets are" if found else "what is drawn is"
        yield _wrapped(f"A chip meets an event with probability {share:.3g}; {given} given one.", indent="  ")
    if found:
        yield f"  {'tensor':<26}{'mechanism':<18}{'numbers':>12}{'n':>11}{'L2 radius':>11}"
    for budget in found:
        size = (
            stored[budget.scope].site.elements
            if budget.scope in stored
            else sum(s.site.elements for s in stored.values())
        )
        radius = "no ball" if budget.eps == float("inf") else f"{budget.eps:.4g}"
        name, owner = _cut(budget.scope, 25), _cut(budget.mechanism, 17)
        yield f"  {name:<26}{owner:<18}{size:>12,}{budget.n:>11,}{radius:>11}"
    for owner, note in dict.fromkeys((budget.mechanism, budget.note) for budget in found if budget.note):
        yield _wrapped(f"{owner}: {note}.", indent="  ")
    missing = {one.id for one in device.not_simulated()} | {budget.mechanism for budget in found}
    for mechanism in device.spec.mechanisms:
        if mechanism.id in missing:
            continue
        why = (
            "it acts while the network runs and changes no stored number"
            if at_inference(mechanism)
            else "the profile bounds the chip as a whole (scope: global), and an event of this law takes whole words, "
            "lines or regions: no count and no ball of p = 2 stands for them; chips are drawn as they are"
        )
        yield _wrapped(f"{mechanism.id}: no budget, {why}.", indent="  ")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"…{text[1 - width :]}"


def _wrapped(text: str, *, indent: str = "", mark: str | None = None) -> str:
    width = min(max(shutil.get_terminal_size().columns, 60), 100)
    return click.wrap_text(text, width, indent if mark is None else mark, f"{indent}    " if indent else "")


@command.command("check")
@click.argument("file", type=click.Path())
def check(file: str) -> None:
    """Check a profile: every problem at once, with line and column."""
    from faultsim.device import load_device
    from faultsim.device.trial import try_chip

    device = load_device(name_or_file(file))
    try_chip(device, file)
    click.echo(f"{file}: a valid profile of {device.name}")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of device profiles, for editors."""
    from faultsim.specs.device import device_schema

    click.echo(json.dumps(device_schema(), indent=2))
