"""ONNX's own backend suite over the executor: what an ONNX op means is decided there, not here.

The suite's model-zoo tests (kind "real") need downloads and are left out; everything else runs, on the CPU.
What does not pass stands in `backend_exclusions.py`, and a test that starts to pass must leave that list.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, ClassVar

import onnx
import pytest
from backend_exclusions import EXCLUSIONS
from onnx.backend.test import BackendTest

from faultsim.model.backend import FaultsimBackend, PreparedModel


class _Recording(FaultsimBackend):
    """The backend, remembering what it prepared last."""

    last: ClassVar[list[PreparedModel]] = []

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> PreparedModel:
        prepared = super().prepare(model, device, **kwargs)
        cls.last[:] = [prepared]
        return prepared

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


class _Suite(BackendTest):
    """The suite, able to compare sequences of scalars too (the original asks a 0-d array for its length)."""

    @classmethod
    def assert_similar_outputs(cls, ref_outputs, outputs, rtol, atol, model_dir=None):
        super().assert_similar_outputs(_leaves(ref_outputs), _leaves(outputs), rtol, atol, model_dir)


def _leaves(values: Any) -> list[Any]:
    if isinstance(values, (list, tuple)):
        return [leaf for value in values for leaf in _leaves(value)]
    return [values]


NOISE: dict[str, dict[str, float]] = {
    "test_dft_inverse": {"atol": 1e-6},
    "test_dft_inverse_opset19": {"atol": 1e-6},
}
"""Tests whose expected zeros are another kernel's rounding noise of 2e-7 beside values of 50."""


def _suite() -> Iterator[tuple[str, str, Callable[..., None]]]:
    """(kind, name, function) of every test that needs no download."""
    for kind, case in _Suite(_Recording, __name__, NOISE).test_cases.items():
        if "Real" in kind:
            continue
        for name, function in vars(case).items():
            if name.startswith("test_") and name.endswith("_cpu"):
                yield kind, name.removesuffix("_cpu"), function


SUITE = list(_suite())
NODE = [name for kind, name, _ in SUITE if "Node" in kind]
RUN = {name: function for _, name, function in SUITE}


@pytest.mark.parametrize("name", [name for name in RUN if name not in EXCLUSIONS])
def test_onnx(name):
    RUN[name](None)


@pytest.mark.parametrize("name", list(EXCLUSIONS))
def test_every_exclusion_still_fails(name):
    failures = 0
    for _ in range(3):  # a random op may meet the expected numbers once by chance
        try:
            RUN[name](None)
        except Exception:
            failures += 1
    assert failures, f"{name} passes now: take it off tests/model/backend_exclusions.py"


def test_the_whole_suite_is_there():
    assert len(NODE) >= 1600
    assert {kind for kind, _, _ in SUITE} >= {"OnnxBackendNodeModelTest", "OnnxBackendSimpleModelTest"}
    assert not set(EXCLUSIONS) - set(RUN)


def test_at_least_98_percent_of_the_node_tests_pass():
    assert sum(name not in EXCLUSIONS for name in NODE) >= 0.98 * len(NODE)


def test_at_least_90_percent_of_everything_passes():
    assert sum(name not in EXCLUSIONS for name in RUN) >= 0.9 * len(RUN)


def test_at_most_a_tenth_runs_in_numpy():
    passing = [name for name in RUN if name not in EXCLUSIONS]
    in_numpy: dict[str, set[str]] = {}
    for name in passing:
        with suppress(Exception):  # a failure is the other test's to report
            RUN[name](None)
        fallbacks = _Recording.last[0].program.fallbacks
        if fallbacks:
            in_numpy[name] = set(fallbacks)
    assert len(in_numpy) <= 0.1 * len(passing), sorted(set().union(*in_numpy.values()))
