"""What a campaign of single bit flips costs, in faultsim and in its peers: ``python benchmarks/campaign_cost.py``.

Every tool gets the same faults (one flipped bit of one float32 weight, uniform over all bits of all weights, drawn
once), the same network (ResNet-20, its batch norm live, as a plain torch module or as the ONNX file that the module is
checked against) and the same images. They take turns with bare forward passes in one process; a ratio is the time of a
trial over a bare pass of the same round. A mismatch is an image whose class differs from the fault-free one's, or with
a logit that is not finite; the trials on which a tool parts from the naive injector are listed.

Peers that are not installed are left out (`benchmarks/README.md` says how to install them). ``--quick`` is a smoke test
of seconds on the bundled digits network.
"""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from peers.campaign import Campaign, Fault, disagreements, draw_faults, images_of, weights
from peers.memory import peak_mib, peak_of
from peers.ours import SweptFaultsim
from peers.rounds import Spread, Timed, round_robin
from peers.scaling import print_scaling
from peers.tools import BARE_ORT, BARE_TORCH, REFERENCE, TOOLS, missing
from peers.workers import print_workers

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("resnet20_cifar10", "resnet32_cifar10", "resnet56_cifar10")
LISTED = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    chosen = _parser().parse_args(given)
    if chosen.quick:
        chosen.images, chosen.trials, chosen.rounds, chosen.batch_size, chosen.worker_trials = 64, 4, 2, 32, 40
    logging.basicConfig()  # before PyTorchFI, whose own format breaks every other message
    campaign, others = _campaign(chosen)
    faults = draw_faults(weights(onnx.load(campaign.path)), max(chosen.trials, chosen.whole_trials or 0), chosen.seed)
    if chosen.memory_of:
        tool = TOOLS[chosen.memory_of](campaign)
        tool.run(faults if tool.whole else faults[:2])
        print(f"{peak_mib():.1f}")
        return
    absent = missing()
    wanted = [key for key in TOOLS if key in (BARE_TORCH, BARE_ORT, REFERENCE) or key in (chosen.tools or TOOLS)]
    tools = {key: TOOLS[key](campaign) for key in wanted if key not in absent}
    print(
        f"{campaign.path.name}: {len(campaign.images)} images in batches of {campaign.batch_size}, "
        f"{chosen.trials} trials in {chosen.rounds} rounds, seed {chosen.seed}, {campaign.threads} threads"
    )
    busy, cores = os.getloadavg()[0], os.cpu_count() or 1
    if busy > 0.5:
        print(
            f"  load average {busy:.1f} on {cores} cores: other work runs and slows torch with several threads most; "
            "trust CPU time"
        )
    for key in wanted:
        if key in absent:
            print(f"  {key} is left out: package {absent[key]} is not installed")
    whole = faults[: chosen.whole_trials or chosen.trials]
    timed = round_robin(tools, faults[: chosen.trials], whole, chosen.rounds)
    names = {key: tool.name for key, tool in tools.items()}
    _print_cost(names, timed)
    _print_agreement(names, timed, faults)
    for tool in tools.values():
        if isinstance(tool, SweptFaultsim):
            print(f"Behind the faulty layer of {tool.name}, {tool.fullness}")
    sys.stdout.flush()  # what follows takes its time
    if not (chosen.quick or chosen.no_memory):
        print("Memory peak in MiB, each tool in a process of its own (a bare pass: interpreter, libraries, images):")
        for key, name in names.items():
            print(f"  {name:<30} {peak_of(key, Path(__file__).resolve(), given):8.0f}", flush=True)
    if not chosen.no_scaling:
        print_scaling(campaign, others, max(chosen.trials // 5, 2), chosen.seed)
    if chosen.worker_trials:
        sys.stdout.flush()
        print_workers(campaign, chosen.worker_trials, min(chosen.rounds, 3), chosen.seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data-folder",
        type=Path,
        default=ROOT.parent / "shared" / "data",
        help="folder with cifar10_models/ and cifar10/; the bundled digits network where it is absent",
    )
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--whole-trials", type=int, help="trials of tools that share work between them; as --trials")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--threads", type=int, default=2, help="of torch and of onnxruntime")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), metavar="TOOL", help=f"of {', '.join(TOOLS)}; all")
    parser.add_argument("--no-memory", action="store_true", help="do not start a process a tool for its memory peak")
    parser.add_argument("--worker-trials", type=int, default=400, help="trials of each row by workers; 0 leaves it out")
    parser.add_argument("--no-scaling", action="store_true", help="leave out growth with images, trials and model")
    parser.add_argument("--quick", action="store_true", help="a smoke test on the digits network")
    parser.add_argument("--memory-of", choices=list(TOOLS), help=argparse.SUPPRESS)
    return parser


def _campaign(chosen: argparse.Namespace) -> tuple[Campaign, list[Path]]:
    """Return the campaign, and more models for the same images."""
    found = images_of(
        chosen.data_folder,
        "resnet20_cifar10_bn.onnx",
        images=chosen.images,
        threads=chosen.threads,
        batch_size=chosen.batch_size,
        quick=chosen.quick,
    )
    folder = chosen.data_folder / "cifar10_models"
    return found, [folder / f"{name}.onnx" for name in MODELS] if found.path.parent == folder else []


def _print_cost(names: Mapping[str, str], timed: Mapping[str, Timed]) -> None:
    print(f"{'':<32} {'ms a trial':>10}   {'× bare torch eager':<22} {'the same, CPU time':<22} × bare onnxruntime")
    for key, one in timed.items():
        milliseconds = 1e3 * Spread.of(one.seconds).median
        eager, cpu = str(one.over(timed[BARE_TORCH])), str(one.cpu_over(timed[BARE_TORCH]))
        print(f"{names[key]:<32} {milliseconds:>10.1f}   {eager:<22} {cpu:<22} {one.over(timed[BARE_ORT])}")


def _print_agreement(names: Mapping[str, str], timed: Mapping[str, Timed], faults: Sequence[Fault]) -> None:
    reference = timed[REFERENCE].flags
    print(f"Mismatches against {names[REFERENCE]}, {int(reference.sum())} in all, image by image:")
    for key, one in timed.items():
        if key in (BARE_TORCH, BARE_ORT, REFERENCE):
            continue
        apart = disagreements(reference, one.flags)
        compared = min(len(reference), len(one.flags))
        if not apart:
            print(f"  {names[key]}: the same on all {compared} trials")
            continue
        print(f"  {names[key]}: differs on {len(apart)} of {compared} trials")
        for trial in apart[:LISTED]:
            print(
                f"    trial {trial.trial}, {faults[trial.trial]}: {trial.found} mismatches against {trial.reference}, "
                f"{trial.images} images apart"
            )
        if len(apart) > LISTED:
            print(f"    and {len(apart) - LISTED} more")


if __name__ == "__main__":
    main()
