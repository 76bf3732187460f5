"""Law: any bytes give a model or a `FaultsimError`, in bounded time and memory. Hypothesis hunts for anything else."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.errors import FaultsimError
from faultsim.model import Model, load_model

sys.path.insert(0, str(Path(__file__).parents[1] / "model"))  # the small graphs live beside the model's own tests

from graphs import ALL, feeds

SEEDS = {name: build().SerializeToString(deterministic=True) for name, build in ALL.items()}
SECONDS = 5
"""Longest load of a file of a few kilobytes; a good one takes some 2 ms."""

GROWTH_MIB = 2000
"""Most memory that a load or a run may take, and that a whole test may leave behind."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@contextmanager
def _little_memory() -> Iterator[None]:
    """What a graph asks for when it runs is its own affair; here it gets little and must fail in one sentence."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (GROWTH_MIB << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(autouse=True)
def _no_blow_up():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < GROWTH_MIB, f"{grown:.0f} MiB"


def _load(data: bytes, folder: Path) -> Model | None:
    path = folder / "fuzzed.onnx"
    path.write_bytes(data)
    start = time.perf_counter()
    try:
        with _little_memory():
            model = load_model(path)
    except FaultsimError as error:
        _check_sentence(error)
        return None
    finally:
        assert time.perf_counter() - start < SECONDS
    assert isinstance(model, Model)
    return model


def _check_sentence(error: FaultsimError) -> None:
    assert str(error).strip()
    assert "\n" not in str(error), str(error)


def _use(model: Model | None, fed) -> None:
    """What loads must also run, or say in one sentence why not; and it must write itself."""
    if model is None:
        return
    if not any(node.op_type in ("Loop", "Scan") for node in model.program.nodes()):  # may turn for ever by design
        try:
            with _little_memory():
                model.run(fed)
        except FaultsimError as error:
            _check_sentence(error)
    model.with_numbers(model.numbers)


@given(data=st.binary(max_size=400))
def test_random_bytes(folder, data):
    _load(data, folder)


@st.composite
def _mutated(draw):
    """A valid model with bytes changed, cut out, doubled or put in."""
    name = draw(st.sampled_from(sorted(SEEDS)))
    data = bytearray(SEEDS[name])
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["set", "flip", "cut", "insert", "copy", "truncate"])):
            case "set" if data:
                data[place] = draw(st.integers(0, 255))
            case "flip" if data:
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[place : place + draw(st.integers(1, 16))]
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=12))
            case "copy":
                data[place:place] = data[place : place + draw(st.integers(1, 64))]
            case "truncate":
                del data[place:]
            case _:
                pass
    return name, bytes(data)


@given(case=_mutated())
@hypothesis.settings(max_examples=4 * hypothesis.settings.default.max_examples)
def test_mutated_models(folder, case):
    name, data = case
    hypothesis.event(name)
    _use(_load(data, folder), feeds(ALL[name]()))


@st.composite
def _edited(draw):
    """A valid model with fields of the parsed message changed: gets past the parser, unlike most mutated bytes."""
    name = draw(st.sampled_from(sorted(SEEDS)))
    proto = ALL[name]()
    names = [n for made in proto.graph.node for n in (*made.input, *made.output)] or ["x"]
    sizes = st.sampled_from([-(1 << 63), -1, 0, 1, 2, 3, 7, 1 << 16, 1 << 31, (1 << 63) - 1])
    for _ in range(draw(st.integers(1, 4))):
        stored = draw(st.sampled_from(list(proto.graph.initializer))) if proto.graph.initializer else None
        made = draw(st.sampled_from(list(proto.graph.node)))
        match draw(st.integers(0, 8)):
            case 0 if stored is not None and stored.dims:
                stored.dims[draw(st.integers(0, len(stored.dims) - 1))] = draw(sizes)
            case 1 if stored is not None:
                stored.data_type = draw(st.integers(0, 30))
            case 2 if stored is not None:
                stored.raw_data = draw(st.binary(max_size=64))
            case 3 if made.input:
                made.input[draw(st.integers(0, len(made.input) - 1))] = draw(st.sampled_from([*names, "", "nowhere"]))
            case 4 if made.output:
                made.output[draw(st.integers(0, len(made.output) - 1))] = draw(st.sampled_from([*names, ""]))
            case 5:
                made.op_type = draw(
                    st.sampled_from(
                        [
                            "Relu",
                            "Conv",
                            "Reshape",
                            "Gather",
                            "Loop",
                            "If",
                            "Expand",
                            "LSTM",
                            "Clip",
                            "Transpose",
                            "DequantizeLinear",
                            "Quant",
                            "Constant",
                            "X",
                        ]
                    )
                )
            case 6 if made.attribute:
                attribute = draw(st.sampled_from(list(made.attribute)))
                if attribute.ints:
                    attribute.ints[0] = draw(sizes)
                else:
                    attribute.i = draw(sizes)
                    attribute.type = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 13]))
            case 7:
                proto.graph.node.add().CopyFrom(made)
            case 8:
                proto.opset_import[0].version = draw(st.integers(1, 26))
            case _:
                pass
    return name, proto.SerializeToString()


@given(case=_edited())
@hypothesis.settings(max_examples=4 * hypothesis.settings.default.max_examples)
def test_edited_models(folder, case):
    name, data = case
    hypothesis.event(name)
    _use(_load(data, folder), feeds(ALL[name]()))


@given(entries=st.dictionaries(st.sampled_from(["location", "offset", "length", "checksum"]), st.text(max_size=12)))
def test_any_external_data_stay_inside_the_folder(folder, entries):
    proto = ALL["mlp"]()
    stored = proto.graph.initializer[0]
    stored.ClearField("raw_data")
    stored.data_location = onnx.TensorProto.EXTERNAL
    for key, text in entries.items():
        stored.external_data.add(key=key, value=text)
    assert _load(proto.SerializeToString(), folder) is None
