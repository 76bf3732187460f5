"""The charts of a hardening: before and after, and its training. Those of an assessment: `draw.py`."""

from faultsim.report.html.chart import Axis, Boxes, Chart, Dots, Line, Mark, Rule, Tick, bounded, linear, logarithmic
from faultsim.report.html.draw import _axis, _histogram
from faultsim.report.html.headline import Headline, headline
from faultsim.report.words import counted, percent
from faultsim.results import Result
from faultsim.results.hardening import Compared, HardenResult, TrainingInfo

_WIDE = 20.0
"""Losses that differ by this factor are drawn over a logarithmic axis."""
_FALL = 4.0
"""How far below the best score the axis reaches at most, in parts of the best, where scores are no accuracies."""
_SHORT = {
    "random accuracy, mean": "mean chip",
    "random accuracy, 5th percentile": "5th percentile",
    "random accuracy, worst chip drawn": "worst drawn",
    "worst case in the device's set": "worst case, device's set",
}


def harden_charts(harden: HardenResult) -> list[Chart]:
    """Return what there is to draw: accuracies and chips before and after, losses and scores over the steps."""
    of_training = loss_chart(harden.training), score_chart(harden.training)
    every = (harden_chart(harden), both_chips_chart(harden), *of_training)
    return [one for one in every if one is not None]


def harden_chart(harden: HardenResult) -> Chart | None:
    """Return each accuracy before and after, a row each; None where there is none."""
    known = [one for one in harden.compared if one.fraction and one.before is not None and one.after is not None]
    if not known:
        return None
    marks: list[Mark] = []
    ticks = []
    before, after = [], []
    for number, one in enumerate(known):
        y = float(len(known) - 1 - number)
        first, second = 100 * (one.before or 0.0), 100 * (one.after or 0.0)
        ticks.append(Tick(y, _SHORT.get(one.name, one.name)))
        marks.append(Line(points=((first, y), (second, y)), tone="muted"))
        before.append((first, y))
        after.append((second, y))
    marks.append(Dots(points=tuple(before), tone="clean", shape="diamond", label="before"))
    marks.append(Dots(points=tuple(after), tone="good", label="after"))
    return Chart(
        name="before-and-after",
        title="Before and after hardening",
        said="; ".join(f"{one.name}: before {_percent(one, 'before')}, after {_percent(one, 'after')}" for one in known)
        + ".",
        x=bounded("%", 0, 100),
        y=Axis(label="", low=-0.6, high=len(known) - 0.4, ticks=tuple(ticks)),
        marks=tuple(marks),
        height=80 + 28 * len(known),
    )


def both_chips_chart(harden: HardenResult) -> Chart | None:
    """Return the chips after the hardening as bars and those before as an outline; None without rows of both."""
    of = headline(harden.before)
    before, after = _values(harden.before, of), _values(harden.after, of)
    if not before or not after:
        return None
    x = _axis(of, [*before, *after])
    bars, old = _histogram(after, x, of), _histogram(before, x, of)
    outline: list[tuple[float, float | None]] = []
    for at, box in enumerate(old):
        if at and old[at - 1].x1 < box.x0 - 1e-9 * (x.high - x.low):
            outline += [(old[at - 1].x1, 0.0), (box.x0, 0.0)]
        outline += [] if at else [(box.x0, 0.0)]
        outline += [(box.x0, box.y1), (box.x1, box.y1)]
    outline.append((old[-1].x1, 0.0))
    middles = sum(before) / len(before), sum(after) / len(after)
    marks: list[Mark] = [
        Boxes(boxes=tuple(bars), tone="good", label="after"),
        Line(points=tuple(outline), tone="ink", label="before"),
        Rule(at=middles[0], axis="x", tone="ink", dash="dashed", label="mean before"),
        Rule(at=middles[1], axis="x", tone="good", dash="dashed", label="mean after"),
    ]
    words = [of.shown(value / 100 if of.fraction else value) for value in middles]
    return Chart(
        name="chips-before-and-after",
        title=f"{of.name} of {counted(len(after), 'chip')}, before and after",
        said=f"Mean before {words[0]}, after {words[1]}.",
        x=x,
        y=bounded("chips", 0, 1.08 * max(bar.y1 for bar in (*bars, *old)), whole=True),
        marks=tuple(marks),
    )


def loss_chart(training: TrainingInfo) -> Chart | None:
    """Return the training loss over the steps, the clean validation loss beside it; None without two points of one."""
    trained = tuple((float(one.step), one.train_loss) for one in training.curve if one.step)
    clean = tuple((float(one.step), one.loss) for one in training.curve)
    shown = [value for _, value in (*trained, *clean) if value is not None]
    if max(sum(value is not None for _, value in points) for points in (trained, clean)) < 2:
        return None
    wide = min(shown) > 0 and max(shown) > _WIDE * min(shown)
    marks: tuple[Mark, ...] = (
        Line(points=trained, tone="chip", label="training loss", dots=True),
        Line(points=clean, tone="ink", dash="dashed", label="clean, validation samples"),
        _taken(training),
    )
    said = [
        f"{name} {_number(one[0][1])} at step {one[0][0]:g}, {_number(one[-1][1])} at step {one[-1][0]:g}"
        for name, one in (("Training loss", trained), ("clean loss on the validation samples", clean))
        if one
    ]
    return Chart(
        name="training-loss",
        title=f"Loss over the training, step {training.best_step} taken",
        said=f"{'; '.join(said)}. The training loss is a mean over the steps since the point before.",
        x=_steps(training),
        y=logarithmic("loss", shown) if wide else linear("loss", shown),
        marks=marks,
    )


def score_chart(training: TrainingInfo) -> Chart | None:
    """Return the validation score over the steps, the clean accuracy beside it; None without two points."""
    curve = training.curve
    if len(curve) < 2:
        return None
    counted_right = all(one.accuracy is not None for one in curve)
    unit = 100.0 if counted_right else 1.0
    best, start = max(one.score for one in curve), curve[0].score
    floor = min(start, best - (1.0 if counted_right else _FALL * max(abs(best), best - start)))
    clean = tuple((float(one.step), 100 * one.accuracy) for one in curve if one.accuracy is not None)
    scores = tuple((float(one.step), unit * one.score) for one in curve)
    shown = [max(value, unit * floor) for _, value in scores] + [value for _, value in clean]
    cut = ", cut below" if min(one.score for one in curve) < floor else ""
    marks: list[Mark] = [Line(points=scores, tone="good", label=f"validation score{cut}", dots=True)]
    marks += [Line(points=clean, tone="ink", dash="dashed", label="clean accuracy")] if clean else []
    taken = next((one.score for one in curve if one.step == training.best_step), best)
    return Chart(
        name="validation-score",
        title=f"Validation score over the training, step {training.best_step} taken",
        said=f"Score {start:.4g} before the training, {taken:.4g} at step {training.best_step}, which was taken; "
        f"{best:.4g} at best.",
        x=_steps(training),
        y=linear("%" if counted_right else "score", shown),
        marks=(*marks, _taken(training)),
    )


def _taken(training: TrainingInfo) -> Rule:
    return Rule(at=float(training.best_step), axis="x", tone="worst", dash="dotted", label="taken")


def _steps(training: TrainingInfo) -> Axis:
    return bounded("training steps", 0.0, float(max(one.step for one in training.curve) or 1), whole=True)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def _values(result: Result, of: Headline) -> list[float]:
    rows = () if result.random is None else result.random.per_trial
    return [of.scaled(value) for row in rows if (value := of.of_chip(row)) is not None]


def _percent(one: Compared, which: str) -> str:
    value: float | None = getattr(one, which)
    return "not finite" if value is None else percent(value)
