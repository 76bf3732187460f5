"""Runs a model under given numbers over batches: onnxruntime where it can, else torch. What is counted lives elsewhere.

Every chip gets an onnxruntime session of its own with its numbers baked in. That is what would be deployed, bit by bit,
and faster than initializers as graph inputs wherever a chip is scored on more than a few samples: onnxruntime packs
constant weights, which saves more on each batch than making the session costs.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import DataError, ModelError
from faultsim.model import Model
from faultsim.model.check import QONNX_DOMAINS, session
from faultsim.model.proto import domains

Array = NDArray[Any]
Run = Callable[[Mapping[str, Array]], Array]


class Runner:
    """Opens a model under given numbers; the clean session is kept.

    Attributes:
        model: The model.
        output: Name of the output that is returned.
        runtime: What computes: ``onnxruntime`` or ``torch``.
    """

    def __init__(self, model: Model, output: str, *, threads: int = 0, prefer: str = "auto") -> None:
        self.model = model
        self.output = output
        self.threads = threads
        self._integer = {n: a.dtype for n, a in model.numbers.items() if a.dtype.kind in "iu"}
        self.runtime = "torch"
        if prefer != "torch" and model.device.type == "cpu" and not domains(model.proto) & QONNX_DOMAINS:
            try:
                session(model.proto, optimised=True, threads=threads)
                self.runtime = "onnxruntime"
            except ModelError:
                self.runtime = "torch"

    def open(self, numbers: Mapping[str, Array] | None = None) -> Run:
        """Return a function from one batch of inputs to the scored output, under *numbers* by site.

        Codes between two levels (an analog chip that holds an integer model) run on torch; ONNX cannot hold them.

        Raises:
            ModelError: If the numbers do not fit the model.
        """
        numbers = numbers or {}
        if self.runtime == "torch" or not all(self._storable(name, array) for name, array in numbers.items()):
            return self._torch(numbers)
        opened = session(
            self.model.with_numbers(numbers) if numbers else self.model.proto,
            optimised=True,
            threads=self.threads,
        )
        wanted = [self.output]

        def run(feeds: Mapping[str, Array]) -> Array:
            try:
                return np.asarray(opened.run(wanted, dict(feeds))[0])
            except Exception as error:  # onnxruntime's own types, without a common base
                text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
                raise DataError(
                    f"{self.model.name}: onnxruntime failed on the data ({text}); check shapes and types"
                ) from None

        return run

    def _torch(self, numbers: Mapping[str, Array]) -> Run:
        def run(feeds: Mapping[str, Array]) -> Array:
            return np.asarray(self.model.run(feeds, numbers)[self.output])

        return run

    def _storable(self, name: str, array: Array) -> bool:
        dtype = self._integer.get(name)
        if dtype is None or array.dtype == dtype:
            return True
        info = np.iinfo(dtype)
        wide = np.asarray(array, dtype=np.float64)
        return bool(np.all(wide == np.rint(wide)) and wide.min() >= info.min and wide.max() <= info.max)
