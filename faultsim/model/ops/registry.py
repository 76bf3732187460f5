"""The table from (domain, op type, opset) to the function that executes it. The functions live in the family files."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import torch

from faultsim.model.values import Value

CodesPolicy = Literal["concrete", "carry", "aware"]
F = TypeVar("F", bound=Callable[..., Any])


class SubgraphLike(Protocol):
    """A compiled subgraph as an op function sees it: an attribute of If, Loop, Scan and their kin."""

    @property
    def input_names(self) -> Sequence[str]:
        """Formal inputs, in order."""


class Context(Protocol):
    """What an op function may know of where it stands; ask for it with a keyword argument ``ctx``."""

    @property
    def opset(self) -> int:
        """Version of the node's domain that the model imports."""

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the node's outputs, ``""`` where one is not wanted."""

    @property
    def device(self) -> torch.device:
        """Where tensors made from nothing belong."""

    def run(self, subgraph: Any, inputs: Sequence[Value]) -> list[Value]:
        """Execute a subgraph attribute on *inputs*, in the scope of this node."""


@dataclass(frozen=True, slots=True)
class Op:
    """One op function and how it wants its inputs.

    Attributes:
        function: Takes the node's inputs by position (None where absent) and its attributes by name; returns a value,
            or a tuple of values for several outputs.
        since: First opset of its domain that it is right for.
        codes: What to do with `Codes` inputs: ``concrete`` turns them into real integer tensors, ``carry`` runs the
            function on the carrying float tensors and gives the results the first input's type, ``aware`` hands them
            over as they are.
        wants_context: Whether the function takes ``ctx``.
        attributes: Names of the attributes it takes; None if it takes any.
    """

    function: Callable[..., Any]
    since: int
    codes: CodesPolicy
    wants_context: bool
    attributes: frozenset[str] | None


_OPS: dict[tuple[str, str], list[Op]] = {}


def op(name: str, *, since: int = 1, domain: str = "", codes: CodesPolicy = "concrete") -> Callable[[F], F]:
    """Register the decorated function as the op *name* of *domain* from opset *since* on.

    Several functions may stand under one name: the one with the highest ``since`` not above the model's opset serves.
    """

    def register(function: F) -> F:
        parameters = inspect.signature(function).parameters
        takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        keywords = frozenset(n for n, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY)
        entry = Op(function, since, codes, "ctx" in keywords, None if takes_any else keywords - {"ctx"})
        entries = _OPS.setdefault((domain, name), [])
        entries.append(entry)
        entries.sort(key=lambda e: -e.since)
        return function

    return register


def find(domain: str, name: str, opset: int) -> Op | None:
    """Return the op function that serves *name* at *opset*, or None."""
    domain = "" if domain == "ai.onnx" else domain
    return next((entry for entry in _OPS.get((domain, name), ()) if entry.since <= opset), None)


def known() -> list[tuple[str, str]]:
    """Return every (domain, op type) in the table, sorted."""
    return sorted(_OPS)
