"""`attack` and `probe`: the order of the phases. What each of them does lives beside."""

import shlex
import sys
import time
from pathlib import Path
from typing import Any

import torch

from faultsim.assessment.options import Options
from faultsim.attacks.assemble import frame, probe_entries
from faultsim.attacks.options import Ball, Cells, Curve, Search
from faultsim.attacks.phases import StoppedEarlyError, one_set, over_curve, worst_few_cells
from faultsim.attacks.prepare import Stopped, prepare
from faultsim.attacks.probe_options import ProbeOptions
from faultsim.attacks.probing import probe_parts
from faultsim.attacks.write import NOT_WRITTEN, check_writable, write_model
from faultsim.data.spec import DataSet
from faultsim.device import Device
from faultsim.engine.evaluate import Progress
from faultsim.errors import FaultsimError, OptionError
from faultsim.results.attack import AttackResult
from faultsim.results.probing import ProbeResult

BALL_ROLES = ("weight", "bias", "norm")
CELL_ROLES = ("weight",)


def attack(
    model: Any,
    data: str | Path | DataSet | None = None,
    *,
    ball: Ball | None = None,
    device: str | Path | Device | None = None,
    cells: Cells | None = None,
    curve: Curve | None = None,
    search_data: str | Path | DataSet | None = None,
    search: Search | None = None,
    options: Options | None = None,
    roles: tuple[str, ...] = (),
    write: Path | None = None,
    progress: Progress | None = None,
    stopped: Stopped | None = None,
    torch_device: str = "cpu",
) -> AttackResult:
    """Search for the corruption of the stored numbers that does most damage: found, and proven where that can be.

    Args:
        model: As for `assess`.
        data: As for `assess`: what everything is scored on.
        ball: The set; the device's own where None (and a radius of 1 for a curve without a device).
        device: Profile that stores the numbers; None: the deployed number format.
        cells: Search for flipped bits, confused levels or stuck cells instead.
        curve: Search at several radii or numbers of elements.
        search_data: Samples that gradients and the search see; some of *data* where None.
        search: What the search may spend.
        options: As for `assess`; what belongs to chips and tables is not used.
        roles: Roles of the tensors under attack, without a device.
        write: Where the worst model goes.
        progress: Told of every step.
        stopped: Asked before every step whether to stop; what was found until then is the result.
        torch_device: Where gradients are computed.

    Raises:
        FaultsimError: If something cannot be used, or does not go together.
        StoppedEarlyError: If *stopped* said so before anything was found.
    """
    options, search = options or Options(), search or Search()
    if ball is None and device is None and cells is None and curve is not None and curve.over == "eps":
        ball = Ball()
    _check(ball, device, cells, curve, write)
    _check_search(cells, search)
    held, started = torch.get_num_threads(), time.perf_counter()
    chosen = () if device is not None else CELL_ROLES if cells is not None else BALL_ROLES
    try:
        prepared = prepare(
            model,
            data,
            device=device,
            search_data=search_data,
            options=options,
            roles=roles or chosen,
            samples=search.samples,
            bits_only=cells is not None,
            torch_device=torch_device,
            tell=progress or (lambda phase, done, total: None),
            stopped=stopped or (lambda: False),
        )
        if write is not None:
            check_writable(prepared.setting, write)
        if cells is not None:
            found, numbers = worst_few_cells(prepared, cells, search)
        elif curve is not None:
            found, numbers = over_curve(prepared, ball, curve, search), None
        else:
            found, numbers = one_set(prepared, ball, search)
        if write is not None and numbers is not None:
            try:
                found = found.model_copy(update={"written": write_model(prepared.setting, numbers(), write)})
            except FaultsimError as error:  # what was found is not lost with it
                prepared.notes.append(f"{NOT_WRITTEN}: {error}")
        base = frame(prepared, seconds=time.perf_counter() - started, command=command_line("attack"))
        return found.model_copy(update={"stopped": base.stopped, "notes": base.notes, "provenance": base.provenance})
    finally:
        torch.set_num_threads(held)  # the caller's own


def probe(
    model: Any,
    data: str | Path | DataSet | None = None,
    *,
    how: ProbeOptions | None = None,
    device: str | Path | Device | None = None,
    options: Options | None = None,
    roles: tuple[str, ...] = (),
    progress: Progress | None = None,
    stopped: Stopped | None = None,
    torch_device: str = "cpu",
) -> ProbeResult:
    """Rank layer kinds, positions and layers by what gradient and random corruption, and removal, do to them alone.

    Args:
        model: As for `assess`.
        data: As for `assess`.
        how: Strengths, modes and draws.
        device: Profile that stores the numbers; None: the deployed number format.
        options: As for `assess`.
        roles: Roles of the tensors, without a device.
        progress: Told of every step.
        stopped: Asked before every part whether to stop.
        torch_device: Where gradients are computed.

    Raises:
        FaultsimError: If something cannot be used, or does not go together.
        StoppedEarlyError: If *stopped* said so before anything was measured.
    """
    options, how = options or Options(), how or ProbeOptions()
    held, started = torch.get_num_threads(), time.perf_counter()
    try:
        prepared = prepare(
            model,
            data,
            device=device,
            search_data=None,
            options=options,
            roles=roles or (() if device is not None else BALL_ROLES),
            samples=how.samples,
            samples_option="--samples",
            bits_only=True,
            torch_device=torch_device,
            tell=progress or (lambda phase, done, total: None),
            stopped=stopped or (lambda: False),
        )
        setting = prepared.setting
        measured = list(probe_parts(prepared, how, seed=options.seed))
        if not measured and prepared.stopped():
            raise StoppedEarlyError
        if not measured:
            raise OptionError(
                f"nothing can be measured: no tensor under test has what --mode {' or '.join(how.modes)} corrupts, or "
                "its gradient is not finite; choose other --mode, --sites or --roles"
            )
        prepared.clean = prepared.search.score(setting.fault_free())
        notes = [note for note in prepared.notes if "--search-data" not in note]
        kind = "absolute" if how.relative == "none" else "relative"
        notes.append(f"Each part is corrupted alone. Rankings depend on the normalisation: this one is {kind}.")
        prepared.notes[:] = notes
        base = frame(prepared, seconds=time.perf_counter() - started, command=command_line("probe"))
        return ProbeResult(
            model=base.model,
            device=base.device,
            data=base.data,
            samples=len(prepared.search.data),
            seed=options.seed,
            level=options.level,
            draws=how.draws,
            normalisation=how.normalisation,
            clean=base.clean,
            parts=probe_entries(prepared, measured),
            stopped=base.stopped,
            notes=base.notes,
            provenance=base.provenance,
        )
    finally:
        torch.set_num_threads(held)


def command_line(verb: str) -> str:
    """Return the command that the result names."""
    if Path(sys.argv[0]).name in ("faultsim", "cli.py"):
        return shlex.join(["faultsim", *sys.argv[1:]])
    return f"faultsim.attacks.{verb}(…)"


def _check_search(cells: Cells | None, search: Search) -> None:
    """Refuse what a search for cells does not know.

    Raises:
        OptionError: If it is asked for.
    """
    if cells is None:
        return
    for name, wrong, why in (
        ("method", bool(search.methods), "chooses a search of sets; cells have one of their own"),
        ("certify", search.certify is True, "bounds sets; no bound over cells is known"),
        ("trials", search.trials is not None, "draws random corruptions of sets; cells are compared with none"),
        ("restarts", (search.restarts or 0) > 1, "of cells is 0 or 1: half of them are found anew once"),
    ):
        if wrong:
            raise OptionError(f"--{name} {why}; leave it out")


def _check(
    ball: Ball | None,
    device: str | Path | Device | None,
    cells: Cells | None,
    curve: Curve | None,
    write: Path | None,
) -> None:
    if cells is not None and (ball is not None or curve is not None):
        raise OptionError("--bits, --levels and --stuck go without --eps and --curve: cells are no ball; give one kind")
    if cells is None and ball is None and device is None:
        raise OptionError("nothing to search: give --p and --eps, --device, or --bits (--levels, --stuck)")
    if ball is not None and ball.eps is None and (curve is None or curve.over == "n"):
        raise OptionError("the set has no radius; give --eps, such as 0.1, or rel:0.1 of each tensor's RMS")
    if curve is not None and write is not None:
        raise OptionError("-o writes one worst model, and --curve finds many; leave one of them out")
