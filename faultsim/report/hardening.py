"""A hardening as lines for a terminal: before and after side by side. No colour and no file here."""

import textwrap
from collections.abc import Iterable, Iterator

from faultsim.results.hardening import Compared, HardenResult, TrainingInfo


def lines(result: HardenResult, *, width: int = 80) -> Iterator[str]:
    """Yield the report; prose is wrapped at *width* columns, rows of the table are not."""
    yield from _wrapped(_trained(result), width)
    yield ""
    trials = result.before.random.trials if result.before.random is not None else 0
    yield from _wrapped([f"on {result.training.test_samples} samples and {trials} chips, the same twice"], width)
    named = max((len(row.name) for row in result.compared), default=0)
    yield f"{'':{named}}  {'before':>9}  {'after':>9}"
    for row in result.compared:
        figures = f"{_figure(row, row.before):>9}  {_figure(row, row.after):>9}"
        yield f"{row.name:{named}}  {figures}   {_change(row)}".rstrip()
    yield from _wrapped(_below(result), width)
    for note in result.notes:
        yield from textwrap.wrap(note, width, initial_indent="- ", subsequent_indent="  ")
    yield ""
    yield from _wrapped([result.sentence], width)
    if result.hardened is not None:
        yield f"written: {result.hardened} ({len(result.changed)} tensors changed, nothing else)"


def _wrapped(texts: Iterable[str], width: int) -> Iterator[str]:
    for text in texts:
        yield from textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False) or [""]


def _trained(result: HardenResult) -> Iterator[str]:
    training = result.training
    yield f"{result.before.model.path} on {result.before.device.name}"
    yield f"trained with {training.loss} ({training.recipe}: {training.why}), strength {training.strength:.3g}"
    if training.strengths:
        tried = ", ".join(f"{one.strength:.3g} → {one.score:.4g}" for one in training.strengths)
        yield f"strengths tried, with their validation scores: {tried}"
    ended = f"; {training.stopped}" if training.stopped else ""
    yield (
        f"{training.steps} of {training.planned} steps on {training.train_samples} samples towards {training.towards}, "
        f"step {training.best_step} taken, {training.seconds:.0f} s{ended}"
    )
    yield from _curve(training)
    if training.part < 1:
        yield f"{training.part:.0%} of the way to the trained numbers: all of it may cost too much clean accuracy"
    yield f"batch norm: {training.batch_norm}; scales: {training.scales}{_precision(training)}"


def _curve(training: TrainingInfo) -> Iterator[str]:
    """Say in one line how the training went; nothing where it took no step."""
    losses = [one for one in training.curve if one.step and one.train_loss is not None]
    said = []
    if losses:
        steps = f" (steps to {losses[0].step} and to {losses[-1].step})"
        said.append(f"training loss {losses[0].train_loss:.3g} → {losses[-1].train_loss:.3g}{steps}")
    taken = next((one for one in training.curve if one.step == training.best_step), None)
    if len(training.curve) > 1 and taken is not None:
        best = "" if taken.step else ": none was better"
        said.append(f"validation score {training.curve[0].score:.4g} → {taken.score:.4g} at step {taken.step}{best}")
    if said:
        yield "; ".join(said)


def _below(result: HardenResult) -> Iterator[str]:
    if result.paired is not None:
        gain = result.paired
        spread = "" if gain.low is None or gain.high is None else f" [{_points(gain.low)}, {_points(gain.high)}]"
        yield f"chip by chip: {_points(gain.mean)}{spread} points, better on {gain.better} of {gain.trials}"
    for radius in result.radii:
        yield (
            f"L2 radius at which it {radius.what}: {_radius(radius.before)} → {_radius(radius.after)}, "
            f"of ‖w‖ {_radius(radius.before_relative)} → {_radius(radius.after_relative)}"
        )
    yield f"worst cases and radii: found, not proven{_few(result.training)}"


def _few(training: TrainingInfo) -> str:
    """Say on how many samples the searches at a radius are, where these are not all."""
    most = training.options.get("radius_samples")
    if not training.options.get("radii") or not isinstance(most, int) or most >= training.test_samples:
        return ""
    return f"; those at a radius on {most} samples"


def _precision(training: TrainingInfo) -> str:
    return "; trained in bfloat16" if training.options.get("precision") == "bf16" else ""


def _figure(row: Compared, value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:.2%}" if row.fraction else f"{value:.4g}"


def _change(row: Compared) -> str:
    if row.before is None or row.after is None:
        return ""
    gap = row.after - row.before
    return f"{_points(gap)} points" if row.fraction else f"{gap:+.3g}"


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


def _radius(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.3g}"
