"""What the page says of a sweep, a hardening and a campaign of bit flips, as values for the templates. No markup."""

from typing import Any

from faultsim.report.html.headline import headline_of_sweep
from faultsim.report.words import MINUS, counted, interval, points, signed
from faultsim.results import SweepResult
from faultsim.results.hardening import Compared, HardenResult
from faultsim.results.injection import FaultRate, InjectionResult

_MOST_PARTS = 100


def sweep_view(sweep: SweepResult) -> dict[str, Any]:
    """Return the table of a sweep."""
    of = headline_of_sweep(sweep.data, sweep.clean)
    rows = []
    for point in sweep.points:
        figures = point.random.accuracy if of.fraction else point.random.loss
        edge = point.random.accuracy.p05 if of.fraction else point.random.loss.p95
        worst = point.random.accuracy.min if of.fraction else point.random.loss.max
        fit = point.random.sdc_fit
        rows.append(
            {
                "label": point.label,
                "mean": of.shown(figures.mean),
                "between": interval(figures.low, figures.high, of_fractions=of.fraction),
                "edge": of.shown(edge),
                "worst": of.shown(worst),
                "event": "" if point.random.event_probability is None else f"{point.random.event_probability:.2g}",
                "fit": "" if fit is None else f"{fit.value:.3g}",
            }
        )
    return {
        "result": sweep,
        "rows": rows,
        "heading": of.name,
        "edge": "5th percentile" if of.higher else "95th percentile",
        "rare": any(row["event"] for row in rows),
        "clean": of.shown(of.of(sweep.clean)),
    }


def harden_view(harden: HardenResult) -> dict[str, Any]:
    """Return the comparison before and after."""
    rows = []
    for one in harden.compared:
        change = ""
        if one.before is not None and one.after is not None:
            apart = one.after - one.before
            change = points(apart) if one.fraction else signed(f"{apart:+.4g}")
        better = None
        if one.before is not None and one.after is not None and one.before != one.after:
            better = (one.after > one.before) == one.higher_is_better
        rows.append(
            {
                "name": one.name,
                "before": _value(one, one.before),
                "after": _value(one, one.after),
                "change": change,
                "word": {True: "better", False: "worse", None: ""}[better],
                "note": one.note or "",
            }
        )
    paired = ""
    if harden.paired is not None:
        one_pair = harden.paired
        between = interval(one_pair.low, one_pair.high, of_fractions=True).replace("-", MINUS)
        paired = (
            f"Chip by chip, on the same {counted(one_pair.trials, 'chip')}: mean change "
            f"{points(one_pair.mean)} {between}; more accurate on {one_pair.better}."
        )
    radii = [
        {
            "what": one.what,
            "before": "not reached" if one.before is None else f"{one.before:.3g}",
            "after": "not reached" if one.after is None else f"{one.after:.3g}",
            "p": str(one.p).removesuffix(".0"),
        }
        for one in harden.radii
    ]
    return {"result": harden, "rows": rows, "paired": paired, "radii": radii}


def campaign_view(found: InjectionResult) -> dict[str, Any]:
    """Return the rates and tables of a campaign of bit flips."""
    rates = [
        ("critical: changes an answer", found.rates.critical),
        ("answers changed, mean share", found.rates.changed),
        ("outputs not finite, mean share", found.rates.nonfinite),
        ("inputs masked, mean share", found.rates.masked),
    ]
    if found.accuracy is not None:
        rates.append(("accuracy under a fault, mean", found.accuracy))
    tables = [("tensor", found.sites), ("kind of layer", found.kinds), ("bit position", found.bits)]
    return {
        "result": found,
        "rates": [(label, *_rate(rate), rate.n) for label, rate in rates],
        "tables": [
            (
                what,
                [
                    (
                        p.name,
                        f"{p.population:,}",
                        f"{p.trials:,}",
                        *(("", "") if p.rates is None else _rate(p.rates.critical)),
                    )
                    for p in sorted(parts, key=lambda p: -1.0 if p.rates is None else -p.rates.critical.value)[
                        :_MOST_PARTS
                    ]
                ],
            )
            for what, parts in tables
            if parts
        ],
        "worst": found.worst[:5],
    }


def _rate(rate: FaultRate) -> tuple[str, str]:
    return f"{100 * rate.value:.3g}%", interval(rate.low, rate.high, of_fractions=True)


def _value(one: Compared, value: float | None) -> str:
    if value is None:
        return "not finite"
    return f"{100 * value:.2f}%" if one.fraction else f"{value:.4g}"
