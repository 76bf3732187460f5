"""The heat map of a probe in the terminal: everything is shown, the worst first."""

from example_kinds import probe

from faultsim.report.probing import probe_lines
from faultsim.results.probing import ProbeCell, ProbePart, ProbeResult


def part(group: str, name: str, left: float, strengths: tuple[float, ...]) -> ProbePart:
    cells = tuple(
        ProbeCell(mode="gradient", strength=one, draws=1, accuracy=left, low=None, high=None, loss=1.0)
        for one in strengths
    )
    return ProbePart(group=group, name=name, sites=1, elements=9, depth=0.0, cells=cells)  # type: ignore[arg-type]


def lines(result: ProbeResult, width: int) -> list[str]:
    return [text for block in probe_lines(result, width) for text, _ in block]


def test_columns_that_do_not_fit_stand_below() -> None:
    strengths = tuple(round(0.01 * (one + 1), 2) for one in range(12))
    result = probe().model_copy(update={"parts": (part("layer", "conv1", 0.5, strengths),)})
    shown = lines(result, 80)
    assert max(map(len, shown)) <= 80
    for one in strengths:
        assert any(f" {one:g}" in line for line in shown), one
    assert sum(line.startswith("conv1 ") for line in shown) == 2  # eight columns, and four more
    assert sum(line.startswith("conv1 ") for line in lines(result, 200)) == 1


def test_kinds_and_positions_are_ranked_like_layers() -> None:
    groups = ("kind", "position", "layer")
    parts = tuple(part(group, name, left, (0.1,)) for group in groups for name, left in (("tough", 0.9), ("weak", 0.1)))
    shown = lines(probe().model_copy(update={"parts": parts}), 80)
    ranked = [line.split()[0] for line in shown if line.startswith(("tough", "weak"))]
    assert ranked == ["weak", "tough"] * 3
    assert sum("worst first" in line for line in shown) == 3
