"""``faultsim merge``: which names are folders, and that a merge that fails leaves nothing behind."""

from pathlib import Path

import pytest

from faultsim.journal import Columns, identity, open_journal, read_journal


def shard(path: Path, trials: range, seed: int = 0) -> Path:
    with open_journal(path, identity({"seed": seed}), Columns(ints=("correct",))) as journal:
        journal.append([(trial, 900 + trial) for trial in trials])
    return path


@pytest.fixture
def shards(tmp_path: Path) -> tuple[Path, Path]:
    return shard(tmp_path / "s1", range(3)), shard(tmp_path / "s2", range(3, 5))


@pytest.mark.parametrize("name", ["whole", "v1.2", "runs/v1.2/", "deep/er/run.2026"])
def test_a_name_is_a_folder_unless_it_ends_in_jsonl(name: str, faultsim, shards, tmp_path: Path) -> None:
    outcome = faultsim("merge", *shards, "-o", tmp_path / name)
    assert outcome.code == 0, outcome.err
    assert "5 trials of 2 shards" in outcome.out
    assert read_journal(tmp_path / name / "journal.jsonl").rows["trial"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["whole.jsonl", "v1.2.jsonl"])
def test_a_name_that_ends_in_jsonl_is_the_journal(name: str, faultsim, shards, tmp_path: Path) -> None:
    assert faultsim("merge", *shards, "-o", tmp_path / name).code == 0
    assert len(read_journal(tmp_path / name).rows) == 5


@pytest.mark.parametrize("name", ["whole", "v1.2", "odd.jsonl"])
def test_a_folder_that_is_there_takes_the_journal(name: str, faultsim, shards, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    assert faultsim("merge", *shards, "-o", tmp_path / name).code == 0
    assert len(read_journal(tmp_path / name / "journal.jsonl").rows) == 5
    again = faultsim("merge", *shards, "-o", tmp_path / name)
    assert again.code == 2
    assert "is there already; give the name of a new file" in again.err


def test_a_file_that_is_there_is_left_alone(faultsim, shards, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("of mine")
    for name in ("mine", "mine/below"):
        outcome = faultsim("merge", *shards, "-o", tmp_path / name)
        assert outcome.code == 2
    assert "--out" in outcome.err
    assert "cannot be made (Not a directory)" in outcome.err
    assert (tmp_path / "mine").read_text() == "of mine"


@pytest.mark.parametrize("there", [False, True])
def test_a_merge_that_fails_leaves_no_folder_of_its_own(there: bool, faultsim, shards, tmp_path: Path) -> None:
    other = shard(tmp_path / "other", range(2), seed=1)
    out = tmp_path / "runs" / "v1"
    if there:
        out.mkdir(parents=True)
    for given, said in (((shards[0], other), "a journal of another campaign"), ((tmp_path / "none",), "none")):
        outcome = faultsim("merge", *given, "-o", out)
        assert outcome.code == 2
        assert said in outcome.err
        assert out.exists() == out.parent.exists() == there
    if there:
        assert list(out.iterdir()) == []


def test_a_shard_given_twice_is_one(faultsim, shards, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(shards[0])
    outcome = faultsim("merge", shards[0], shards[0], tmp_path / "link", "-o", tmp_path / "whole")
    assert outcome.code == 0, outcome.err
    assert "3 trials of 1 shard\n" in outcome.out


def test_a_trial_that_two_shards_hold_is_said(faultsim, shards, tmp_path: Path) -> None:
    both = shard(tmp_path / "both", range(5))
    outcome = faultsim("merge", *shards, both, "-o", tmp_path / "whole")
    assert "5 trials of 3 shards, 5 of them more than once" in outcome.out
