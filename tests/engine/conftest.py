"""A scorer on the bundled digits models, or on a hand-built net."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faultsim import load_data, load_model
from faultsim.engine.evaluate import Scorer
from faultsim.engine.runner import Runner
from faultsim.engine.scored import scored_output
from faultsim.metrics import Classification
from faultsim.model import Model

MakeScorer = Callable[..., Scorer]


@pytest.fixture(scope="session")
def digits(root: Path) -> Callable[[str], Model]:
    """The bundled model ``float`` or ``int8``."""
    loaded: dict[str, Model] = {}

    def load(kind: str) -> Model:
        if kind not in loaded:
            loaded[kind] = load_model(root / "scenarios" / "digits" / f"digits_{kind}.onnx")
        return loaded[kind]

    return load


@pytest.fixture
def scorer() -> MakeScorer:
    """Make a classification scorer of a model on its sidecar data, or on *data*."""

    def make(model: Model, data: Path | None = None, *, batch_size: int = 250, **options: Any) -> Scorer:
        samples = load_data(data, model_path=model.path, inputs=model.inputs)
        output = scored_output(model)
        return Scorer(Runner(model, output.name, **options), output, Classification(), samples, batch_size)

    return make
