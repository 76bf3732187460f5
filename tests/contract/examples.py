"""One or more examples of every registered law, and tensors in every storage format. No test lives here.

A newly registered law needs an entry in `EXAMPLES` and one in `NOTHING`, or `test_laws.py` fails.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Site, Stored
from faultsim.faults import (
    AnalogChain,
    BitFlip,
    BitFlipCount,
    ConductanceNoise,
    DeadLine,
    DeadRegion,
    Drift,
    Fault,
    FaultModes,
    IrDrop,
    LaneFault,
    LevelConfusion,
    LogDrift,
    LogLine,
    Lognormal,
    MeanDrift,
    ModeRates,
    PhaseNoise,
    ReadNoise1f,
    ReadNoiseLog,
    ReadNoiseRelative,
    RowHammer,
    SaturatingNoise,
    SaturatingReadNoise,
    StuckBits,
    StuckCells,
    StuckPE,
    UpsetRate,
    VoltageBitErrors,
)
from faultsim.formats import (
    BinaryFormat,
    BitSliced,
    ConductancePair,
    DualPair,
    FloatFormat,
    IntFormat,
    NumberFormat,
    OffsetColumn,
    SingleDeviceOffset,
    fixed_point,
    quantize_symmetric,
    ternary,
)
from faultsim.inference import (
    ActivationStorage,
    ActivationUpset,
    Converter,
    InferenceLaw,
    InputNoise,
    OutputNoise,
    StuckOutput,
    WeightReadNoise,
)
from faultsim.memory import Geometry

SMALL = Geometry(word_bits=16, rows=4, row_words=4, interleave=2)
RANK = Geometry(word_bits=64, rows=4, row_words=4)
NU = LogLine(a_ln=-0.0155, b=0.0244, min=0.049, max=0.1)
NU_STD = LogLine(a_ln=-0.0125, b=-0.0059, min=0.008, max=0.045)
NEVER = LogLine(a_ln=0.0, b=0.0, min=0.0, max=0.0)
LEVELS = ((0.0, 0.1), (0.33, 0.12), (0.66, 0.12), (1.0, 0.1))
FAR = ((0.0, 1e-3), (1.0, 1e-3), (2.0, 1e-3), (3.0, 1e-3))

EXAMPLES: dict[str, list[Fault]] = {
    "analog_chain": [
        AnalogChain(laws=(Lognormal(sigma=0.1), ReadNoiseRelative(sigma=0.05)), t_s=60.0),
        AnalogChain(laws=(StuckCells(p_lrs=0.05, p_hrs=0.05), Lognormal(sigma=0.1))),
    ],
    "bit_flip": [BitFlip(ber=0.05)],
    "bit_flip_count": [BitFlipCount(n=7)],
    "conductance_noise": [
        ConductanceNoise(sigma_poly=((0.26, 1.97, -1.17),)),
        ConductanceNoise(sigma_poly=((0.5,), (1.0, 0.2)), times_s=(1.0, 3600.0), clip=False, t_s=60.0),
    ],
    "dead_line": [DeadLine(p=0.2, rows=4, cols=4), DeadLine(p=0.2, rows=4, cols=4, line="word", effect="short")],
    "dead_region": [
        DeadRegion(unit="word", p=0.2, geometry=SMALL),
        DeadRegion(unit="row", count=1, reads="one", geometry=SMALL),
        DeadRegion(unit="bank", count=1, reads="random", geometry=SMALL),
    ],
    "drift": [
        Drift(t0_s=20.0, nu_mean=NU, nu_std=NU_STD, t_s=86400.0),
        Drift(t0_s=20.0, nu_mean=NU, nu_std=NU_STD, compensation="global", t_s=86400.0),
    ],
    "fault_modes": [
        FaultModes(
            transient=ModeRates(bit=400.0, row=300.0),
            permanent=ModeRates(bit=400.0, column=200.0, bank=100.0),
            exposure_h=1e6,
            device_mbit=0.001,
            geometry=RANK,
        ),
        FaultModes(
            transient=ModeRates(word=1.0),
            permanent=ModeRates(),
            exposure_h=1.0,
            device_mbit=0.01,
            geometry=RANK,
            given_event=True,
        ),
    ],
    "ir_drop": [IrDrop(r_wire_ohm=2.0, tile_rows=8, tile_cols=8)],
    "lane_fault": [
        LaneFault(fit_per_mbit=1e3, capacity_mbit=1e3, exposure_h=2e3, shares=(0.4, 0.3, 0.2, 0.1)),
        LaneFault(fit_per_mbit=1.0, capacity_mbit=1.0, exposure_h=1.0, shares=(0, 0, 1, 0), given_event=True),
    ],
    "level_confusion": [
        LevelConfusion(levels=LEVELS, bits_per_cell=2),
        LevelConfusion(levels=LEVELS, bits_per_cell=2, cell_code="gray"),
    ],
    "log_drift": [LogDrift(t0_s=1.0, rate_mean=0.05, rate_std=0.02, t_s=1e4)],
    "lognormal": [Lognormal(sigma=0.2)],
    "mean_drift": [MeanDrift(times_s=(100.0, 1e5), shifts=((0.1, -0.02), (0.2, -0.05)), t_s=1e4)],
    "phase_noise": [PhaseNoise(sigma_phase_rad=0.05, tile=4)],
    "read_noise_1f": [ReadNoise1f(t_read_s=2.5e-7, c=0.0088, exponent=-0.65, max=0.2, t_s=3600.0)],
    "read_noise_log": [ReadNoiseLog(t_read_s=2.5e-7, k_uS=0.01, t_s=3600.0)],
    "read_noise_relative": [ReadNoiseRelative(sigma=0.05), ReadNoiseRelative(sigma=0.05, relative_to="g")],
    "rowhammer": [RowHammer(n_flips=5, flippable_fraction=0.3, geometry=SMALL)],
    "saturating_noise": [SaturatingNoise(rows=((1.0, 0.8, 5.0), (3600.0, 1.2, 5.0)), t_s=60.0)],
    "saturating_read_noise": [SaturatingReadNoise(rows=((1.0, 0.8, 5.0), (3600.0, 1.2, 5.0)), t_s=60.0)],
    "stuck_bits": [StuckBits(p_zero=0.05, p_one=0.03)],
    "stuck_cells": [StuckCells(p_lrs=0.1, p_hrs=0.1)],
    "stuck_pe": [
        StuckPE(rows=4, columns=4, p=0.2),
        StuckPE(rows=4, columns=4, count=2, effect="stuck_bit"),
    ],
    "upset_rate": [
        UpsetRate(fit_per_mbit=1e9, exposure_h=1e3, multiplicity=(0.6, 0.3, 0.1)),
        UpsetRate(fit_per_mbit=1e9, exposure_h=1e3, multiplicity=(0.5, 0.5), pattern="row", geometry=SMALL),
        UpsetRate(fit_per_mbit=1.0, exposure_h=1.0, given_event=True),
    ],
    "voltage_bit_errors": [VoltageBitErrors(voltage=0.8, table=((0.9, 1e-3), (0.8, 0.1)), p_flip_0to1=0.6)],
}
"""Laws by kind, at rates high enough that a small tensor shows them."""

NOTHING: dict[str, Fault] = {
    "analog_chain": AnalogChain(laws=(Lognormal(sigma=0.0), ReadNoiseRelative(sigma=0.0))),
    "bit_flip": BitFlip(ber=0.0),
    "bit_flip_count": BitFlipCount(n=0),
    "conductance_noise": ConductanceNoise(sigma_poly=((0.0,),)),
    "dead_line": DeadLine(p=0.0, rows=4, cols=4),
    "dead_region": DeadRegion(unit="row", p=0.0, geometry=SMALL),
    "drift": Drift(t0_s=20.0, nu_mean=NEVER, nu_std=NEVER, t_s=86400.0),
    "fault_modes": FaultModes(
        transient=ModeRates(), permanent=ModeRates(), exposure_h=1e6, device_mbit=0.01, geometry=RANK
    ),
    "ir_drop": IrDrop(r_wire_ohm=0.0, tile_rows=8, tile_cols=8),
    "lane_fault": LaneFault(fit_per_mbit=0.0, capacity_mbit=1e3, exposure_h=2e3),
    "level_confusion": LevelConfusion(levels=FAR, bits_per_cell=2),
    "log_drift": LogDrift(t0_s=1.0, rate_mean=0.0, rate_std=0.0, t_s=1e4),
    "lognormal": Lognormal(sigma=0.0),
    "mean_drift": MeanDrift(times_s=(100.0,), shifts=((0.0,),), t_s=50.0),
    "phase_noise": PhaseNoise(sigma_phase_rad=0.0, tile=4),
    "read_noise_1f": ReadNoise1f(t_read_s=2.5e-7, c=0.0, exponent=-0.65, max=0.2, t_s=3600.0),
    "read_noise_log": ReadNoiseLog(t_read_s=2.5e-7, k_uS=0.0, t_s=3600.0),
    "read_noise_relative": ReadNoiseRelative(sigma=0.0),
    "rowhammer": RowHammer(n_flips=0, flippable_fraction=0.3, geometry=SMALL),
    "saturating_noise": SaturatingNoise(rows=((1.0, 0.0, 5.0),)),
    "saturating_read_noise": SaturatingReadNoise(rows=((1.0, 0.0, 5.0),)),
    "stuck_bits": StuckBits(p_zero=0.0, p_one=0.0),
    "stuck_cells": StuckCells(p_lrs=0.0, p_hrs=0.0),
    "stuck_pe": StuckPE(rows=4, columns=4, p=0.0),
    "upset_rate": UpsetRate(fit_per_mbit=0.0, exposure_h=1e3),
    "voltage_bit_errors": VoltageBitErrors(voltage=1.0, table=((1.0, 0.0), (0.8, 0.1))),
}
"""Each law at a rate, a spread or an age of zero."""

INFERENCE_EXAMPLES: dict[str, list[InferenceLaw]] = {
    "activation_storage": [ActivationStorage(bits=8)],
    "activation_upset": [ActivationUpset(count=2), ActivationUpset(mean=0.5, multiplicity=(0.7, 0.3))],
    "converter": [Converter(target="inputs", steps=254), Converter(target="outputs", steps=62, bound=5.0)],
    "input_noise": [InputNoise(sigma=0.05)],
    "output_noise": [OutputNoise(sigma=0.05)],
    "stuck_output": [StuckOutput(elements=((0, 1), (1, 2)), rows=4, columns=3)],
    "weight_read_noise": [WeightReadNoise(std={"w": np.full((3, 4), 0.1)})],
}
INFERENCE_NOTHING: dict[str, InferenceLaw] = {
    "activation_upset": ActivationUpset(count=0),
    "input_noise": InputNoise(sigma=0.0),
    "output_noise": OutputNoise(sigma=0.0),
    "stuck_output": StuckOutput(elements=()),
    "weight_read_noise": WeightReadNoise(std={"w": np.zeros((3, 4))}),
}
"""Laws of the running network at zero; storing and converting have none."""

SHAPES = {"a": (6, 4), "b": (4, 3, 2, 2), "bias": (5,)}


def stored(fmt: NumberFormat, name: str = "a", dtype: str = "float32") -> Stored:
    """A tensor of `SHAPES` whose numbers *fmt* holds exactly; both ends of the range and zero are among them."""
    shape = SHAPES[name]
    rng = np.random.default_rng(len(name) + sum(shape))
    values = rng.uniform(-1, 1, shape)
    values.reshape(-1)[:3] = (-1.0, 1.0, 0.0)
    if dtype != "float32":
        low, high = (-(2 ** (fmt.bits - 1)), 2 ** (fmt.bits - 1) - 1) if dtype[0] == "i" else (0, 2**fmt.bits - 1)
        values = np.clip(np.rint(values * high), low, high)
    held = fmt.decode(fmt.encode(values.astype(dtype)))
    role: Any = "bias" if len(shape) == 1 else "weight"
    site = Site(name=name, shape=shape, format=FloatFormat(), layer=f"layer of {name}", kind="gemm", role=role, depth=0)
    return Stored(site, fmt, held.astype(dtype))


def _channels(name: str) -> NumberFormat:
    values: NDArray[np.float64] = np.random.default_rng(0).uniform(-1, 1, SHAPES[name])
    return quantize_symmetric(values, 8, axis=0)


def digital(name: str = "a") -> dict[str, Stored]:
    """A tensor in every digital storage format."""
    formats: dict[str, tuple[NumberFormat, str]] = {
        "int8": (IntFormat(8, scale=1 / 127), "float32"),
        "int8 per channel": (_channels(name), "float32"),
        "int8 narrow": (IntFormat(8, scale=1 / 127, narrow=True), "float32"),
        "sign magnitude": (IntFormat(8, scale=1 / 127, encoding="sign_magnitude", narrow=True), "float32"),
        "offset binary": (IntFormat(8, scale=1 / 127, encoding="offset_binary", narrow=True), "float32"),
        "uint5 with zero point": (IntFormat(5, signed=False, scale=1 / 15, zero_point=15), "float32"),
        "int22": (IntFormat(22, scale=2.0**-21), "float32"),
        "fixed point": (fixed_point(8, 6), "float32"),
        "ternary": (ternary(0.7), "float32"),
        "binary": (BinaryFormat(0.5), "float32"),
        "float32": (FloatFormat("float32"), "float32"),
        "bfloat16": (FloatFormat("bfloat16"), "float32"),
        "float8": (FloatFormat("float8_e4m3fn"), "float32"),
        "int8 codes": (IntFormat(8, dtype="int8"), "int8"),
        "uint8 codes": (IntFormat(8, signed=False, dtype="uint8"), "uint8"),
        "int4 codes in int8": (IntFormat(4, dtype="int8"), "int8"),
        "int32 codes": (IntFormat(32, dtype="int32"), "int32"),
    }
    return {title: stored(fmt, name, dtype) for title, (fmt, dtype) in formats.items()}


def analog(name: str = "a") -> dict[str, Stored]:
    """A tensor in every mapping to conductances."""
    shape: Sequence[int] = SHAPES[name]
    formats: dict[str, NumberFormat] = {
        "pair": ConductancePair(0.1, 25.0, w_max=np.array(1.0)),
        "dual pair": DualPair(0.1, 25.0, np.array(1.0), pairs=2),
        "offset": SingleDeviceOffset(0.1, 25.0, np.array(1.0)),
        "offset column": OffsetColumn(0.1, 25.0, np.array(1.0), block=(*shape[:-1], 1)),
        "bit sliced": BitSliced(0.1, 25.0, np.array(1.0), magnitude_bits=6, bits_per_cell=2),
    }
    found = {}
    for title, fmt in formats.items():
        one = stored(FloatFormat(), name)
        found[title] = Stored(one.site, fmt, fmt.from_cells(fmt.to_cells(one.values)))  # type: ignore[attr-defined]
    return found


def mesh(name: str = "a") -> dict[str, Stored]:
    """A tensor on a photonic mesh."""
    return {"mesh": stored(FloatFormat(), name)}
