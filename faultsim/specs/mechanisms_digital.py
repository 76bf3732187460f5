"""The parameters of the laws of bits in a memory, of the logic beside it, and of multi-level cells. No laws here."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from faultsim.specs.mechanism import Ber, Celsius, MechanismBase, Share, Temperature, Volt
from faultsim.specs.quantity import NonNegative, Positive, Probability, Quantity, Spec

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Size = Annotated[int, Field(ge=1, le=1 << 20)]
Fit = Quantity[NonNegative, Literal["FIT/Mb", "FIT/GB", "upset/bit/day"]]


class UpsetRateParams(Spec):
    """Soft errors at a constant rate; `rate` is what counts, `sigma` says what it was derived from."""

    rate: Fit
    sigma: Quantity[NonNegative, Literal["cm2/bit"]] | None = None


class UpsetRate(MechanismBase):
    """Single-event upsets: a Poisson number of events over the exposure.

    Of stored bits (``target: weights``); or of the memory that holds activations (``target: activations``), where a
    trial is drawn given an event and strikes the same places in each inference.
    """

    model: Literal["upset_rate"]
    params: UpsetRateParams


class Arrhenius(Spec):
    """How a rate grows with temperature: times ``exp(E_a/k (1/T_ref - 1/T))`` at ``environment.temperature``."""

    activation_energy: Quantity[Positive, Literal["eV"]]
    reference: Celsius
    valid_range: Quantity[tuple[Temperature, Temperature], Literal["C"]] | None = Field(
        default=None, description="Lowest and highest temperature that the law is used at; others are refused."
    )

    @model_validator(mode="after")
    def _reference_within(self) -> Self:
        if self.valid_range is not None:
            low, high = self.valid_range.value
            if not low < high or not low <= self.reference.value <= high:
                raise PydanticCustomError(
                    "valid_range",
                    "valid_range.value must be [lowest, highest] with the reference {reference} C within, got {given}",
                    {"reference": f"{self.reference.value:g}", "given": f"[{low:g}, {high:g}]"},
                )
        return self


class BitErrorRateParams(Spec):
    """One of: `ber`; `ber_vs_v_norm` at ``environment.v_norm``; `v_min`, `v_crash` and `ber_at_v_crash`.

    BER is always the share of stored bits that read wrong, over data with as many ones as zeros. A plain
    `ber` flips bits; the others, and `ber` with `p_flip_0to1`, force cells to 1 with that probability, else
    to 0. `arrhenius` goes with `ber`.
    """

    ber: Ber | None = None
    ber_vs_v_norm: Quantity[tuple[tuple[Positive, Probability], ...], Literal["[V/Vmin, BER]"]] | None = None
    v_min: Volt | None = None
    v_crash: Volt | None = None
    ber_at_v_crash: Ber | None = None
    p_flip_0to1: Share | None = None
    arrhenius: Arrhenius | None = None

    @model_validator(mode="after")
    def _one_law(self) -> Self:
        undervolt = (self.v_min, self.v_crash, self.ber_at_v_crash)
        laws = [
            self.ber is not None,
            self.ber_vs_v_norm is not None,
            any(part is not None for part in undervolt),
        ]
        if sum(laws) != 1 or (laws[2] and None in undervolt):
            raise PydanticCustomError(
                "one_law",
                "needs exactly one of: ber, ber_vs_v_norm, or all of v_min, v_crash and ber_at_v_crash",
            )
        if self.ber_vs_v_norm is not None:
            volts = [v for v, _ in self.ber_vs_v_norm.value]
            bers = [ber for _, ber in self.ber_vs_v_norm.value]
            if len(volts) < 2 or volts != sorted(set(volts), reverse=True) or bers != sorted(bers):
                raise PydanticCustomError(
                    "table",
                    "ber_vs_v_norm.value must hold at least two points, voltages falling and BER not falling",
                )
        if self.v_min is not None and self.v_crash is not None and self.v_crash.value >= self.v_min.value:
            raise PydanticCustomError("voltages", "v_crash must be less than v_min")
        if self.arrhenius is not None and self.ber is None:
            raise PydanticCustomError("arrhenius", "arrhenius goes with ber; a table of voltages has no temperature")
        return self


class BitErrorRate(MechanismBase):
    """Each stored bit is wrong, independently, with one probability."""

    model: Literal["bit_error_rate"]
    params: BitErrorRateParams


class BitFlipCountParams(Spec):
    """Exactly `n_flips` bits of the whole memory, anywhere."""

    n_flips: Quantity[Count, Literal["bits"]]


class BitFlipCount(MechanismBase):
    """A known number of flipped bits: an experiment rather than a device."""

    model: Literal["bit_flip_count"]
    params: BitFlipCountParams


class BitFlipBudgetParams(Spec):
    """RowHammer: at most `n_flips` of a die's own one-way flippable cells, few of them in one page."""

    n_flips: Quantity[Size, Literal["bits"]]
    flippable_fraction: Quantity[Probability, Literal["fraction of bits"]]
    max_flips_per_page: Quantity[Size, Literal["flips per page"]]
    page: Quantity[Size, Literal["bits"]] | None = None


class BitFlipBudget(MechanismBase):
    """Bits that somebody else's memory accesses flip."""

    model: Literal["bit_flip_budget"]
    params: BitFlipBudgetParams


class StuckAtParams(Spec):
    """Stuck cells: of an analog array at the low or high resistance, of a digital one at 0 or 1."""

    p_stuck_lrs: Quantity[Probability, Literal["fraction of cells"]] | None = None
    p_stuck_hrs: Quantity[Probability, Literal["fraction of cells"]] | None = None
    p_stuck_zero: Quantity[Probability, Literal["fraction of cells"]] | None = None
    p_stuck_one: Quantity[Probability, Literal["fraction of cells"]] | None = None

    @property
    def analog(self) -> bool:
        """Whether the cells are resistances."""
        return self.p_stuck_lrs is not None

    @model_validator(mode="after")
    def _a_pair(self) -> Self:
        resistive = (self.p_stuck_lrs is not None, self.p_stuck_hrs is not None)
        digital = (self.p_stuck_zero is not None, self.p_stuck_one is not None)
        if not (all(resistive) and not any(digital)) and not (all(digital) and not any(resistive)):
            raise PydanticCustomError(
                "pair", "needs p_stuck_lrs and p_stuck_hrs (analog), or p_stuck_zero and p_stuck_one (digital)"
            )
        return self


class StuckAt(MechanismBase):
    """Cells that keep one state whatever is written."""

    model: Literal["stuck_at"]
    params: StuckAtParams


class LineFaultParams(Spec):
    """Dead lines and blocks: probability that one unit (``spatial.pattern``) is dead."""

    p: Quantity[Probability, Literal["fraction of lines", "fraction of units"]]
    effect: Literal["open", "short", "zero", "one", "random"] = Field(
        default="open", description="Analog: open or short. Digital: zero, one or random is read."
    )


class LineFault(MechanismBase):
    """A whole word, row, column, bank or tile that does not answer."""

    model: Literal["line_fault"]
    params: LineFaultParams


class FitByMode(Spec):
    """FIT of a DRAM device by the shape of the fault."""

    bit: NonNegative = 0.0
    word: NonNegative = 0.0
    column: NonNegative = 0.0
    row: NonNegative = 0.0
    bank: NonNegative = 0.0
    multi_bank: NonNegative = 0.0
    multi_rank: NonNegative = 0.0


class FaultModesParams(Spec):
    """Field rates by fault mode, of one DRAM device of `capacity`; `devices` of them make a rank."""

    fit_transient: Quantity[FitByMode, Literal["FIT/device"]]
    fit_permanent: Quantity[FitByMode, Literal["FIT/device"]]
    devices: Quantity[Size, Literal["DRAM chips per rank"]]
    device_width: Quantity[Literal[4, 8], Literal["bits"]]
    device_capacity: Quantity[Positive, Literal["Mbit"]]


class FaultModesRate(MechanismBase):
    """Faults of DRAM devices in the field: bits, words, columns, rows, banks."""

    model: Literal["fault_modes_rate"]
    params: FaultModesParams


class LevelConfusionParams(Spec):
    """Levels of a multi-level cell as mean and standard deviation of its normalised conductance."""

    levels: Quantity[
        Annotated[tuple[tuple[NonNegative, Positive], ...], Field(min_length=2)], Literal["[mean, sigma] normalised g"]
    ]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        means = [mean for mean, _ in self.levels.value]
        count = len(means)
        if means != sorted(set(means)) or count & (count - 1):
            raise PydanticCustomError("levels", "levels.value must be 2, 4, 8 … levels with rising means")
        return self


class LevelConfusion(MechanismBase):
    """Neighbouring levels of a cell that are read for each other."""

    model: Literal["level_confusion"]
    params: LevelConfusionParams


class EffectMix(Spec):
    """What a broken lane does: shares that add up to 1."""

    zero_lane: Probability
    stuck_lane: Probability
    sign_flip_lane: Probability
    crash: Probability

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.zero_lane + self.stuck_lane + self.sign_flip_lane + self.crash
        if abs(total - 1) > 1e-6:
            raise PydanticCustomError("mix", "the shares must add up to 1, got {total}", {"total": f"{total:g}"})
        return self


class LaneFaultParams(Spec):
    """Upsets of configuration memory: `rate` per bit, of which the share `dvf` breaks a lane."""

    rate: Fit
    config: Quantity[Positive, Literal["Mbit"]]
    dvf: Share
    effect_mix: Quantity[EffectMix, Literal["probability"]]


class LaneFault(MechanismBase):
    """One output channel of one layer computed wrongly, because its circuit was reconfigured by an upset."""

    model: Literal["lane_fault"]
    params: LaneFaultParams


class StuckPeParams(Spec):
    """Dead or stuck processing elements of a systolic array."""

    rows: Quantity[Size, Literal["PEs"]]
    columns: Quantity[Size, Literal["PEs"]]
    p: Quantity[Probability, Literal["fraction of PEs"]]
    mapping: Literal["weight_stationary", "output_stationary"] = "weight_stationary"
    effect: Literal["dead", "stuck_bit"] = "dead"


class StuckPe(MechanismBase):
    """Processing elements that compute nothing or hold a stuck bit; the mapping says which channels are hit."""

    model: Literal["stuck_pe"]
    params: StuckPeParams


DIGITAL_LAWS = (
    UpsetRate,
    BitErrorRate,
    BitFlipCount,
    BitFlipBudget,
    FaultModesRate,
    LevelConfusion,
    LaneFault,
    StuckPe,
)
"""Mechanisms of memories of bits alone; `StuckAt` and `LineFault` are of both kinds."""
