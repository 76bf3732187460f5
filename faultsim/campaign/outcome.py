"""From a campaign's rows to its result. Figures come from `estimates`; nothing is scored here but the clean model's."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from faultsim.assessment.assemble import agreement_entry, data_info, device_info, model_info, provenance, score_of
from faultsim.assessment.left_out import fault_free, untold
from faultsim.assessment.options import Options
from faultsim.assessment.setting import Setting
from faultsim.campaign.design import Ended
from faultsim.campaign.estimates import Domain
from faultsim.campaign.evaluator import short_loss
from faultsim.campaign.options import CampaignOptions
from faultsim.campaign.pairing import Paired, compare
from faultsim.campaign.population import Population
from faultsim.campaign.rater import ExactRater, Rater, samples_of
from faultsim.campaign.recipe import Prepared
from faultsim.campaign.screen_rater import ScreenRater
from faultsim.campaign.storage import Storage
from faultsim.campaign.worst import worst_screened, worst_trials
from faultsim.errors import OptionError
from faultsim.journal import Identity, Table
from faultsim.metrics import Tally
from faultsim.results import Score
from faultsim.results.injection import (
    InjectionOutcomes,
    InjectionProvenance,
    InjectionResult,
    OutcomeMean,
    PairedInfo,
    StopInfo,
    StratumRow,
    WorstTrial,
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """How the campaign went.

    Attributes:
        ended: Its trials, and what became of the stop rule.
        planned: Trials asked for, of all shards.
        own: Those of this shard.
        plan: Where that number comes from.
        interrupted: Whether Ctrl-C ended it.
        computed: Trials of this run.
        ways: Of those, by way of evaluation.
        executor: Where they were computed.
        journal: Where rows are kept.
        command: The command line.
        wall_s: Seconds in all.
        loaded_s: Seconds of loading and checking.
        notes: What was mended in the journal.
    """

    ended: Ended
    planned: int
    own: int
    plan: str
    interrupted: bool
    computed: int
    ways: Mapping[str, int]
    executor: str
    journal: str | None
    command: str
    wall_s: float
    loaded_s: float
    notes: tuple[str, ...] = ()


def make_result(
    prepared: Prepared,
    what: Identity,
    rows: Table,
    options: Options,
    campaign: CampaignOptions,
    facts: Facts,
    other: Paired | None,
) -> InjectionResult:
    """Return the result of the trials in *rows*, at least one, sorted by trial."""
    setting, draws = prepared.setting, prepared.draws
    screen = ScreenRater(draws, rows, options.level) if campaign.screen else None
    rater: Rater = screen or ExactRater(draws, rows, facts.ended, options.level)
    population = draws.population
    places = draws.flips == 1
    overall = rater.rates()
    assert overall is not None
    device = setting.device
    clean = _score(setting, prepared.clean)
    paired, said = _paired(rows, other, options.level, prepared)
    return InjectionResult(
        model=model_info(setting).model_copy(
            update={
                "tested_sites": len(population.regions),
                "tested_parameters": sum(one.elements for one in population.regions),
            }
        ),
        storage=None if isinstance(device, Storage) and device.as_deployed else device_info(setting),
        data=data_info(setting, lossless=prepared.clean.lossless),
        campaign=what.id,
        seed=draws.seed,
        level=options.level,
        roles=campaign.roles,
        flips=draws.flips,
        population=population.faults,
        stratify=population.stratify,
        allocation="none" if population.stratify == "none" else campaign.allocation,
        replacement=draws.replacement,
        planned=facts.planned,
        plan=facts.plan,
        trials=len(rows),
        shard=None if campaign.shard is None else f"{campaign.shard.number}/{campaign.shard.of}",
        clean=clean,
        clean_stored=None if prepared.clean_stored is None else _score(setting, prepared.clean_stored, stored=True),
        accuracy=rater.must("accuracy") if setting.task.counts_correct else None,
        rates=overall,
        outcomes=_outcomes(rater),
        sites=tuple(map(rater.part, _sites(population))) if places else (),
        kinds=tuple(map(rater.part, _kinds(population))) if places else (),
        bits=tuple(map(rater.part, _bits(population))) if places else (),
        strata=_strata(population, rows, facts.ended) if population.stratify != "none" else (),
        worst=_worst(prepared, rows, campaign),
        screen=None if screen is None else screen.info(),
        stop=_stop(campaign, facts.ended, len(rows)),
        stopped=f"interrupted after {len(rows):,} of {facts.own:,} trials" if facts.interrupted else None,
        paired=paired,
        agreement=agreement_entry(setting),
        notes=(*_notes(prepared, campaign, facts, overall.critical.unseen, mixed="batch_size" in what.parts), *said),
        provenance=_provenance(setting, campaign, facts),
    )


def _paired(rows: Table, other: Paired | None, level: float, prepared: Prepared) -> tuple[PairedInfo | None, list[str]]:
    """Return the comparison; where it fails, what a note says of it: the trials were computed all the same."""
    if other is None:
        return None, []
    try:
        counts_correct = prepared.setting.task.counts_correct
        return compare(rows, other, level, prepared.draws, counts_correct=counts_correct), []
    except OptionError as error:
        return None, [f"Not compared with the other campaign: {error}."]


def _score(setting: Setting, tally: Tally, *, stored: bool = False) -> Score:
    found = score_of(setting, tally, setting.stored.values() if stored else ())
    return found if found.loss is None else found.model_copy(update={"loss": short_loss(found.loss)})


def _worst(prepared: Prepared, rows: Table, campaign: CampaignOptions) -> tuple[WorstTrial, ...]:
    if campaign.screen:
        return worst_screened(prepared, rows, campaign.worst, memory_bytes=campaign.memory_mib << 20)
    return worst_trials(prepared, rows, campaign.worst)


def _outcomes(rater: Rater) -> InjectionOutcomes:
    rows = rater.whole

    def mean(name: str) -> OutcomeMean:
        return OutcomeMean(total=int(rows[name].sum()), share=rater.must(f"input {name}"))

    return InjectionOutcomes(
        masked=mean("masked"),
        tolerable=mean("tolerable"),
        critical=mean("critical"),
        nonfinite=mean("broken"),
        trials_masked=int(np.count_nonzero(rows["masked"] == samples_of(rows))),
        trials_critical=int(np.count_nonzero(rows["mismatch"] > 0)),
    )


def _sites(population: Population) -> list[Domain]:
    return [Domain(one.site, (i,)) for i, one in enumerate(population.regions)]


def _kinds(population: Population) -> list[Domain]:
    kinds: dict[str, list[int]] = {}
    for i, one in enumerate(population.regions):
        kinds.setdefault(one.kind, []).append(i)
    return [Domain(kind, tuple(inside)) for kind, inside in kinds.items()]


def _bits(population: Population) -> list[Domain]:
    formats: dict[tuple[str, int], list[int]] = {}
    for i, one in enumerate(population.regions):
        formats.setdefault((one.format, one.bits), []).append(i)
    return [
        Domain(f"{name} {bit}", tuple(inside), bit)
        for (name, bits), inside in formats.items()
        for bit in reversed(range(bits))
    ]


def _strata(population: Population, rows: Table, ended: Ended) -> tuple[StratumRow, ...]:
    count = len(population.strata)
    trials = np.bincount(rows["stratum"], minlength=count)
    hits = np.bincount(rows["stratum"][rows["mismatch"] > 0], minlength=count)
    return tuple(
        StratumRow(
            name=part.name,
            population=part.population,
            trials=int(trials[h]),
            pilot=int(ended.pilot[h]),
            critical=int(hits[h]),
        )
        for h, part in enumerate(population.strata)
    )


def _stop(campaign: CampaignOptions, ended: Ended, trials: int) -> StopInfo | None:
    if campaign.rule is None or ended.interval is None or ended.words is None:
        return None
    return StopInfo(
        rule=str(campaign.rule),
        met=bool(ended.met),
        words=ended.words,
        looks=ended.looks,
        low=ended.interval.low,
        value=ended.interval.best,
        high=ended.interval.high,
    )


def _notes(prepared: Prepared, campaign: CampaignOptions, facts: Facts, unseen: float, *, mixed: bool) -> list[str]:
    setting, draws = prepared.setting, prepared.draws
    said = setting.notes()
    if facts.interrupted:
        said.append(
            "Interrupted: the intervals are those of the trials that were done, and hold if what was seen until then "
            "was no reason to stop. The same command goes on."
        )
    if unseen:
        said.append(
            f"No trial was drawn in the strata that hold {100 * unseen:.3g} % of the faults: the intervals allow any "
            "value there, and the estimates are those of the other strata."
        )
    if campaign.rule is not None:
        census = not draws.replacement and len(facts.ended.trials) == draws.population.faults
        narrow = (
            " The other intervals are for a fixed number of trials: stopping when the rule was met makes them a little "
            "too narrow."
        )
        own = "The stop rule's own interval holds at any time."
        said.append(own + narrow if facts.ended.met and not census else own)
    if campaign.screen:
        said.append(
            "Screened: of most trials few predictions were evaluated. Changed predictions and accuracy are corrected "
            "by the audit, and their intervals hold it; critical faults are those seen, plus those missed in trials "
            "evaluated whole; all else rests on the latter alone."
        )
    said += untold(setting) + fault_free(setting)
    if draws.flips > 1:
        said.append(f"Each trial flips {draws.flips} bits anywhere: there are no figures by site, kind or bit.")
    if isinstance(setting.device, Storage) and not setting.device.as_deployed:
        said.append(f"Of {setting.device.name} only the storage is taken: every stored bit is as likely to flip.")
    if setting.golden_labels:
        said.append("No labels: accuracy is agreement with the clean model's own answers.")
    if not setting.task.discrete:
        said.append("Predictions are values: any change of one counts as changed.")
    if mixed:
        said.append("The graph mixes the samples of a batch: another --batch-size gives another result.")
    if facts.ended.pilot.any():
        said.append(
            f"The {int(facts.ended.pilot.sum()):,} pilot trials count as known faults; the rest of each stratum is "
            "estimated from the second phase alone."
        )
    return said


def _provenance(setting: Setting, campaign: CampaignOptions, facts: Facts) -> InjectionProvenance:
    rest = max(facts.wall_s - facts.loaded_s, 0.0)
    phases = {"load and check": round(facts.loaded_s, 3), "trials": round(rest, 3)}
    plain = provenance(setting, phases, facts.wall_s, facts.command)
    return InjectionProvenance(
        **plain.model_dump(),
        engine="screen" if campaign.screen else campaign.engine,
        executor=facts.executor,
        computed=facts.computed,
        ways={way: count for way, count in facts.ways.items() if count},
        journal=facts.journal,
        mended=facts.notes,
    )
