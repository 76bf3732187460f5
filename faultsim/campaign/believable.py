"""Could a campaign have written these rows? Checksums say that a journal is whole, not that its rows make sense."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faultsim.campaign.draw import Draws
from faultsim.campaign.recipe import Prepared
from faultsim.journal import JournalError, Table

MOST_DRAWN = 2000
"""Trials that are drawn again where each has a generator of its own; all of them where drawing is vectorised."""
SIGNED = ("screen_audit_correct", "screen_correct")
"""Counts less those of the clean model."""
_PLACE = ("stratum", "site", "element", "bit")


def check_rows(rows: Table, prepared: Prepared, path: Path) -> None:
    """Refuse rows whose faults are not those of their trials, or whose counts no data set of this size gives.

    Args:
        rows: Of `COLUMNS` or `SCREEN_COLUMNS`.
        prepared: The campaign.
        path: Their journal, for the message.

    Raises:
        JournalError: If so; it names the first such trial.
    """
    if not len(rows):
        return
    units, samples = prepared.clean.counts.n, len(prepared.setting.data)
    screened = "whole" in (rows.dtype.names or ())
    _refuse(rows, "n", rows["n"] != units, f"{units} alone", path)
    most = max(units, samples)
    for name in rows.dtype.names or ():
        if name in (*_PLACE, "trial", "n") or rows.dtype[name].kind != "i":
            continue
        top = {"whole": 1}.get(name, most)
        least = -top if name in SIGNED else 0
        _refuse(rows, name, (rows[name] < least) | (rows[name] > top), f"{least} to {top}", path)
    judged = rows[rows["whole"] > 0] if screened else rows
    for name in ("correct", "mismatch", "nonfinite"):
        _refuse(judged, name, judged[name] > judged["n"], f"0 to {units}", path)
    outcomes = np.sum([judged[name] for name in ("masked", "tolerable", "critical", "broken")], axis=0)
    _refuse(judged, "masked", outcomes != samples, f"what makes {samples} samples with the other outcomes", path)
    _check_faults(rows, prepared.draws, path)


def _check_faults(rows: Table, draws: Draws, path: Path) -> None:
    population = draws.population
    if not draws.replacement:
        beyond = rows["trial"] >= population.faults
        _refuse(rows, "trial", beyond, f"0 to {population.faults - 1}", path)
    some = rows
    if draws.replacement and len(rows) > MOST_DRAWN:
        _in_range(rows, draws, path)
        some = rows[np.linspace(0, len(rows) - 1, MOST_DRAWN).astype(np.int64)]
    drawn = draws.faults(some["trial"])
    strata = np.zeros(len(some), np.int64) if draws.replacement else population.stratum_of(some["trial"])
    for name, wanted in zip(_PLACE, (strata, *(part[:, 0] for part in drawn)), strict=True):
        wrong = np.flatnonzero(some[name] != wanted)
        if wrong.size:
            _refuse(some, name, some[name] != wanted, f"{int(wanted[wrong[0]])}, as it is drawn", path)


def _in_range(rows: Table, draws: Draws, path: Path) -> None:
    regions = draws.population.regions
    _refuse(rows, "stratum", rows["stratum"] != 0, "0 alone", path)
    _refuse(rows, "site", (rows["site"] < 0) | (rows["site"] >= len(regions)), f"0 to {len(regions) - 1}", path)
    for name, sizes in (("element", [one.elements for one in regions]), ("bit", [one.bits for one in regions])):
        ends = np.array(sizes, dtype=np.int64)[rows["site"]]
        _refuse(rows, name, (rows[name] < 0) | (rows[name] >= ends), "an index inside its site", path)


def _refuse(rows: Table, name: str, wrong: NDArray[np.bool_], allowed: str, path: Path) -> None:
    found = np.flatnonzero(wrong)
    if found.size:
        row = rows[int(found[0])]
        raise JournalError(
            f"{path}: trial {row['trial']} has {name} = {row[name]}, allowed is {allowed}; no run of this campaign "
            "wrote that, although its checksum fits; give another journal"
        )
