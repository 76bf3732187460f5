"""What drawing one chip costs: each device's `draw` and the numbers it gives, against a bare forward pass.

``python benchmarks/chip_cost.py [MODEL.onnx] [--images N] [--device NAME]`` prints, for every device of the library or
those named, the median ratio of one chip to one pass of onnxruntime over the images, interleaved in one run: of time by
the clock, and of processor time over all threads, which other work disturbs less. Where a profile has the
resistance of wires switched off, a second row has it on.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from faultsim.corruption import apply_edit
from faultsim.device import Device, load_device
from faultsim.engine.runner import Runner
from faultsim.errors import FaultsimError
from faultsim.library import find_model, list_devices
from faultsim.model import load_model
from faultsim.specs.mechanisms import WireResistance

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
    for name, device in _devices(given.device or list_devices()):
        try:
            stored = device.store(tensors)
        except FaultsimError as error:
            print(f"  {name:<24} {error}")
            continue
        trials = iter(range(10**6))

        def chip() -> None:
            drawn = device.draw(stored, 0, next(trials))  # noqa: B023  (called within the loop)
            for site, edit in drawn.corruption.items():
                apply_edit(edit, stored[site])  # noqa: B023

        chip()
        pairs = [(_times(chip), _times(forward)) for _ in range(_ROUNDS)]
        ms = [1e3 * statistics.median(a[k] for a, _ in pairs) for k in range(2)]
        ratio = [statistics.median(a[k] / b[k] for a, b in pairs) for k in range(2)]
        print(f"  {name:<24}{ms[0]:8.1f} ms   ratio {ratio[0]:.3f}   CPU {ms[1]:8.1f} ms   ratio {ratio[1]:.3f}")


def _devices(names: Sequence[str]) -> Iterator[tuple[str, Device]]:
    """Yield each device as its profile is, and once more with the wires' resistance where that is switched off."""
    for name in names:
        device = load_device(name)
        yield name, device
        mechanisms = device.spec.mechanisms
        off = [one.id for one in mechanisms if isinstance(one, WireResistance) and not one.enabled]
        if off:
            on = tuple(one.model_copy(update={"enabled": one.enabled or one.id in off}) for one in mechanisms)
            yield f"{name} +{'+'.join(off)}", replace(device, spec=device.spec.model_copy(update={"mechanisms": on}))


def _times(function: Callable[[], None]) -> tuple[float, float]:
    """Return seconds on the clock and of the processor."""
    start, busy = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start, time.process_time() - busy


if __name__ == "__main__":
    main()
