"""What goes wrong under a campaign: a torn or damaged journal, two processes, a full disk, a worker that dies."""

import errno
import multiprocessing
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from campaign_nets import Tiny

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, run_campaign
from faultsim.journal import JournalError, read_journal
from faultsim.journal.format import first_chain, seal
from faultsim.library import find_model
from faultsim.results.injection import InjectionResult


def injected(model: Any, journal: Path | None = None, *, trials: int = 90, **given: Any) -> InjectionResult:
    progress = given.pop("progress", None)
    return run_campaign(
        model,
        options=Options(limit=40, threads=1),
        campaign=CampaignOptions(trials=trials, stratify="bit", **given),
        journal=journal,
        progress=progress,
    )


def figures(result: InjectionResult) -> str:
    return result.model_copy(update={"provenance": None}).model_dump_json()


def test_a_row_cut_short_is_dropped_computed_again_and_said(net: Tiny, tmp_path: Path) -> None:
    journal = tmp_path / "j.jsonl"
    whole = injected(net.path, journal)
    journal.write_bytes(journal.read_bytes()[:-5])
    again = injected(net.path, journal)
    assert figures(again) == figures(whole)
    assert again.provenance.computed == 1
    assert len(again.provenance.mended) == 1
    assert "the last write was cut short by a crash" in again.provenance.mended[0]
    assert whole.provenance.mended == ()


def test_a_damaged_middle_is_refused_with_its_line_and_left_as_it_is(net: Tiny, tmp_path: Path) -> None:
    journal = tmp_path / "j.jsonl"
    injected(net.path, journal)
    lines = journal.read_bytes().split(b"\n")
    lines[30] = lines[30].replace(b",", b";", 1)
    damaged = b"\n".join(lines)
    journal.write_bytes(damaged)
    with pytest.raises(JournalError, match=r"j\.jsonl:31: damaged at byte \d+, and line 32 after it is intact"):
        injected(net.path, journal)
    assert journal.read_bytes() == damaged


def test_a_row_that_cannot_be_read_leaves_no_journal_locked(net: Tiny, tmp_path: Path) -> None:
    """Its checksum fits: opening takes it, reading it does not."""
    journal = tmp_path / "j.jsonl"
    injected(net.path, journal, trials=32)
    header = journal.read_bytes().splitlines(keepends=True)[0]
    journal.write_bytes(header + seal(b"[5,x", first_chain(header))[0])
    for _ in range(2):
        with pytest.raises(JournalError, match=r"j\.jsonl:2: no row of this journal's columns"):
            injected(net.path, journal, trials=32)


def test_a_second_campaign_on_a_journal_in_use_is_refused(net: Tiny, tmp_path: Path) -> None:
    """The first one is in the middle, its progress starts the second."""
    journal = tmp_path / "j.jsonl"
    refused: list[str] = []

    def start_another(phase: str, done: int, total: int) -> None:
        if phase == "trials" and not refused:
            with pytest.raises(JournalError) as caught:
                injected(net.path, journal)
            refused.append(str(caught.value))

    result = injected(net.path, journal, progress=start_another)
    assert f"process {os.getpid()} on " in refused[0]
    assert "is writing to this journal; wait for it or stop it" in refused[0]
    assert result.trials == 90


def test_a_full_disk_is_one_sentence_and_keeps_what_was_written(
    net: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "j.jsonl"
    write, calls = os.write, []

    def full_after_some(fd: int, data: Any) -> int:
        if b'"faultsim_journal"' not in bytes(data):
            calls.append(fd)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full_after_some)
        with pytest.raises(JournalError) as caught:
            injected(net.path, journal)
    kept = len(read_journal(journal).rows)
    assert 0 < kept < 90
    assert "No space left on device" in str(caught.value)
    assert f"all {kept} rows before are kept, and the same command goes on from there" in str(caught.value)
    again = injected(net.path, journal)
    assert again.provenance.computed == 90 - kept
    assert figures(again) == figures(injected(net.path))


def test_a_limit_on_the_size_of_files_is_a_full_disk(net: Tiny, tmp_path: Path) -> None:
    journal = tmp_path / "j.jsonl"
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, hard))
    try:
        with pytest.raises(JournalError, match=r"File too large.*all \d+ rows before are kept"):
            injected(net.path, journal)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert figures(injected(net.path, journal)) == figures(injected(net.path))


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_changes_no_figure(tmp_path: Path) -> None:
    model = find_model("digits")
    killed: list[int] = []

    def kill_one(phase: str, done: int, total: int) -> None:
        if phase == "trials" and 0 < done < total and not killed:
            victim = multiprocessing.active_children()[0]
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
            killed.append(victim.pid)

    whole = injected(model, trials=150)
    hurt = injected(model, tmp_path / "j.jsonl", trials=150, workers=2, progress=kill_one)
    assert killed
    assert figures(hurt) == figures(whole)
