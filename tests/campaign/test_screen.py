"""Screened campaigns: exact where a trial is evaluated whole, corrected where not, the same for any chunks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from campaign_nets import Tiny, imaginary

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, Shard, plan_campaign, run_campaign, screened
from faultsim.campaign.design import FIRST_SCREENED_LOOK
from faultsim.campaign.draw import Draws
from faultsim.campaign.estimates import Domain
from faultsim.campaign.evaluator import COLUMNS, PlainEvaluator
from faultsim.campaign.screen_rater import ScreenRater
from faultsim.campaign.screened import SCREEN_COLUMNS, WHOLE_EVERY, ScreenEvaluator, is_whole
from faultsim.cli import main
from faultsim.errors import OptionError
from faultsim.journal import JournalError, Table, merge
from faultsim.library import find_model
from faultsim.results.injection import InjectionResult


def injected(model: Any, journal: Path | None = None, *, limit: int = 60, **given: Any) -> InjectionResult:
    options = Options(limit=limit, threads=1)
    extra = {name: given.pop(name) for name in ("paired_with",) if name in given}
    return run_campaign(
        model, options=options, campaign=CampaignOptions(screen=True, **given), journal=journal, **extra
    )


def figures(result: InjectionResult) -> dict[str, Any]:
    return result.model_dump(exclude={"provenance"})


@pytest.mark.parametrize("name", ["digits", "digits_int8"])
def test_rows_do_not_depend_on_chunks_and_whole_trials_hold_the_counts_of_whole_passes(name: str) -> None:
    campaign = CampaignOptions(screen=True, trials=64)
    prepared = plan_campaign(find_model(name), options=Options(limit=60, threads=1), campaign=campaign).prepared
    trials = list(range(64))

    def rows(*chunks: list[int]) -> Table:
        one = ScreenEvaluator(prepared.setting, prepared.draws, memory_bytes=256 << 20)
        found = [tuple(row) for chunk in chunks for row in one.evaluate(chunk)]
        assert sum(one.spent.values()) == len(found)
        return np.array(found, dtype=SCREEN_COLUMNS.dtype)

    whole = rows(trials)
    again = rows(trials[40:], trials[7:40], trials[:7])
    assert whole.tobytes() == np.sort(again, order="trial").tobytes()
    plain = np.array(PlainEvaluator(prepared.setting, prepared.draws).evaluate(trials), dtype=COLUMNS.dtype)
    audited = whole["whole"] > 0
    assert audited.sum() == 64 // WHOLE_EVERY
    for column in COLUMNS.names:
        assert np.array_equal(whole[column][audited], plain[column][audited], equal_nan=True)
    for column in ("site", "element", "bit", "n"):
        assert np.array_equal(whole[column], plain[column])
    seen = whole["screen_mismatch"] + whole["screen_audit_mismatch"]
    assert np.all(seen <= plain["mismatch"])  # what was seen to change does change
    info = ScreenRater(prepared.draws, whole, 0.95).info()
    assert info.evaluated < 0.8  # many trials of so small a network have no screen to pass
    assert info.whole == 64 // WHOLE_EVERY


@pytest.mark.parametrize("name", ["digits", "digits_int8"])
def test_the_corrected_rates_hold_those_of_the_same_trials_evaluated_whole(name: str) -> None:
    result = injected(find_model(name), trials=200)
    planned = plan_campaign(
        find_model(name), options=Options(limit=60, threads=1), campaign=CampaignOptions(screen=True, trials=200)
    )
    setting = planned.prepared.setting
    rows = np.array(PlainEvaluator(setting, planned.prepared.draws).evaluate(list(range(200))), dtype=COLUMNS.dtype)
    changed, critical = result.rates.changed, result.rates.critical
    assert changed.low <= (rows["mismatch"] / 60).mean() <= changed.high
    assert critical.low <= (rows["mismatch"] > 0).mean() <= critical.high
    assert result.accuracy is not None
    assert result.accuracy.low <= (rows["correct"] / 60).mean() <= result.accuracy.high
    worst = result.worst[0]
    assert worst.mismatch == rows["mismatch"][worst.trial]  # the worst are evaluated whole
    assert worst.correct == rows["correct"][worst.trial]


def blindly_screened(draws: Draws, shares: np.ndarray, rng: np.random.Generator, audit: int = 2) -> Table:
    """Rows of a screen that takes every image of every trial for harmless, of 50 images of which a share changes."""
    trials = np.arange(len(shares))
    table = np.zeros(len(trials), SCREEN_COLUMNS.dtype)
    table["trial"], table["n"] = trials, 50
    faults = draws.faults(trials)
    for name in ("site", "element", "bit"):
        table[name] = getattr(faults, name)[:, 0]
    changed = np.rint(50 * shares).astype(np.int64)
    found = rng.hypergeometric(changed, 50 - changed, audit)
    table["screen_screened"], table["screen_audited"], table["screen_clean_correct"] = 50, audit, 45
    table["screen_audit_mismatch"], table["screen_audit_correct"] = found, -found
    whole = np.array([is_whole(int(trial)) for trial in trials])
    table["whole"] = whole
    for column, counts in {
        "mismatch": changed,
        "correct": 45 - changed,
        "critical": changed,
        "masked": 50 - changed,
    }.items():
        table[column][whole] = counts[whole]
    return table


def test_rates_are_unbiased_and_their_intervals_hold_even_if_the_screen_is_blind() -> None:
    """One fault in ten changes a tenth of the images. 150 campaigns of 320 trials; at most 10 % + 4 errors miss."""
    draws = Draws(imaginary(), 0, independent=True)
    rng = np.random.default_rng(0)
    missed = {"critical": 0, "changed": 0, "accuracy": 0}
    truth = {"critical": 0.1, "changed": 0.01, "accuracy": 0.9 - 0.01}
    values: dict[str, list[float]] = {name: [] for name in truth}
    for _ in range(150):
        shares = np.where(rng.random(320) < 0.1, 0.1, 0.0)
        rater = ScreenRater(draws, blindly_screened(draws, shares, rng), 0.9)
        for name, wanted in truth.items():
            found = rater.must(name)
            values[name].append(found.value)
            missed[name] += not found.low <= wanted <= found.high
    for name, wanted in truth.items():
        error = np.std(values[name], ddof=1) / np.sqrt(150)
        assert abs(np.mean(values[name]) - wanted) <= 4 * error
        assert missed[name] <= 150 * 0.1 + 4 * np.sqrt(150 * 0.09)


def test_the_uncorrected_share_is_that_of_the_screen_alone() -> None:
    """Whole trials that change everything count nothing, a sample of suspects counts for all of them."""
    draws = Draws(imaginary(), 0, independent=True)
    rows = blindly_screened(draws, np.ones(2 * WHOLE_EVERY), np.random.default_rng(0))
    assert rows["whole"].sum() == 2
    assert not rows["whole"][1:3].any()
    assert (rows["mismatch"] > 0).sum() == 2
    assert ScreenRater(draws, rows, 0.95).info().uncorrected == 0
    rows["screen_screened"][1:3], rows["screen_suspects"][1:3] = 10, 40
    rows["screen_evaluated"][1:3], rows["screen_mismatch"][1:3] = (8, 40), (6, 20)
    found = ScreenRater(draws, rows, 0.95).info().uncorrected
    assert found == pytest.approx((30 / 50 + 20 / 50) / (2 * WHOLE_EVERY))


def test_the_help_tells_what_a_screen_hangs_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["campaign", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "interruptions change no figure, except that" in said
    assert "--screen leaves out samples by margins in floating point" in said
    assert "Processes; the same result, but for --screen." in said


def test_every_shard_has_its_part_of_the_whole_trials() -> None:
    whole = np.array([is_whole(trial) for trial in range(64 * 320)])
    assert whole[0]
    assert np.all(whole.reshape(-1, WHOLE_EVERY).sum(axis=1) == 1)
    for shards in range(1, 65):
        for number in range(shards):
            own = whole[number::shards]
            assert own[:320].any(), (shards, number)
            assert abs(own.sum() - own.size / WHOLE_EVERY) < 5 * np.sqrt(own.size / WHOLE_EVERY), (shards, number)


def test_a_journal_of_an_earlier_screen_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = find_model("digits_int8")
    with monkeypatch.context() as earlier:
        earlier.setattr(screened, "SCREEN_VERSION", screened.SCREEN_VERSION - 1)
        injected(model, tmp_path / "j", trials=4)
    with pytest.raises(JournalError, match=r"belongs to another campaign: .*version"):
        injected(model, tmp_path / "j", trials=4)


def test_a_part_without_a_whole_trial_owns_up_to_it() -> None:
    draws = Draws(imaginary(), 0, independent=True)
    rows = blindly_screened(draws, np.zeros(3), np.random.default_rng(0))
    rows["whole"] = 0
    part = ScreenRater(draws, rows, 0.95).part(Domain("all", (0, 1, 2)))
    assert (part.population, part.trials) == (2040, 3)
    assert part.rates is not None
    assert (part.rates.masked.low, part.rates.masked.high, part.rates.masked.unseen) == (0, 1, 1)
    assert part.rates.critical.high == 1


def test_independent_trials_can_be_the_same_and_fill_the_population() -> None:
    draws = Draws(imaginary(), 3, independent=True)
    assert draws.replacement
    faults = draws.faults(np.arange(4000))
    units = np.stack([faults.site[:, 0], faults.element[:, 0], faults.bit[:, 0]], axis=1)
    assert len(np.unique(units, axis=0)) < 2040
    share = np.bincount(faults.site[:, 0]) / 4000
    assert share == pytest.approx(np.array([240, 1600, 200]) / 2040, abs=0.03)


def test_a_screened_campaign_goes_on_and_its_shards_unite(tmp_path: Path) -> None:
    model = find_model("digits_int8")
    whole = injected(model, trials=160)
    injected(model, tmp_path / "j", trials=100)
    more = injected(model, tmp_path / "j", trials=160)
    assert more.provenance.computed == 60
    assert figures(more) == figures(whole)
    for k in (1, 2):
        injected(model, tmp_path / f"s{k}", trials=160, shard=Shard(number=k, of=2))
    merge([tmp_path / "s1", tmp_path / "s2"], tmp_path / "m")
    assert figures(injected(model, tmp_path / "m", trials=160)) == figures(whole)
    assert InjectionResult.model_validate_json(whole.model_dump_json()) == whole
    assert whole.screen is not None
    with pytest.raises(JournalError, match="belongs to another campaign"):
        run_campaign(
            model, options=Options(limit=60, threads=1), campaign=CampaignOptions(trials=10), journal=tmp_path / "j"
        )


def test_a_stop_rule_looks_at_the_corrected_share() -> None:
    result = injected(find_model("digits_int8"), until="sdc halfwidth<=0.02@0.9", trials=2000)
    assert result.stop is not None
    assert result.stop.met
    assert result.trials == FIRST_SCREENED_LOOK
    assert result.stop.low <= result.rates.changed.value <= result.stop.high
    with pytest.raises(OptionError, match=r"write --until 'sdc halfwidth<=0\.02@0\.9'"):
        CampaignOptions(screen=True, until="halfwidth<=0.02@0.9")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stratify": "bit"}, "--screen draws single flips from the whole population"),
        ({"flips": 2}, "leave --stratify and --flips out"),
        ({"engine": "plain"}, "--screen has an engine of its own: leave --engine out"),
    ],
)
def test_what_does_not_go_with_a_screen_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        CampaignOptions(screen=True, **given)


def test_a_screen_needs_classes_and_exact_counts_are_not_compared_with_it(net: Tiny, tmp_path: Path) -> None:
    values = tmp_path / "values.npz"
    np.savez(values, x=net.inputs, y=net.inputs @ net.weight.astype(np.float32).T)
    with pytest.raises(OptionError, match="--screen compares scores of classes, of which the task regression has none"):
        run_campaign(
            net.path,
            values,
            options=Options(task="regression"),
            campaign=CampaignOptions(screen=True, trials=5),
        )
    with pytest.raises(OptionError, match="--paired-with compares exact counts: leave --screen out"):
        injected(net.path, trials=5, paired_with=tmp_path / "j")
