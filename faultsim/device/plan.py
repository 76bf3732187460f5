"""A profile's laws on a model's tensors under some conditions: what is drawn, and what budgets bound. No law here."""

from collections.abc import Mapping

from faultsim.corruption import Stored
from faultsim.device.analog import analog_laws
from faultsim.device.chip import Plan, Protection
from faultsim.device.conditions import Conditions
from faultsim.device.digital import logic_laws, memory_laws
from faultsim.device.events import as_events, expected_events, given_an_event, is_conditional
from faultsim.device.laws import in_inference, in_memory, not_simulated
from faultsim.device.periphery import check_capacity, has_others, upsets_beside
from faultsim.errors import DeviceError
from faultsim.faults import AnalogChain, DeadLine, DeadRegion, Fault, FaultModes, LaneFault, StuckPE
from faultsim.specs.device import DeviceSpec
from faultsim.specs.storage import DigitalStorage

_STRUCTURED = (DeadRegion, FaultModes, LaneFault, StuckPE)


def make_plan(
    spec: DeviceSpec, stored: Mapping[str, Stored], conditions: Conditions, protection: Protection | None
) -> Plan:
    """Return the laws of a profile; countable events are given at least one where a chip expects less than 0.1.

    Args:
        spec: The profile.
        stored: The tensors.
        conditions: All conditions, resolved.
        protection: The memory's code; None without one.

    Raises:
        DeviceError: If nothing of the profile is simulated, a law lacks a condition, or more events are expected than
            there are bits.
    """
    if not in_memory(spec) and not in_inference(spec):
        reasons = "; ".join(f"{m.id}: {m.reason}" for m in not_simulated(spec))
        raise DeviceError(f"device {spec.name} has no mechanism that faultsim simulates ({reasons}); switch one on")
    if not isinstance(spec.storage, DigitalStorage):
        return Plan(stored, tuple(analog_laws(spec, conditions)), ())
    memory, logic = memory_laws(spec, conditions), logic_laws(spec, conditions)
    plan = Plan(stored, tuple(memory), tuple(logic), protection)
    bits = sum(one.values.size * one.format.bits for one in plan.held)
    for law in memory:
        events = as_events(law)
        if events is not None and events.expected_events(plan.held) > bits:
            raise DeviceError(
                f"mechanism {law.id} expects {events.expected_events(plan.held):.3g} events on {bits:,} bits; "
                "lower the flux or the exposure"
            )
    check_capacity(spec, memory=bool(plan.laws))
    beside = upsets_beside(spec, conditions) if plan.laws else 0.0
    laws = given_an_event(plan.laws, plan.held, beside=beside)
    given = beside if is_conditional(laws) else 0.0
    return plan._replace(memory=tuple(laws[: len(memory)]), logic=tuple(laws[len(memory) :]), beside=given)


def memory_events(spec: DeviceSpec, plan: Plan) -> float | None:
    """Return the events that stored numbers expect; None where anything else goes wrong, with them or beside them."""
    if has_others(spec):
        return None
    return expected_events(plan.laws, plan.held) if plan.laws else 0.0


def structured(plan: Plan) -> tuple[str, ...]:
    """Return the mechanisms whose faults are whole lanes, lines or regions: no ball of numbers stands for them."""
    return tuple(law.id for law in plan.laws if _is_structured(law.fault))


def same_tensors(kept: Mapping[str, Stored] | None, stored: Mapping[str, Stored]) -> bool:
    """Whether two mappings hold the very same tensors: what was kept of the one is that of the other."""
    return kept is stored or (
        kept is not None and kept.keys() == stored.keys() and all(kept[name] is stored[name] for name in stored)
    )


def _is_structured(fault: Fault) -> bool:
    if isinstance(fault, AnalogChain):
        return any(isinstance(one, DeadLine) for one in fault.laws)
    return isinstance(fault, _STRUCTURED)
