"""An attack as text for a terminal: the worst found beside random and clean, what is proven, what it cost.

Read-only: no figure is computed here. No torch, no onnx: a laptop renders a cluster's result. Curves, cells and probes
have their rows in `attack_rows` and `probing`.
"""

from collections.abc import Iterable
from pathlib import PurePath

from rich.console import Console
from rich.text import Text

from faultsim.report.attack_rows import cell_lines, curve_lines, number
from faultsim.report.probing import probe_lines
from faultsim.report.words import block, counted, interval, pad, percent, plain, signed, speakable
from faultsim.results.attack import AttackResult, AttackScore
from faultsim.results.probing import ProbeResult

_NARROW, _WIDE = 80, 100
Line = tuple[str, str]  # text, rich style


def render(result: AttackResult | ProbeResult, console: Console | None = None, *, out: str | None = None) -> None:
    """Print a result to *console*, by default standard output, 80 to 100 columns wide.

    Args:
        result: What to show.
        console: Where to.
        out: The folder that ``result.json`` was written to; None leaves the last line out.
    """
    console = console or Console()
    width = min(max(console.width, _NARROW), _WIDE)
    for text, style in lines(result, width=width, out=out):
        console.print(
            Text(speakable(text, console.encoding), style=style), soft_wrap=True, highlight=False, emoji=False
        )


def lines(result: AttackResult | ProbeResult, *, width: int = _NARROW, out: str | None = None) -> list[Line]:
    """Return the lines of the report, each with its style."""
    parts: list[Iterable[Line]] = [_head(result, width)]
    if isinstance(result, ProbeResult):
        parts += probe_lines(result, width)
    else:
        parts += [_searched(result, width), _table(result, width), _proof(result, width)]
        parts += [_methods(result), curve_lines(result, width), cell_lines(result, width), _cost(result, width)]
    parts.append(_foot(result, width, out))
    found: list[Line] = []
    for part in map(list, parts):
        if part and found:
            found.append(("", ""))
        found += part
    return found


def _head(result: AttackResult | ProbeResult, width: int) -> Iterable[Line]:
    model = result.model
    name = plain(PurePath(model.path).name or model.path)
    said = f"{name}  {counted(model.parameters, 'parameter')}, {counted(model.sites, 'site')}"
    formats = f", {', '.join(map(plain, model.formats))}" if model.formats else ""
    yield from _styled(block("", [said + formats], width, indent=0), "bold")
    where = "the deployed number format" if result.device is None else f"device {plain(result.device.name)}"
    tested = f"{counted(model.tested_parameters or 0, 'number')} in {counted(model.tested_sites or 0, 'tensor')}"
    what = "fragility" if isinstance(result, ProbeResult) else _what(result)
    yield from _styled(block("", [f"{what} in {where}; under test: {tested}"], width, indent=0), "bold")
    agreement = getattr(result, "agreement", None)
    if agreement is not None:
        said = f"agrees with {plain(agreement.runtime)} on {counted(agreement.samples, 'sample')}"
        yield from _styled([said], "dim")
    yield from _styled(
        block("", [f"task: {plain(result.data.task)}, scored by {plain(result.data.score)}"], width, indent=0), ""
    )
    if result.data.labels == "golden":
        said = "no labels: accuracy is agreement with the clean model's own answers, not with the truth"
        yield from _styled(block("", [said], width, indent=0), "yellow")


def _what(result: AttackResult) -> str:
    if result.cells is None:
        return "worst corruption"
    return {"bits": "worst flipped bits", "levels": "worst confused levels", "stuck": "worst stuck cells"}[
        result.cells.what
    ]


def _searched(result: AttackResult, width: int) -> Iterable[Line]:
    found: list[str] = []
    if result.set is not None:
        said = [plain(result.set.words)]
        if result.set.pinned:
            said.append(
                f"cannot move (all zero, and the radius is relative): {', '.join(map(plain, result.set.pinned))}"
            )
        found += block("set", said, width)
    if result.cells is not None:
        found += block("aim", [plain(result.cells.aim)], width)
        if result.cells.limits:
            found += block("limits", [plain(result.cells.limits)], width)
    source = "drawn inputs" if result.data.source == "drawn" else plain(PurePath(result.data.source).name)
    found += block("searched on", [plain(result.searched_on)], width)
    found += block("scored on", [f"{counted(result.data.samples, 'sample')} of {source}; seed {result.seed}"], width)
    if result.stopped is not None:
        found += block("stopped", [result.stopped], width)
    yield from _styled(found, "")


def _table(result: AttackResult, width: int) -> Iterable[Line]:
    if result.worst is None and result.random is None:
        return
    yield f"{'':<24}{'accuracy':>10}{'loss':>11}{'change':>11}", "bold"
    clean = result.clean
    yield _row("clean", clean.accuracy, clean.loss, None), ""
    random = result.random
    if random is not None:
        label = f"random, mean of {random.trials}"
        between = interval(random.low, random.high, of_fractions=True)
        change = None if random.loss_mean is None or clean.loss is None else random.loss_mean - clean.loss
        yield f"{_row(label, random.mean, random.loss_mean, change)}   {between}".rstrip(), ""
        change = None if random.loss_max is None or clean.loss is None else random.loss_max - clean.loss
        yield _row("random, worst each", random.min, random.loss_max, change), ""
    worst, largest = result.worst, result.largest
    if worst is not None:
        yield from _found("worst found", worst, width)
    if largest is not None and largest != worst:
        yield from _found("largest loss found", largest, width)


def _found(label: str, one: AttackScore, width: int) -> Iterable[Line]:
    yield (
        f"{_row(label, one.accuracy, one.loss, one.loss_change)}   {pad(plain(one.method), width - 59).rstrip()}",
        "bold",
    )


def _row(label: str, accuracy: float | None, loss: float | None, change: float | None) -> str:
    share = "" if accuracy is None else percent(accuracy)
    nats = "not finite" if loss is None else number(loss)
    moved = "" if change is None else signed(f"{change:+.3g}")
    return f"{pad(label, 24)}{share:>10}{nats:>11}{moved:>11}".rstrip()


def _proof(result: AttackResult, width: int) -> Iterable[Line]:
    proof, worst, largest = result.certificate, result.worst, result.largest
    if proof is None or worst is None or largest is None:
        return
    if not proof.proven:
        yield from _styled(block("found, not proven", [plain(proof.why_not)], width, indent=19), "yellow")
        return
    said = []
    if proof.loss_change is not None:
        low = "not finite" if largest.loss_change is None else number(largest.loss_change)
        said.append(f"loss change  [{low}, {number(proof.loss_change)}]: the worst of the set lies in here")
    if proof.accuracy is not None and worst.accuracy is not None:
        said.append(f"accuracy     [{percent(proof.accuracy)}, {percent(worst.accuracy)}]")
    said.append(f"[attack, certificate] over the whole set and all {counted(result.data.samples, 'sample')}")
    yield from _styled(block("proven", said, width), "bold green")


def _methods(result: AttackResult) -> Iterable[Line]:
    if not result.methods:
        return
    yield f"{'found by, on the search samples':<34}{'tried':>7}{'accuracy':>11}{'loss':>11}", "bold"
    for one in result.methods:
        share = "" if one.accuracy is None else percent(one.accuracy)
        nats = "not finite" if one.loss is None else number(one.loss)
        yield f"  {pad(plain(one.name), 32)}{one.candidates:>7,}{share:>11}{nats:>11}", ""


def _cost(result: AttackResult, width: int) -> Iterable[Line]:
    found: list[str] = []
    if result.indicator is not None:
        said = [f"the worst corruption adds {number(result.indicator)} to the loss (curvature left out)"]
        if result.forecast_log10_trials is not None:
            trials = f"10^{result.forecast_log10_trials:,.0f}"
            said.append(f"random testing would need about {trials} trials to see half of it (theorem 1)")
        found += block("first order", said, width)
    forwards = counted(result.forwards, "forward pass", "forward passes")
    cost = f"{counted(result.gradients, 'gradient')}, {forwards}, {result.provenance.wall_s:.1f} s"
    found += block("cost", [f"{cost} on {plain(result.provenance.hardware)}"], width)
    written = result.written
    if written is not None:
        alone = [] if written.accuracy is None else [f"accuracy {percent(written.accuracy)}"]
        alone += [] if written.loss is None else [f"loss {number(written.loss)}"]
        same = "the same answers as in the search" if written.same else "NOT the answers of the search"
        said = [plain(written.path), f"by itself in {plain(written.runtime)}: {', '.join([*alone, same])}"]
        found += block("written", said, width)
    yield from _styled(found, "")


def _foot(result: AttackResult | ProbeResult, width: int, out: str | None) -> Iterable[Line]:
    yield from _styled(block("note", [plain(note) for note in result.notes], width), "")
    if out is not None:
        yield from _styled(block("result", [plain(str(PurePath(out) / "result.json"))], width), "dim")


def _styled(texts: Iterable[str], style: str) -> list[Line]:
    return [(text, style) for text in texts]
