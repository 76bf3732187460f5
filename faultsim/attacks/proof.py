"""Certificates of an attack: what is sought, held to what was found and to the deployed network. No rule, no files."""

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from numpy.typing import NDArray

from faultsim.attacks.prepare import Prepared
from faultsim.attacks.worst import Found
from faultsim.certify import Certificate, Deployed, NotCertifiedError, certify, why_coarse
from faultsim.constraints import TensorSet
from faultsim.metrics import Classification, GoldenAgreement
from faultsim.search.radius import CriticalRadius

QUICK = 2_000_000
"""Samples times numbers under test up to which a certificate is sought without being asked for."""
_HELD = 1 << 25
"""Effects of a tensor's numbers, sample by sample, that a certificate holds at a time (256 MiB), a few times over."""
_SLACK = 1e-4
"""What a loss computed in float32 may be off by, in nats."""
ROUNDOFF = 2.0**-24
"""Unit roundoff that certificates cover: that of float32."""
_REFUTED = "the search found more than the bounds allow, so they do not hold here; please report the model"


class Proof(NamedTuple):
    """A certificate, or why there is none, and what it took."""

    certificate: Certificate
    seconds: float


def prove(prepared: Prepared, constraint: TensorSet, asked: bool | None) -> Proof:
    """Bound loss and accuracy over the whole set on the samples scored on, where that is asked for or quick."""
    started = time.perf_counter()
    why = _no_proof(prepared, constraint, asked)
    if why:
        return Proof(Certificate(why_not=why), 0.0)
    setting = prepared.setting
    prepared.tell("certificate", 0, 1)
    largest = max((setting.stored[name].site.elements for name in constraint.names), default=1)
    found = certify(
        setting.model,
        setting.stored,
        constraint,
        _parts(prepared, max(1, _HELD // max(largest, 1))),
        output=setting.output.name,
        probabilities=setting.output.is_probability,
        roundoff=ROUNDOFF,
        deployed=_deployed(prepared),
    )
    prepared.tell("certificate", 1, 1)
    return Proof(found, time.perf_counter() - started)


def _deployed(prepared: Prepared) -> Deployed:
    """Return what everything is scored with: the fault-free chip, in onnxruntime wherever it can be."""
    setting = prepared.setting
    run = setting.scorer.runner.open(setting.fault_free())
    return lambda feeds: setting.output.real(run(feeds))


def _parts(prepared: Prepared, most: int) -> Iterator[tuple[dict[str, Any], NDArray[Any]]]:
    """Yield inputs and labels of at most so many samples at a time, where the graph takes a part of a batch.

    Raises:
        NotCertifiedError: If the user stops.
    """
    scorer = prepared.setting.scorer
    model = prepared.setting.model
    parted = not model.fixed_batch and all(spec.batch_axis == 0 for spec in model.inputs)
    for batch in scorer.batches():
        labels = scorer.batch_labels(batch)
        for low in range(0, len(labels), most) if parted else (0,):
            if prepared.stopped():
                raise NotCertifiedError("the run was stopped before")
            part = slice(low, low + most) if parted else slice(None)
            yield {name: array[part] for name, array in batch.inputs.items()}, labels[part]


def held_to(found: Found, proof: Proof) -> Proof:
    """Return a proof, or none where something that was found in the same set lies beyond it.

    That cannot be: it would be an error of the bounds, which are then not to be believed.
    """
    bound = proof.certificate
    met = (found.clean, found.worst.score, found.largest.score)
    rise = math.inf if any(not one.finite for one in met) else max(one.loss for one in met) - found.clean.loss
    beyond = (
        rise > bound.loss_increase_upper + _SLACK or min(one.accuracy for one in met) < bound.accuracy_lower - _SLACK
    )
    if not bound.proven or not beyond:
        return proof
    return Proof(Certificate(why_not=_REFUTED), proof.seconds)


def refuted(critical: CriticalRadius) -> str:
    """Return why no proof of a critical radius is to be believed: something found lies beyond one; empty otherwise."""
    for eps, sure in critical.proofs:
        broken = eps >= critical.found and sure >= critical.level
        if broken or any(at <= eps and seen < sure - _SLACK for at, seen in critical.evaluations):
            return _REFUTED
    return ""


def _no_proof(prepared: Prepared, constraint: TensorSet, asked: bool | None) -> str:
    setting = prepared.setting
    task = setting.task.inner if isinstance(setting.task, GoldenAgreement) else setting.task
    if asked is False:
        return "no certificate was asked for"
    if prepared.stopped():
        return "the run was stopped before"
    if not isinstance(task, Classification) or task.top_k != 1:
        return f"bounds are known for top-1 classification, and the task is {task.name}"
    if setting.output.scale != 1 or setting.output.zero_point != 0:
        return "the scored output holds integer codes; bounds are known for logits"
    for name in constraint.names:
        if why := why_coarse(setting.stored[name]):
            return f"{name} {why}"
    size = len(setting.data) * sum(setting.stored[name].site.elements for name in constraint.names)
    if asked is None and size > QUICK:
        return "not tried, as it takes long on so many numbers and samples; ask with --certify (and --limit)"
    return ""
