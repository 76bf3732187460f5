"""One small, invented result of every other kind than an assessment, for the tests of what reads and shows them."""

import math

from example_result import chips, example

from faultsim.results import Result, SweepPoint, SweepResult
from faultsim.results.attack import (
    AttackCells,
    AttackCurve,
    AttackPoint,
    AttackResult,
    AttackScore,
    CellsPoint,
    ChangedCell,
    CriticalRadiusResult,
    Proven,
    RandomBand,
)
from faultsim.results.bitmap import BitGroupResult, BitMapAudit, BitMapResult, BitMapSite
from faultsim.results.hardening import Compared, CurvePoint, HardenResult, PairedGain, Radius, TrainingInfo
from faultsim.results.injection import (
    FaultRate,
    FaultRates,
    FlippedBit,
    InjectionOutcomes,
    InjectionProvenance,
    InjectionResult,
    OutcomeMean,
    PartRates,
    StratumRow,
    WorstTrial,
)
from faultsim.results.probing import ProbeCell, ProbePart, ProbeResult


def shifted(by: int, result: Result | None = None, *, trials: int = 40) -> Result:
    """The example with *by* more right answers in the mean chip, one more or less on each, drawn with the same seed."""
    base = example(trials=trials) if result is None else result
    assert base.random is not None
    rows = tuple(
        row.model_copy(update={"correct": row.correct + (by + (1 if row.trial % 2 else -1) if by else 0)})
        for row in base.random.per_trial
    )
    share = by / rows[0].n
    accuracy = base.random.accuracy
    names = ("mean", "low", "high", "p05", "p05_low", "p05_high", "min", "max")
    moved = {name: None if (old := getattr(accuracy, name)) is None else old + share for name in names}
    random = base.random.model_copy(update={"per_trial": rows, "accuracy": accuracy.model_copy(update=moved)})
    return base.model_copy(update={"random": random})


def sweep(over: str = "vdd") -> SweepResult:
    """Three voltages."""
    base = example()
    points = [
        SweepPoint(value=value, label=f"{value} V", random=chips(trials))
        for value, trials in ((0.9, 40), (0.8, 41), (0.7, 42))
    ]
    return SweepResult(
        model=base.model,
        device=base.device,
        data=base.data,
        over=over,
        unit="V",
        seed=0,
        level=0.95,
        trials=40,
        clean=base.clean,
        points=tuple(points),
        notes=("0.6 V is left out.",),
        provenance=base.provenance,
    )


def harden(*, helped: bool = True) -> HardenResult:
    """Five points more accuracy in the mean; or nothing."""
    before = example(trials=40)
    compared = (
        Compared(name="random accuracy, mean", before=0.9, after=0.95, higher_is_better=True, fraction=True),
        Compared(name="random loss, mean", before=0.3, after=0.2, higher_is_better=False, fraction=False, note="nats"),
        Compared(name="worst-case loss", before=math.inf, after=9.0, higher_is_better=False, fraction=False),
    )
    return HardenResult(
        seed=0,
        tolerance=0.01,
        helped=helped,
        sentence="It helped." if helped else "It did not help.",
        hardened="hard.onnx",
        hardened_sha256="c" * 64,
        compared=compared,
        paired=PairedGain(trials=40, mean=0.05, low=0.04, high=0.06, better=39),
        radii=(Radius(p=2.0, accuracy=0.5, what="falls to half", before=0.1, after=None, before_relative=0.01,
                      after_relative=None),),
        training=TrainingInfo(
            recipe="analog", why="the device is a crossbar", loss="noise", settings="sigma 0.1", strength=1.0,
            options={"lr": 0.001}, towards="labels", batch_norm="none", scales="keep", train_samples=300,
            validation_samples=100, test_samples=200, steps=10, planned=10, best_step=10, seconds=1.5,
            trained=("fc.weight",), frozen={},
            curve=tuple(CurvePoint(step=step, epoch=0.1 * step, train_loss=loss, loss=0.1, accuracy=0.99, score=score,
                                   lr=None, seconds=0.1 * step)
                        for step, loss, score in ((0, None, 0.9), (5, 0.8, 0.85), (10, 0.3, 0.95))),
        ),
        before=before,
        after=shifted(10, before),
        notes=("Held out.",),
    )  # fmt: skip


def _rate(value: float, n: int = 160) -> FaultRate:
    return FaultRate(value=value, low=max(value - 0.02, 0.0), high=min(value + 0.02, 1.0), n=n, method="Wilson")


def campaign() -> InjectionResult:
    """One tensor of 8 bits, 20 flips of each."""
    base = example()
    rates = FaultRates(critical=_rate(0.1), changed=_rate(0.01), nonfinite=_rate(0.0), masked=_rate(0.6))
    part = PartRates(name="fc.weight", population=40960, trials=160, rates=rates)
    mean = OutcomeMean(total=10, share=_rate(0.1))
    flip = FlippedBit(
        site="fc.weight", element=7, index=(0, 7), bit=6, field="value", before=3.0, after=math.inf
    )  # fmt: skip
    return InjectionResult(
        model=base.model, storage=None, data=base.data, campaign="d" * 64, seed=0, level=0.95, roles=("weight",),
        flips=1, population=40960, stratify="site,bit", allocation="proportional", replacement=True, planned=160,
        plan="as asked for", trials=160, clean=base.clean, accuracy=_rate(0.98), rates=rates,
        outcomes=InjectionOutcomes(masked=mean, tolerable=mean, critical=mean, nonfinite=mean, trials_masked=1,
                                   trials_critical=16),
        sites=(part,), kinds=(part.model_copy(update={"name": "gemm"}),), bits=(),
        strata=tuple(StratumRow(name=f"fc.weight bit {bit}", population=5120, trials=20, critical=2 * bit)
                     for bit in range(8)),
        worst=(WorstTrial(trial=17, faults=(flip,), flips=1, n=600, correct=300, mismatch=299, nonfinite=0, loss=2.0),),
        provenance=InjectionProvenance(**base.provenance.model_dump(), engine="sweep", executor="one process",
                                       computed=160),
    )  # fmt: skip


def attack(*, cells: bool = False) -> AttackResult:
    """A curve over three radii with a critical radius, or three flipped bits."""
    base = example()
    band = RandomBand(trials=10, mean=0.97, low=0.96, high=0.98, min=0.95, loss_mean=0.1, loss_max=0.2)
    found = [
        (eps, AttackScore(accuracy=0.99 - 4 * eps, loss=1.0, loss_change=0.9, method="pgd"))
        for eps in (0.01, 0.05, 0.2)
    ]
    points = tuple(
        AttackPoint(value=eps, random=band, worst=score, largest=score, gradients=10, forwards=20)
        for eps, score in found
    )
    curve = AttackCurve(
        over="eps", unit="parts of the norm", points=points, keep=0.94,
        radii=(CriticalRadiusResult(name="all", sites=3, holds=0.01, worst=0.0125, random=0.45, random_over_worst=36.0,
                                    safety_factor=None),),
    )  # fmt: skip
    flips = AttackCells(
        what="bits", asked=3, aim="any error", limits="", until_accuracy=None, reached=None, needed=3,
        clean_aimed=1.0, clean_kept=None, nonfinite=0, spent=False,
        points=tuple(
            CellsPoint(cells=count, method="beam", searched_accuracy=0.5, aimed_accuracy=0.5, kept=None,
                       accuracy=0.9 - 0.2 * count, loss=1.0, nonfinite=0, gradients=count, forwards=10)
            for count in (1, 2, 3)
        ),
        changed=(ChangedCell(site="fc.weight", element=3, low_bit=7, before=1.0, after=-127.0),),
    )  # fmt: skip
    return AttackResult(
        model=base.model, device=base.device, data=base.data, searched_on="256 of the samples", separate=False, seed=0,
        level=0.95, clean=base.clean, curve=None if cells else curve, cells=flips if cells else None,
        certificate=Proven(proven=False, why_not="the set is too large", loss_change=None, accuracy=None),
        forecast_log10_trials=12.5, gradients=30, forwards=60, agreement=base.agreement, provenance=base.provenance,
    )  # fmt: skip


def probe() -> ProbeResult:
    """Two layers, the second the more fragile."""
    base = example()
    parts = tuple(
        ProbePart(group="layer", name=name, sites=1, elements=100, depth=0.0, cells=(
            ProbeCell(mode="gradient", strength=0.05, draws=1, accuracy=left, low=None, high=None, loss=1.0),
            ProbeCell(mode="units", strength=0.1, draws=5, accuracy=0.95, low=0.9, high=0.99, loss=0.2)))
        for name, left in (("conv1", 0.9), ("fc", 0.4))
    )  # fmt: skip
    return ProbeResult(model=base.model, device=None, data=base.data, samples=256, seed=0, level=0.95, draws=5,
                       normalisation="equal relative L2 radius", clean=base.clean, parts=parts,
                       provenance=base.provenance)  # fmt: skip


def bitmap() -> BitMapResult:
    """Two tensors of 8 and of 32 bits."""
    base = example()
    sites = tuple(
        BitMapSite(name=name, kind="gemm", role="weight", format=f"int{width}", elements=10, mapped=10,
                   bits=tuple(2.0 ** (bit - width) for bit in range(width)), piloted=(0.0,) * width)
        for name, width in (("fc.weight", 8), ("fc.bias", 32))
    )  # fmt: skip
    group = BitGroupResult(width=8, bits=(0, 1, 2, 7), flips=40, predicted=0.1, audited=20, low=0.05, best=0.12,
                           high=0.3)  # fmt: skip
    audit = BitMapAudit(flips=20, predicted=0.1, low=0.05, best=0.12, high=0.3, rank_correlation=0.9, groups=(group,))
    return BitMapResult(model=base.model, data=base.data, images=64, seed=0, level=0.95, rivals=2, sites=sites,
                        audit=audit, provenance=base.provenance)  # fmt: skip
