"""What more workers save: our own campaign, journal and all, with 1, 2 and 4 processes. No peer is here."""

import tempfile
from pathlib import Path

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, run_campaign
from faultsim.model import load_model
from faultsim.processors import processors
from faultsim.results.injection import InjectionResult
from peers.campaign import Campaign
from peers.ours import Images
from peers.rounds import Spread

WORKERS = (1, 2, 4)


def print_workers(campaign: Campaign, trials: int, rounds: int, seed: int) -> None:
    """Print the table: the time of a trial on the wall, by workers, and as a part of that of one worker.

    Loading and checking are left out, starting the workers is not. The threads are those of the campaign, over all
    workers; with more workers than threads each has one.

    Args:
        campaign: The network and all images.
        trials: Of every campaign.
        rounds: Of every number of workers, in turn.
        seed: Of the faults.

    Raises:
        ValueError: If the workers change a figure.
    """
    counts = [count for count in WORKERS if count <= max(processors(), 2)]
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    figures = set()
    for turn in range(rounds):
        first = turn % len(counts)
        for count in counts[first:] + counts[:first]:
            result = _run(campaign, count, trials, seed)
            seconds[count].append(result.provenance.phases_s["trials"] / trials)
            figures.add(result.model_dump_json(exclude={"provenance"}))
    if len(figures) > 1:
        raise ValueError(f"{counts} workers give {len(figures)} different results; there must be one")
    print(f"Workers: faultsim campaign, {trials} trials on {len(campaign.images)} images, {campaign.threads} threads")
    print(f"  {'':<44} {'ms a trial':>10}   × one worker")
    for count, found in seconds.items():
        over = Spread.of([mine / alone for mine, alone in zip(found, seconds[1], strict=True)])
        label = f"{count} worker{'' if count == 1 else 's'}"
        print(f"  {label:<44} {1e3 * Spread.of(found).median:10.1f}   {over}")


def _run(campaign: Campaign, workers: int, trials: int, seed: int) -> InjectionResult:
    with tempfile.TemporaryDirectory() as folder:
        return run_campaign(
            campaign.path,
            Images(campaign, load_model(campaign.path).inputs[0].name),
            options=Options(seed=seed, batch_size=campaign.batch_size, threads=campaign.threads),
            campaign=CampaignOptions(trials=trials, workers=workers),
            journal=Path(folder) / "journal.jsonl",
        )
