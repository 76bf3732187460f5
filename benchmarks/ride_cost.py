"""What it is worth that few images of many layers share calls: ``python benchmarks/ride_cost.py``.

Where trials change too few images to fill the calls of their own layer, these travel on in the calls of later ones
(`faultsim.engine.sweep.rides`). Two sweeps take the same single bit flips in turn, one lets images ride and one does
not; both have proved their ways before. The first column is the time of the riding one over the other's, median (least
to largest) of the rounds. Both must count the same mismatches, image by image. ``--quick`` is a smoke test.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from peers.campaign import Campaign, campaign_of, draw_faults, weights
from peers.int8 import quantized
from peers.ours import SweptFaultsim
from peers.rounds import Spread

from faultsim.engine.sweep.parts import BLOCK

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-folder", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", default="resnet20_cifar10_bn.onnx")
    parser.add_argument("--images", type=int, nargs="+", default=[4, 16, 64, 250])
    parser.add_argument("--trials", type=int, default=100, help="a round; all of a round go through one sweep")
    parser.add_argument("--few", type=float, default=0.25, help="calls that would be less full wait for other layers")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a smoke test on the digits network")
    chosen = parser.parse_args(list(sys.argv[1:] if arguments is None else arguments))
    if chosen.quick:
        chosen.images, chosen.trials, chosen.rounds = [4, 16], 20, 2
    torch.set_num_threads(chosen.threads)
    sizes, chosen.images = chosen.images, max(chosen.images)
    floating = campaign_of(chosen)
    print(f"{chosen.trials} trials a round, {chosen.rounds} rounds, {chosen.threads} threads")
    print(f"{'':34} {'riding / not':>22}   images a call, riding and not   rode")
    with tempfile.TemporaryDirectory() as scratch:
        path = quantized(floating, Path(scratch))
        integer = Campaign(path, floating.images, floating.labels, floating.batch_size, floating.threads)
        for campaign in (floating, integer):
            for images in sizes:
                _row(campaign.first(images), chosen)


def _row(campaign: Campaign, chosen: argparse.Namespace) -> None:
    tools = [SweptFaultsim(campaign, few=chosen.few), SweptFaultsim(campaign, few=0.0)]
    faults = draw_faults(weights(onnx.load(campaign.path)), chosen.trials * (chosen.rounds + 1), 0)
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(chosen.rounds + 1):
        own = faults[turn * chosen.trials : (turn + 1) * chosen.trials]
        found = {}
        for k in (turn % 2, 1 - turn % 2):
            began = time.perf_counter()
            found[k] = tools[k].run(own)
            seconds[k].append(time.perf_counter() - began)
        if not np.array_equal(found[0], found[1]):
            sys.exit(f"{campaign.path.name}, {len(campaign.images)} images: riding changes what is counted")
    ratio = Spread.of([one / other for one, other in zip(seconds[0][1:], seconds[1][1:], strict=True)])
    rides, alone = (tool.spent for tool in tools)
    fill = [f"{(spent.rows - spent.shared) / max(spent.calls, 1):4.1f}" for spent in (rides, alone)]
    name = f"{campaign.path.stem}, {len(campaign.images)} images"
    share = f"{rides.shared / max(rides.rows, 1):.0%} of {rides.rows:,}"
    each = statistics.median(seconds[0][1:]) / chosen.trials * 1e3
    print(f"{name:34} {ratio!s:>22}   {fill[0]} and {fill[1]} of {BLOCK}   {share}, {each:.1f} ms a trial", flush=True)


if __name__ == "__main__":
    main()
