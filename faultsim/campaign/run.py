"""`run_campaign`: from a model to the result of a campaign of bit flips. Its parts live beside."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from faultsim.assessment.options import Options
from faultsim.campaign.believable import check_rows
from faultsim.campaign.chunks import Chunker
from faultsim.campaign.design import FIRST_LOOK, FIRST_SCREENED_LOOK, Design, Fixed, Sequential, TwoPhase
from faultsim.campaign.draw import Draws
from faultsim.campaign.evaluator import COLUMNS
from faultsim.campaign.executor import open_executor
from faultsim.campaign.identify import campaign_identity, check_replaced, is_of_another
from faultsim.campaign.options import MARGIN, CampaignOptions
from faultsim.campaign.outcome import Facts, make_result
from faultsim.campaign.pairing import JOURNAL_NAME, Paired, check_pairing, check_shared, read_other
from faultsim.campaign.recipe import Prepared, Recipe
from faultsim.campaign.rows import Rows, of_trials
from faultsim.campaign.screened import SCREEN_COLUMNS
from faultsim.campaign.storage import deployed_storage, device_storage
from faultsim.data.spec import DataSet
from faultsim.device import Device
from faultsim.engine.evaluate import Progress
from faultsim.engine.executors import Executor
from faultsim.errors import OptionError
from faultsim.results.injection import InjectionResult
from faultsim.stats.sample_size import sample_size

MOST_SEQUENTIAL = 1_000_000
"""Trials of a stop rule at most, where no number is given."""


class Interrupted(Exception):  # noqa: N818  (an outcome, not a failure)
    """Ctrl-C in the middle; `result` holds what was computed until then, None where that is not a result yet.

    `kept` tells how many trials the journal holds; 0 without one.
    """

    def __init__(self, result: InjectionResult | None, kept: int = 0) -> None:
        super().__init__("interrupted")
        self.result, self.kept = result, kept


@dataclass(frozen=True, eq=False)
class Planned:
    """A campaign that could start.

    Attributes:
        recipe: How other processes prepare it.
        prepared: Model, data and draws.
        design: Which trials it needs.
        plan: Where their number comes from, in words.
    """

    recipe: Recipe
    prepared: Prepared
    design: Design
    plan: str


def plan_campaign(
    model: Any,
    data: str | Path | DataSet | None = None,
    *,
    device: str | Path | Device | None = None,
    options: Options | None = None,
    campaign: CampaignOptions | None = None,
    torch_device: str = "cpu",
) -> Planned:
    """Load and check everything, and plan the trials; nothing is injected.

    Args:
        model: Path of an ``.onnx`` file, the name of a bundled one (``digits``), or a `Model`.
        data: As for `assess`.
        device: Profile whose memory holds the bits; None: the deployed number format.
        options: As for `assess`; what belongs to chips, searches and tables is not used.
        campaign: How to inject.
        torch_device: Where torch computes.

    Raises:
        FaultsimError: If model, device, data or an option cannot be used.
    """
    options, campaign = options or Options(), campaign or CampaignOptions()
    storage = deployed_storage(campaign.roles) if device is None else device_storage(device)
    recipe = Recipe(model, storage, data, options, campaign, torch_device)
    prepared = recipe.prepare()
    if campaign.rule is not None and campaign.rule.quantity == "accuracy" and not prepared.setting.task.counts_correct:
        raise OptionError(
            f"--until {campaign.until!r}: the task {prepared.setting.task.name} counts no correct answers; let the "
            "rule look at critical or sdc"
        )
    design, plan = _design(prepared.draws, options, campaign)
    return Planned(recipe, prepared, design, plan)


def run_campaign(
    model: Any,
    data: str | Path | DataSet | None = None,
    *,
    device: str | Path | Device | None = None,
    options: Options | None = None,
    campaign: CampaignOptions | None = None,
    journal: Path | None = None,
    paired_with: Path | None = None,
    replaces: Path | None = None,
    progress: Progress | None = None,
    torch_device: str = "cpu",
    command: str = "faultsim.run_campaign(…)",
) -> InjectionResult:
    """Inject bit flips drawn at random into a deployed model, and estimate what they do.

    The result depends on model, data, storage, task, seed, sites, flips, strata and the number of trials (or the stop
    rule) alone: not on batch size (unless the graph mixes the samples of a batch), engine, workers, or how often
    the run was interrupted. A screened one can hang on batch size, memory, workers and threads where these round the
    margin of a sample to the other side; it is unbiased all the same.

    Args:
        model: As for `plan_campaign`.
        data: As for `plan_campaign`.
        device: As for `plan_campaign`.
        options: As for `plan_campaign`.
        campaign: How to inject.
        journal: File that rows are appended to, and from which an earlier run goes on; None: memory alone.
        paired_with: Journal, or result beside its journal, of another campaign on the same faults; neither of them in
            strata.
        replaces: Result of an earlier run that the caller will write over; one of another campaign is refused.
        progress: Told of every chunk.
        torch_device: As for `plan_campaign`.
        command: The command that the result names.

    Raises:
        FaultsimError: If model, device, data, journal or an option cannot be used.
        Interrupted: On Ctrl-C; it carries the partial result.
    """
    options, campaign = options or Options(), campaign or CampaignOptions()
    if paired_with is not None:
        check_pairing(campaign)
    tell = progress or (lambda phase, done, total: None)
    threads = torch.get_num_threads()
    started = time.perf_counter()
    try:
        tell("load and check", 0, 1)
        planned = plan_campaign(
            model, data, device=device, options=options, campaign=campaign, torch_device=torch_device
        )
        tell("load and check", 1, 1)
        what = campaign_identity(planned.prepared, screen=campaign.screen)
        if replaces is None or journal != replaces.with_name(JOURNAL_NAME) or not is_of_another(journal, what):
            check_replaced(replaces, what)  # else the journal beside it says more of what differs
        other = None if paired_with is None else read_other(paired_with, what)
        if other is not None:
            check_shared(other, planned.prepared, planned.design)
        return _run(planned, what, options, campaign, journal, other, tell, command, started)
    finally:
        torch.set_num_threads(threads)  # the caller's own


def _run(
    planned: Planned,
    what: Any,
    options: Options,
    campaign: CampaignOptions,
    journal: Path | None,
    other: Paired | None,
    tell: Progress,
    command: str,
    started: float,
) -> InjectionResult:
    prepared, design = planned.prepared, planned.design
    ways: dict[str, int] = {}
    interrupted = False
    loaded_s = time.perf_counter() - started
    with Rows(journal, what, SCREEN_COLUMNS if campaign.screen else COLUMNS) as rows:
        begun = len(rows.table())
        if journal is not None:
            check_rows(rows.table(), prepared, journal)
        opened: Executor | None = None
        try:
            told = _Told(tell, design.most)
            opened = open_executor(planned.recipe, prepared, options, campaign, told.within)
            with opened as executor:
                _inject(design, executor, rows, ways, told, campaign)
        except KeyboardInterrupt:
            interrupted = True
            prepared.screened.clear()  # cut off in the middle of something

        def concluded() -> InjectionResult | None:
            rows.sync()
            table = rows.table()
            ended = design.ended(table if interrupted else None)
            used = of_trials(table, ended.trials)
            facts = Facts(
                ended=ended,
                planned=design.whole,
                own=design.most,
                plan=planned.plan,
                interrupted=interrupted,
                computed=len(table) - begun,
                ways=ways,
                executor="none" if opened is None else opened.name,
                journal=None if journal is None else str(journal),
                command=command,
                wall_s=time.perf_counter() - started,
                loaded_s=loaded_s,
                notes=rows.notes,
            )
            return make_result(prepared, what, used, options, campaign, facts, other) if len(used) else None

        stopped = interrupted
        try:
            result = concluded()
        except KeyboardInterrupt:  # the trials are there: once more, a second Ctrl-C goes without a result
            stopped = True
            prepared.screened.clear()
            try:
                result = concluded()
            except KeyboardInterrupt:
                result = None
        kept = 0 if journal is None else len(rows.table())
    if stopped or result is None:
        raise Interrupted(result, kept)
    return result


class _Told:
    """Tells how many trials are done: chunk by chunk, and in between how many are as good as done."""

    def __init__(self, tell: Progress, most: int) -> None:
        self._tell, self._most, self._done = tell, most, 0

    def more(self, trials: int) -> None:
        self._done += trials
        self.within(0)

    def within(self, trials: int) -> None:
        self._tell("trials", min(self._done + trials, self._most), self._most)


def _inject(
    design: Design, executor: Executor, rows: Rows, ways: dict[str, int], told: _Told, campaign: CampaignOptions
) -> None:
    chunker = Chunker(np.empty(0, np.int64), screened=campaign.screen, workers=campaign.workers)
    while (wave := design.wave(rows.table())) is not None:
        lacking = rows.missing(wave)
        told.more(len(wave) - len(lacking))
        for chunk, answer in executor.map(chunker.next_wave(lacking)):
            rows.add(answer.rows)
            chunker.took(chunk, answer.shared_s)
            for way, count in answer.ways.items():
                ways[way] = ways.get(way, 0) + count
            told.more(len(chunk))


def _design(draws: Draws, options: Options, campaign: CampaignOptions) -> tuple[Design, str]:
    faults = draws.population.faults
    if campaign.rule is not None:
        most = campaign.trials or (MOST_SEQUENTIAL if draws.replacement else min(faults, MOST_SEQUENTIAL))
        first = FIRST_SCREENED_LOOK if campaign.screen else FIRST_LOOK
        return Sequential(draws, campaign.rule, most, first), f"until {campaign.rule}, at most {most:,}"
    trials, plan = campaign.trials, "as asked for"
    if trials is None:
        margin = MARGIN if campaign.margin is None else campaign.margin
        trials = sample_size(margin, population=None if draws.replacement else faults, level=options.level)
        plan = f"planned for a half-width of {margin:g} at {100 * options.level:g} % (Leveugle 2009, p = 0.5)"
        strata = len(draws.population.strata)
        if trials < strata:
            trials, plan = strata, f"{plan}, raised to one a stratum"
    if campaign.allocation == "neyman":
        return TwoPhase(draws, trials, campaign.pilot), plan
    return Fixed(draws, trials, campaign.shard), plan
