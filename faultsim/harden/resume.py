"""What of a training a checkpoint holds, and how it goes on from there. The file's format lives in `state.py`."""

import hashlib
import math
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.errors import DataError, OptionError
from faultsim.harden import state
from faultsim.harden.curve import Point
from faultsim.harden.samples import digest

if TYPE_CHECKING:
    from faultsim.harden.train import _Run

Array = NDArray[Any]


def save(run: "_Run", path: Path) -> None:
    """Write all that the next step depends on.

    Raises:
        OptionError: If it cannot be written.
    """
    arrays: dict[str, Array] = {}
    for part, tensors in (("leaf", run.leaves), ("mean", run.mean), ("best", run.best)):
        arrays |= {f"{part}/{name}": tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    for name, leaf in run.leaves.items():
        for key, value in run.optimizer.state[leaf].items():
            if isinstance(value, Tensor):
                arrays[f"optimizer/{key}/{name}"] = value.detach().cpu().numpy()
    meta = {
        "version": 1,
        "fingerprint": _fingerprint(run),
        "step": run.step,
        "spent": run.spent,
        "judging": run.judging,
        "sum": run.sum,
        "count": run.count,
        "dropped": run.dropped,
        "skipped": run.skipped,
        "in_a_row": run.in_a_row,
        "curve": [point.row() for point in run.curve],
    }
    state.save(path, arrays, meta)


def resume_at(run: "_Run", place: Path) -> None:
    """Go on where a checkpoint was written.

    Raises:
        OptionError: If it is of another training.
        DataError: If it cannot be read, or something is missing in it.
    """
    arrays, meta = state.load(place)
    try:
        _restore(run, arrays, meta, place)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise DataError(
            f"{place}: this checkpoint is not whole ({reason}); delete it, and the training starts again"
        ) from None


def _restore(run: "_Run", arrays: dict[str, Array], meta: dict[str, Any], place: Path) -> None:
    if meta.get("fingerprint") != _fingerprint(run):
        raise OptionError(
            f"{place}: this checkpoint is of another model, loss, data or seed; "
            "give the options of that training, another --out, or leave --resume out"
        )
    step = _check(run, arrays, meta)
    device = run.trainable.model.device
    with torch.no_grad():
        for name, leaf in run.leaves.items():
            leaf.copy_(torch.from_numpy(arrays[f"leaf/{name}"]))
            run.mean[name] = torch.from_numpy(arrays[f"mean/{name}"]).to(device)
            run.best[name] = torch.from_numpy(arrays[f"best/{name}"]).to(device)
    for key, array in arrays.items():
        part, _, rest = key.partition("/")
        if part == "optimizer":
            field, _, name = rest.partition("/")
            value = torch.from_numpy(array)
            run.optimizer.state[run.leaves[name]][field] = value if field == "step" else value.to(device)
    run.step, run.spent = step, float(meta["spent"])
    run.judging, run.judged_at = float(meta.get("judging", 0.0)), run.spent
    run.sum, run.count = float(meta["sum"]), int(meta["count"])
    run.dropped = int(meta.get("dropped", 0))
    run.skipped, run.in_a_row = int(meta.get("skipped", 0)), int(meta.get("in_a_row", 0))
    run.curve = [Point.of(row) for row in meta["curve"]]


def _check(run: "_Run", arrays: dict[str, Array], meta: dict[str, Any]) -> int:
    """Return the step that a checkpoint is of, after a look at everything in it.

    Raises:
        ValueError: If something is missing, is of another shape or type, or is out of range.
    """
    step, curve = meta["step"], meta["curve"]
    if type(step) is not int or not 0 <= step <= run.planned:
        raise ValueError(f"step {step!r} of {run.planned}")
    if not isinstance(curve, list) or not curve:
        raise ValueError("no validation in it")
    steps = [Point.of(row).step for row in curve]
    if steps[0] != 0 or steps[-1] > step or any(one >= two for one, two in pairwise(steps)):
        raise ValueError(f"validations at the steps {str(steps)[:80]} of {step}")
    late = ("judging", "dropped", "skipped", "in_a_row")
    for key in ("spent", "count", "sum", *late):
        value = float(meta.get(key, 0.0) if key in late else meta[key])
        if not math.isfinite(value) or (value < 0 and key != "sum"):
            raise ValueError(f"{key} {value:g}")
    stepped = step > int(meta.get("skipped", 0))
    wanted: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
    for name, leaf in run.leaves.items():
        like = np.dtype(str(leaf.dtype).removeprefix("torch.")), tuple(leaf.shape)
        wanted |= {f"{part}/{name}": like for part in ("leaf", "mean", "best")}
        if stepped:
            wanted |= {f"optimizer/{key}/{name}": like for key in _moments(run)}
        if stepped and isinstance(run.optimizer, torch.optim.Adam):
            wanted[f"optimizer/step/{name}"] = np.dtype(np.float32), ()
    if arrays.keys() != wanted.keys():
        raise ValueError(f"{min(arrays.keys() ^ wanted.keys())!r} is missing, or too much")
    for key, (kind, shape) in wanted.items():
        array = arrays[key]
        if array.dtype != kind or array.shape != shape:
            raise ValueError(f"{key!r} is {array.dtype}{list(array.shape)}, not {kind}{list(shape)}")
        if not np.isfinite(array).all():
            raise ValueError(f"{key!r} is not finite")
    return step


def _moments(run: "_Run") -> tuple[str, ...]:
    """Return what the optimizer keeps beside every leaf, in its shape."""
    if isinstance(run.optimizer, torch.optim.Adam):
        return "exp_avg", "exp_avg_sq"
    return ("momentum_buffer",) if run.options.momentum else ()


def _fingerprint(run: "_Run") -> str:
    """Return a hash of what the steps of a training depend on."""
    plan = asdict(run.options)
    for free in ("time_budget_s", "checkpoint_s", "patience"):  # may differ between the parts of one training
        plan.pop(free)
    shapes = [(name, tuple(leaf.shape)) for name, leaf in run.leaves.items()]
    model = run.trainable.model.sha256
    kind = (run.target.towards, run.slack, digest(run.samples), getattr(run.judge, "key", ""))
    said = repr((model, plan, repr(run.loss), run.names, shapes, len(run.samples), kind))
    picks = hashlib.sha256(np.ascontiguousarray(run.samples.picks).tobytes()).hexdigest()
    return hashlib.sha256(f"{said} {picks}".encode()).hexdigest()
