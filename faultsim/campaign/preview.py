"""What a campaign would do, before it does it: population, strata, trials, time. Nothing of it is kept."""

import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from faultsim.assessment.options import Options
from faultsim.campaign.identify import campaign_identity
from faultsim.campaign.options import CampaignOptions
from faultsim.campaign.pairing import check_pairing, check_shared, read_other
from faultsim.campaign.population import Population
from faultsim.campaign.recipe import job_of
from faultsim.campaign.run import plan_campaign
from faultsim.data.spec import DataSet
from faultsim.device import Device
from faultsim.stats.sample_size import margin_of

TRIED = 24
"""Trials that are timed, after as many that warm up."""
TRIED_SCREENED = 128
"""The same of screened ones, which share a backward pass."""
_MOST_SHOWN = 12


def preview(
    model: Any,
    data: str | Path | DataSet | None = None,
    *,
    device: str | Path | Device | None = None,
    options: Options | None = None,
    campaign: CampaignOptions | None = None,
    paired_with: Path | None = None,
    torch_device: str = "cpu",
) -> Iterator[str]:
    """Yield in lines what `run_campaign` would do with the same arguments; a few trials are run to time them.

    Raises:
        FaultsimError: As `run_campaign` does before it injects.
    """
    options, campaign = options or Options(), campaign or CampaignOptions()
    if paired_with is not None:
        check_pairing(campaign)
    threads = torch.get_num_threads()
    try:
        planned = plan_campaign(
            model, data, device=device, options=options, campaign=campaign, torch_device=torch_device
        )
        other = None if paired_with is None else read_other(paired_with, campaign_identity(planned.prepared))
        if other is not None:
            check_shared(other, planned.prepared, planned.design)
        draws, most, whole = planned.prepared.draws, planned.design.most, planned.design.whole
        population = draws.population
        yield f"population  {population.faults:,} stored bits of {len(population.regions)} tensors"
        for one in population.regions[:_MOST_SHOWN]:
            yield f"  {one.site}: {one.elements:,} x {one.bits} bits ({one.format}, {one.kind})"
        if len(population.regions) > _MOST_SHOWN:
            yield f"  and {len(population.regions) - _MOST_SHOWN} more"
        yield from _strata(population)
        shard = campaign.shard
        part = "" if shard is None else f"shard {shard.number}/{shard.of} of {whole:,} trials, "
        yield from _wrapped(f"trials      {most:,}: {part}{planned.plan}")
        if campaign.rule is None and not draws.replacement:
            half = margin_of(whole, population=population.faults, level=options.level)
            united = "" if shard is None else "all shards together: "
            yield f"            {united}a half-width of about {half:.2g} at a rate of one half, less elsewhere"
        if other is not None:
            yield from _wrapped(f"paired      with the {len(other.rows):,} trials of {paired_with}")
        yield from _wrapped(_expected(planned, campaign, most))
    finally:
        torch.set_num_threads(threads)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 80, subsequent_indent=" " * 12, break_long_words=False, break_on_hyphens=False)


def _strata(population: Population) -> Iterator[str]:
    if population.stratify == "none":
        yield "strata      none"
        return
    sizes = [part.population for part in population.strata]
    yield f"strata      {len(sizes):,} by {population.stratify}, of {min(sizes):,} to {max(sizes):,} bits"


def _expected(planned: Any, campaign: CampaignOptions, most: int) -> str:
    setting = planned.prepared.setting
    started = time.perf_counter()
    setting.scorer.score(setting.fault_free())
    forward_s = time.perf_counter() - started
    tried = TRIED_SCREENED if campaign.screen else TRIED
    trials = planned.design.wave(_nothing())[: 2 * tried].tolist()
    half = max(len(trials) // 2, 1)
    job = job_of(planned.prepared, campaign)
    job(tuple(trials[:half]))
    timed = trials[half:] or trials
    started = time.perf_counter()
    job(tuple(timed))
    each_s = (time.perf_counter() - started) / len(timed)
    workers = f", over {campaign.workers} workers less" if campaign.workers > 1 else ""
    way = "--screen" if campaign.screen else f"--engine {campaign.engine}"
    upto = "at most " if campaign.rule is not None else ""
    return (
        f"time        {upto}{_seconds(each_s * most)}: {1e3 * each_s:.3g} ms a trial with {way}, "
        f"{each_s / forward_s:.2g} of a bare pass over {len(setting.data):,} samples{workers}"
    )


def _nothing() -> Any:
    import numpy as np

    from faultsim.campaign.evaluator import COLUMNS

    return np.empty(0, COLUMNS.dtype)


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"
