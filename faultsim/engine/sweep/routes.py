"""`Router`: which way through the graph each trial takes. What a way computes lives in `entry.py` and `rest.py`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from faultsim.engine.sweep.entry import SINGLES, Entry, same
from faultsim.engine.sweep.flow import Flow
from faultsim.engine.sweep.golden import Clean, CleanRun, bytes_per_sample, see
from faultsim.engine.sweep.join import plan_join
from faultsim.engine.sweep.parts import Opener, Runtime, rows_at_once
from faultsim.engine.sweep.proof import Proof, Whole
from faultsim.engine.sweep.rest import Rest
from faultsim.engine.sweep.slices import Channel, Sparse
from faultsim.engine.sweep.twin import Shown, optimised_twin, same_twin, wild_numbers
from faultsim.errors import FaultsimError, ModelError
from faultsim.model import Model
from faultsim.model.packed import codes_of

Array = NDArray[Any]
Patch = Mapping[str, Sparse]
"""What is wrong in one trial: new numbers for a few elements, by site."""

WILD = 1e12
"""Beyond it the square of an activation may overflow float32."""
_SLICED_SHARE = 0.25
"""Faults in more channels than this share of a layer take the whole layer."""


class Needs(NamedTuple):
    """Clean activations that a way needs: of the deployed graph, and of the twin, each by its own names."""

    plain: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()

    def __or__(self, other: object) -> "Needs":
        assert isinstance(other, Needs)
        return Needs(self.plain | other.plain, self.held | other.held)


_NOTHING = Needs()


@dataclass(frozen=True)
class Route:
    """The way of one trial.

    Attributes:
        kind: ``slice``, ``layer``, ``suffix`` or ``whole`` (see `sweep.Spent`).
        needs: Clean activations that it needs.
        entry: Where its faults enter, for a slice or a layer.
        rest: The rest of the graph, for a suffix.
        channels: Its faulty channels, for a slice.
    """

    kind: Literal["slice", "layer", "suffix", "whole"]
    needs: Needs = _NOTHING
    entry: Entry | None = None
    rest: Rest | None = None
    channels: tuple[Channel, ...] = ()


_OPEN_RUNS = 2
"""Clean runs that stay open: each holds the weights of the graph once more."""


class Router:
    """Plans ways, and tries each on clean samples before it is used.

    Attributes:
        types: Types of the deployed graph's activations whose axis 0 counts the samples.
        twin: The graph that runs.
        output: The output that is scored.
        opener: Opens a piece of the graph.
        probe: Inputs of a few clean samples; `golden` is their output.
        block: Rows of a call, at most.
        many: Whether calls of more rows than a batch may round as the batch does: entries then try it.

    Raises:
        ModelError: If the clean graph cannot be run in pieces at all.
    """

    def __init__(
        self,
        model: Model,
        numbers: Mapping[str, Array] | None,
        output: str,
        probe: Mapping[str, Array],
        golden: Array,
        opener: Opener,
        whole: Whole,
        *,
        wide: Opener,
        runtime: Runtime,
        threads: int = 0,
        rows: int = 0,
        batch_size: int = 1,
    ) -> None:
        self.output = output
        proto = model.with_numbers(numbers) if numbers else model.proto
        self.flow = Flow(proto, model.program.packed)
        seen = see(model, self.flow, probe, numbers)
        self.types = seen.types
        self.block = rows_at_once(model.device, bytes_per_sample(self.types, self.types), batch_size)
        self.probe = dict(probe)
        self._rows = rows if 0 < rows < len(golden) else 0
        self.golden = golden
        self.opener, self._wide = opener, wide
        self.many = runtime == "onnxruntime"
        self.twin = same_twin(self.flow, self.types)
        if runtime == "onnxruntime":
            away = dict(numbers or {}) | wild_numbers(model, numbers)
            wild = Shown(model.with_numbers(away), see(model, self.flow, probe, away).values)
            clean = Shown(proto, seen.values)
            self.twin, shown = optimised_twin(clean, wild, self.types, probe, output, opener, threads)
            if not same(shown, golden):
                raise ModelError("onnxruntime gives other numbers when its graph is run again")
        self._proof = Proof(whole, probe, golden, self._stored)
        self._proofs: dict[tuple[str, bool] | tuple[Rest, frozenset[str]], bool] = {}
        self._entries: dict[str, Entry | None] = {}
        waists = [name for name in self.flow.waists(output) if name in self.types and name in self.twin.forms]
        self._rests = [Rest(self.flow, self.types, name, output, opener) for name in waists]
        self._runs: dict[Needs, tuple[CleanRun, Clean, list[Clean]]] = {}
        self._exact: dict[Needs, bool] = {}
        self._decides = _deciding(self.flow) if runtime == "onnxruntime" else frozenset()

    def expect(self, sites: Collection[str]) -> None:
        """Run the clean graph once for all ways of *sites* that are not proved yet: else there is a run for each."""
        known = sites if self.output in self.types else ()
        fresh = [site for site in known if site in self.flow.initializers and (site, True) not in self._proofs]
        entries = [self.entry(site) for site in fresh]
        needs = Needs()
        for entry in entries:
            if entry is not None:
                needs |= Needs(entry.plain, entry.held)
        if len(entries) > 1 and needs.plain:
            self.exact_run(needs)

    def clean_run(self, needs: Needs) -> CleanRun:
        """Return what computes clean activations."""
        found = self._run(needs) or self._run(needs, wider=True)
        if found is None:
            raise ModelError("the clean graph gives other numbers when its activations are shown")
        return found[0]

    def exact_run(self, needs: Needs) -> bool:
        """Whether what computes these clean activations gives the clean output too, bit by bit."""
        if needs not in self._exact:
            self._exact[needs] = self._run(needs, wider=True) is not None
        return self._exact[needs]

    def _run(self, needs: Needs, *, wider: bool = False) -> tuple[CleanRun, Clean, list[Clean]] | None:
        """Return a clean run and what it gives on the probe; None where it is not exact. The last few stay open.

        Where batches are smaller than the probe, the third is what it gives on some of as few samples. With *wider* it
        may give more than is needed.
        """
        if wider and needs not in self._runs:
            needs = next((one for one in self._runs if one | needs == one), needs)
        known = self._runs.pop(needs, None)
        if known is None:
            try:
                run = CleanRun(self.twin, self.types, needs.plain, needs.held, self.output, self._wide)
                clean = run(self.probe)
                few = [run({name: array[cut] for name, array in self.probe.items()}) for cut in self._cuts()]
            except FaultsimError:
                return None
            if not same(clean.held[self.output], self.golden):
                return None
            known = run, clean, few
        self._runs[needs] = known
        while len(self._runs) > _OPEN_RUNS:
            del self._runs[next(iter(self._runs))]
        return known

    def _cuts(self) -> list[slice]:
        """The samples of a few batches of the smallest size, where that is smaller than the probe."""
        rows = self._rows
        return [slice(i * rows, (i + 1) * rows) for i in range(max(SINGLES // rows, 1))] if rows else []

    def route(self, patch: Patch) -> Route:
        """Return the way of a trial."""
        known = self.output in self.types and set(patch) <= self.flow.initializers.keys()
        if not patch or not known or self._decides & set(patch):
            return Route("whole")
        if len(patch) == 1:
            ((site, faults),) = patch.items()
            entry = self.entry(site)
            if entry is not None:
                found = self._by_entry(entry, faults)
                if found is not None:
                    return found
        return self._suffix(patch)

    def _by_entry(self, entry: Entry, faults: Sparse) -> Route | None:
        needs = Needs(entry.plain, entry.held)
        if not self.exact_run(needs):
            return None
        channels = entry.channels_of(faults)
        few = 0 < len(channels) <= max(_SLICED_SHARE * entry.join.channels, 1)
        few = few and not (entry.drops_nan and wild(faults))
        if few and self._proved(entry, faults, needs, by_channel=True):
            return Route("slice", needs, entry, channels=tuple(channels))
        if self._proved(entry, faults, needs, by_channel=False):
            return Route("layer", needs, entry)
        entry.release()
        return None

    def _proved(self, entry: Entry, faults: Sparse, needs: Needs, *, by_channel: bool) -> bool:
        key = entry.join.site, by_channel
        if key not in self._proofs:
            self._proofs[key] = False
            run = self._run(needs, wider=True)
            if run is None:
                return False
            clean, few = run[1:]
            while not self._proofs[key] and entry.exact(clean, self.golden, by_channel=by_channel, fewest=few):
                self._proofs[key] = self._proof.of_entry(entry, faults, clean, by_channel=by_channel)
                if not self._proofs[key]:
                    entry.reject(by_channel=by_channel)
        return self._proofs[key]

    def refuse(self, route: Route) -> None:
        """Use a way no more: it has failed."""
        if route.entry is not None:
            self._entries[route.entry.join.site] = None
        if route.rest in self._rests:
            self._rests.remove(route.rest)

    def _stored(self, site: str) -> Array | None:
        tensor = self.flow.initializers.get(site)
        if tensor is None or site not in self.flow.packed:
            return None if tensor is None else numpy_helper.to_array(tensor)
        bits = self.flow.packed[site]
        return codes_of(numpy_helper.to_array(tensor), bits).astype(ml_dtypes.uint4 if bits == 4 else ml_dtypes.uint2)

    def entry(self, site: str) -> Entry | None:
        """Return where the faults of a stored tensor enter; None where they have no place of their own."""
        if site not in self._entries:
            join = plan_join(self.flow, self.types, site)
            entry = None
            if join is not None:
                entry = Entry(
                    self.flow, self.types, join, self.twin, self.output, self.opener, block=self.block, many=self.many
                )
            self._entries[site] = entry if entry is not None and entry.usable else None
        return self._entries[site]

    def _suffix(self, patch: Patch) -> Route:
        touched = {i for site in patch for i in self.flow.readers(site)}
        for rest in reversed(self._rests):
            if touched <= rest.nodes and rest.usable and rest.feeds <= self.twin.forms.keys():
                needs = Needs(rest.feeds)
                key = rest, frozenset(patch)
                if key not in self._proofs:
                    run = self._run(needs)
                    exact = run is not None and rest.exact(run[1], self.golden)
                    self._proofs[key] = exact and run is not None and self._proof.of_rest(rest, patch, run[1])
                if self._proofs[key]:
                    return Route("suffix", needs, rest=rest)
        return Route("whole")


def wild(faults: Sparse) -> bool:
    """Whether faulty numbers are so large that what they are multiplied with may overflow, or not finite."""
    values = np.asarray(faults.values)
    if values.dtype.kind in "biu":
        return False
    with np.errstate(all="ignore"):
        return not bool((np.abs(values.astype(np.float64)) < WILD).all())


def _deciding(flow: Flow) -> frozenset[str]:
    """Return the stored tensors by whose numbers onnxruntime fuses a layer or not: scales and zero points.

    A QLinearConv needs a bias scale that is the product of the other two, up to rounding: one faulty channel keeps all
    channels of its layer in floats, and only a whole pass decides as a whole pass does.
    """
    nodes = [node for node in flow.nodes if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    return frozenset(name for node in nodes for name in node.input[1:])
