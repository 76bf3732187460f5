"""Chunks hold every trial once, in order, and get as long as what their trials share is worth."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, chunks, run_campaign
from faultsim.campaign.chunks import EXACT, SCREENED, SHARED, Chunker
from faultsim.library import find_model


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def _sizes(monkeypatch, *, trials: int, each_s: float, shared_s: float, screened: bool = False, workers: int = 1):
    clock = Clock()
    monkeypatch.setattr(chunks, "time", clock)
    chunker = Chunker(np.arange(trials), screened=screened, workers=workers)
    sizes = []
    for chunk in chunker:
        clock.now += shared_s + each_s * len(chunk)
        chunker.took(chunk, shared_s)
        sizes.append(len(chunk))
    return sizes


@given(trials=st.integers(0, 5000), each=st.floats(0, 2), shared=st.floats(0, 50), workers=st.integers(1, 9))
def test_every_trial_is_in_one_chunk_in_order(trials, each, shared, workers):
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(chunks, "time", clock)
        chunker, seen = Chunker(np.arange(trials), workers=workers), []
        for chunk in chunker:
            assert chunk
            clock.now += each * len(chunk) + shared
            chunker.took(chunk, shared)
            seen += chunk
    assert seen == list(range(trials))


def test_chunks_that_share_nothing_take_their_target_of_time(monkeypatch):
    sizes = _sizes(monkeypatch, trials=20_000, each_s=0.01, shared_s=0.0)
    assert sizes[:2] == [16, 256]
    assert sizes[2:-1] == pytest.approx([400] * len(sizes[2:-1]), abs=1)  # 4 s


def test_chunks_grow_until_what_they_share_is_a_small_part(monkeypatch):
    sizes = _sizes(monkeypatch, trials=20_000, each_s=0.1, shared_s=0.6)
    most = max(sizes)
    assert 0.6 / (0.6 + 0.1 * most) == pytest.approx(SHARED, rel=0.02)
    total = 0.6 * len(sizes)
    assert total < 0.05 * 0.1 * 20_000


def test_what_was_learnt_of_the_pace_serves_the_next_wave(monkeypatch):
    clock, sizes = Clock(), []
    monkeypatch.setattr(chunks, "time", clock)
    chunker = Chunker(np.arange(0))
    for wave in (np.arange(256), np.arange(256, 512), np.arange(512, 2048)):
        seen = []
        for chunk in chunker.next_wave(wave):
            clock.now += 0.01 * len(chunk)
            chunker.took(chunk)
            seen += chunk
            sizes.append(len(chunk))
        assert seen == wave.tolist()
    assert sizes[:3] == [16, 240, 256]
    assert sizes[3] == pytest.approx(400, abs=1)


def test_no_chunk_takes_longer_than_the_longest_while_it_shares_little_of_that(monkeypatch):
    for pace, screened in ((EXACT, False), (SCREENED, True)):
        sizes = _sizes(monkeypatch, trials=50_000, each_s=0.02, shared_s=5.0, screened=screened)
        assert 5 + 0.02 * max(sizes[:-1]) <= pace.longest_s + 1e-6
        assert sizes[-1] <= pace.last * max(sizes[:-1])


def test_a_pass_that_takes_long_by_itself_is_shared_by_more_than_it_costs(monkeypatch):
    sizes = _sizes(monkeypatch, trials=2000, each_s=1.0, shared_s=90.0)
    assert max(sizes) == pytest.approx(180, abs=1)


def test_the_last_trials_are_dealt_to_all_workers(monkeypatch):
    sizes = _sizes(monkeypatch, trials=1000, each_s=0.001, shared_s=0.0, workers=4)
    left = 1000
    for size in sizes:
        assert size <= max(-(-left // 4), EXACT.fewest)
        left -= size


def test_screened_trials_are_dealt_to_all_workers_from_the_first_chunk_on(monkeypatch):
    sizes = _sizes(monkeypatch, trials=2000, each_s=0.01, shared_s=5.0, screened=True, workers=4)
    assert sizes == [500, 375, 282, 256, 256, 256, 75]


def test_no_short_chunk_comes_after_a_long_one(monkeypatch):
    for trials in (1537, 2000, 2304):
        assert _sizes(monkeypatch, trials=trials, each_s=0.01, shared_s=10.0, screened=True) == [trials]
    for trials in range(2305, 9000, 133):
        *before, last = _sizes(monkeypatch, trials=trials, each_s=0.01, shared_s=10.0, screened=True)
        assert last >= min(before) / 2 - 1


@pytest.mark.parametrize("how", [{}, {"screen": True}, {"engine": "plain"}], ids=["sweep", "screen", "plain"])
def test_a_long_chunk_tells_how_far_it_is(how: dict[str, Any]) -> None:
    seen: list[tuple[str, int, int]] = []
    run_campaign(
        find_model("digits"),
        options=Options(limit=120, batch_size=20, threads=1),
        campaign=CampaignOptions(trials=16, **how),
        progress=lambda *told: seen.append(told),
    )
    trials = [done for phase, done, _ in seen if phase == "trials"]
    assert trials == sorted(trials)
    assert (trials[0], trials[-1]) == (0, 16)
    assert len({one for one in trials if 0 < one < 16}) >= 2
    assert {most for phase, _, most in seen if phase == "trials"} == {16}
