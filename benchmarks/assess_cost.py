"""What an assessment costs against its bare forward passes and gradients: ``python benchmarks/assess_cost.py``.

The ratio is wall time of `assess` over (samples run forward × bare onnxruntime time a sample + samples
differentiated × bare gradient time a sample). Bare times are medians of passes interleaved before and after the
assessments, so that a machine that slows down slows both. Beside it stands wall time over the time spent inside these
very calls, which no other load on the machine can distort.

A bare forward is an optimised onnxruntime session of the original file on the same batches; a bare gradient is one
forward and backward of the same graph on torch.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from faultsim.assessment import Options, assess
from faultsim.assessment.setting import Setting, make_setting
from faultsim.engine.runner import Runner
from faultsim.model import Model
from faultsim.model.check import session

ROOT = Path(__file__).resolve().parent.parent
RESNET = ("cifar10_models/resnet20_cifar10.onnx", "cifar10/cifar10_test.npz")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data-folder",
        type=Path,
        default=ROOT.parent / "shared" / "data",
        help="folder with cifar10_models/ and cifar10/; the bundled digits model where it is absent",
    )
    parser.add_argument("--device", default="reram")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=1)
    chosen = parser.parse_args()
    model, data = (chosen.data_folder / part for part in RESNET)
    if not model.is_file():
        model, data = (ROOT / "scenarios" / "digits" / f"digits_float.{end}" for end in ("onnx", "npz"))
    options = Options(trials=chosen.trials, limit=chosen.samples)
    setting = make_setting(model, chosen.device, data, options, torch_device="cpu")
    forwards, gradients, ratios = [], [], []
    _bare(setting, forwards, gradients)
    forwards.clear()
    gradients.clear()
    for _ in range(chosen.repeats):
        _bare(setting, forwards, gradients)
        counts = {"forward": 0, "gradient": 0}
        with _Counting(counts) as spent:
            start = time.perf_counter()
            result = assess(model, chosen.device, data, options=options)
            wall = time.perf_counter() - start
        _bare(setting, forwards, gradients)
        forward, gradient = statistics.median(forwards), statistics.median(gradients)
        bare = counts["forward"] * forward + counts["gradient"] * gradient
        ratios.append(wall / bare)
        print(f"{model.name} on {result.device.name}: {len(setting.data)} samples, {options.trials} chips")
        print(f"  bare forward  {forward * 1e3:8.3f} ms a sample × {counts['forward']:>8,} samples")
        print(f"  bare gradient {gradient * 1e3:8.3f} ms a sample × {counts['gradient']:>8,} samples")
        print(f"  assess {wall:.1f} s, bare {bare:.1f} s, ratio {wall / bare:.2f}")
        print(
            f"  of the {wall:.1f} s, {spent.inside_s:.1f} s inside forward passes and gradients: "
            f"{wall / spent.inside_s:.2f}"
        )
    print(f"ratio, median of {len(ratios)}: {statistics.median(ratios):.2f}")


def _bare(setting: Setting, forwards: list[float], gradients: list[float]) -> None:
    """Time three forward passes over the data and one gradient."""
    opened = session(setting.model.proto, optimised=True)
    batches = list(setting.scorer.batches())
    n = sum(batch.stop - batch.start for batch in batches)
    for _ in range(3):
        start = time.perf_counter()
        for batch in batches:
            opened.run([setting.output.name], dict(batch.inputs))
        forwards.append((time.perf_counter() - start) / n)
    start = time.perf_counter()
    for batch in batches:
        labels = torch.from_numpy(np.asarray(setting.scorer.batch_labels(batch)))

        def loss(outputs: dict[str, torch.Tensor], labels: torch.Tensor = labels) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(outputs[setting.output.name], labels)

        setting.model.gradient(batch.inputs, loss, sites=list(setting.stored))
    gradients.append((time.perf_counter() - start) / n)


class _Counting:
    """Count the samples that a block runs forward and differentiates."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.counts = counts
        self.inside_s = 0.0

    def __enter__(self) -> "_Counting":
        self.open, self.gradient = Runner.open, Model.gradient
        counts, plain_open, plain_gradient = self.counts, self.open, self.gradient

        def counted_open(runner: Runner, *given: Any) -> Callable[..., Any]:
            run = plain_open(runner, *given)

            def counted(feeds: Mapping[str, Any], start_at: int = 0) -> Any:
                counts["forward"] += len(next(iter(feeds.values())))
                start = time.perf_counter()
                output = run(feeds, start_at)
                self.inside_s += time.perf_counter() - start
                return output

            return counted

        def counted_gradient(model: Model, feeds: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
            counts["gradient"] += len(next(iter(feeds.values())))
            start = time.perf_counter()
            found = plain_gradient(model, feeds, *args, **kwargs)
            self.inside_s += time.perf_counter() - start
            return found

        Runner.open = counted_open  # type: ignore[method-assign, assignment]
        Model.gradient = counted_gradient  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        Runner.open, Model.gradient = self.open, self.gradient  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
