"""A profile's mechanisms of bits and of logic as fault laws, under given conditions. The laws are in `faultsim.faults`.

References:
    .. [JEP122] JEDEC JEP122, failure mechanisms and models for semiconductor devices: the Arrhenius acceleration
       factor ``exp(E_a/k (1/T_use - 1/T_stress))``, temperatures in kelvin.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from faultsim.corruption import Stored
from faultsim.device.conditions import ABSOLUTE_ZERO_K, Conditions
from faultsim.device.laws import Law, in_memory
from faultsim.errors import DeviceError, OptionError
from faultsim.faults import (
    BitFlip,
    BitFlipCount,
    DeadRegion,
    Fault,
    FaultModes,
    LaneFault,
    LevelConfusion,
    ModeRates,
    RowHammer,
    StuckBits,
    StuckPE,
    UpsetRate,
    VoltageBitErrors,
)
from faultsim.memory import Code, Geometry, MemoryMap, check_store, make_code
from faultsim.specs import mechanisms as spec_types
from faultsim.specs.device import DeviceSpec
from faultsim.specs.storage import DigitalStorage

_BOLTZMANN_EV = 8.617333262e-5
_TOLERANCE = 1e-8  # BER just below v_min: about one bit of the block RAM of a large FPGA, where none was seen
_FIT_PER_MBIT = {"FIT/Mb": 1.0, "FIT/GB": 1 / 8000, "upset/bit/day": 1e15 / 24}
_PAGE_BITS = 32768  # 4 KiB
_LOGIC = (spec_types.LaneFault, spec_types.StuckPe)


class Setup(NamedTuple):
    """What every builder may need."""

    storage: DigitalStorage
    conditions: Conditions


def memory_laws(spec: DeviceSpec, conditions: Conditions) -> list[Law]:
    """Return the laws of the memory's bits, in the profile's order.

    Raises:
        DeviceError: If a law needs a condition that is not known.
    """
    return _build(spec, conditions, logic=False)


def logic_laws(spec: DeviceSpec, conditions: Conditions) -> list[Law]:
    """Return the laws of the logic that reads the memory: behind its error-correcting code."""
    return _build(spec, conditions, logic=True)


def geometry(storage: DigitalStorage) -> Geometry:
    """Return how the words of a profile's memory lie."""
    word = storage.data_word_bits
    if storage.array is None:
        return Geometry(word_bits=word, interleave=storage.interleave, row_words=storage.interleave)
    tile = storage.tile
    return Geometry(
        word_bits=word,
        rows=storage.array.rows,
        row_words=storage.array.cols // word,
        interleave=storage.interleave,
        tile_rows=None if tile is None else tile.rows,
        tile_columns=None if tile is None else tile.cols,
    )


def protection(
    storage: DigitalStorage, stored: Mapping[str, Stored], *, checks: bool = True
) -> tuple[Code, MemoryMap, Stored]:
    """Return a memory's code, the map of its words and the tensor of its check bits: true ones, or zeros.

    Raises:
        DeviceError: If the code does not fit the words.
    """
    ecc = storage.ecc
    try:
        code = make_code(
            ecc.scheme, storage.data_word_bits, ecc.check_bits, on_due=ecc.due or "halt", symbol_bits=ecc.symbol_bits
        )
        layout = MemoryMap(list(stored.values()), geometry(storage))
        return code, layout, check_store(layout, code, stored if checks else None)
    except OptionError as error:
        raise DeviceError(f"storage.ecc: {error}") from None


def _build(spec: DeviceSpec, conditions: Conditions, *, logic: bool) -> list[Law]:
    assert isinstance(spec.storage, DigitalStorage)
    setup = Setup(spec.storage, conditions)
    return [Law(m.id, _BUILDERS[type(m)](setup, m)) for m in in_memory(spec) if isinstance(m, _LOGIC) == logic]


def fit_per_mbit(rate: Any) -> float:
    """Return a rate of a profile in FIT/Mb."""
    return float(rate.value) * _FIT_PER_MBIT[rate.unit]


def exposure(conditions: Conditions) -> float:
    """Return the hours that events gather."""
    return conditions.exposure_h or 0.0


def flux(conditions: Conditions) -> float:
    """Return the flux over the one that the rates are given for."""
    return 1.0 if conditions.flux_factor is None else conditions.flux_factor


def shares_of(mechanism: spec_types.MechanismBase) -> tuple[float, ...]:
    """Return the shares of events by size in bits."""
    shares = mechanism.spatial.multiplicity if mechanism.spatial is not None else None
    return shares.value if shares is not None else (1.0,)


def _upsets(setup: Setup, mechanism: spec_types.UpsetRate) -> Fault:
    pattern = mechanism.spatial.pattern if mechanism.spatial is not None else "iid"
    laid_out = pattern in ("row", "column") or (
        pattern == "word_cluster" and (setup.storage.array is not None or setup.storage.ecc.scheme != "none")
    )
    more: dict[str, Any] = {}
    if laid_out:
        more = {"pattern": pattern if pattern in ("row", "column") else "word_cluster"}
        more["geometry"] = geometry(setup.storage)
    return UpsetRate(
        fit_per_mbit=fit_per_mbit(mechanism.params.rate),
        exposure_h=exposure(setup.conditions),
        flux_factor=flux(setup.conditions),
        multiplicity=shares_of(mechanism),
        **more,
    )


def _bit_errors(setup: Setup, mechanism: spec_types.BitErrorRate) -> Fault:
    law, conditions = mechanism.params, setup.conditions
    if law.ber is not None:
        ber = min(1.0, law.ber.value * _arrhenius(mechanism, conditions))
        if law.p_flip_0to1 is None:
            return BitFlip(ber=ber)
        return VoltageBitErrors(voltage=1.0, table=_cells(((1.0, ber),)), p_flip_0to1=law.p_flip_0to1.value)
    ones = law.p_flip_0to1.value if law.p_flip_0to1 is not None else 0.5
    if law.ber_vs_v_norm is not None:
        voltage = _voltage(mechanism.id, "v_norm", conditions.v_norm)
        return VoltageBitErrors(voltage=voltage, table=_cells(law.ber_vs_v_norm.value), p_flip_0to1=ones)
    if law.v_min is None or law.v_crash is None or law.ber_at_v_crash is None:
        raise DeviceError(f"mechanism {mechanism.id} has no law; give ber, ber_vs_v_norm or v_min and v_crash")
    v_min, top = law.v_min.value, law.ber_at_v_crash.value
    edge = (math.nextafter(v_min, 0.0), min(_TOLERANCE, top))
    table = _cells(((law.v_crash.value, top), edge, (v_min, 0.0)))
    return VoltageBitErrors(voltage=_voltage(mechanism.id, "v", conditions.v), table=table, p_flip_0to1=ones)


def _arrhenius(mechanism: spec_types.BitErrorRate, conditions: Conditions) -> float:
    law = mechanism.params.arrhenius
    if law is None:
        return 1.0
    if conditions.temperature_c is None:
        raise DeviceError(
            f"mechanism {mechanism.id} needs a temperature; give environment.temperature in the profile,"
            " or --temperature"
        )
    low, high = (-math.inf, math.inf) if law.valid_range is None else law.valid_range.value
    if not low <= conditions.temperature_c <= high:
        raise OptionError(
            f"mechanism {mechanism.id} is known from {low:g} to {high:g} °C, got {conditions.temperature_c:g} °C; ask"
            " for a temperature between them, or measure there and widen arrhenius.valid_range in the profile"
        )
    reference, here = law.reference.value + ABSOLUTE_ZERO_K, conditions.temperature_c + ABSOLUTE_ZERO_K
    return math.exp(min(law.activation_energy.value / _BOLTZMANN_EV * (1 / reference - 1 / here), 700.0))


def clamped(spec: DeviceSpec, conditions: Conditions) -> list[str]:
    """Return a sentence for each rate of wrong bits that comes out above the most that there can be.

    Nothing is said of a law that *conditions* do not fit: building it refuses them, and a sweep has others of its own.
    """
    said = []
    for one in in_memory(spec):
        if isinstance(one, spec_types.BitErrorRate) and one.params.ber is not None:
            try:
                rate = one.params.ber.value * _arrhenius(one, conditions)
            except (DeviceError, OptionError):
                continue
            most = 1.0 if one.params.p_flip_0to1 is None else 0.5  # a failing cell is right for half of the data
            if rate > most:
                said.append(
                    f"{one.id}: its rate comes out as {rate:.3g} wrong bits a bit and is cut at {most:g}, the most."
                )
    return said


def _count(setup: Setup, mechanism: spec_types.BitFlipCount) -> Fault:
    return BitFlipCount(n=mechanism.params.n_flips.value)


def _rowhammer(setup: Setup, mechanism: spec_types.BitFlipBudget) -> Fault:
    law = mechanism.params
    return RowHammer(
        n_flips=law.n_flips.value,
        flippable_fraction=law.flippable_fraction.value,
        max_flips_per_page=law.max_flips_per_page.value,
        geometry=replace(geometry(setup.storage), page_bits=law.page.value if law.page is not None else _PAGE_BITS),
    )


def _stuck(setup: Setup, mechanism: spec_types.StuckAt) -> Fault:
    law = mechanism.params
    assert law.p_stuck_zero is not None
    assert law.p_stuck_one is not None
    return StuckBits(p_zero=law.p_stuck_zero.value, p_one=law.p_stuck_one.value)


def _line(setup: Setup, mechanism: spec_types.LineFault) -> Fault:
    assert mechanism.spatial is not None
    pattern = mechanism.spatial.pattern
    return DeadRegion(
        unit="word" if pattern == "word_cluster" else pattern,  # type: ignore[arg-type]  # the loader checked it
        p=mechanism.params.p.value,
        reads=mechanism.params.effect,  # type: ignore[arg-type]  # the loader checked it
        geometry=geometry(setup.storage),
    )


def _modes(setup: Setup, mechanism: spec_types.FaultModesRate) -> Fault:
    law = mechanism.params
    return FaultModes(
        transient=ModeRates(**law.fit_transient.value.model_dump()),
        permanent=ModeRates(**law.fit_permanent.value.model_dump()),
        devices=law.devices.value,
        device_width=law.device_width.value,
        device_mbit=law.device_capacity.value,
        exposure_h=exposure(setup.conditions),
        geometry=geometry(setup.storage),
    )


def _levels(setup: Setup, mechanism: spec_types.LevelConfusion) -> Fault:
    return LevelConfusion(
        levels=mechanism.params.levels.value,
        bits_per_cell=setup.storage.bits_per_cell,
        cell_code=setup.storage.cell_code,
    )


def _lane(setup: Setup, mechanism: spec_types.LaneFault) -> Fault:
    law, mix = mechanism.params, mechanism.params.effect_mix.value
    return LaneFault(
        fit_per_mbit=fit_per_mbit(law.rate),
        capacity_mbit=law.config.value,
        dvf=law.dvf.value,
        exposure_h=exposure(setup.conditions),
        flux_factor=flux(setup.conditions),
        shares=(mix.zero_lane, mix.stuck_lane, mix.sign_flip_lane, mix.crash),
    )


def _pe(setup: Setup, mechanism: spec_types.StuckPe) -> Fault:
    law = mechanism.params
    return StuckPE(rows=law.rows.value, columns=law.columns.value, p=law.p.value, effect=law.effect)


_BUILDERS: dict[type, Callable[[Setup, Any], Fault]] = {
    spec_types.UpsetRate: _upsets,
    spec_types.BitErrorRate: _bit_errors,
    spec_types.BitFlipCount: _count,
    spec_types.BitFlipBudget: _rowhammer,
    spec_types.StuckAt: _stuck,
    spec_types.LineFault: _line,
    spec_types.FaultModesRate: _modes,
    spec_types.LevelConfusion: _levels,
    spec_types.LaneFault: _lane,
    spec_types.StuckPe: _pe,
}


def _cells(table: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """Turn the rate of wrong bits into that of failing cells, which are right for half of the data."""
    return tuple((voltage, min(1.0, 2 * ber)) for voltage, ber in table)


def _voltage(name: str, condition: str, value: float | None) -> float:
    if value is None:
        raise DeviceError(f"mechanism {name} needs a voltage; give environment.{condition} in the profile, or --vdd")
    return value
