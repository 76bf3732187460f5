"""The figures of a bundle: which there are, and as files. How one is drawn lives in `draw.py` and `draw_more.py`."""

from collections.abc import Iterable
from pathlib import Path

from faultsim.report.html.bundle import Bundle
from faultsim.report.html.chart import Chart
from faultsim.report.html.draw import charts
from faultsim.report.html.draw_attack import attack_charts, bitmap_charts
from faultsim.report.html.draw_harden import harden_charts
from faultsim.report.html.draw_more import heat_chart, sweep_chart
from faultsim.report.html.png import png_bytes
from faultsim.report.html.svg import file_text


def figures(bundle: Bundle) -> dict[str, Chart]:
    """Return the charts that the bundle has something for, by name, in the order of the report."""
    found = [] if bundle.result is None else charts(bundle.result)
    others = (
        None if bundle.sweep is None else sweep_chart(bundle.sweep),
        *([] if bundle.harden is None else harden_charts(bundle.harden)),
        None if bundle.campaign is None else heat_chart(bundle.campaign),
        *([] if bundle.attack is None else attack_charts(bundle.attack)),
        *([] if bundle.bitmap is None else bitmap_charts(bundle.bitmap)),
    )
    return {one.name: one for one in (*found, *others) if one is not None}


def write_figures(charts: Iterable[Chart], folder: Path) -> list[Path]:
    """Write every chart as SVG and PNG into *folder*, which is made; return the files.

    Raises:
        OSError: If a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for chart in charts:
        vector, raster = folder / f"{chart.name}.svg", folder / f"{chart.name}.png"
        vector.write_text(file_text(chart), encoding="utf-8")
        raster.write_bytes(png_bytes(chart))
        written += [vector, raster]
    return written
