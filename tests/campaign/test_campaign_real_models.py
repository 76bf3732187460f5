"""Real models: a trial counts what onnxruntime finds in a copy of the file with the bit flipped, by no code of ours."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, plan_campaign
from faultsim.campaign.evaluator import PlainEvaluator, SweepEvaluator

IMAGES, TRIALS = 30, 10


def data(shared: Path, folder: Path, *, codes: bool) -> NDArray[np.generic]:
    with np.load(shared / "data" / "cifar10" / "cifar10_test.npz") as found:
        images, labels = found["images"][:IMAGES], found["labels"][:IMAGES].astype(np.int64)
    if codes:
        inputs = (images.astype(np.int16) - 128).astype(np.int8)  # N, H, W, C
    else:
        inputs = (images.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    np.savez(folder / "data.npz", x=inputs, y=labels)
    return inputs


def scores(proto: onnx.ModelProto, inputs: NDArray[np.generic]) -> NDArray[np.float64]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: inputs})[0], dtype=np.float64)


def with_flip(path: Path, site: str, element: int, bit: int) -> onnx.ModelProto:
    proto = onnx.load(path)
    (held,) = [one for one in proto.graph.initializer if one.name == site]
    words = numpy_helper.to_array(held).copy()
    flat = words.reshape(-1).view(np.uint32 if words.itemsize == 4 else np.uint8)
    flat[element] ^= flat.dtype.type(1 << bit)
    held.CopyFrom(numpy_helper.from_array(words, site))
    return proto


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "bit"), [("zoo/mlperf_resnet8_int8.onnx", 7), ("cifar10_models/resnet20_cifar10.onnx", 30)]
)
def test_trials_count_what_onnxruntime_finds_in_a_faulty_file(
    shared: Path, tmp_path: Path, name: str, bit: int
) -> None:
    path = shared / "data" / name
    inputs = data(shared, tmp_path, codes="int8" in name)
    campaign = CampaignOptions(trials=100, stratify="bit")
    prepared = plan_campaign(path, tmp_path / "data.npz", options=Options(threads=1), campaign=campaign).prepared
    population = prepared.draws.population
    trials = (population.starts[bit] + np.arange(TRIALS)).tolist()
    swept = SweepEvaluator(prepared.setting, prepared.draws, memory_bytes=512 << 20).evaluate(trials)
    assert swept == PlainEvaluator(prepared.setting, prepared.draws).evaluate(trials)
    clean = scores(onnx.load(path), inputs).argmax(axis=1)
    wanted, found = [], []
    for _, _, site, element, flipped, _, _, mismatch, *_ in swept:
        faulty = scores(with_flip(path, population.regions[int(site)].site, int(element), int(flipped)), inputs)
        wanted.append(int(((faulty.argmax(axis=1) != clean) | ~np.isfinite(faulty).all(axis=1)).sum()))
        found.append(mismatch)
        assert flipped == bit
    assert found == wanted
    assert sum(wanted) > 0
