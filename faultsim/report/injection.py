"""A campaign of bit flips as text for a terminal: rates, outcomes, where they lie, the worst trials.

Read-only: no figure is computed here. No torch, no onnx: a laptop renders a cluster's result.
"""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from rich.console import Console
from rich.text import Text

from faultsim.report.words import bar, block, counted, end_of, pad, plain, speakable
from faultsim.results.injection import FaultRate, InjectionResult, PartRates, ScreenInfo, WorstTrial

_NARROW, _WIDE = 80, 100
_MOST_SITES = 12
_BAR = 10
UNSEEN = "*"
"""Stands behind the interval of a part where some strata have no trial."""
Line = tuple[str, str]


def render(result: InjectionResult, console: Console | None = None, *, out: str | None = None) -> None:
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


def lines(result: InjectionResult, *, width: int = _NARROW, out: str | None = None) -> list[Line]:
    """Return the lines of the report, each with its style."""
    parts: tuple[Iterable[Line], ...] = (
        _head(result, width),
        _sampled(result, width),
        _rates(result),
        _outcomes(result),
        _parts("by site", result.sites),
        _parts("by kind of layer", result.kinds if len(result.kinds) > 1 else ()),
        _bits(result),
        _unseen(result, width),
        _worst(result.worst, width),
        _paired(result, width),
        _notes(result, width, out),
    )
    found: list[Line] = []
    for part in map(list, parts):
        if part and found:
            found.append(("", ""))
        found += part
    return found


def share(fraction: float) -> str:
    """Return a share in per cent with about three significant digits, so that a rare fault is not shown as none.

    Examples:
        >>> share(0.1234), share(0.00002), share(0.0)
        ('12.3%', '0.00200%', '0%')
    """
    percent = 100 * fraction
    if percent == 0:
        return "0%"
    if percent < 0.0005:
        return f"{percent:.1e}%"
    digits = next((d for d in range(1, 6) if percent >= 10.0 ** (2 - d)), 6)
    return f"{percent:.{digits}f}%"


def _head(result: InjectionResult, width: int) -> Iterable[Line]:
    model = result.model
    name = plain(PurePath(model.path).name or model.path)
    said = f"{name}  {counted(model.parameters, 'parameter')}, {counted(model.sites, 'site')}"
    yield from _styled(block("", [f"{said}, {', '.join(map(plain, model.formats))}"], width, indent=0), "bold")
    where = "the deployed number format" if result.storage is None else f"the memory of {plain(result.storage.name)}"
    what = "single-bit flips" if result.flips == 1 else f"{result.flips:,} flipped bits a trial"
    yield from _styled(block("", [f"{what} in {where}"], width, indent=0), "bold")
    population = f"{counted(result.population, 'stored bit')} of {counted(model.tested_sites or 0, 'tensor')}"
    yield from _styled(block("", [f"{population} ({', '.join(result.roles)})"], width, indent=0), "")
    if result.data.labels == "golden":
        yield from _styled(["no labels: accuracy is agreement with the clean model's own answers"], "yellow")


def _sampled(result: InjectionResult, width: int) -> Iterable[Line]:
    drawn = "two may be the same" if result.replacement else "none twice"
    source = "drawn inputs" if result.data.source == "drawn" else plain(PurePath(result.data.source).name)
    how = "scored" if result.screen is None else "screened"
    said = [
        f"{counted(result.trials, 'trial')} ({drawn}), each {how} on {counted(result.data.samples, 'sample')} "
        f"of {source}; seed {result.seed}",
    ]
    if result.stop is None:
        said.append(f"{counted(result.planned, 'trial')} planned: {result.plan}")
    if result.stratify != "none":
        said.append(f"{counted(len(result.strata), 'stratum', 'strata')} by {result.stratify}, {result.allocation}")
    if result.shard is not None:
        said.append(f"shard {result.shard} of them alone: unite all shards with 'faultsim merge'")
    found = block("sampled", said, width)
    if result.stop is not None:
        said = [f"{result.stop.rule}, at most {counted(result.planned, 'trial')}: {result.stop.words}"]
        found += block("stop rule", said, width)
    if result.screen is not None:
        found += block("screen", [_screened(result.screen)], width)
    if result.stopped is not None:
        found += block("stopped", [result.stopped], width)
    yield from _styled(found, "")


def _screened(screen: ScreenInfo) -> str:
    return (
        f"{share(screen.evaluated)} of all predictions were evaluated; of {screen.audited:,} that the screen had left "
        f"out, drawn at random, {screen.wrong:,} do change; of {counted(screen.whole, 'trial')} evaluated whole it "
        f"missed {screen.missed:,} critical {'one' if screen.missed == 1 else 'ones'}"
    )


def _rates(result: InjectionResult) -> Iterable[Line]:
    yield (
        pad(f"per fault, {100 * result.level:g}% intervals", 34) + f"{'estimate':>10}  {'interval':^22}{'n':>10}",
        "bold",
    )
    rates = result.rates
    named = [
        ("critical (changes a prediction)", rates.critical),
        ("mean share of changed predictions", rates.changed),
        ("mean share of non-finite outputs", rates.nonfinite),
        ("mean share of masked inputs", rates.masked),
    ]
    for words, one in named:
        yield _row(words, one), ""
    if result.accuracy is not None:
        clean = result.clean_stored or result.clean
        words = "mean accuracy" + (f" (clean {share(clean.accuracy)})" if clean.accuracy is not None else "")
        yield _row(words, result.accuracy), ""


def _row(words: str, one: FaultRate) -> str:
    between = f"[{share(one.low)}, {share(one.high)}]"
    return f"{pad(words, 34)}{share(one.value):>10}  {between:^22}{one.n:>10,}".rstrip()


def _outcomes(result: InjectionResult) -> Iterable[Line]:
    found = result.outcomes
    inputs = sum(getattr(found, name).total for name in ("masked", "tolerable", "critical", "nonfinite"))
    if not inputs:
        return
    part = "" if result.screen is None else f" of {counted(result.screen.whole, 'trial')} evaluated whole"
    yield f"what became of {counted(inputs, 'input')}{part}", "bold"
    for name in ("masked", "tolerable", "critical", "nonfinite"):
        one = getattr(found, name)
        yield _row(f"  {name:<11}{one.total:>16,}", one.share), ""
    masked, critical = counted(found.trials_masked, "trial"), counted(found.trials_critical, "trial")
    if result.screen is not None:
        masked, critical = f"of these trials {found.trials_masked:,}", f"{found.trials_critical:,}"
    yield f"  {masked} changed nothing at all, {critical} a prediction", ""


def _parts(title: str, parts: Sequence[PartRates]) -> Iterable[Line]:
    if not parts:
        return
    yield f"{pad(title, 26)}{'bits':>12}{'trials':>8}{'critical':>11}  interval", "bold"
    ranked = sorted(parts, key=lambda one: -(one.rates.critical.value if one.rates else -1.0))
    for one in ranked[:_MOST_SITES]:
        yield _part(one), ""
    if len(ranked) > _MOST_SITES:
        yield f"  and {len(ranked) - _MOST_SITES} more in result.json", "dim"


def _part(one: PartRates) -> str:
    head = f"  {pad(end_of(plain(one.name), 24), 24)}{one.population:>12,}{one.trials:>8,}"
    if one.rates is None:
        return f"{head}{'none drawn':>11}"
    found = one.rates.critical
    return f"{head}{share(found.value):>11}  [{share(found.low)}, {share(found.high)}]{_star(found)}"


def _star(one: FaultRate) -> str:
    """Return the mark of a rate over faults of which no trial came near a part."""
    return UNSEEN if one.unseen > 0 else ""


def _bits(result: InjectionResult) -> Iterable[Line]:
    """Yield a line for each bit position, those alike in a row as one."""
    if not result.bits:
        return
    yield f"{pad('by bit position', 26)}{'trials':>8}{'critical':>11}  interval", "bold"
    for _, group in itertools.groupby(result.bits, key=_alike):
        members = list(group)
        first, last = members[0], members[-1]
        name = plain(first.name) if len(members) == 1 else f"{plain(first.name)} … {last.name.split()[-1]}"
        trials = sum(one.trials for one in members)
        if first.rates is None:
            yield f"  {pad(name, 24)}{trials:>8,}{'none drawn':>11}", ""
            continue
        one = first.rates.critical
        if len(members) > 1:
            highest = max(member.rates.critical.high for member in members if member.rates)
            star = UNSEEN if any(member.rates and _star(member.rates.critical) for member in members) else ""
            yield f"  {pad(name, 24)}{trials:>8,}{'0%':>11}  each at most {share(highest)}{star}", ""
        else:
            drawn = bar(one.value, _BAR)
            between = f"[{share(one.low)}, {share(one.high)}]{_star(one)}"
            yield f"  {pad(name, 24)}{trials:>8,}{share(one.value):>11}  {between:<20} {drawn}".rstrip(), ""


def _unseen(result: InjectionResult, width: int) -> Iterable[Line]:
    parts = (*result.sites, *(result.kinds if len(result.kinds) > 1 else ()), *result.bits)
    if any(one.rates is not None and one.rates.critical.unseen > 0 for one in parts):
        said = (
            "no trial was drawn in some of its strata: its interval allows anything there, its estimate is of the rest"
        )
        yield from _styled(block(UNSEEN, [said], width, indent=2), "")


def _alike(one: PartRates) -> tuple[str, str]:
    kept = one.name.rsplit(" ", 1)[0]
    if one.rates is None:
        return kept, "none"
    return kept, "zero" if one.rates.critical.value == 0 else one.name


def _worst(worst: Sequence[WorstTrial], width: int) -> Iterable[Line]:
    if not worst or worst[0].mismatch == 0:
        return
    yield "worst trials drawn (worse ones may exist)", "bold"
    for one in worst:
        if one.mismatch == 0:
            return
        flip = one.faults[0]
        place = ", ".join(map(str, flip.index))
        after = "not finite" if flip.after is None else f"{flip.after:.4g}"
        before = "not finite" if flip.before is None else f"{flip.before:.4g}"
        more = f" and {one.flips - 1:,} more" if one.flips > 1 else ""
        said = (
            f"trial {one.trial}: {one.mismatch:,} of {one.n:,} changed; {plain(flip.site)}[{place}] bit {flip.bit} "
            f"({flip.field}): {before} becomes {after}{more}"
        )
        yield from _styled(block("", [said], width, indent=2), "")


def _paired(result: InjectionResult, width: int) -> Iterable[Line]:
    if result.paired is None:
        return
    other, same = result.paired.other_model[:12], counted(result.paired.trials, "fault")
    yield f"this model (the second) against {other} (the first), {same}", "bold"
    for one in result.paired.differences:
        yield from _styled(block("", [plain(one.words)], width, indent=2), "")


def _notes(result: InjectionResult, width: int, out: str | None) -> Iterable[Line]:
    took = result.provenance
    ways = ", ".join(f"{plain(way)} {count:,}" for way, count in took.ways.items())
    said = f"{took.wall_s:.1f} s, {took.engine} in {took.executor}; {counted(took.computed, 'trial')} computed now"
    yield from _styled(block("cost", [f"{said} ({ways})" if ways else said], width), "dim")
    for note in (*took.mended, *result.notes):
        yield from _styled(block("", [plain(note)], width, indent=0), "yellow")
    if out is not None:
        yield f"written: {plain(out)}/result.json", ""


def _styled(texts: Iterable[str], style: str) -> Iterable[Line]:
    return ((text, style) for text in texts)
