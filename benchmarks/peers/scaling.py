"""How the cost of our campaign grows with images, trials and model, and what int8 does to it. No peer is here."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from peers import ort_naive
from peers.campaign import Campaign, Tool, draw_faults, growth, weights
from peers.int8 import quantized
from peers.ours import OURS
from peers.rounds import Spread, Timed, round_robin

_ROUNDS = 3


def print_scaling(campaign: Campaign, others: Sequence[Path], trials: int, seed: int) -> None:
    """Print the table: the cost of a trial in ms and in bare onnxruntime forward passes of the same file and images.

    Args:
        campaign: The network and all images.
        others: More float models that take the same images.
        trials: Of a row; the rows over trials go up to four times as many.
        seed: Of the faults.
    """
    key, make = list(OURS.items())[-1]
    images = len(campaign.images)
    few = campaign.first(max(images // 4, 1))
    print(f"Growth of {key}: a trial against a bare onnxruntime pass of the same file over the same images")
    print(f"  {'':<44} {'ms a trial':>10}   {'× bare onnxruntime':<22} the same, CPU time")

    def row(label: str, one: Campaign, count: int) -> float:
        timed, bare = _measure(make(one), one, count, seed)
        milliseconds = 1e3 * Spread.of(timed.seconds).median
        print(f"  {label:<44} {milliseconds:10.1f}   {timed.over(bare)!s:<22} {timed.cpu_over(bare)}")
        return Spread.of(timed.cpu_seconds).median

    sizes = [max(images // part, 1) for part in (8, 4, 2, 1)]
    _grow("images", sizes, [row(f"{n} images", campaign.first(n), trials) for n in sizes])
    counts = [max(int(trials * part), _ROUNDS) for part in (1, 2, 4)]
    _grow("trials", counts, [n * row(f"{n} trials, {len(few.images)} images", few, n) for n in counts])
    for path in others:
        one = replace(few, path=path)
        size = sum(tensor.size for tensor in weights(onnx.load(path)).values())
        row(f"{path.stem}, {size:,} weights", one, trials)
    with tempfile.TemporaryDirectory() as folder:
        base = replace(few, path=others[0]) if others else few
        row(f"{base.path.stem}, int8 QDQ", replace(base, path=quantized(base, Path(folder))), trials)


def _measure(tool: Tool, campaign: Campaign, trials: int, seed: int) -> tuple[Timed, Timed]:
    faults = draw_faults(weights(onnx.load(campaign.path)), trials, seed)
    timed = round_robin({"ours": tool, "bare": ort_naive.Bare(campaign)}, faults, faults, min(_ROUNDS, trials))
    return timed["ours"], timed["bare"]


def _grow(what: str, sizes: Sequence[int], seconds: Iterable[float]) -> None:
    print(f"  the campaign's CPU time grows as {what}^{growth(sizes, list(seconds)):.2f}")
