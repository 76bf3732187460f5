"""`certify`: loss and accuracy over a whole set of corruptions, bounded batch by batch. No rule of an op lives here."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.certify.budget import Budget
from faultsim.certify.certificate import Certificate, NotCertifiedError
from faultsim.certify.guard import Deployed, Guard, without_rules
from faultsim.certify.head import PROBABILITIES, head_of
from faultsim.certify.tape import EXACT, Tape, check_range
from faultsim.certify.totals import Totals, View
from faultsim.certify.trace import trace
from faultsim.constraints import TensorSet
from faultsim.corruption import Stored
from faultsim.formats import ConductanceMapping, FloatFormat
from faultsim.model import Model

EFFORT = 10_000_000
_CLAMPED = 80.0  # nats: near where probabilities of the graph are clamped

Samples = Iterable[tuple[Mapping[str, NDArray[Any]], NDArray[Any]]]
"""Batches: inputs by name, and labels of shape ``(B,)``."""


def certify(
    model: Model,
    stored: Mapping[str, Stored],
    constraint: TensorSet,
    samples: Samples,
    *,
    output: str | None = None,
    probabilities: bool = False,
    roundoff: float = EXACT,
    effort: int = EFFORT,
    deployed: Deployed | None = None,
) -> Certificate:
    """Bound mean cross-entropy and top-1 accuracy over every corruption of a set.

    The change of each output is its gradient times the corruption plus remainders that are bounded over the whole
    set, so the bound of the loss is tight to first order: over the radius it tends to the dual norm of the gradient.
    It speaks of the network in exact arithmetic; with *roundoff* it covers the rounding of the deployed arithmetic and
    of the corrupted numbers too, from the first node on that a corruption reaches: what lies before is computed in the
    graph's own types and taken as it comes. Its own rounding is covered node by node, and by `Certificate.slack`.

    Args:
        model: The network; it runs on the CPU in float64.
        stored: What the device stores, by site, and the fault-free network computes with; a tensor that the set names
            must be stored in floating point.
        constraint: The set of corruptions.
        samples: Batches of inputs and labels; each is held once, and one number a sample is kept.
        output: The output that is judged, samples on its first axis; the first one where None.
        probabilities: Whether that output is a probability: the graph ends in a softmax or sigmoid.
        roundoff: Unit roundoff of the arithmetic to cover, at least 2^-53: 2^-24 for a network that runs in float32
            (sums of products in any order; not Winograd's or a Fourier transform's convolutions).
        effort: Most numbers of a Jacobian, a sample, that one tensor's bounds may take; more is sharper and slower.
        deployed: Runs the network as it is deployed, on *stored*, and returns *output*; where None the model itself
            does, in float64 where no *roundoff* is covered.

    Returns:
        The certificate; with ``proven`` False and ``why_not`` where there is none.

    Examples:
        >>> found = certify(model, stored, constraint, [({"x": images}, labels)])  # doctest: +SKIP
        >>> found.proven, found.loss_increase_upper, found.accuracy_lower  # doctest: +SKIP
    """
    try:
        return _certify(
            model, stored, constraint, samples, output, probabilities, max(roundoff, EXACT), effort, deployed
        )
    except NotCertifiedError as error:
        return Certificate(why_not=str(error))


def _certify(
    model: Model,
    stored: Mapping[str, Stored],
    constraint: TensorSet,
    samples: Samples,
    output: str | None,
    probabilities: bool,
    roundoff: float,
    effort: int,
    deployed: Deployed | None,
) -> Certificate:
    name = model.output_names[0] if output is None else output
    _check_set(model, stored, constraint, name)
    budget = Budget(constraint, {key: np.shape(stored[key].values) for key in constraint.names})
    head = head_of(model.program.graph.nodes, name)
    if probabilities != (head is not None and head.op_type in PROBABILITIES):
        found = "no softmax or sigmoid" if head is None else f"node {head.name!r} ({head.op_type})"
        taken = "a probability" if probabilities else "logits"
        raise NotCertifiedError(
            f"output {name!r} is scored as {taken}, and {found} makes it, moved about at most; bounds are known where "
            "the logits of what is scored can be told"
        )
    if roundoff > EXACT:
        for key in constraint.names:
            numbers = torch.from_numpy(np.abs(np.asarray(stored[key].values, dtype=np.float64)).reshape(-1))
            check_range(numbers + budget.radius(key), f"tensor {key!r}")
    totals, predicted = Totals(budget, head), []
    exact = roundoff <= EXACT
    guard = Guard(deployed or without_rules(model, stored, name, exact=exact), head, exact=exact)
    for feeds, given in samples:
        labels = torch.from_numpy(np.array(given, dtype=np.int64).reshape(-1))
        views: list[View] = []
        for chords in (False, True):
            tape = Tape(budget, len(labels), roundoff, effort, chords, views[0].tape if views else None)
            logits = _rows(trace(model, stored, feeds, tape, name, head), len(labels), name)
            views.append(View(tape, logits))
        logits = views[0].logits.detach()
        _check(logits, labels, probabilities)
        guard.check(feeds, logits)
        predicted.append(logits.argmax(1))
        totals.add(views, labels)
    certificate = totals.certificate()
    guard.check_stable(certificate, predicted)
    return certificate


def _check(value: Tensor, labels: Tensor, probabilities: bool) -> None:
    if not bool(torch.isfinite(value).all()):
        raise NotCertifiedError("an output is not finite without corruption; bounds are known for finite ones")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < value.shape[1]:
        raise NotCertifiedError(f"a label lies outside of the {value.shape[1]} classes; bounds are known for classes")
    loss = torch.logsumexp(value, 1) - value[torch.arange(len(labels)), labels]
    if probabilities and bool((loss > _CLAMPED).any()):
        raise NotCertifiedError("a probability lies where it is clamped; bounds are known for logits")


def why_coarse(stored: Stored) -> str:
    """Return why corrupted numbers of a tensor are not bounded; empty where they are any that float32 or float64 has.

    Analog cells hold any number; digital words of other formats round it.
    """
    name = stored.format.name
    if isinstance(stored.format, ConductanceMapping):
        if stored.values.dtype in (np.float32, np.float64):
            return ""
        return f"is stored as {name} and not in float32 in the graph, and no bound is known for that"
    if isinstance(stored.format, FloatFormat) and stored.format.kind in ("float32", "float64"):
        return ""
    return f"is stored as {name}: a corrupted number is rounded to a code, and no bound is known for that"


def _check_set(model: Model, stored: Mapping[str, Stored], constraint: TensorSet, output: str) -> None:
    """Check that the tensors of the set are stored in floating point, and the samples on the first axis.

    Raises:
        NotCertifiedError: If they are not.
    """
    for name in constraint.names:
        if name not in stored:
            raise NotCertifiedError(f"tensor {name!r} of the set is not stored; name tensors of the model")
        one = stored[name]
        if why := why_coarse(one):
            raise NotCertifiedError(f"tensor {name!r} {why}")
        if not isinstance(model.program.tensors.get(name), Tensor):
            raise NotCertifiedError(f"tensor {name!r} holds codes in the graph, and no bound is known for those")
    axes = {spec.name: spec.batch_axis for spec in model.inputs} | {output: model.axes.outputs.get(output, 0)}
    for name, axis in axes.items():
        if axis != 0:
            raise NotCertifiedError(
                f"the samples lie on axis {axis} of {name!r}; bounds are known where it is the first one"
            )


def _rows(output: Tensor, batch: int, name: str) -> Tensor:
    """Return logits as samples times classes, at least two: a single one stands against 0."""
    if output.ndim < 2 or output.shape[0] != batch or output.numel() != batch * output.shape[1]:
        raise NotCertifiedError(
            f"output {name!r} of shape {tuple(output.shape)} is no classification of {batch} samples; "
            "bounds are known for one class a sample"
        )
    rows = output.reshape(batch, -1)
    return rows if rows.shape[1] > 1 else torch.cat([torch.zeros_like(rows), rows], 1)
