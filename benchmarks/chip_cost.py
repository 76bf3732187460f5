"""What drawing one chip costs: each device's `draw` and the numbers it gives, against a bare forward pass.

``python benchmarks/chip_cost.py [MODEL.onnx] [--images N] [--device NAME]`` prints, for every device of the library or
those named, the median ratio of one chip to one pass of onnxruntime over the images, interleaved in one run.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from faultsim.corruption import apply_edit
from faultsim.device import load_device
from faultsim.engine.runner import Runner
from faultsim.errors import FaultsimError
from faultsim.library import find_model, list_devices
from faultsim.model import load_model

_RESNET = Path(__file__).parents[2] / "shared" / "data" / "cifar10_models" / "resnet20_cifar10.onnx"
_ROUNDS = 5


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default=str(_RESNET) if _RESNET.is_file() else "digits")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--device", action="append", help="a device of the library; all where none is given")
    given = parser.parse_args()
    model = load_model(find_model(given.model))
    numbers = model.numbers
    tensors = {site.name: (site, numbers[site.name]) for site in model.select()}
    run = Runner(model, model.output_names[0]).open()
    rng = np.random.default_rng(0)
    spec = model.inputs[0]
    batch = 250
    shape = (batch, *(size if isinstance(size, int) else 1 for size in spec.shape[1:]))
    feeds = {spec.name: rng.random(shape, dtype=np.float32)}

    def forward() -> None:
        for _ in range(max(given.images // batch, 1)):
            run(feeds)

    forward()
    print(f"{model.name}: one chip against a forward pass over {given.images} images, median of {_ROUNDS}")
    for name in given.device or list_devices():
        device = load_device(name)
        try:
            stored = device.store(tensors)
        except FaultsimError as error:
            print(f"  {name:<22} {error}")
            continue
        trials = iter(range(10**6))

        def chip() -> None:
            drawn = device.draw(stored, 0, next(trials))  # noqa: B023  (called within the loop)
            for site, edit in drawn.corruption.items():
                apply_edit(edit, stored[site])  # noqa: B023

        chip()
        pairs = [(_seconds(chip), _seconds(forward)) for _ in range(_ROUNDS)]
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"  {name:<22} {1e3 * statistics.median(a for a, _ in pairs):8.1f} ms   ratio {ratio:.3f}")


def _seconds(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
