"""Ways, masking, memory and refusals of the sweep, on nets whose answer is plain."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from sweep_equality import assert_equal, faults, in_channel, key, on_noise, one_site
from sweep_graphs import images, tokens

from faultsim.assessment import Options
from faultsim.assessment.setting import make_setting
from faultsim.engine.sweep.routes import wild
from faultsim.engine.sweep.slices import Sparse
from faultsim.engine.sweep.sweep import Sweep
from faultsim.model import Model, load_model


def opened(proto: onnx.ModelProto, tmp_path: Path) -> Model:
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    return load_model(path)


@pytest.fixture
def convolutions(tmp_path: Path) -> Model:
    return opened(images(["conv", "norm", "relu", "conv", "relu", "maxpool", "conv", "residual"], 5), tmp_path)


def conv_weights(model: Model) -> list[str]:
    return [node.input[1] for node in model.proto.graph.node if node.op_type == "Conv"]


def test_a_fault_in_one_channel_computes_this_channel_alone(convolutions: Model) -> None:
    rng = np.random.default_rng(0)
    scorer = on_noise(convolutions, 48, 0, batch_size=48)
    patches = [in_channel(convolutions, site, rng) for site in conv_weights(convolutions)[:2] for _ in range(8)]
    sweep = assert_equal(scorer, patches)
    enormous = sum(wild(faults) for patch in patches for faults in patch.values())  # a max pool follows
    assert enormous < 4
    assert sweep.spent.trials["slice"] + sweep.spent.trials["layer"] == len(patches)
    assert sweep.spent.trials["layer"] <= enormous


def test_faults_in_every_channel_compute_the_layer(convolutions: Model) -> None:
    scorer = on_noise(convolutions, 48, 0, batch_size=48)
    site = conv_weights(convolutions)[1]
    size = convolutions.numbers[site].size
    every = Sparse(np.arange(size), (convolutions.numbers[site].reshape(-1) * 1.5).astype(np.float32))
    sweep = assert_equal(scorer, [{site: every}])
    assert sweep.spent.trials["layer"] == 1


def test_faults_in_two_tensors_compute_the_rest_of_the_graph(convolutions: Model) -> None:
    rng = np.random.default_rng(0)
    scorer = on_noise(convolutions, 48, 0, batch_size=48)
    first, second = conv_weights(convolutions)[:2]
    both = [one_site(convolutions, first, rng) | one_site(convolutions, second, rng) for _ in range(6)]
    sweep = assert_equal(scorer, both)
    assert sweep.spent.trials["slice"] + sweep.spent.trials["layer"] == 0


def test_faults_that_change_nothing_are_masked_at_once(convolutions: Model) -> None:
    site = conv_weights(convolutions)[0]
    same = Sparse(np.array([3]), convolutions.numbers[site].reshape(-1)[3:4].copy())
    scorer = on_noise(convolutions, 48, 0, batch_size=48)
    sweep = assert_equal(scorer, [{site: same}])
    assert sweep.spent.masked == 48
    assert sweep.spent.rows == sweep.spent.calls == 0


def test_trials_of_a_layer_that_change_few_samples_share_calls() -> None:
    setting = make_setting("digits_int8", "sram", None, Options(limit=64), torch_device="cpu")
    setting.scorer.set_golden()
    sweep = Sweep(setting.scorer)
    codes = setting.model.numbers["fc.weight_quantized"].reshape(-1)
    flips = [Sparse(np.arange(i, i + 1), codes[i : i + 1] ^ 1) for i in range(0, 5120, 80)]
    sweep.score([{"fc.weight_quantized": one} for one in flips])
    assert sweep.spent.trials["slice"] == sweep.spent.masked / 64 + sweep.spent.rows / 64 == 64
    assert sweep.spent.rows > 40
    assert 0 < sweep.spent.calls <= sweep.spent.rows / 8, sweep.spent


def test_no_trials_and_an_empty_patch(convolutions: Model) -> None:
    scorer = on_noise(convolutions, 20, 0, batch_size=20)
    assert Sweep(scorer).score([]) == []
    assert key(Sweep(scorer).score([{}])[0]) == key(scorer.score({}))


@pytest.mark.parametrize("memory", [1 << 14, 1 << 20, 1 << 26])
@pytest.mark.parametrize("batch_size", [17, 48])
def test_memory_and_batch_size_change_no_count(convolutions: Model, memory: int, batch_size: int) -> None:
    scorer = on_noise(convolutions, 100, 0, batch_size=batch_size)
    assert_equal(scorer, faults(convolutions, np.random.default_rng(3), 24), memory_bytes=memory)


def test_the_same_sweep_twice_and_one_by_one(convolutions: Model) -> None:
    patches = faults(convolutions, np.random.default_rng(4), 24)
    scorer = on_noise(convolutions, 40, 0, batch_size=40)
    sweep = Sweep(scorer)
    first = [key(t) for t in sweep.score(patches)]
    assert [key(t) for t in sweep.score(patches)] == first
    assert [key(sweep.score([one])[0]) for one in patches] == first


def test_another_fault_free_chip(convolutions: Model) -> None:
    """The numbers of the chip as stored, not the file's, are what is clean."""
    site = conv_weights(convolutions)[0]
    stored = {site: (convolutions.numbers[site] * np.float32(1.25)).astype(np.float32)}
    scorer = on_noise(convolutions, 40, 0, batch_size=40)
    scorer.set_golden(stored)
    patches = faults(convolutions, np.random.default_rng(6), 16, conv_weights(convolutions)[1:])
    swept = Sweep(scorer, stored).score(patches)
    for patch, tally in zip(patches, swept, strict=True):
        whole = dict(stored)
        for name, one in patch.items():
            whole[name] = convolutions.numbers[name].copy()
            whole[name].reshape(-1)[one.indices] = one.values
        assert key(tally) == key(scorer.score(whole))


def test_embedding_rows(tmp_path: Path) -> None:
    model = opened(tokens(["matmul", "layernorm", "attention", "gelu"], 3), tmp_path)
    scorer = on_noise(model, 60, 3, batch_size=30, ids=11)
    table = next(node.input[0] for node in model.proto.graph.node if node.op_type == "Gather")
    rng = np.random.default_rng(0)
    sweep = assert_equal(scorer, [one_site(model, table, rng) for _ in range(12)])
    assert sweep.spent.masked > 0  # samples without the token


def test_samples_that_meet_take_whole_passes(tmp_path: Path) -> None:
    """A graph that subtracts the batch's mean: no sample can be judged without the others."""
    proto = images(["conv", "relu"], 1)
    y = proto.graph.output[0].name
    proto.graph.node.append(helper.make_node("ReduceMean", [y], ["mean"], axes=[0], keepdims=1))
    proto.graph.node.append(helper.make_node("Sub", [y, "mean"], ["centred"]))
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("centred", TensorProto.FLOAT, None))
    model = opened(proto, tmp_path)
    sweep = assert_equal(on_noise(model, 30, 1, batch_size=30), faults(model, np.random.default_rng(1), 8))
    assert sweep.spent.trials["whole"] == 8


def test_a_loop_takes_whole_passes_or_counts_the_same(tmp_path: Path) -> None:
    """Control flow that the sweep does not cut."""
    rng = np.random.default_rng(0)
    weight = helper.make_tensor("w", TensorProto.FLOAT, [6, 6], rng.normal(size=36).astype(np.float32))
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "w"], ["product"]),
            helper.make_node("Tanh", ["product"], ["next"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["times", "", "x"], ["y"], body=body)],
        "loop",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 6])],
        [weight, helper.make_tensor("times", TensorProto.INT64, [], [3])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model = opened(proto, tmp_path)
    assert_equal(on_noise(model, 30, 1, batch_size=30), faults(model, rng, 12, ["w"]))


@pytest.mark.parametrize("scale", [0.0, -0.03, 1e30])
def test_a_scale_that_onnxruntime_refuses_runs_on_torch(tmp_path: Path, scale: float) -> None:
    model = opened(images(["conv"], 246, quantized=True), tmp_path)
    scorer = on_noise(model, 37, 246, batch_size=20)
    (name,) = [n.input[1] for n in model.proto.graph.node if n.op_type == "QuantizeLinear"][-1:]
    broken = {name: Sparse(np.array([0]), np.array([scale], np.float32))}
    proto = model.with_numbers({name: np.array(scale, np.float32)})
    alone = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match="out of computation range"):
        alone.run(None, scorer.data.inputs(0, 20))
    assert_equal(scorer, [broken])
