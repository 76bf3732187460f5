"""A bit map as a table for the terminal and as a picture. Nothing is computed here."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

from faultsim.report.protect import advice, positions
from faultsim.report.words import counted, end_of, interval, pad, percent, plain, wrapped
from faultsim.results.bitmap import BitMapResult, BitMapSite

_SHADES = " ░▒▓█"
_EDGES = (1e-4, 1e-3, 1e-2, 1e-1)
_SITE_CELLS = 34
_LABEL_CELLS = 36
_LEAST = 1e-5


def lines(result: BitMapResult) -> list[str]:
    """Return the terminal report: a heat table of tensors and bits, what the audit says of it, and what to protect."""
    name = plain(Path(result.model.path).name)
    said = [
        f"{name}: predictions that one flipped bit changes",
        f"{counted(result.images, 'image')}, {counted(sum(one.mapped for one in result.sites), 'number')} mapped",
        "",
    ]
    for width in sorted({len(one.bits) for one in result.sites}):
        said += _heat([one for one in result.sites if len(one.bits) == width])
        said.append("")
    steps = "  ".join(f"{shade} > {100 * edge:g}%" for shade, edge in zip(_SHADES[1:], _EDGES, strict=True))
    said += [f"  {steps}; highest bit left", ""]
    audit = result.audit
    said.append(f"  {pad(f'audit of {audit.flips:,} flips', _LABEL_CELLS)}{'map':>9}{'corrected':>11}   "
                f"{100 * result.level:g}% interval")  # fmt: skip
    said.append(_row("all bits", audit.predicted, audit.low, audit.best, audit.high))
    said += [
        _row(f"{positions(one.bits)} of {one.width}, {one.audited} flips", one.predicted, one.low, one.best, one.high)
        for one in audit.groups
    ]
    if audit.rank_correlation is not None:
        said.append(f"  rank correlation of map and truth over these flips: {audit.rank_correlation:.2f}")
    said += advice(result)
    for note in result.notes:
        said += wrapped(f"note: {plain(note)}", "        ", "  ")
    return said


def _heat(sites: Sequence[BitMapSite]) -> list[str]:
    width = len(sites[0].bits)
    marks = "".join("|" if bit % 8 == 7 else " " for bit in range(width - 1, -1, -1))
    rows = [f"  {pad(f'{sites[0].format}, bit {width - 1} … 0', _SITE_CELLS)}{marks}   mean"]
    for one in sites:
        cells = "".join(shade(share) for share in reversed(one.bits))
        name = pad(end_of(plain(one.name), _SITE_CELLS - 1), _SITE_CELLS)
        rows.append(f"  {name}{cells}   {percent(math.fsum(one.bits) / width)}")
    return rows


def shade(share: float) -> str:
    """Return the character for a share: the darker the more."""
    return _SHADES[sum(share > edge for edge in _EDGES)]


def _row(label: str, predicted: float, low: float, best: float, high: float) -> str:
    between = interval(low, high, of_fractions=True)
    return f"  {pad(label, _LABEL_CELLS)}{percent(predicted):>9}{percent(best):>11}   {between}"


def draw(result: BitMapResult, path: Path) -> None:
    """Write the map as SVG or PNG, told from the file's ending: a panel for each word width, log colours."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    widths = sorted({len(one.bits) for one in result.sites}, reverse=True)
    groups = [[one for one in result.sites if len(one.bits) == width] for width in widths]
    figure = Figure(figsize=(8.0, 1.6 + 0.22 * len(result.sites) + 0.6 * len(groups)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=[len(one) for one in groups])[:, 0]
    norm = LogNorm(_LEAST, 1.0, clip=True)
    for panel, sites, width in zip(panels, groups, widths, strict=True):
        grid = [[max(share, _LEAST) for share in reversed(one.bits)] for one in sites]
        image = panel.imshow(grid, norm=norm, cmap="magma", aspect="auto", interpolation="nearest")
        ticks = list(range(0, width, max(width // 8, 1)))
        panel.set_xticks([width - 1 - bit for bit in ticks], [str(bit) for bit in ticks])
        panel.set_yticks(range(len(sites)), [_short(one.name) for one in sites], fontsize="x-small")
        panel.set_xlabel(f"bit of the {width}-bit word")
        figure.colorbar(image, ax=panel, label="share changed")
    panels[0].set_title(f"{_short(Path(result.model.path).name)}: predictions changed by one flipped bit")
    kind = path.suffix.removeprefix(".") or "svg"
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def _short(name: str) -> str:
    """Return a foreign name as matplotlib may take it: printable, without a formula, and short."""
    safe = plain(name).replace("$", r"\$")
    return safe if len(safe) <= 40 else f"…{safe[-39:]}"
