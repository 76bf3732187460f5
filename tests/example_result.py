"""One complete, invented result for the tests of the contract, the criteria and the reports."""

from faultsim.criteria import judge_all, parse_criteria
from faultsim.results import (
    Accuracies,
    Agreement,
    Assumption,
    Budget,
    DataInfo,
    DeviceInfo,
    KindResult,
    Losses,
    ModelInfo,
    NotSimulated,
    OutcomeCounts,
    Outcomes,
    OutcomeShare,
    Provenance,
    RandomResult,
    Rate,
    Result,
    Score,
    SiteRandom,
    SiteResult,
    SiteWorst,
    TrialRow,
    WorstCase,
)
from faultsim.stats import quantile_estimate, t_interval

SAMPLES = 600


def rows(trials: int) -> tuple[TrialRow, ...]:
    """Chips whose correct counts run evenly over 21 values from 560 to 580."""
    return tuple(
        TrialRow(
            trial=trial,
            correct=560 + trial * 8 % 21,
            mismatch=30 - trial * 8 % 21,
            nonfinite=0,
            n=SAMPLES,
            loss=0.20 - 0.004 * (trial * 8 % 21),
            outcomes=OutcomeCounts(
                masked=390, tolerable=180 + trial * 8 % 21, critical=30 - trial * 8 % 21, nonfinite=0
            ),
        )
        for trial in range(trials)
    )


def outcomes(found: tuple[TrialRow, ...]) -> Outcomes:
    """What the rows say of their inputs, with t intervals over chips."""

    def share(name: str) -> OutcomeShare:
        counts = [getattr(row.outcomes, name) for row in found]
        mean = t_interval([count / SAMPLES for count in counts])
        return OutcomeShare(total=sum(counts), share=mean.best, low=mean.low, high=mean.high)

    return Outcomes(
        masked=share("masked"),
        tolerable=share("tolerable"),
        critical=share("critical"),
        nonfinite=share("nonfinite"),
        chips_masked=0,
        chips_critical=len(found),
    )


def chips(trials: int) -> RandomResult:
    """The summary of `rows`, with the intervals that the engine would give."""
    found = rows(trials)
    accuracy = [row.correct / row.n for row in found]
    mean, p05 = t_interval(accuracy), quantile_estimate(accuracy, 0.05)
    mismatch = t_interval([row.mismatch / row.n for row in found])
    losses = [row.loss for row in found if row.loss is not None]
    p95 = quantile_estimate(losses, 0.95)
    return RandomResult(
        trials=trials,
        accuracy=Accuracies(
            mean=mean.best,
            low=mean.low,
            high=mean.high,
            p05=p05.best,
            p05_low=None if p05.low_open else p05.low,
            p05_high=None if p05.high_open else p05.high,
            min=min(accuracy),
            max=max(accuracy),
        ),
        loss=Losses(
            mean=sum(losses) / len(losses),
            max=max(losses),
            p95=p95.best,
            p95_low=None if p95.low_open else p95.low,
            p95_high=None if p95.high_open else p95.high,
        ),
        mismatch_rate=Rate(mean=mismatch.best, low=mismatch.low, high=mismatch.high),
        outcomes=outcomes(found),
        nonfinite_trials=0,
        per_trial=found,
    )


def _site(name: str, kind: str, elements: int, depth: int, worst: float) -> SiteResult:
    return SiteResult(
        name=name,
        kind=kind,
        role="weight",
        format="float32",
        stored_format="conductance pair",
        elements=elements,
        depth=depth,
        worst_case=SiteWorst(accuracy=worst, loss=2 * (1 - worst)),
        random=SiteRandom(trials=10, accuracy=0.98, low=0.97, high=0.99, loss=0.07),
    )


def example(*require: str, trials: int = 100, **changed: object) -> Result:
    """A result of the digits demo with a verdict on *require*; *changed* replaces top-level fields."""
    result = Result(
        model=ModelInfo(
            path="scenarios/digits/digits_float.onnx",
            sha256="a" * 64,
            sites=3,
            parameters=9872,
            opset=17,
            formats=("float32",),
        ),
        device=DeviceInfo(
            name="reram_1t1r",
            sha256="b" * 64,
            summary="NeuRRAM-class HfOx 1T1R crossbar (Wan et al. 2022)",
            conditions="t = 1 day",
            assumptions=(
                Assumption(
                    mechanism="relaxation",
                    parameter="sigma_poly_1d",
                    value="5 coefficients, uS",
                    status="verified",
                    source="IBM aihwkit 1.1.0",
                ),
                Assumption(mechanism="read_noise", parameter="sigma", value="0.01 of g_max", status="recalled"),
                Assumption(parameter="array.rows", value="256", status="illustrative"),
                Assumption(mechanism="drift", parameter="nu", value="0.05", status="derived", rests_on="recalled"),
                Assumption(parameter="storage.g_max", value="40 uS", status="derived", rests_on="verified"),
            ),
        ),
        data=DataInfo(source="digits_float.npz", samples=SAMPLES, labels="given"),
        seed=0,
        clean=Score(accuracy=0.99, loss=0.04),
        clean_stored=Score(accuracy=0.985, loss=0.05, formats=("conductance pair",)),
        budget=(
            Budget(
                mechanism="relaxation",
                scope="per_tensor",
                site="conv1.weight",
                p=2.0,
                eps=0.42,
                eps_relative=0.11,
                n=144,
                elements=144,
                confidence=0.99,
            ),
            Budget(
                mechanism="relaxation",
                scope="per_tensor",
                site="fc.weight",
                p=2.0,
                eps=1.7,
                n=5120,
                elements=5120,
                confidence=0.99,
            ),
        ),
        random=chips(trials),
        random_in_set=chips(20),
        worst_case=WorstCase(
            accuracy=0.0717,
            loss=5.1,
            method="fixed-point ascent, 3 restarts",
            gradients=31,
            forwards=58,
            indicator=2.4,
            constraint="p = 2, per tensor",
            forecast_log10_trials=612.3,
        ),
        sites=(
            _site("conv1.weight", "conv", 144, 0, 0.61),
            _site("conv2.weight", "conv", 4608, 1, 0.18),
            _site("fc.weight", "gemm", 5120, 2, 0.93),
        ),
        kinds=(
            KindResult(kind="conv", sites=2, elements=4752, worst_case=SiteWorst(accuracy=0.12, loss=4.0)),
            KindResult(kind="gemm", sites=1, elements=5120, worst_case=SiteWorst(accuracy=0.93, loss=0.2)),
        ),
        agreement=Agreement(runtime="onnxruntime 1.31.1", samples=256, max_abs_difference=3e-6, tolerance=1e-4),
        not_simulated=(NotSimulated(what="ADC noise", why="activations are not perturbed; weights only"),),
        notes=("Biases are digital here and taken as safe.",),
        provenance=Provenance(
            versions={"faultsim": "0.1.0"},
            hardware="2 cores, 1 thread",
            command="faultsim assess digits --device reram",
            wall_s=12.34,
            phases_s={"random": 8.0},
        ),
    )
    result = Result.model_validate(dict(result) | changed)
    return result.model_copy(update={"verdict": judge_all(parse_criteria(require), result)})
