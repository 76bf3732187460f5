"""Which executor a campaign runs on, and what its workers get. The executors live in `engine.executors`."""

from collections.abc import Callable
from dataclasses import replace

from faultsim.assessment.options import Options
from faultsim.campaign.options import CampaignOptions
from faultsim.campaign.recipe import Prepared, Recipe, job_of
from faultsim.engine.executors import Executor, Inline, Processes
from faultsim.processors import processors


def open_executor(
    recipe: Recipe,
    prepared: Prepared,
    options: Options,
    campaign: CampaignOptions,
    tell: Callable[[int], None] | None = None,
) -> Executor:
    """Return the executor, not started yet.

    Args:
        recipe: What workers prepare the same from.
        prepared: What one in this process computes with.
        options: How the model is scored.
        campaign: Which executor.
        tell: Hears how many trials of a chunk are as good as done, where this process computes it.

    Raises:
        WorkerError: If Ray is asked for and not installed.
    """
    if campaign.executor == "local" and campaign.workers == 1:
        return Inline(job_of(prepared, campaign, tell))
    elsewhere = campaign.executor == "ray" and campaign.ray_address is not None
    cores = options.threads or (campaign.workers if elsewhere else processors())  # ours say nothing of a cluster's
    threads = max(cores // campaign.workers, 1)
    if campaign.executor == "ray":
        from faultsim.engine.executors.ray import Ray

        shared = recipe.shared(prepared.setting, threads=threads, everything=True)
        gpus = int(recipe.torch_device.startswith("cuda"))
        if gpus:  # an actor sees the one that Ray gave it alone, whatever its number here
            shared = replace(shared, torch_device="cuda")
        return Ray(shared, campaign.workers, address=campaign.ray_address, threads=threads, gpus=gpus)
    shared = recipe.shared(prepared.setting, threads=threads, everything=False)
    return Processes(shared, campaign.workers)
