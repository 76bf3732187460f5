"""The physical numbers of a profile, and which of them a law reads. Nothing of a run is here, and no model.

Listing and explaining profiles stands on this: it needs the specs alone.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from faultsim.device.laws import in_inference, in_memory, why_not
from faultsim.specs import mechanisms as spec_types
from faultsim.specs.device import DeviceSpec
from faultsim.specs.quantity import Quantity, quantities
from faultsim.specs.storage import AnalogStorage

_UNREAD: dict[type, tuple[str, ...]] = {
    spec_types.UpsetRate: ("sigma",),
    spec_types.BitErrorRate: ("arrhenius.valid_range",),
}
"""Parameters that say where a rate comes from, or where it ends: no figure rests on them."""
_PARTICLES = (spec_types.UpsetRate, spec_types.LaneFault)
_EVENTS = (*_PARTICLES, spec_types.FaultModesRate)


class Number(NamedTuple):
    """A number of a profile, and what it is to the figures.

    Attributes:
        mechanism: Whose it is; None for one of the storage, the environment or the assessment.
        parameter: Its dotted path there, such as ``spatial.multiplicity`` or ``storage.g_max``.
        quantity: The number itself.
        role: ``used``: a figure rests on it. ``beside``: published or kept, no law reads it. ``left_out``: of a
            mechanism that is not simulated.
    """

    mechanism: str | None
    parameter: str
    quantity: Quantity[Any, Any]
    role: Literal["used", "beside", "left_out"]

    @property
    def name(self) -> str:
        """The number's path in the profile, the mechanism by its id."""
        return self.parameter if self.mechanism is None else f"{self.mechanism}.{self.parameter}"

    @property
    def weak(self) -> bool:
        """Whether it is from memory or made up, or derived from such a number."""
        return (self.quantity.rests_on or self.quantity.status) in ("recalled", "illustrative")


def numbers(spec: DeviceSpec) -> Iterator[Number]:
    """Yield every number of a profile: of its mechanisms in their order, then of the rest."""
    for mechanism in spec.mechanisms:
        on = why_not(mechanism) is None
        unread = _UNREAD.get(type(mechanism), ())
        for name, quantity in quantities(getattr(mechanism, "params", None)):
            read = name not in unread
            yield Number(mechanism.id, name, quantity, ("used" if read else "beside") if on else "left_out")
        shares = mechanism.spatial.multiplicity if mechanism.spatial is not None else None
        if shares is not None:
            read = isinstance(mechanism, spec_types.UpsetRate)
            role: Literal["used", "beside"] = "used" if read else "beside"
            yield Number(mechanism.id, "spatial.multiplicity", shares, role if on else "left_out")
        for name, quantity in quantities(mechanism.facts):
            yield Number(mechanism.id, name, quantity, "beside" if on else "left_out")
    read_too = set(_shared(spec))
    for label, part in (("storage", spec.storage), ("environment", spec.environment), ("assess", spec.assess)):
        for name, quantity in quantities(part):
            path = f"{label}.{name}"
            yield Number(None, path, quantity, "used" if path in read_too else "beside")


def _shared(spec: DeviceSpec) -> Iterator[str]:
    """Yield the paths of what laws read outside their own parameters: conductances, capacity, conditions."""
    memory, running = in_memory(spec), in_inference(spec)
    on = [*memory, *running]
    if memory and isinstance(spec.storage, AnalogStorage) and spec.storage.mapping != "mzi_mesh":
        yield from ("storage.g_min", "storage.g_max")
    if not memory and any(isinstance(m, spec_types.UpsetRate) for m in running):
        yield "storage.capacity"  # the bits of the activation memory: a factor of its FIT
    if any(isinstance(m, _PARTICLES) for m in on):
        yield "environment.flux_factor"
    if any(isinstance(m, _EVENTS) for m in on):
        yield "assess.exposure"
    for law in (m.params for m in on if isinstance(m, spec_types.BitErrorRate)):
        if law.ber_vs_v_norm is not None:
            yield "environment.v_norm"
        if law.v_min is not None:
            yield "environment.v"
        if law.arrhenius is not None:
            yield "environment.temperature"


def short(value: Any) -> str:
    """Return a number's value as text: tables in brackets, parts by name."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(short(one) for one in value) + "]"
    if hasattr(value, "model_dump"):
        return ", ".join(f"{key} {short(one)}" for key, one in value.model_dump().items())
    return str(value)
