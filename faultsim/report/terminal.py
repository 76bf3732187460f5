"""A result as text for a terminal: answer, intervals, assumptions, what was left out, verdict, next step.

Read-only: no figure is computed here but differences to the clean model. No torch, no onnx: a laptop
renders a cluster's result.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

from rich.console import Console
from rich.text import Text

from faultsim.report.chips import chip_lines
from faultsim.report.figures import fragile_measure, kinds, sites, table
from faultsim.report.verdict import Line, next_command, verdict_lines
from faultsim.report.words import block, counted, plain, speakable
from faultsim.results import Assumption, Result, SiteResult

_NARROW, _WIDE = 80, 100
_UNSURE = ("secondary", "recalled", "illustrative")
_MOST = 6  # assumptions shown in full


def render(result: Result, console: Console | None = None, *, out: str | None = None) -> None:
    """Print a result to *console*, by default standard output.

    Colour is never the only cue: the text is the same without it, which is how it comes where ``NO_COLOR``
    is set or the output is piped. Names from the file are shown without control characters.

    Args:
        result: What to show.
        console: Where to; its width is used between 80 and 100 columns.
        out: The folder that ``result.json`` and ``report.html`` were written to; ``None`` leaves their lines out.
    """
    console = console or Console()
    width = min(max(console.width, _NARROW), _WIDE)
    for text, style in lines(result, width=width, out=out):
        console.print(
            Text(speakable(text, console.encoding), style=style), soft_wrap=True, highlight=False, emoji=False
        )


def lines(result: Result, *, width: int = _NARROW, out: str | None = None) -> list[Line]:
    """Return the lines of the report, each with its style; the command alone may be wider."""
    parts: tuple[Iterable[Line], ...] = (
        _head(result, width),
        [(text, "bold" if position == 0 else "") for position, text in enumerate(table(result))],
        _about(result, width),
        _parts(result, width),
        _origin(result, width),
        verdict_lines(result, width),
        _foot(result, width, out),
    )
    found: list[Line] = []
    for part in map(list, parts):
        if part and found:
            found.append(("", ""))
        found += part
    return found


def _head(result: Result, width: int) -> Iterable[Line]:
    model, device = result.model, result.device
    name = plain(PurePath(model.path).name or model.path)
    formats = f", {', '.join(map(plain, model.formats))}" if model.formats else ""
    left = f"{name}  {counted(model.parameters, 'parameter')}, {counted(model.sites, 'site')}{formats}"
    right = plain(device.summary) + (f", {plain(device.conditions)}" if device.conditions else "")
    yield from _styled(block("", [left], width, indent=0), "bold")
    yield from _styled(block("on", [f"{plain(device.name)}: {right}"], width, indent=3), "bold")
    if model.tested_sites is not None and model.tested_sites != model.sites:
        tested = counted(model.tested_parameters or 0, "parameter")
        said = f"under test: {tested} in {counted(model.tested_sites, 'site')}"
        yield from _styled(block("", [said], width, indent=0), "")
    agreement = result.agreement
    if agreement is None:
        yield from _styled(block("", ["not checked against a reference runtime"], width, indent=0), "yellow")
    else:
        said = (
            f"agrees with {plain(agreement.runtime)} on {counted(agreement.samples, 'sample')} "
            f"(max |Δ| {agreement.max_abs_difference:.1g}, tolerance {agreement.tolerance:.1g})"
        )
        yield from _styled(block("", [said], width, indent=0), "dim")
    scored = plain(result.data.metric or result.data.score)
    yield from _styled(block("", [f"task: {plain(result.data.task)}, scored by {scored}"], width, indent=0), "")
    if result.data.labels == "golden":
        what = "accuracy is agreement" if result.data.headline == "accuracy" else "the figures are agreement"
        said = f"no labels: {what} with the clean model's own answers, not with the truth"
        yield from _styled(block("", [said], width, indent=0), "yellow")


def _about(result: Result, width: int) -> Iterable[Line]:
    found: list[str] = []
    data, random, worst = result.data, result.random, result.worst_case
    source = (
        "drawn from the model's declared inputs"
        if data.source == "drawn"
        else f"of {plain(PurePath(data.source).name or data.source)}"
    )
    samples = f"{counted(data.samples, 'sample')} {source}"
    if random is not None:
        found += block(
            "sampled",
            [f"{counted(random.trials, 'chip')}, each scored on {samples}; seed {result.seed}"],
            width,
        )
        found += chip_lines(result, random, width)
    else:
        found += block("sampled", [f"no chips; {samples}"], width)
    if worst is not None:
        forwards = counted(worst.forwards, "forward pass", "forward passes")
        limits = f"; {plain(worst.constraint)}" if worst.constraint else ""
        search = [f"{plain(worst.method)}: {counted(worst.gradients, 'gradient')}, {forwards}{limits}"]
        if worst.forecast_log10_trials is not None:
            chips = f"10^{worst.forecast_log10_trials:,.0f}"
            search.append(f"random testing would need about {chips} chips to see half of it (first order)")
        found += block("worst case", search, width)
    found += block("stored as", _stored(result), width)
    found += block("budget", _budget(result), width)
    found += block("cost", [f"{result.provenance.wall_s:.1f} s on {plain(result.provenance.hardware)}"], width)
    return _styled(found, "")


def _stored(result: Result) -> list[str]:
    """Return one line for each number format on the device, with the range of its steps."""
    groups: dict[str, list[SiteResult]] = {}
    for site in result.sites:
        groups.setdefault(site.stored_format or site.format, []).append(site)
    said = []
    for name, held in groups.items():
        steps = [step for site in held if site.stored_step for step in site.stored_step]
        scale = ""
        if steps and max(steps) != 1:
            least, most = min(steps), max(steps)
            scale = f", step {least:.3g}" if least == most else f", steps {least:.3g} to {most:.3g}"
        said.append(f"{plain(name)}{scale}: {counted(len(held), 'tensor')}")
    return said


def _budget(result: Result) -> list[str]:
    """Return one line for each mechanism and norm: an entry for each tensor is too long to show."""
    groups: dict[tuple[str, str, str, float], list[float]] = {}
    for entry in result.budget:
        if entry.eps == 0:
            continue
        key = (plain(entry.mechanism), str(entry.p).removesuffix(".0"), plain(entry.scope), entry.confidence)
        groups.setdefault(key, []).append(entry.eps)
    found = []
    for (mechanism, p, scope, confidence), radii in groups.items():
        ends = sorted({f"{min(radii):.3g}", f"{max(radii):.3g}"}, key=float)
        sets = counted(len(radii), "set")
        found.append(f"{mechanism}: p = {p}, eps {' to '.join(ends)}, {sets} {scope}, confidence {100 * confidence:g}%")
    return found + _budget_notes(result)


def _budget_notes(result: Result) -> list[str]:
    """Return each note of a shown set once, behind its mechanism."""
    said = dict.fromkeys((entry.mechanism, entry.note) for entry in result.budget if entry.note and entry.eps != 0)
    return [f"{plain(mechanism)}: {plain(note)}" for mechanism, note in said]


def _parts(result: Result, width: int) -> Iterable[Line]:
    bars, rows = sites(result), kinds(result)
    if bars or rows:
        yield f"most fragile   ({fragile_measure(result)})", "bold"
    yield from ((f"  {line}"[:width], "") for line in bars)
    if bars and rows:
        yield "", ""
    yield from ((f"  {line}"[:width], "") for line in rows)


def _origin(result: Result, width: int) -> Iterable[Line]:
    """Say what the figures rest on; what is not verified is named one by one."""
    assumptions = result.device.assumptions
    if assumptions:
        counts = Counter(map(_trust, assumptions))
        said = ", ".join(f"{number} {status}" for status, number in counts.most_common())
        yield from _styled(block("assumptions", [said], width), "")
        unsure = sorted(
            (one for one in assumptions if _weakest(one) in _UNSURE), key=lambda one: -_UNSURE.index(_weakest(one))
        )
        shown = []
        for one in unsure[:_MOST]:
            owner = f"{plain(one.mechanism)}." if one.mechanism else ""
            shown.append(f"? {_trust(one)}: {owner}{plain(one.parameter)} = {plain(one.value)}")
        if len(unsure) > _MOST:
            shown.append(f"? and {len(unsure) - _MOST} more, in result.json")
        yield from _styled(block("", shown, width), "yellow")
    left_out = [f"{plain(one.what)}: {plain(one.why)}" for one in result.not_simulated]
    yield from _styled(block("not simulated", left_out, width), "")
    yield from _styled(block("note", [plain(note) for note in result.notes], width), "")


def _weakest(one: Assumption) -> str:
    return one.rests_on or one.status


def _trust(one: Assumption) -> str:
    return f"{one.status} from {one.rests_on}" if one.rests_on else one.status


def _foot(result: Result, width: int, out: str | None) -> Iterable[Line]:
    if out is not None:
        for label, name in (("result", "result.json"), ("report", "report.html")):
            yield from _styled(block(label, [plain(str(PurePath(out) / name))], width, indent=8), "dim")
    yield f"next    {next_command(result)}", "dim"  # unbroken, to be copied


def _styled(texts: Iterable[str], style: str) -> list[Line]:
    return [(text, style) for text in texts]
