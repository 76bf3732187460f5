"""Results → tables: rows of plain values by column, for a data frame or a sheet. Nothing is computed but shares."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from faultsim.errors import OptionError
from faultsim.library import closest
from faultsim.results.attack import AttackResult
from faultsim.results.base import Section
from faultsim.results.bitmap import BitMapResult
from faultsim.results.campaign import RandomResult
from faultsim.results.comparison import Comparison
from faultsim.results.contract import Result
from faultsim.results.hardening import HardenResult
from faultsim.results.injection import InjectionResult
from faultsim.results.probing import ProbeResult
from faultsim.results.run_comparison import RunComparison
from faultsim.results.scenario import ScenarioResult
from faultsim.results.sweep import SweepResult

Row = dict[str, Any]
Tables = dict[str, Callable[[], Iterable[Row]]]


def rows_of(result: Section, table: str | None = None) -> list[Row]:
    """Return the rows of one table of a result; where *table* is None those of the first that has some.

    Raises:
        OptionError: If the result has no table of that name.
    """
    known = _tables(result)
    if table is None:
        return next((rows for make in known.values() if (rows := list(make()))), [])
    if table not in known:
        near = closest(table, list(known))
        hint = f", did you mean {near!r}?" if near else ";"
        raise OptionError(f"no table {table[:80]!r}{hint} there are: {', '.join(known)}")
    return list(known[table]())


def _tables(result: Section) -> Tables:
    """Return how each table of a result is made, by name, the one that people ask for first."""
    if isinstance(result, Result):
        return {
            "chips": lambda: _chips(result.random, result.data.headline == "accuracy"),
            "sites": lambda: map(_flat, result.sites),
            "kinds": lambda: map(_flat, result.kinds),
            "criteria": lambda: map(_flat, result.verdict.criteria),
            "budget": lambda: map(_flat, result.budget),
            "assumptions": lambda: map(_flat, result.device.assumptions),
        }
    if isinstance(result, ScenarioResult):
        return {
            "cases": lambda: (_flat(row, without=("criteria",)) for row in result.cases),
            "criteria": lambda: ({"case": row.name} | _flat(one) for row in result.cases for one in row.criteria),
        }
    if isinstance(result, SweepResult):
        scored = result.data.headline == "accuracy"
        return {
            "points": lambda: (
                {result.over: one.value, "label": one.label} | _flat(one.random, without=("per_trial",))
                for one in result.points
            ),
            "chips": lambda: (
                {result.over: one.value, "label": one.label} | row
                for one in result.points
                for row in _chips(one.random, scored)
            ),
        }
    return _further(result)


def _further(result: Section) -> Tables:
    if isinstance(result, HardenResult):
        scored = result.before.data.headline == "accuracy"
        return {
            "compared": lambda: map(_flat, result.compared),
            "radii": lambda: map(_flat, result.radii),
            "training": lambda: map(_flat, result.training.curve),
            "chips": lambda: (
                {"model": name} | row
                for name, one in (("before", result.before), ("after", result.after))
                for row in _chips(one.random, scored)
            ),
        }
    if isinstance(result, InjectionResult):
        parts = (("site", result.sites), ("kind", result.kinds), ("bit", result.bits))
        return {
            "parts": lambda: ({"by": by} | _flat(one) for by, every in parts for one in every),
            "strata": lambda: map(_flat, result.strata),
            "worst": lambda: (_flat(one, without=("faults",)) for one in result.worst),
        }
    if isinstance(result, AttackResult):
        curve, cells = result.curve, result.cells
        return {
            "curve": lambda: map(_flat, curve.points if curve else ()),
            "radii": lambda: map(_flat, curve.radii if curve else ()),
            "cells": lambda: map(_flat, cells.points if cells else ()),
            "changed": lambda: map(_flat, cells.changed if cells else ()),
            "methods": lambda: map(_flat, result.methods),
        }
    if isinstance(result, ProbeResult):
        return {"parts": lambda: (_flat(p, without=("cells",)) | _flat(c) for p in result.parts for c in p.cells)}
    if isinstance(result, BitMapResult):
        return {
            "bits": lambda: (
                {"site": site.name, "bit": bit, "changed": share}
                for site in result.sites
                for bit, share in enumerate(site.bits)
            ),
            "worst": lambda: map(_flat, result.worst),
            "protect": lambda: (_flat(one, without=("protected",)) for one in result.protect),
        }
    if isinstance(result, RunComparison):
        return {
            "figures": lambda: (
                {"case": case.name} | _flat(one) for case in result.cases for one in case.comparison.figures
            ),
            "gates": lambda: (
                {"case": case.name} | _flat(one) for case in result.cases for one in case.comparison.gates
            ),
        }
    if isinstance(result, Comparison):
        return {"figures": lambda: map(_flat, result.figures), "gates": lambda: map(_flat, result.gates)}
    return {}


def _chips(random: RandomResult | None, scored: bool) -> Iterator[Row]:
    """Yield one row a chip, with its accuracy where the task has one."""
    for row in random.per_trial if random is not None else ():
        flat = _flat(row)
        yield {"trial": flat.pop("trial"), **({"accuracy": row.correct / row.n} if scored else {}), **flat}


def _flat(section: Section, *, without: tuple[str, ...] = (), before: str = "") -> Row:
    """Return the fields of a section in one row; those of a part get its name before theirs: ``random_mean``."""
    found: Row = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name in without:
            continue
        if isinstance(value, Section):
            found |= _flat(value, before=f"{before}{name}_")
        else:
            found[f"{before}{name}"] = value
    return found
