"""Tensors and reference data that the fault tests share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from faultsim.corruption import Site, Stored
from faultsim.formats import FloatFormat, NumberFormat

MakeStored = Callable[..., Stored]


@pytest.fixture(scope="session")
def make_stored() -> MakeStored:
    """Wrap values and a storage format as a stored tensor."""

    def make(values: NDArray[Any], fmt: NumberFormat, name: str = "w") -> Stored:
        site = Site(
            name=name,
            shape=values.shape,
            format=FloatFormat(),
            layer=name,
            kind="conv",
            role="weight",
            depth=0,
        )
        return Stored(site, fmt, values)

    return make


@pytest.fixture(scope="session")
def analog_golden() -> Path:
    """Folder of the analog reference files, beside the checkout."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "golden" / "analog"
    if not folder.is_dir():
        pytest.skip("needs the reference data folder 'shared' beside the checkout")
    return folder


@pytest.fixture(scope="session")
def read_golden(analog_golden: Path) -> Callable[[str], Any]:
    """Read one JSON reference file by its name."""
    return lambda name: json.loads((analog_golden / name).read_text())


@pytest.fixture(scope="session")
def aihwkit_stats(analog_golden: Path) -> dict[str, NDArray[Any]]:
    """Weight statistics of aihwkit 1.1.0, by ``model/time/quantity``."""
    with np.load(analog_golden / "aihwkit_weight_stats.npz") as archive:
        return {key: archive[key] for key in archive.files}
