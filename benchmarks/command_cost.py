"""What the product's own campaign costs a trial, all of it: ``python benchmarks/command_cost.py``.

`campaign_cost.py` and `screen_cost.py` clock the engine on faults that all tools share. Here `run_campaign` runs
as ``faultsim campaign`` does, journal and intervals included: its chunks, its clean passes, the proofs of its ways, and
with ``--screen`` the trials that it evaluates whole. Reading the model and its first clean pass are told apart, as they
do not grow with the trials. Rounds take turns with bare forward passes over the same images; a ratio is the time of a
trial over a bare pass of the same round, median (least to largest). ``--quick`` is a smoke test on the digits network.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from peers import ort_naive, torch_eager
from peers.campaign import Campaign, campaign_of, draw_faults, weights
from peers.int8 import quantized
from peers.ours import Images
from peers.rounds import Spread

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, run_campaign
from faultsim.model import load_model

ROOT = Path(__file__).resolve().parent.parent


class Cost(NamedTuple):
    """Seconds a trial by the clock on the wall and of the processor, seconds before the first trial, and the answer."""

    wall: float
    cpu: float
    loaded: float
    said: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-folder", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", default="resnet20_cifar10_bn.onnx")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--screened", type=int, default=2000, help="trials of a screened campaign")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of torch, of onnxruntime and of the campaign")
    parser.add_argument("--quick", action="store_true", help="a smoke test on the digits network")
    chosen = parser.parse_args(list(sys.argv[1:] if arguments is None else arguments))
    if chosen.quick:
        chosen.images, chosen.trials, chosen.screened, chosen.rounds = 64, 20, 40, 1
    torch.set_num_threads(chosen.threads)
    floating = campaign_of(chosen)
    print(f"{len(floating.images)} images, {chosen.rounds} rounds, {chosen.threads} threads")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        integer = Campaign(
            quantized(floating, folder), floating.images, floating.labels, floating.batch_size, floating.threads
        )
        for one in (floating, integer):
            _table(one, chosen, folder)


def _table(campaign: Campaign, chosen: argparse.Namespace, folder: Path) -> None:
    one = draw_faults(weights(onnx.load(campaign.path)), 1, 0)
    bare: dict[str, Callable[[], object]] = {}
    if campaign.path.parent != folder:  # torch has no module of the quantized graph
        eager = torch_eager.Bare(campaign)
        bare["bare torch eager"] = lambda: eager.run(one)
    runtime = ort_naive.Bare(campaign)
    bare["bare onnxruntime"] = lambda: runtime.run(one)
    asked = {
        f"campaign, {chosen.trials:,} trials": CampaignOptions(trials=chosen.trials),
        f"campaign --screen, {chosen.screened:,} trials": CampaignOptions(trials=chosen.screened, screen=True),
    }
    passes: dict[str, list[tuple[float, float]]] = {name: [] for name in bare}
    costs: dict[str, list[Cost]] = {name: [] for name in asked}
    for run in bare.values():
        run()  # threads, caches, lazy imports
    for turn in range(chosen.rounds):
        for name, run in bare.items():
            passes[name].append(_timed(run))
        for name, options in asked.items():
            costs[name].append(_cost(campaign, options, folder / f"{turn}{options.screen}{campaign.path.stem}"))
    print(f"{campaign.path.name}")
    for name, found in passes.items():
        print(f"  {name:<32} {1e3 * statistics.median(one[0] for one in found):8.1f} ms a pass")
    for name, own in costs.items():
        wall = 1e3 * statistics.median(one.wall for one in own)
        loaded = statistics.median(one.loaded for one in own)
        print(f"  {name:<32} {wall:8.1f} ms a trial, after {loaded:.1f} s to load and check")
        for other, found in passes.items():
            pairs = list(zip(own, found, strict=True))
            walls, cpus = Spread.of([a.wall / b[0] for a, b in pairs]), Spread.of([a.cpu / b[1] for a, b in pairs])
            print(f"    × {other:<28} {walls!s}, CPU time {cpus}")
        print(f"    {own[0].said}")
    sys.stdout.flush()


def _cost(campaign: Campaign, options: CampaignOptions, folder: Path) -> Cost:
    folder.mkdir()
    began: list[tuple[float, float]] = []

    def progress(phase: str, done: int, total: int) -> None:
        if phase == "trials" and not began:
            began.append((time.perf_counter(), time.process_time()))

    start = time.perf_counter()
    result = run_campaign(
        campaign.path,
        Images(campaign, load_model(campaign.path).inputs[0].name),
        options=Options(batch_size=campaign.batch_size, threads=campaign.threads),
        campaign=options,
        journal=folder / "journal.jsonl",
        progress=progress,
    )
    wall, cpu = time.perf_counter() - began[0][0], time.process_time() - began[0][1]
    rate, trials = result.rates.changed, options.trials or 1
    said = f"predictions changed: {rate.value:.4%} [{rate.low:.4%}, {rate.high:.4%}]"
    return Cost(wall / trials, cpu / trials, began[0][0] - start, said)


def _timed(act: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
