"""Rows whose checksums fit but that no campaign wrote are refused with their trial, in whatever journal they are."""

from pathlib import Path

import numpy as np
import pytest
from campaign_nets import Tiny

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, plan_campaign, run_campaign
from faultsim.campaign.believable import check_rows
from faultsim.campaign.evaluator import COLUMNS
from faultsim.campaign.identify import campaign_identity
from faultsim.campaign.recipe import Prepared
from faultsim.campaign.screened import SCREEN_COLUMNS
from faultsim.journal import JournalError, open_journal, read_journal

GOOD = {"trial": 5, "n": 40, "correct": 40, "masked": 40, "loss": 0.1}


def prepared(net: Tiny, **given: object) -> Prepared:
    campaign = CampaignOptions(trials=90, **given)  # type: ignore[arg-type]
    return plan_campaign(net.path, net.data, options=Options(threads=1), campaign=campaign).prepared


def row(found: Prepared, **given: object) -> tuple[object, ...]:
    site, element, bit = (int(part[0, 0]) for part in found.draws.faults([5]))
    values = {"stratum": 0, "site": site, "element": element, "bit": bit, **GOOD, **given}
    return tuple(values.get(name, 0) for name in COLUMNS.names)


def wrote(net: Tiny, journal: Path, **given: object) -> None:
    """A journal of one row, with these columns in place of what a run would write."""
    found = prepared(net)
    with open_journal(journal, campaign_identity(found), COLUMNS) as opened:
        opened.append([row(found, **given)])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"stratum": 7}, "trial 5 has stratum = 7, allowed is 0, as it is drawn"),
        ({"site": 99}, "trial 5 has site = 99, allowed is 0, as it is drawn"),
        ({"element": 4_000}, "trial 5 has element = 4000, allowed is"),
        ({"bit": -1}, "trial 5 has bit = -1, allowed is"),
        ({"n": 0}, "trial 5 has n = 0, allowed is 40 alone"),
        ({"n": 41}, "trial 5 has n = 41, allowed is 40 alone"),
        ({"mismatch": -5}, "trial 5 has mismatch = -5, allowed is 0 to 40"),
        ({"correct": 41}, "trial 5 has correct = 41, allowed is 0 to 40"),
        ({"masked": 39}, "trial 5 has masked = 39, allowed is what makes 40 samples with the other outcomes"),
        ({"mismatch": 3}, "trial 5 has mismatch = 3, allowed is at most critical and broken together"),
        ({"masked": 35, "critical": 5}, "trial 5 has critical = 5, allowed is at most mismatch"),
        ({"masked": 35, "broken": 5}, "trial 5 has broken = 5, allowed is at most nonfinite"),
        ({"masked": 35, "broken": 5, "nonfinite": 5}, "trial 5 has mismatch = 0, allowed is critical and broken"),
        ({"nonfinite": 5}, "trial 5 has nonfinite = 5, allowed is 0 where no sample is broken"),
        ({"correct": 20}, "trial 5 has correct = 20, allowed is 40, as the model without faults has"),
        ({"loss": -0.5}, "trial 5 has loss = -0.5, allowed is 0 or more"),
        ({"trial": 96}, "trial 96 has trial = 96, allowed is 0 to 95"),
    ],
)
def test_a_row_that_no_campaign_wrote_is_refused(
    net: Tiny, tmp_path: Path, wrong: dict[str, object], said: str
) -> None:
    wrote(net, tmp_path / "j", **wrong)
    with pytest.raises(JournalError, match=f"j: {said}.* no run of this campaign wrote that"):
        run_campaign(
            net.path,
            net.data,
            options=Options(threads=1),
            campaign=CampaignOptions(trials=90),
            journal=tmp_path / "j",
        )


@pytest.mark.parametrize(
    "given", [{}, {"stratify": "bit"}, {"flips": 3}, {"screen": True}, {"until": "halfwidth<=0.2@0.9"}]
)
def test_the_rows_of_every_campaign_are_believed(net: Tiny, tmp_path: Path, given: dict[str, object]) -> None:
    campaign = CampaignOptions(trials=90, **given)  # type: ignore[arg-type]
    options = Options(threads=1)
    first = run_campaign(net.path, net.data, options=options, campaign=campaign, journal=tmp_path / "j")
    again = run_campaign(net.path, net.data, options=options, campaign=campaign, journal=tmp_path / "j")
    assert again.provenance.computed == 0
    assert again.rates == first.rates


def test_where_two_trials_may_be_the_same_a_part_of_them_is_drawn_again_and_all_are_in_range(
    net: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faultsim.campaign.believable.MOST_DRAWN", 10)
    options, campaign = Options(threads=1), CampaignOptions(trials=90, flips=2)
    run_campaign(net.path, net.data, options=options, campaign=campaign, journal=tmp_path / "j")
    rows, found = read_journal(tmp_path / "j").rows, prepared(net, flips=2)
    check_rows(rows, found, tmp_path / "j")
    drawn = set(np.linspace(0, 89, 10).astype(int).tolist())
    other = next(i for i in range(90) if i not in drawn)
    for name, value, allowed in (("bit", 16, "an index inside its site"), ("site", 1, "0 to 0"), ("stratum", 1, "0")):
        wrong = rows.copy()
        wrong[name][other] = value
        with pytest.raises(JournalError, match=f"trial {other} has {name} = {value}, allowed is {allowed}"):
            check_rows(wrong, found, tmp_path / "j")


def test_another_campaign_with_such_a_row_is_not_compared_with(net: Tiny, tmp_path: Path) -> None:
    wrote(net, tmp_path / "j", bit=99)
    with pytest.raises(JournalError, match="trial 5 has bit = 99, allowed is"):
        run_campaign(
            net.path,
            net.data,
            options=Options(threads=1),
            campaign=CampaignOptions(trials=90),
            paired_with=tmp_path / "j",
        )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"whole": 1}, "whole = 1, allowed is 1 for the trials that are evaluated whole, 0 for the others"),
        ({"screen_unchanged": 1}, "screen_unchanged = 1, allowed is what makes 40 samples with screen_screened"),
        ({"screen_audited": 0}, "screen_audited = 0, allowed is 1 to screen_screened, and 0 where that is 0"),
        ({"screen_audited": 31}, "screen_audited = 31, allowed is 1 to screen_screened"),
        ({"screen_evaluated": 0}, "screen_evaluated = 0, allowed is 1 to screen_suspects"),
        ({"screen_evaluated": 11}, "screen_evaluated = 11, allowed is 1 to screen_suspects"),
        ({"screen_audit_mismatch": 5}, "screen_audit_mismatch = 5, allowed is at most screen_audited"),
        ({"screen_audit_correct": -5}, "screen_audit_correct = -5, allowed is at most screen_audited"),
        ({"screen_mismatch": 9}, "screen_mismatch = 9, allowed is at most screen_evaluated"),
        ({"screen_correct": -9}, "screen_correct = -9, allowed is at most screen_evaluated"),
        ({"screen_nonfinite": 13}, "screen_nonfinite = 13, allowed is at most screen_audited and screen_evaluated"),
        ({"screen_clean_correct": 20}, "screen_clean_correct = 20, allowed is 40, as the model without faults has"),
        ({"screen_correct": 1}, "screen_correct = 1, allowed is what makes 0 to 40 right answers"),
    ],
)
def test_a_row_that_no_screen_counted_is_refused(net: Tiny, wrong: dict[str, int], said: str) -> None:
    found = prepared(net, screen=True)
    site, element, bit = (int(part[0, 0]) for part in found.draws.faults([5]))
    rows = np.zeros(1, SCREEN_COLUMNS.dtype)
    good = {"trial": 5, "site": site, "element": element, "bit": bit, "n": 40, "screen_screened": 30,
            "screen_audited": 4, "screen_suspects": 10, "screen_evaluated": 8, "screen_clean_correct": 40}  # fmt: skip
    for name, value in good.items():
        rows[name] = value
    check_rows(rows, found, Path("j"))
    for name, value in wrong.items():
        rows[name] = value
    with pytest.raises(JournalError, match=f"j: trial 5 has {said}"):
        check_rows(rows, found, Path("j"))
