"""A sweep as a picture: mean, interval, 5th percentile and worst chip over the condition."""

import io
from pathlib import Path

from faultsim.results import SweepResult


def draw(result: SweepResult, path: Path) -> None:
    """Write the curve of a sweep as SVG or PNG, told from the file's ending.

    Values that are evenly spaced in their logarithm get a logarithmic axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fractions = result.data.headline == "accuracy" and result.clean.accuracy is not None
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    values = [point.value for point in result.points]
    scale = 100.0 if fractions else 1.0
    if fractions:
        means = [p.random.accuracy.mean for p in result.points]
        lows = [p.random.accuracy.low for p in result.points]
        highs = [p.random.accuracy.high for p in result.points]
        edges = [p.random.accuracy.p05 for p in result.points]
        worst = [p.random.accuracy.min for p in result.points]
    else:
        means = [p.random.loss.mean for p in result.points]
        lows = [p.random.loss.low for p in result.points]
        highs = [p.random.loss.high for p in result.points]
        edges = []
        worst = [p.random.loss.max for p in result.points]

    def scaled(numbers: list[float | None]) -> list[float]:
        return [float("nan") if number is None else scale * number for number in numbers]

    axes.fill_between(
        values, scaled(lows), scaled(highs), alpha=0.3, label=f"{100 * result.level:g} % interval of the mean"
    )
    axes.plot(values, scaled(means), marker="o", label="mean chip")
    if edges:
        axes.plot(values, scaled(edges), linestyle="--", label="5th percentile")
    axes.plot(values, scaled(worst), linestyle=":", label="worst chip drawn")
    clean = result.clean.accuracy if fractions else result.clean.loss
    if clean is not None:
        axes.axhline(scale * clean, linewidth=0.8, color="0.4", label="clean")
    positive = [value for value in values if value > 0]
    if len(positive) == len(values) and len(values) > 1 and max(values) / min(values) > 50:
        axes.set_xscale("log")
    if result.over == "vdd":
        axes.invert_xaxis()
    axes.set_xlabel(f"{result.over} ({result.unit})")
    axes.set_ylabel(f"{result.data.score} (%)" if fractions else result.data.loss)
    axes.set_title(f"{Path(result.model.path).name} on {result.device.name}, {result.trials} chips a value")
    axes.legend(frameon=False, fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format=path.suffix.removeprefix(".") or "svg",
        metadata={"Date": None} if path.suffix == ".svg" else None,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
