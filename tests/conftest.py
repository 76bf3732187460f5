"""Fixtures and settings for all tests. Examples of one module's values live beside that module's tests."""

import copy
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

hypothesis.settings.register_profile(
    "ci",
    deadline=None,  # a machine under load is no reason to fail
    max_examples=int(os.environ.get("FAULTSIM_HYPOTHESIS_EXAMPLES", "50")),
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("ci")


def pytest_configure() -> None:
    """One thread a worker, and a program that a test starts: two fight on a small machine and are slower than one.

    The workers of pytest-xdist inherit the variable before they load NumPy's BLAS.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Modules and collected tests stay until the end: the garbage collector need not look at them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_draws(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module's ``RNG`` starts anew in each test: no test depends on which ran before it in the same process."""
    module = getattr(request.node.getparent(pytest.Module), "obj", None)
    if isinstance(getattr(module, "RNG", None), np.random.Generator):
        monkeypatch.setattr(module, "RNG", copy.deepcopy(module.RNG))


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """A test that gives torch more threads (``threads=2``) does not slow down those after it in the same process."""
    yield
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference data beside the checkout: real models, data sets, golden numbers; else skips."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the reference data folder 'shared' does not lie beside the checkout")
    return folder


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
