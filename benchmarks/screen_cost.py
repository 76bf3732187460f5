"""What a screened trial costs, and whether its figures are right: ``python benchmarks/screen_cost.py``.

Single bit flips, uniform over all bits of all weights of ResNet-20, on real images. Rounds take turns: a bare torch
forward pass, a bare onnxruntime forward pass, and one screened campaign; a ratio is the time of a trial over a bare
pass of the same round. CPU time is that of the process, all threads together. Setting a campaign up (reading the model,
planning its ways) is not counted, every clean pass and backward pass of the campaign is.

Then the same faults are evaluated exactly by the sweep on the first images, with every screened image audited: how many
images did the screen get wrong? ``--quick`` is a smoke test on the bundled digits network.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from peers.campaign import Campaign, Fault, campaign_of, draw_faults, weights
from peers.ort_naive import Bare as BareOnnxruntime
from peers.ours import SweptFaultsim
from peers.rounds import Spread
from peers.torch_eager import Bare as BareTorch

from faultsim.engine.screen.screened import ScreenedSweep, ScreenOptions
from faultsim.engine.screen.tally import ScreenedTally, mismatch_rate

ROOT = Path(__file__).resolve().parent.parent


class Screened(SweptFaultsim):
    """A screened campaign on the faults of the benchmark."""

    name = "faultsim, screened"

    def __init__(self, campaign: Campaign, options: ScreenOptions) -> None:
        super().__init__(campaign)
        self.screen = ScreenedSweep(self._scorer, options=options)

    def tallies(self, faults: Sequence[Fault]) -> list[ScreenedTally]:
        """Return the counts of each fault."""
        return self.screen.score([self._patch(fault) for fault in faults])

    def exact(self, faults: Sequence[Fault]) -> list[int]:
        """Return the mismatches of each fault by the exact sweep."""
        return [one.counts.mismatch for one in self._sweep.score([self._patch(fault) for fault in faults])]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-folder", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", default="resnet20_cifar10.onnx")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=2000, help="of one screened campaign")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--audit", type=int, default=4)
    parser.add_argument("--suspects", type=int, default=128)
    parser.add_argument("--exact-trials", type=int, default=200, help="trials whose every image is evaluated")
    parser.add_argument("--exact-images", type=int, default=250)
    parser.add_argument("--quick", action="store_true", help="a smoke test on the digits network")
    chosen = parser.parse_args(list(sys.argv[1:] if arguments is None else arguments))
    if chosen.quick:
        chosen.images, chosen.trials, chosen.rounds, chosen.exact_trials, chosen.exact_images = 100, 40, 1, 20, 50
    torch.set_num_threads(chosen.threads)
    campaign = campaign_of(chosen)
    faults = draw_faults(weights(onnx.load(campaign.path)), chosen.trials, chosen.seed)
    options = ScreenOptions(audit=chosen.audit, suspects=chosen.suspects, seed=chosen.seed)
    tool = Screened(campaign, options)
    tool.tallies(faults[: max(chosen.trials // 50, 5)])  # ways are planned and tried once
    bare: dict[str, Any] = {"bare onnxruntime": BareOnnxruntime(campaign)}
    try:
        bare["bare torch eager"] = BareTorch(campaign)
    except (KeyError, ValueError) as error:
        print(f"  no torch module for {campaign.path.name}: {error}")
    _cost(tool, bare, faults, chosen.rounds, campaign)
    part = campaign.first(chosen.exact_images)
    _agreement(part, faults[: chosen.exact_trials], options)


def _cost(tool: Screened, bare: dict[str, Any], faults: Sequence[Fault], rounds: int, campaign: Campaign) -> None:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in (*bare, tool.name)}
    tallies: list[ScreenedTally] = []
    for _ in range(rounds):
        for name, one in bare.items():
            seconds[name].append(_timed(lambda one=one: one.run(faults[:1])))
        seconds[tool.name].append(_timed(lambda: tallies.extend(tool.tallies(faults))))
    tallies = tallies[: len(faults)]
    print(
        f"{campaign.path.name}: {len(campaign.images)} images, {len(faults)} trials, {rounds} rounds, "
        f"{campaign.threads} threads"
    )
    for name, found in seconds.items():
        trials = len(faults) if name == tool.name else 1
        cpu, wall = (1e3 * statistics.median(one[k] for one in found) / trials for k in (0, 1))
        print(f"  {name:<22} {cpu:9.2f} ms CPU {wall:9.2f} ms wall a {'trial' if trials > 1 else 'pass'}")
    for name in bare:
        for kind, k in (("CPU", 0), ("wall", 1)):
            pairs = zip(seconds[tool.name], seconds[name], strict=True)
            print(f"  a trial / {name:<18} {kind:<5} {Spread.of([a[k] / len(faults) / b[k] for a, b in pairs])}")
    images = len(tallies) * tallies[0].n
    for label in ("unchanged", "screened", "suspects", "audited", "evaluated"):
        print(f"  {label:<10} {sum(getattr(one, label) for one in tallies) / images:8.3%} of (trial, image) pairs")
    rate = mismatch_rate(tallies)
    print(
        f"  mismatch rate {rate.rate.best:.5f} [{rate.rate.low:.5f}, {rate.rate.high:.5f}], "
        f"the audit found {sum(one.audit_mismatch for one in tallies)} changes on "
        f"{sum(one.audited for one in tallies)} images; "
        f"{sum(one.is_exact for one in tallies)} trials without anything left to chance"
    )


def _timed(act: Callable[[], Any]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    act()
    return time.process_time() - cpu, time.perf_counter() - wall


def _agreement(campaign: Campaign, faults: Sequence[Fault], options: ScreenOptions) -> None:
    everything = ScreenOptions(audit=len(campaign.images), suspects=len(campaign.images), seed=options.seed)
    full, own = Screened(campaign, everything), Screened(campaign, options)
    exact = full.exact(faults)
    audited, screened = full.tallies(faults), own.tallies(faults)
    apart = sum(one.mismatch + one.audit_mismatch != count for one, count in zip(audited, exact, strict=True))
    wrong = sum(one.audit_mismatch for one in audited)
    print(f"Against exact counts, {len(faults)} trials on {len(campaign.images)} images:")
    print(f"  every image evaluated: counts differ from the exact sweep's on {apart} trials")
    print(f"  the screen is wrong on {wrong} of {sum(one.screened for one in audited)} images that it answers")
    truth = np.array(exact) / len(campaign.images)
    found = np.array([one.mismatch_rate for one in screened])
    print(
        f"  mean mismatch rate: exact {truth.mean():.5f}, screened {found.mean():.5f}; "
        f"largest difference of a trial {np.abs(found - truth).max():.4f}"
    )


if __name__ == "__main__":
    main()
