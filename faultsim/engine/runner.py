"""Runs a model under given numbers and effects over batches: onnxruntime where it can, else torch.

What is counted lives elsewhere, and so does what an effect does (`inference`).

Every chip gets an onnxruntime session of its own with its numbers baked in. That is what would be deployed, bit by bit,
and faster than initializers as graph inputs wherever a chip is scored on more than a few samples: onnxruntime packs
constant weights, which saves more on each batch than making the session costs.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.inference import Chip, Layers, calibrate, find_layers
from faultsim.errors import DataError, FaultsimError, ModelError, OptionError
from faultsim.inference import Calibration, Effect
from faultsim.model import Model
from faultsim.model.check import QONNX_DOMAINS, session
from faultsim.model.proto import domains

Array = NDArray[Any]


class Run(Protocol):
    """One chip, ready to compute."""

    def __call__(self, feeds: Mapping[str, Array], start: int = 0) -> Array:
        """Return the scored output of a batch whose first sample is number *start* of the data set.

        The number counts for effects alone: their random numbers are keyed by it.
        """


class Runner:
    """Opens a model under given numbers; the clean session is kept.

    Attributes:
        model: The model.
        output: Name of the output that is returned.
        runtime: What computes without effects: ``onnxruntime`` or ``torch``, the latter for every model that lies on
            another device than the CPU.
        calibration: Ranges on clean data, once `calibrate` has run; effects need them.
    """

    def __init__(self, model: Model, output: str, *, threads: int = 0, prefer: str = "auto") -> None:
        self.model = model
        self.output = output
        self.threads = threads
        self.calibration: Calibration | None = None
        self._integer = {n: a.dtype for n, a in model.numbers.items() if a.dtype.kind in "iu"}
        self.runtime = "torch"
        if prefer != "torch" and model.device.type == "cpu" and not domains(model.proto) & QONNX_DOMAINS:
            try:
                session(model.proto, optimised=True, threads=threads)
                self.runtime = "onnxruntime"
            except ModelError:
                self.runtime = "torch"

    @property
    def preferred(self) -> str:
        """What a runner of the same network, or of part of its threads, is asked to prefer."""
        return "torch" if self.runtime == "torch" else "auto"

    @cached_property
    def layers(self) -> Layers:
        """The matrix-vector layers of the model."""
        return find_layers(self.model)

    def calibrate(
        self, batches: Iterable[Mapping[str, Array]], numbers: Mapping[str, Array] | None = None
    ) -> Calibration:
        """Take down what the layers range over on clean data, and return it; once before the first effects.

        Args:
            batches: Batches of inputs.
            numbers: The numbers of the fault-free chip by site.

        Raises:
            DataError: If there is no batch, or it does not go with the model.
            ModelError: If a node fails.
        """
        self.calibration = calibrate(self.model, batches, numbers=numbers, layers=self.layers)
        return self.calibration

    def open(self, numbers: Mapping[str, Array] | None = None, effects: Sequence[Effect] = ()) -> Run:
        """Return a function from one batch of inputs to the scored output, under *numbers* by site.

        Codes between two levels (an analog chip that holds an integer model) run on torch; ONNX cannot hold them.
        So does a chip with *effects*, faults that act while it computes; those that change nothing are left out. And so
        does a batch on faulty numbers that onnxruntime refuses, such as a scale below 0.

        Raises:
            ModelError: If the numbers do not fit the model.
            OptionError: If there are effects and `calibrate` has not run, or the effects do not agree.
        """
        numbers = numbers or {}
        if any(not effect.law.is_null for effect in effects):
            if self.calibration is None:
                raise OptionError("effects need the ranges of clean data; call Runner.calibrate before Runner.open")
            return self._chip(Chip(self.model, numbers, effects, self.calibration, self.layers))
        if not self.bakes(numbers):
            return self._torch(numbers)
        opened = session(
            self.model.with_numbers(numbers) if numbers else self.model.proto,
            optimised=True,
            threads=self.threads,
        )
        wanted = [self.output]

        def run(feeds: Mapping[str, Array], start: int = 0) -> Array:
            try:
                return np.asarray(opened.run(wanted, dict(feeds))[0])
            except Exception as error:  # onnxruntime's own types, without a common base
                if numbers:
                    with suppress(FaultsimError):
                        return self._torch(numbers)(feeds, start)
                text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
                raise DataError(
                    f"{self.model.name}: onnxruntime failed on the data ({text}); check shapes and types"
                ) from None

        return run

    def bakes(self, numbers: Mapping[str, Array], effects: Sequence[Effect] = ()) -> bool:
        """Whether onnxruntime computes a chip, its numbers baked into a session; torch does elsewhere."""
        acting = any(not effect.law.is_null for effect in effects)
        storable = all(self._storable(name, array) for name, array in numbers.items())
        return self.runtime == "onnxruntime" and not acting and storable

    def _chip(self, chip: Chip) -> Run:
        def run(feeds: Mapping[str, Array], start: int = 0) -> Array:
            return np.asarray(chip.run(feeds, start)[self.output])

        return run

    def _torch(self, numbers: Mapping[str, Array]) -> Run:
        def run(feeds: Mapping[str, Array], start: int = 0) -> Array:
            return np.asarray(self.model.run(feeds, numbers)[self.output])

        return run

    def _storable(self, name: str, array: Array) -> bool:
        dtype = self._integer.get(name)
        if dtype is None or array.dtype == dtype:
            return True
        info = np.iinfo(dtype)
        wide = np.asarray(array, dtype=np.float64)
        return bool(np.all(wide == np.rint(wide)) and wide.min() >= info.min and wide.max() <= info.max)
