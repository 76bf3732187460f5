"""What a chip with noise on every weight costs against the fastest bare forward pass of this machine.

``python benchmarks/dense_cost.py`` times, in turns, a clean pass over the same images in every way that is here (torch
eager with live batch norm; folded, channels last; compiled; onnxruntime with its numbers baked in, and with them as
inputs) and chips of an analog device in faultsim: drawn, opened and scored, as `assess` does it, some side by side. A
chip's ratio is its time over the fastest bare way of the same round, median (least to largest).
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from peers.campaign import Campaign
from peers.network import load_network
from peers.rounds import Spread
from torch.fx.experimental.optimization import fuse

from faultsim.assessment import Options
from faultsim.assessment.chips import dense_chips
from faultsim.assessment.setting import make_setting

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT.parent / "shared" / "data"
TOLERANCE = 1e-3
Way = Callable[[], NDArray[Any]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-folder", type=Path, default=FOLDER, help="folder with cifar10_models/ and cifar10/")
    parser.add_argument("--device", default="reram")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--chips", type=int, default=20, help="a round; some at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: it wants a C++ compiler")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    images = chosen.data_folder / "cifar10" / "cifar10_test.npz"
    models = chosen.data_folder / "cifar10_models"
    if not images.is_file():
        parser.error(f"{images} is not there; give --data-folder")
    ways = bare_ways(
        campaign(models / "resnet20_cifar10_bn.onnx", images, chosen), models, compiled=not chosen.no_compile
    )
    options = Options(limit=chosen.images, batch_size=chosen.batch_size, threads=chosen.threads)
    setting = make_setting(models / "resnet20_cifar10.onnx", chosen.device, images, options, torch_device="cpu")
    setting.scorer.set_golden(setting.fault_free())
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    chips: list[float] = []
    for turn in range(chosen.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
        start = time.perf_counter()
        trials = range(turn * chosen.chips, (turn + 1) * chosen.chips)
        assert all(one.row for one in dense_chips(setting, trials, outcomes=False))
        chips.append((time.perf_counter() - start) / chosen.chips)
    setup = f"{chosen.images} images in batches of {chosen.batch_size}, {chosen.threads} threads"
    print(f"ResNet-20 on {chosen.device}, {setup}")
    fastest = [min(turn) for turn in zip(*seconds.values(), strict=True)]
    for name, found in seconds.items():
        ratio = Spread.of([one / best for one, best in zip(found, fastest, strict=True)])
        print(f"  {name:<44} {1e3 * Spread.of(found).median:8.1f} ms   {ratio} × the fastest of its round")
    ratio = Spread.of([one / best for one, best in zip(chips, fastest, strict=True)])
    print(f"  {'faultsim, one chip':<44} {1e3 * Spread.of(chips).median:8.1f} ms   {ratio} × the fastest bare pass")


def campaign(path: Path, images: Path, chosen: argparse.Namespace) -> Campaign:
    """Return the images as the network takes them."""
    with np.load(images, allow_pickle=False) as data:
        pixels, labels = data["images"][: chosen.images], data["labels"][: chosen.images]
    inputs = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
    return Campaign(path, inputs, labels.astype(np.int64), chosen.batch_size, chosen.threads)


def bare_ways(given: Campaign, models: Path, *, compiled: bool) -> dict[str, Way]:
    """Return clean passes over all images, warm and agreeing with each other."""
    eager = load_network(given)
    folded = fuse(load_network(given)).to(memory_format=torch.channels_last)
    ways: dict[str, Way] = {
        "torch eager, live batch norm": _torch(eager, given, last=False),
        "torch eager, folded, channels last": _torch(folded, given, last=True),
    }
    if compiled:
        ways["torch.compile, folded"] = _torch(torch.compile(fuse(load_network(given))), given, last=False)
        ways["torch.compile, folded, channels last"] = _torch(torch.compile(folded), given, last=True)
    proto = onnx.load(models / "resnet20_cifar10.onnx")
    ways[f"onnxruntime {onnxruntime.__version__}"] = _onnxruntime(proto, given, {})
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in proto.graph.initializer if one.data_type == 1}
    weights = {name: array for name, array in weights.items() if array.ndim in (1, 2, 4) and array.size > 16}
    fed = onnx.ModelProto()
    fed.CopyFrom(proto)
    for name, array in weights.items():
        fed.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, array.shape))
    ways["onnxruntime, weights as inputs"] = _onnxruntime(fed, given, weights)
    wanted = next(iter(ways.values()))()
    for name, way in ways.items():
        apart = float(np.abs(way() - wanted).max())
        if not apart <= TOLERANCE:
            raise ValueError(f"{name} parts from torch eager by {apart:.2g}")
        way()
    return ways


def _torch(network: Any, given: Campaign, *, last: bool) -> Way:
    layout = torch.channels_last if last else torch.contiguous_format
    batches = [torch.from_numpy(batch).to(memory_format=layout) for batch in given.batches()]

    def run() -> NDArray[Any]:
        with torch.no_grad():
            found: NDArray[Any] = np.concatenate([network(batch).numpy() for batch in batches])
            return found

    return run


def _onnxruntime(proto: onnx.ModelProto, given: Campaign, weights: dict[str, NDArray[Any]]) -> Way:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = given.threads
    options.log_severity_level = 3  # it warns of every weight that is an input
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run() -> NDArray[Any]:
        return np.concatenate([session.run(None, {name: batch, **weights})[0] for batch in given.batches()])

    return run


if __name__ == "__main__":
    main()
