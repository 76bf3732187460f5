"""`assess`: the order of the phases, their times, and what an interruption leaves. The phases live in `phases.py`."""

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from faultsim.assessment.assemble import (
    agreement_entry,
    assemble,
    notes,
    score_of,
)
from faultsim.assessment.chips import clean_scores
from faultsim.assessment.options import Options
from faultsim.assessment.phases import Worst, find_worst, has_fit, random_chips, random_in_set, summary
from faultsim.assessment.record import Recorder
from faultsim.assessment.requirements import check_judgeable, judge_known, needs_worst_case
from faultsim.assessment.sets import chip_set, left_out
from faultsim.assessment.setting import make_setting
from faultsim.assessment.tables import fill_tables
from faultsim.criteria import parse_criteria
from faultsim.data.spec import DataSet
from faultsim.device import Device
from faultsim.engine.evaluate import Progress
from faultsim.errors import FaultsimError
from faultsim.metrics import Tally
from faultsim.results import KindResult, RandomResult, Result, SiteResult, TrialRow, Verdict


class Interrupted(Exception):  # noqa: N818  (an outcome, not a failure)
    """Ctrl-C in the middle; `result` holds what was computed until then, None where that is not a result yet."""

    def __init__(self, result: Result | None) -> None:
        super().__init__("interrupted")
        self.result = result


def assess(
    model: Any,
    device: str | Path | Device,
    data: str | Path | DataSet | None = None,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
    torch_device: str = "cpu",
    recorder: Recorder | None = None,
) -> Result:
    """Assess a deployed model on a chip: random hardware noise against the worst case under the same constraint.

    Args:
        model: Path of an ``.onnx`` file, the name of a bundled one (``digits``), or a `Model`.
        device: Name or path of a device profile, or a `Device`.
        data: Labelled samples (`faultsim.data.load_data`); None looks beside the model, and draws inputs where nothing
            lies there: labels are then the clean model's own answers.
        options: How; the defaults where None.
        progress: Told of every step.
        torch_device: Where gradients are computed; other than ``cpu``, chips are scored there as well, by torch and not
            by onnxruntime.
        recorder: Writes every fault and every image's outcome as the chips are scored.

    Returns:
        The result. Where the search for the worst case or a table failed once chips were scored, a note says so, and
        what cannot be judged without it is in ``verdict.unjudged``.

    Raises:
        FaultsimError: If model, device, data or an option cannot be used.
        Interrupted: On Ctrl-C once chips were scored; it carries the partial result.
    """
    options = options or Options()
    threads = torch.get_num_threads()
    try:
        return _assess(
            model, device, data, options, progress or (lambda phase, done, total: None), torch_device, recorder
        )
    finally:
        torch.set_num_threads(threads)  # the caller's own


def _assess(
    model: Any,
    device: str | Path | Device,
    data: str | Path | DataSet | None,
    options: Options,
    tell: Progress,
    torch_device: str,
    recorder: Recorder | None,
) -> Result:
    criteria = parse_criteria(options.require)
    started = time.perf_counter()
    phases: dict[str, float] = {}
    with _timed(phases, "load and check"):
        tell("load and check", 0, 1)
        setting = make_setting(model, device, data, options, torch_device=torch_device)
    with _timed(phases, "clean"):
        clean, clean_stored = clean_scores(setting)
        tell("load and check", 1, 1)
    chips: list[TrialRow] = []
    in_set: list[TrialRow] = []
    table_clean: Tally | None = None
    sites: list[SiteResult] = []
    kinds: list[KindResult] = []
    worst: Worst | None = None
    said: list[str] = []
    interrupted = False
    unjudged: tuple[str, ...] = ()
    found = chip_set(setting)
    check_judgeable(
        criteria,
        task=setting.task,
        clean=score_of(setting, clean),
        lossless=clean.lossless,
        no_set=found.why_not,
        has_fit=has_fit(setting),
    )
    try:
        with _timed(phases, "random chips"):
            random_chips(setting, chips, tell, recorder)
        with _timed(phases, "random in the set"):
            random_in_set(setting, found, in_set, tell)
        with _timed(phases, "worst case"), _noted(said, "No worst case"):
            worst = find_worst(setting, found, clean_stored or clean, in_set, chips, tell)
        with _timed(phases, "tables"), _noted(said, "The tables by site and kind are not whole"):
            table_clean = fill_tables(setting, sites, kinds, tell, with_worst=worst is not None)
    except KeyboardInterrupt:
        interrupted = True
        if not chips:
            raise
    stopped = (
        f"interrupted after {len(chips)} of {options.trials} chips"
        if interrupted and len(chips) < options.trials
        else None
    )
    random = summary(setting, chips, stopped)
    random_set: RandomResult | None = None
    if in_set:
        cut = f"interrupted after {len(in_set)} of {options.trials}" if len(in_set) < options.trials else None
        random_set = summary(setting, in_set, cut, constraint=found.words)
    if found.why_not:
        said.append(f"No worst case and no random corruption in the set: {found.why_not}.")
    said += left_out(setting)
    if interrupted:
        said.append("Interrupted: what is missing here was not computed.")
        if worst is None and any(needs_worst_case(one) for one in criteria):
            said.append("No requirement was judged: the search for the worst case had not ended.")
            unjudged, criteria = options.require, ()
    result = assemble(
        setting,
        clean=clean,
        clean_stored=clean_stored,
        table_clean=table_clean,
        random=random,
        random_in_set=random_set,
        worst=worst,
        sites=tuple(sites),
        kinds=tuple(kinds),
        notes=(*notes(setting, worst, random, tables=bool(sites)), *said),
        agreement=agreement_entry(setting),
        phases=phases,
        wall_s=time.perf_counter() - started,
        command=shlex.join(["faultsim", *sys.argv[1:]])
        if Path(sys.argv[0]).name in ("faultsim", "cli.py")
        else "faultsim.assess(…)",
    )
    verdict, why = judge_known(criteria, result) if criteria else (Verdict(unjudged=unjudged), ())
    result = result.model_copy(update={"verdict": verdict, "notes": (*result.notes, *why)})
    if interrupted:
        raise Interrupted(result)
    return result


@contextmanager
def _timed(phases: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        phases[name] = round(time.perf_counter() - start, 3)


@contextmanager
def _noted(said: list[str], lost: str) -> Iterator[None]:
    """Turn the failure of a phase into a note: chips that were scored are not lost to it."""
    try:
        yield
    except (FaultsimError, RuntimeError, MemoryError, ValueError) as error:
        said.append(f"{lost}: {' '.join(str(error).split()) or type(error).__name__}")
