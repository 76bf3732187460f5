"""`run_cases`: the cases of a scenario one by one, each by itself, and what they come to. Files live in `store.py`."""

import shlex
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from faultsim.assessment import Options, assess
from faultsim.assessment.run import Interrupted
from faultsim.data import beside
from faultsim.engine.evaluate import Progress
from faultsim.errors import FaultsimError, OptionError
from faultsim.harden import Hardened, Hardening, Training, harden
from faultsim.results import Result
from faultsim.results.scenario import CaseRow, HardenedCase, ScenarioResult, outcome
from faultsim.scenario.case import Case, fingerprint
from faultsim.scenario.rows import empty_row, row_of, with_verdict
from faultsim.scenario.safety import judge_factor
from faultsim.scenario.store import Kept, find_kept, folder_of, keep, write_pages, write_summary
from faultsim.textfile import write_text
from faultsim.units import duration_s

Told = Callable[[int, int, CaseRow], None]
"""Told of each finished case: its number from 1, of how many, and its row."""


def run_cases(
    cases: tuple[Case, ...],
    *,
    name: str,
    sha256: str,
    title: str | None = None,
    out: Path | None = None,
    threads: int = 0,
    torch_device: str = "cpu",
    progress: Callable[[Case], Progress] | None = None,
    told: Told | None = None,
) -> ScenarioResult:
    """Run cases one after the other; one that cannot be run loses no other.

    With *out* every finished case is written at once, and one that an earlier run finished with the same inputs is
    taken from there; at the end there is a page of all cases and one of each. On Ctrl-C the finished ones stay, and
    the rest is ``not run``.

    Args:
        cases: What to run.
        name: Of the scenario.
        sha256: Of its files.
        title: Of the scenario.
        out: Folder for results.
        threads: As `Options.threads`.
        torch_device: Where gradients are computed.
        progress: Gives the callback that is told of a case's steps.
        told: Told of each finished case.

    Raises:
        OptionError: If *out* cannot be written, or hardening is asked for without it.
    """
    if out is None and any(case.hardening is not None for case in cases):
        raise OptionError("hardening writes models; give --out, the folder for them")
    started, interrupted = time.monotonic(), False
    rows: list[CaseRow] = []

    def so_far() -> ScenarioResult:
        waiting = tuple(empty_row(case, "not run") for case in cases[len(rows) :])
        found = (*rows, *waiting)
        return ScenarioResult(
            name=name,
            title=title,
            sha256=sha256,
            passed=outcome(found),
            interrupted=interrupted,
            cases=found,
            command=_command(),
            seconds=round(time.monotonic() - started, 3),
        )

    try:
        for number, case in enumerate(cases, 1):
            chosen = replace(case, options=replace(case.options, threads=threads))
            tell: Progress = progress(case) if progress is not None else (lambda phase, done, total: None)
            rows.append(_run_one(chosen, out, torch_device, tell))
            if told is not None:
                told(number, len(cases), rows[-1])
            if out is not None:
                write_summary(so_far(), out)
    except (KeyboardInterrupt, Interrupted):
        interrupted = True
    result = so_far()
    if out is not None:
        write_summary(result, out)
        write_pages(result, out)
    return result


def _run_one(case: Case, out: Path | None, torch_device: str, tell: Progress) -> CaseRow:
    started = time.monotonic()
    try:
        identity = fingerprint(case, torch_device=torch_device)
        kept = None if out is None else find_kept(case, out, identity)
        reused = kept is not None
        if kept is None or (kept.hardened is not None and kept.hardened.error is not None):
            before = 0.0 if kept is None else kept.seconds
            result = _assessed(case, torch_device, tell) if kept is None else kept.result
            hardened = None if out is None or case.hardening is None else _tried(case, out, torch_device, tell)
            kept = Kept(result, hardened, before + time.monotonic() - started)
            if out is not None:
                keep(case, out, kept, identity)
    except OptionError as error:
        if str(error).startswith("--out "):
            raise  # no other case could be written either
        return empty_row(case, "error", _sentence(error), seconds=time.monotonic() - started)
    except FaultsimError as error:
        return empty_row(case, "error", _sentence(error), seconds=time.monotonic() - started)
    except Interrupted:
        raise
    except Exception as error:  # a bug of ours, or memory that ran out: the other cases are not lost to it
        said = f"a bug of faultsim, please report it: {type(error).__name__}: {_sentence(error)}{_where(error)}"
        return empty_row(case, "error", said, seconds=time.monotonic() - started)
    file = None if out is None else (folder_of(case, out) / "result.json").relative_to(out)
    return row_of(case, kept.result, file=file, reused=reused, hardened=kept.hardened, seconds=kept.seconds)


def _assessed(case: Case, torch_device: str, tell: Progress) -> Result:
    try:
        result = assess(
            case.model, case.device, case.data, options=case.options, progress=tell, torch_device=torch_device
        )
        if result.verdict.unjudged:
            why = next(note for note in result.notes if note.startswith("Not judged: "))
            raise OptionError(why.removeprefix("Not judged: "))
    except OptionError as error:
        raise OptionError(_in_place(str(error), case)) from None
    factors = {
        one.text: judge_factor(case, one, torch_device=torch_device, tell=tell)
        for one in case.asked
        if one.factor is not None
    }
    return with_verdict(result, case, factors)


def _in_place(message: str, case: Case) -> str:
    """Return a message about requirements with their places in the scenario instead of the option's name."""
    for one in case.asked:
        if one.plain is not None:
            message = message.replace(
                f"--require: requirement {one.plain!r}", f"{one.source}: requirement {one.text!r}"
            )
    return message


def _judged_on(case: Case) -> str | Path | None:
    """Return the case's own samples, where others are trained on; None for a part of those, held out."""
    if case.train_data is None:
        return None
    own = case.data or beside(case.model)
    same = own is not None and Path(own).resolve() == Path(case.train_data).resolve()
    return None if same else own


def _tried(case: Case, out: Path, torch_device: str, tell: Progress) -> HardenedCase:
    """Return what hardening gave; where it could not be done, why: the case's own verdict stays."""
    try:
        return _hardened(case, out, torch_device, tell)
    except FaultsimError as error:
        if isinstance(error, OptionError) and str(error).startswith("--out "):
            raise
        why = _sentence(error)
        return HardenedCase(helped=False, sentence=f"It could not be hardened: {why}", model=None, error=why)


def _hardened(case: Case, out: Path, torch_device: str, tell: Progress) -> HardenedCase:
    wanted = case.hardening
    if wanted is None:
        raise OptionError(f"case {case.name} asks for no hardening")
    folder = folder_of(case, out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "harden.json").unlink(missing_ok=True)  # of an earlier run
    target = folder / "hardened.onnx"
    options = case.options
    assessed: Options = replace(options, site_trials=0, site_samples=64)
    budget = wanted.time_budget
    done = harden(
        case.model,
        case.device,
        case.data if case.train_data is None else case.train_data,
        target=target,
        out=folder / "training",
        options=Hardening(
            recipe=wanted.recipe,
            search=wanted.strengths,
            scales=wanted.scales,
            tolerance=wanted.tolerance,
            validation_data=case.validation_data,
            training=Training(
                epochs=wanted.epochs,
                augment=wanted.augment,
                seed=options.seed,
                time_budget_s=None if budget is None else duration_s(budget),
            ),
            test_data=_judged_on(case),
            radii=False,
            assess=assessed,
        ),
        progress=tell,
        torch_device=torch_device,
    )
    try:
        write_text(folder / "harden.json", done.result.model_dump_json(indent=2, by_alias=True) + "\n")
    except OSError as error:
        raise OptionError(f"--out {folder}: cannot be written ({error.strerror}); give a folder that can") from None
    return HardenedCase(
        helped=done.result.helped,
        sentence=done.result.sentence,
        model=target.relative_to(out).as_posix() if done.result.helped else None,
        passed=_meets(case, done, torch_device, tell),
    )


def _meets(case: Case, done: Hardened, torch_device: str, tell: Progress) -> bool | None:
    """Return whether the hardened model meets the case's requirements; None where there are none, or not all judged."""
    verdict = done.result.after.verdict
    if not case.asked or verdict.unjudged:
        return None
    options = replace(case.options, limit=None, preprocess=None, input_shape=())  # of samples that are loaded already
    of = replace(case, options=options)
    model, test = done.exported.model, done.test
    factors = (
        judge_factor(of, one, model=model, data=test, torch_device=torch_device, tell=tell).passed
        for one in case.asked
        if one.factor is not None
    )
    return verdict.passed is not False and all(factors)


def _where(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _sentence(error: Exception) -> str:
    return "; ".join(str(error).splitlines())


def _command() -> str:
    if Path(sys.argv[0]).name in ("faultsim", "cli.py"):
        return shlex.join(["faultsim", *sys.argv[1:]])
    return "faultsim.Scenario.run(…)"
