"""A profile's mechanisms that act while the network runs, as laws of `faultsim.inference`. No law lives here."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from faultsim import rng
from faultsim.device.conditions import Conditions
from faultsim.device.digital import exposure, fit_per_mbit, flux, shares_of
from faultsim.device.laws import in_inference
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


def effects(spec: DeviceSpec, seed: int, trial: int, conditions: Conditions) -> tuple[Effect, ...]:
    """Return what acts while the network runs on chip *trial*, in the profile's order.

    An upset of activations is drawn given that it happens, one an inference, whatever its rate is above 0.
    """
    found = []
    for mechanism in in_inference(spec):
        law = _BUILDERS[type(mechanism)](spec, mechanism, seed, trial)
        if isinstance(law, ActivationUpset) and isinstance(mechanism, spec_types.UpsetRate):
            happens = fit_per_mbit(mechanism.params.rate) * exposure(conditions) * flux(conditions) > 0
            law = law if happens else replace(law, count=0)
        found.append(Effect(mechanism=mechanism.id, law=law, seed=seed, trial=trial))
    return tuple(found)


def activation_events(spec: DeviceSpec, conditions: Conditions) -> float | None:
    """Return the upsets that the activation memory expects over the exposure; None without such a mechanism or size."""
    found = [m for m in in_inference(spec) if isinstance(m, spec_types.UpsetRate)]
    storage = spec.storage
    if not found or not isinstance(storage, DigitalStorage) or storage.capacity is None:
        return None
    fit = sum(fit_per_mbit(m.params.rate) for m in found) * storage.capacity.value
    return fit * 1e-9 * exposure(conditions) * flux(conditions)


def _upset(spec: DeviceSpec, mechanism: spec_types.UpsetRate, seed: int, trial: int) -> InferenceLaw:
    bits = spec.storage.activation_bits if isinstance(spec.storage, DigitalStorage) else None
    return ActivationUpset(count=1, multiplicity=shares_of(mechanism), bits=bits)


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
    spec_types.UpsetRate: _upset,
    spec_types.Quantizer: _converter,
    spec_types.AdditiveNoise: _noise,
    spec_types.StuckPe: _pe,
}
