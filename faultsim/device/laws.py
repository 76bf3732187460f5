"""Which mechanisms of a profile are simulated, and as what: names and reasons. The laws are in `faultsim.faults`."""

from typing import NamedTuple

from faultsim.faults.base import Fault
from faultsim.specs import mechanisms as spec_types
from faultsim.specs.device import DeviceSpec

_INFERENCE = (spec_types.Quantizer, spec_types.AdditiveNoise)


class NotSimulated(NamedTuple):
    """A mechanism that the profile declares and no figure contains, and why."""

    id: str
    model: str
    target: str
    reason: str


class Law(NamedTuple):
    """A fault law and the mechanism of the profile that it stands for."""

    id: str
    fault: Fault


def in_memory(spec: DeviceSpec) -> list[spec_types.MechanismBase]:
    """Return the mechanisms that are on and that act on stored numbers or on the logic that reads them."""
    return [m for m in spec.mechanisms if why_not(m) is None and not at_inference(m)]


def in_inference(spec: DeviceSpec) -> list[spec_types.MechanismBase]:
    """Return the mechanisms that are on and that act while the network runs."""
    return [m for m in spec.mechanisms if why_not(m) is None and at_inference(m)]


def at_inference(mechanism: spec_types.MechanismBase) -> bool:
    """Whether a mechanism acts while the network runs, and not in its stored numbers."""
    if isinstance(mechanism, spec_types.StuckPe):
        return mechanism.params.mapping == "output_stationary"
    return isinstance(mechanism, _INFERENCE) or mechanism.target in ("activations", "inputs", "outputs")


def not_simulated(spec: DeviceSpec) -> tuple[NotSimulated, ...]:
    """Return the mechanisms that are not simulated with the reason, in the profile's order."""
    reasons = ((mechanism, why_not(mechanism)) for mechanism in spec.mechanisms)
    return tuple(NotSimulated(m.id, m.model, m.target, reason) for m, reason in reasons if reason is not None)


def simplified(spec: DeviceSpec) -> tuple[str, ...]:
    """Return in sentences what the simulation of a profile simplifies or takes as safe."""
    roles = ("weight", "bias", "norm", "scale", "zero_point")
    safe = [role for role in roles if role not in spec.storage.stores]
    said = [f"Taken as safe, outside the memory under test: {', '.join(safe)}."] if safe else []
    for mechanism in spec.mechanisms:
        pattern = mechanism.spatial.pattern if mechanism.spatial is not None else "iid"
        if pattern != "iid" and why_not(mechanism) is None and not keeps_pattern(mechanism):
            said.append(f"{mechanism.id}: its pattern '{pattern}' is drawn as independent cells.")
        law = mechanism.params.arrhenius if isinstance(mechanism, spec_types.BitErrorRate) else None
        if law is not None and law.valid_range is None and why_not(mechanism) is None:
            said.append(f"{mechanism.id}: scaled to any temperature, the profile gives no arrhenius.valid_range.")
    return tuple(said)


def why_not(mechanism: spec_types.MechanismBase) -> str | None:
    """Return why a mechanism is not simulated, None where it is."""
    if not mechanism.enabled:
        return "switched off in the profile"
    if isinstance(mechanism, spec_types.Declared):
        return "declared only: no law of faultsim describes it"
    allowed = _TARGETS.get(type(mechanism), ("weights", "all"))
    if mechanism.target not in allowed:
        return f"{getattr(mechanism, 'model', 'the law')} of {mechanism.target} is not simulated"
    return None


def keeps_pattern(mechanism: spec_types.MechanismBase) -> bool:
    """Whether the law draws errors beside each other as ``spatial.pattern`` says, and not cell by cell."""
    if isinstance(mechanism, spec_types.UpsetRate):
        return mechanism.spatial is None or mechanism.spatial.pattern in ("word_cluster", "row", "column")
    return isinstance(mechanism, _LAID_OUT)


_LAID_OUT = (
    spec_types.LineFault,
    spec_types.FaultModesRate,
    spec_types.BitFlipBudget,
    spec_types.LaneFault,
    spec_types.StuckPe,
    spec_types.PhaseNoise,
    spec_types.WireResistance,
)
"""Laws with places of their own: lines, regions, pages, lanes, processing elements, tiles."""
_TARGETS: dict[type, tuple[str, ...]] = {
    spec_types.UpsetRate: ("weights", "all", "activations"),
    spec_types.BitFlipCount: ("weights", "all", "activations"),
    spec_types.LaneFault: ("config", "weights", "all"),
    spec_types.StuckPe: ("config", "weights", "all"),
    spec_types.Quantizer: ("inputs", "outputs"),
    spec_types.AdditiveNoise: ("inputs", "outputs"),
}
"""What a mechanism may act on; stored weights where it is not listed."""
