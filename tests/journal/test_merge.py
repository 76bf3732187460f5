"""Shards of one campaign: any split and order gives one and the same file; what does not belong is refused."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
from campaign import CAMPAIGN, COLUMNS, PARTS, row
from hypothesis import given
from hypothesis import strategies as st

from faultsim.journal import Columns, JournalError, identity, merge, open_journal, read_journal


def shard(path, trials, campaign=CAMPAIGN, columns=COLUMNS, make=row):
    with open_journal(path, campaign, columns) as journal:
        journal.append([make(trial) for trial in trials])
    return path


@given(
    shards=st.lists(st.lists(st.integers(0, 9), unique=True, max_size=6), min_size=1, max_size=4), random=st.randoms()
)
def test_the_merged_file_depends_on_the_rows_alone(shards, random):
    trials = sorted({trial for one in shards for trial in one})
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)  # not what is tested here, and slow
        folder = Path(name)
        paths = [shard(folder / f"{i}", one) for i, one in enumerate(shards)]
        merged = merge(paths, folder / "out", total=12)
        random.shuffle(paths)
        merge(paths, folder / "again")
        shard(folder / "whole", trials)
        assert (folder / "out").read_bytes() == (folder / "again").read_bytes() == (folder / "whole").read_bytes()
        assert (merged.rows, merged.duplicates) == (len(trials), sum(map(len, shards)) - len(trials))
        missing = [trial for first, last in merged.gaps for trial in range(first, last + 1)]
        assert missing == [trial for trial in range(12) if trial not in trials]
        merge([folder / "out", *paths], folder / "once more")
        assert (folder / "once more").read_bytes() == (folder / "out").read_bytes()


def test_a_campaign_goes_on_with_a_merged_journal(tmp_path):
    merged = merge([shard(tmp_path / "a", [0, 5]), shard(tmp_path / "b", [2])], tmp_path / "out")
    assert merged.gaps == ((1, 1), (3, 4))
    with open_journal(tmp_path / "out", CAMPAIGN, COLUMNS) as journal:
        assert list(journal.missing(6)) == [1, 3, 4]
        journal.append([row(1)])
        assert journal.rows()["trial"].tolist() == [0, 1, 2, 5]


def test_another_campaign_is_refused_with_the_part_that_differs(tmp_path):
    a = shard(tmp_path / "a", [0])
    b = shard(tmp_path / "b", [1], campaign=identity({**PARTS, "seed": 1}))
    with pytest.raises(JournalError, match=r"b: a journal of another campaign than .*a: the seed is 1, there 0; merge"):
        merge([a, b], tmp_path / "out")
    c = shard(tmp_path / "c", [], columns=Columns())
    with pytest.raises(JournalError, match=r"c: has the columns trial, and .*a has trial, stratum"):
        merge([a, c], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_answers_are_refused_with_the_trial_and_both_places(tmp_path):
    def other(trial):
        number, stratum, correct, loss, outcomes = row(trial)
        return number, stratum, correct, loss, outcomes[:-1] + b"\x09" if trial == 3 else outcomes

    paths = [shard(tmp_path / "a", [1, 2, 3]), shard(tmp_path / "b", [4, 3], make=other)]
    with pytest.raises(JournalError, match=r"trial 3 has two answers: outcomes = 5 bytes in .*a:4, 5 bytes in .*b:3;"):
        merge(paths, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_torn_shard_is_merged_up_to_there_and_not_touched(tmp_path):
    a = shard(tmp_path / "a", [0, 1, 2])
    torn = a.read_bytes()[:-5]
    a.write_bytes(torn)
    merged = merge([a], tmp_path / "out", total=3)
    assert "at the end are no whole row and were passed over" in merged.notes[0]
    assert (merged.rows, merged.gaps) == (2, ((2, 2),))
    assert a.read_bytes() == torn


def test_a_damaged_shard_is_refused(tmp_path):
    a = shard(tmp_path / "a", range(5))
    data = bytearray(a.read_bytes())
    data[data.index(b"\n") + 3] ^= 1
    a.write_bytes(data)
    with pytest.raises(JournalError, match=r"a:2: damaged at byte .*> NEW' and use NEW in its place"):
        merge([a], tmp_path / "out")


def test_no_shard_and_a_file_in_the_way(tmp_path):
    with pytest.raises(JournalError, match="no journal to merge"):
        merge([], tmp_path / "out")
    a = shard(tmp_path / "a", [0])
    with pytest.raises(JournalError, match="a: is there already; give the name of a new file"):
        merge([a], a)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_the_file_appears_whole_or_not_at_all(tmp_path, monkeypatch, failing):
    a = shard(tmp_path / "a", [0])

    def refuse(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, refuse)
    with pytest.raises(
        JournalError, match=r"out: the journal cannot be written \(No space left on device\); free some"
    ):
        merge([a], tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_far_trials_take_no_memory_for_the_gaps_between(tmp_path):
    columns = Columns()
    a = shard(tmp_path / "a", [2**63 - 1, 0], columns=columns, make=lambda trial: (trial,))
    merged = merge([a], tmp_path / "out")
    assert merged.gaps == ((1, 2**63 - 2),)
    assert read_journal(tmp_path / "out").rows["trial"].tolist() == [0, 2**63 - 1]
