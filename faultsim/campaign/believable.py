"""Could a campaign have written these rows? Checksums say that a journal is whole, not that its rows make sense."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from faultsim.campaign.draw import Draws
from faultsim.campaign.recipe import Prepared
from faultsim.campaign.screened import is_whole
from faultsim.journal import JournalError, Table
from faultsim.metrics import (
    ClassIds,
    Classification,
    Counts,
    Custom,
    GoldenAgreement,
    Regression,
    Task,
    TokenClassification,
)

MOST_DRAWN = 2000
"""Trials that are drawn again where each has a generator of its own; all of them where drawing is vectorised."""
SIGNED = ("screen_audit_correct", "screen_correct")
"""Counts less those of the clean model."""
_PLACE = ("stratum", "site", "element", "bit")


def check_rows(rows: Table, prepared: Prepared, path: Path, *, of_other: bool = False) -> None:
    """Refuse rows whose faults are not those of their trials, or whose counts no data set of this size gives.

    Args:
        rows: Of `COLUMNS` or `SCREEN_COLUMNS`.
        prepared: The campaign.
        path: Their journal, for the message.
        of_other: Whether another model gave them, on the same faults and data: what its answers are without faults is
            not known then.

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
    if screened:
        _check_screen(rows, prepared, path)
    judged = rows[rows["whole"] > 0] if screened else rows
    for name in ("correct", "mismatch", "nonfinite"):
        _refuse(judged, name, judged[name] > judged["n"], f"0 to {units}", path)
    outcomes = np.sum([judged[name] for name in ("masked", "tolerable", "critical", "broken")], axis=0)
    _refuse(judged, "masked", outcomes != samples, f"what makes {samples} samples with the other outcomes", path)
    task = prepared.setting.task
    inner = task.inner if isinstance(task, GoldenAgreement) else task
    _check_outcomes(judged, inner, path)
    if not of_other:
        _check_beside_clean(judged, inner, prepared, path)
    _check_faults(rows, prepared.draws, path)


def _check_outcomes(rows: Table, task: Task, path: Path) -> None:
    """Refuse units that changed where no sample did, and what else the task rules out for every model.

    Positions without a label belong to no unit, but to the output of their sample: it can be broken without a unit
    that is.
    """
    changed = rows["critical"] + rows["broken"]
    _refuse(rows, "critical", rows["critical"] > rows["mismatch"], "at most mismatch", path)
    if isinstance(task, Classification | Regression | Custom):  # a sample is a unit
        _refuse(rows, "mismatch", rows["mismatch"] > changed, "at most critical and broken together", path)
        _refuse(rows, "broken", rows["broken"] > rows["nonfinite"], "at most nonfinite", path)
    if isinstance(task, TokenClassification | ClassIds):
        wrong = (rows["mismatch"] > 0) & (changed == 0)
        _refuse(rows, "mismatch", wrong, "0 where no sample is critical or broken", path)
    if not task.counts_correct:
        _refuse(rows, "correct", rows["correct"] != 0, "0, as the task counts no right answers", path)
    if isinstance(task, Classification | Regression | TokenClassification):
        _refuse(rows, "loss", rows["loss"] < 0, "0 or more", path)


def _check_beside_clean(rows: Table, task: Task, prepared: Prepared, path: Path) -> None:
    """Refuse what cannot become of the answers that the model has without faults.

    A unit can be non-finite by its loss alone, where that is beyond the largest float64.
    """
    clean, changed = _fault_free(prepared), rows["critical"] + rows["broken"]
    if clean.nonfinite == 0:
        if isinstance(task, Classification | Regression | Custom):
            _refuse(rows, "mismatch", rows["mismatch"] < changed, "critical and broken together", path)
        if isinstance(task, Classification | Regression | TokenClassification) and _is_narrow(prepared):
            wrong = (rows["nonfinite"] > 0) & (rows["broken"] == 0)
            _refuse(rows, "nonfinite", wrong, "0 where no sample is broken", path)
    if isinstance(task, TokenClassification | ClassIds) or (isinstance(task, Classification) and task.top_k == 1):
        most = rows["mismatch"] + rows["nonfinite"] + clean.nonfinite + _rounded(clean.n)
        allowed = f"{clean.correct}, as the model without faults has, changed by no more than mismatch, or nearly"
        _refuse(rows, "correct", np.abs(rows["correct"] - clean.correct) > most, allowed, path)


def _is_narrow(prepared: Prepared) -> bool:
    """Whether the scored output is of at most 32 bits a number: no loss of finite ones then exceeds a float64."""
    setting = prepared.setting
    types = {one.name: one.type.tensor_type.elem_type for one in setting.model.proto.graph.output}
    return types.get(setting.output.name) in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def _check_screen(rows: Table, prepared: Prepared, path: Path) -> None:
    """Refuse what no `ScreenedTally` holds, whatever the model, and clean answers that are those of another one."""
    units = prepared.clean.counts.n
    whole = np.array([is_whole(trial) for trial in rows["trial"].tolist()], dtype=np.int64)
    _refuse(rows, "whole", rows["whole"] != whole, "1 for the trials that are evaluated whole, 0 for the others", path)
    seen = {name.removeprefix("screen_"): rows[name] for name in rows.dtype.names or () if name.startswith("screen_")}
    parts = seen["unchanged"] + seen["screened"] + seen["suspects"]
    allowed = f"what makes {units} samples with screen_screened and screen_suspects"
    _refuse(rows, "screen_unchanged", parts != units, allowed, path)
    for drawn, among in (("audited", "screened"), ("evaluated", "suspects")):
        wrong = (seen[drawn] > seen[among]) | ((seen[drawn] == 0) & (seen[among] > 0))
        _refuse(rows, f"screen_{drawn}", wrong, f"1 to screen_{among}, and 0 where that is 0", path)
        for name in ("audit_mismatch", "audit_correct") if drawn == "audited" else ("mismatch", "correct"):
            wrong = np.abs(seen[name]) > seen[drawn]
            _refuse(rows, f"screen_{name}", wrong, f"at most screen_{drawn}, of either sign", path)
    evaluated = seen["audited"] + seen["evaluated"]
    wrong = seen["nonfinite"] > evaluated
    _refuse(rows, "screen_nonfinite", wrong, "at most screen_audited and screen_evaluated together", path)
    near = np.abs(seen["clean_correct"] - _fault_free(prepared).correct) <= _rounded(units)
    allowed = f"{_fault_free(prepared).correct}, as the model without faults has, or nearly"
    _refuse(rows, "screen_clean_correct", ~near, allowed, path)
    right = seen["clean_correct"] + seen["audit_correct"] + seen["correct"]
    allowed = f"what makes 0 to {units} right answers with the other changes"
    _refuse(rows, "screen_correct", (right < 0) | (right > units), allowed, path)


def _fault_free(prepared: Prepared) -> Counts:
    return (prepared.clean_stored or prepared.clean).counts


def _rounded(units: int) -> int:
    """Return how many answers of the fault-free model may be others where the rows were made: it rounds otherwise."""
    return max(1, units // 100)


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
