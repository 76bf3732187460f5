"""Laws as a model meets them behind its memory's code, for budgets. Chips are drawn through the code itself.

References:
    .. [MATH] The table of budgets in the design notes, §4, row "SECDED over 72 bits".
"""

from dataclasses import replace

import numpy as np

from faultsim.budget import Budget
from faultsim.corruption import Stored
from faultsim.device.laws import Law
from faultsim.faults import BitFlip, UpsetRate, VoltageBitErrors
from faultsim.memory import Code, residual_ber, residual_of_cluster


def bound(law: Law, stored: Stored, code: Code | None, *, p: float, confidence: float) -> Budget:
    """Return the budget of one law on one tensor, behind *code* where the memory has one.

    Independent errors leave wrong bits at the residual rate; an event leaves what its silent cases leave, and nothing
    where it has none; any other law is bounded as if there were no code, which can only be too much.
    """
    if code is None:
        found = law.fault.budget(stored, p=p, confidence=confidence)
    elif isinstance(law.fault, BitFlip):
        found = BitFlip(ber=residual_ber(code, law.fault.ber)).budget(stored, p=p, confidence=confidence)
    elif isinstance(law.fault, VoltageBitErrors):
        left = residual_ber(code, _wrong_share(law.fault, stored))
        found = BitFlip(ber=left).budget(stored, p=p, confidence=confidence)
    elif isinstance(law.fault, UpsetRate):
        found = _of_events(law.fault, stored, code, p=p, confidence=confidence)
    else:
        found = law.fault.budget(stored, p=p, confidence=confidence)
        found = replace(found, note="; ".join(part for part in (found.note, "as if there were no code") if part))
    return replace(found, mechanism=law.id)


def silent_share(law: UpsetRate, code: Code) -> float:
    """Return the probability that an event leaves wrong data without an alarm."""
    interleave = 1 if law.geometry is None else law.geometry.interleave
    return residual_of_cluster(code, law.multiplicity, law.pattern, interleave=interleave).silent


def behind(law: UpsetRate, code: Code) -> UpsetRate | None:
    """Return the law of the events that leave wrong data without an alarm, None where the code lets none through."""
    interleave = 1 if law.geometry is None else law.geometry.interleave
    left = residual_of_cluster(code, law.multiplicity, law.pattern, interleave=interleave)
    if left.silent == 0:
        return None
    shares = np.asarray(left.wrong_bits[1:])
    return replace(
        law,
        fit_per_mbit=law.fit_per_mbit * left.silent,
        multiplicity=tuple(float(share) for share in shares / shares.sum()),
    )


def _of_events(law: UpsetRate, stored: Stored, code: Code, *, p: float, confidence: float) -> Budget:
    thinned = behind(law, code)
    if thinned is None:
        return Budget(
            mechanism=law.kind, scope=stored.site.name, p=p, eps=0.0, n=0, confidence=confidence,
            conditional=law.given_event, note="the code lets no single event through",
        )  # fmt: skip
    found = thinned.budget(stored, p=p, confidence=confidence)
    return replace(found, note="of events that the code lets through") if law.given_event else found


def _wrong_share(law: VoltageBitErrors, stored: Stored) -> float:
    """Return the share of a tensor's bits that read wrong: failing cells that do not hold what they read."""
    words = stored.format.encode(stored.values).reshape(-1)
    ones = float(np.bitwise_count(words).sum()) / max(words.size * stored.format.bits, 1)
    return law.ber() * (ones * (1 - law.p_flip_0to1) + (1 - ones) * law.p_flip_0to1)
