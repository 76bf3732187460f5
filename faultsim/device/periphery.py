"""A profile's mechanisms that act while the network runs, as laws of `faultsim.inference`. No law lives here."""

import math
from collections.abc import Callable
from typing import Any

from faultsim import rng
from faultsim.device.conditions import Conditions
from faultsim.device.digital import exposure, fit_per_mbit, flux, shares_of
from faultsim.device.events import Strike, struck
from faultsim.device.laws import in_inference
from faultsim.errors import DeviceError
from faultsim.inference import (
    ActivationUpset,
    Converter,
    Effect,
    InferenceLaw,
    InputNoise,
    OutputNoise,
    StuckOutput,
    broken_elements,
)
from faultsim.specs import mechanisms as spec_types
from faultsim.specs.device import DeviceSpec
from faultsim.specs.storage import AnalogStorage, DigitalStorage

_MOST = 10_000
"""Most upsets of activations of one chip."""


def effects(
    spec: DeviceSpec, seed: int, trial: int, conditions: Conditions, *, memory: float | None = 0.0
) -> tuple[Effect, ...]:
    """Return what acts while the network runs on chip *trial*, in the profile's order.

    Upsets of activations at a rate are drawn given that there is one where countable events are all that goes wrong
    and rare (`events.struck`), else as many as it happens: a Poisson number over the exposure. Where the profile does
    not say the capacity of the memory a chip has one, whatever the rate. All of a chip's upsets strike the same
    inference.

    Args:
        spec: The profile.
        seed: The campaign's seed.
        trial: Number of the chip.
        conditions: All conditions, resolved.
        memory: Events that stored numbers expect; None where they have faults of other kinds.

    Raises:
        DeviceError: If more upsets are expected than a chip can be drawn with, or upsets beside other faults cannot be
            weighed: `check_capacity`.
    """
    found = []
    check_capacity(spec, memory=memory != 0)
    expected = None if has_others(spec) else memory
    known = _capacity(spec) is not None
    strikes = struck(_rates(spec, conditions), expected, seed, trial, known=known)
    for mechanism in in_inference(spec):
        if isinstance(mechanism, spec_types.UpsetRate):
            law: InferenceLaw = _upsets(spec, mechanism, conditions, strikes[mechanism.id])
        else:
            law = _BUILDERS[type(mechanism)](spec, mechanism, seed, trial)
        found.append(Effect(mechanism=mechanism.id, law=law, seed=seed, trial=trial))
    return tuple(found)


def upsets_beside(spec: DeviceSpec, conditions: Conditions) -> float:
    """Return the upsets that activations expect beside the faults of stored numbers; infinite with other faults there.

    Raises:
        DeviceError: If there are some, and the profile does not say how large the memory is.
    """
    check_capacity(spec, memory=True)
    return math.inf if has_others(spec) else math.fsum(_rates(spec, conditions).values())


def check_capacity(spec: DeviceSpec, *, memory: bool) -> None:
    """Check that upsets of activations can be weighed against what else goes wrong.

    Args:
        spec: The profile.
        memory: Whether stored numbers go wrong.

    Raises:
        DeviceError: If something does, and the profile does not say how large the memory is.
    """
    upsets = upsets_of(spec)
    if upsets and _capacity(spec) is None and (memory or has_others(spec)):
        also = "stored numbers go wrong too" if memory else "other faults act beside them"
        raise DeviceError(
            f"mechanism {upsets[0].id} upsets activations at a rate per Mbit, and {also}: how often each happens hangs "
            "on storage.capacity; give it"
        )


def has_others(spec: DeviceSpec) -> bool:
    """Whether anything but upsets at a rate acts while the network runs."""
    return any(not isinstance(one, spec_types.UpsetRate) for one in in_inference(spec))


def upsets_of(spec: DeviceSpec) -> list[spec_types.UpsetRate]:
    """Return the mechanisms that upset activations at a rate."""
    return [one for one in in_inference(spec) if isinstance(one, spec_types.UpsetRate)]


def _rates(spec: DeviceSpec, conditions: Conditions) -> dict[str, float]:
    return {one.id: _events(spec, one, conditions) for one in upsets_of(spec)}


def _upsets(
    spec: DeviceSpec, mechanism: spec_types.UpsetRate, conditions: Conditions, strike: Strike
) -> ActivationUpset:
    shares, bits = shares_of(mechanism), _activation_bits(spec)
    events = 0.0 if strike == "none" else _events(spec, mechanism, conditions)
    if events == 0 or _capacity(spec) is None:
        return ActivationUpset(count=int(events > 0), multiplicity=shares, bits=bits)
    if events > _MOST:
        raise DeviceError(
            f"mechanism {mechanism.id} expects {events:.3g} upsets of activations, at most {_MOST:,} are drawn; lower "
            "the flux or the exposure"
        )
    return ActivationUpset(mean=events, given_event=strike == "given", multiplicity=shares, bits=bits)


def _events(spec: DeviceSpec, mechanism: spec_types.UpsetRate, conditions: Conditions) -> float:
    """Return the upsets that a mechanism expects over the exposure, per Mbit where the capacity is not known."""
    capacity = _capacity(spec)
    fit = fit_per_mbit(mechanism.params.rate) * (1.0 if capacity is None else capacity)
    return fit * 1e-9 * exposure(conditions) * flux(conditions)


def _capacity(spec: DeviceSpec) -> float | None:
    storage = spec.storage
    known = isinstance(storage, DigitalStorage) and storage.capacity is not None
    return storage.capacity.value if known else None  # type: ignore[union-attr]


def _activation_bits(spec: DeviceSpec) -> int | None:
    return spec.storage.activation_bits if isinstance(spec.storage, DigitalStorage) else None


def activation_events(spec: DeviceSpec, conditions: Conditions) -> float | None:
    """Return the upsets that the activation memory expects over the exposure.

    None without such a mechanism or size, or where anything else acts while the network runs: broken elements or a
    known number of flips are no rare events, however rare the upsets beside them are.
    """
    found = upsets_of(spec)
    if not found or has_others(spec) or _capacity(spec) is None:
        return None
    return math.fsum(_events(spec, m, conditions) for m in found)


def _count(spec: DeviceSpec, mechanism: spec_types.BitFlipCount, seed: int, trial: int) -> InferenceLaw:
    if mechanism.params.n_flips.value > _MOST:
        raise DeviceError(f"mechanism {mechanism.id} flips more than {_MOST:,} bits of activations; give fewer")
    return ActivationUpset(count=mechanism.params.n_flips.value, bits=_activation_bits(spec))


def _converter(spec: DeviceSpec, mechanism: spec_types.Quantizer, seed: int, trial: int) -> InferenceLaw:
    return Converter(
        target="inputs" if mechanism.target == "inputs" else "outputs",
        steps=mechanism.params.steps.value,
        bound=mechanism.params.bound.value,
        **_range(spec),
    )


def _noise(spec: DeviceSpec, mechanism: spec_types.AdditiveNoise, seed: int, trial: int) -> InferenceLaw:
    sigma = mechanism.params.sigma
    law = InputNoise if mechanism.target == "inputs" else OutputNoise
    if sigma.unit == "fraction of full scale":
        return law(sigma=sigma.value, relative_to="full_scale")
    return law(sigma=sigma.value, **_range(spec))


def _pe(spec: DeviceSpec, mechanism: spec_types.StuckPe, seed: int, trial: int) -> InferenceLaw:
    law = mechanism.params
    rows, columns = law.rows.value, law.columns.value
    broken = broken_elements(rng.generator(seed, trial, mechanism.id), rows=rows, columns=columns, p=law.p.value)
    if law.effect == "dead":
        return StuckOutput(elements=broken, rows=rows, columns=columns)
    bit = int(rng.generator(seed, trial, mechanism.id, "bit").integers(32))
    return StuckOutput(elements=broken, rows=rows, columns=columns, bit=bit)


def _range(spec: DeviceSpec) -> dict[str, Any]:
    storage = spec.storage
    assert isinstance(storage, AnalogStorage)
    return {
        "weight_range": "per_channel" if storage.scale == "per_channel" else "per_tensor",
        "rows": None if storage.array is None else storage.array.rows,
    }


_BUILDERS: dict[type, Callable[[DeviceSpec, Any, int, int], InferenceLaw]] = {
    spec_types.BitFlipCount: _count,
    spec_types.Quantizer: _converter,
    spec_types.AdditiveNoise: _noise,
    spec_types.StuckPe: _pe,
}
