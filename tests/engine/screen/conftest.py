"""A scorer of the small network of `screen_nets`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_nets
from numpy.typing import NDArray
from onnx import ModelProto
from screen_nets import cnn, images

from faultsim import load_model
from faultsim.engine.evaluate import Scorer


@pytest.fixture
def tiny(scorer: Callable[..., Scorer], tmp_path: Path) -> Callable[..., Scorer]:
    """A scorer of the small network that knows its fault-free answers."""

    def make(proto: ModelProto | None = None, data: dict[str, NDArray] | None = None, **options: object) -> Scorer:
        path = tiny_nets.save(proto or cnn(), tmp_path / "net.onnx", data or images())
        one = scorer(load_model(path), threads=1, **options)
        one.set_golden()
        return one

    return make
