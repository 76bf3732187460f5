"""One writer a journal: who holds it is named, nothing stale blocks, readers and children are free."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from campaign import CAMPAIGN, COLUMNS, row

from faultsim.journal import JournalError, open_journal, read_journal
from faultsim.journal import lock as locks

WRITER = Path(__file__).with_name("writer.py")


@contextlib.contextmanager
def process(verb, path):
    """A process of its own that holds the journal."""
    with subprocess.Popen(
        [sys.executable, WRITER, verb, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout.readline() == "ready\n"
        yield running
        running.stdin.close()


def test_a_second_process_is_refused_with_the_pid_of_the_first(path):
    with process("hold", path) as first:
        said = rf"campaign.journal: process {first.pid} on \S+ is writing to this journal; wait for it or stop it"
        with pytest.raises(JournalError, match=said):
            open_journal(path, CAMPAIGN, COLUMNS)
        assert len(read_journal(path).rows) == 1, "reading needs no lock"
        link = path.with_name("link")
        link.symlink_to(path)
        with pytest.raises(JournalError, match="is writing to this journal"):
            open_journal(link, CAMPAIGN, COLUMNS)
        hard = path.with_name("hard")
        hard.hardlink_to(path)
        with pytest.raises(JournalError, match="is writing to this journal"):
            open_journal(hard, CAMPAIGN, COLUMNS)
    with open_journal(path, CAMPAIGN, COLUMNS) as journal:
        assert len(journal) == 1


def test_a_journal_can_be_read_while_it_is_written(path):
    with process("endless", path) as running:
        lengths = []
        while not lengths or lengths[-1] < 3000:
            contents = read_journal(path)
            assert contents.rows["trial"].tolist() == list(range(len(contents.rows)))
            lengths.append(len(contents.rows))
        running.kill()
    assert lengths == sorted(lengths)


def test_a_second_journal_of_the_same_process_is_refused(path):
    with (
        open_journal(path, CAMPAIGN, COLUMNS),
        pytest.raises(JournalError, match=f"process {os.getpid()} on"),
    ):
        open_journal(path, CAMPAIGN, COLUMNS)
    open_journal(path, CAMPAIGN, COLUMNS).close()


def test_a_killed_owner_leaves_no_lock(path):
    with process("hold", path) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert path.with_name(f"{path.name}.pid").exists()
        with open_journal(path, CAMPAIGN, COLUMNS) as journal:
            assert len(journal) == 1
    assert not path.with_name(f"{path.name}.pid").exists()


def test_a_worker_that_outlives_its_killed_parent_does_not_keep_the_lock(path):
    with process("hold-in-child", path) as parent:
        parent.wait()
        with open_journal(path, CAMPAIGN, COLUMNS) as journal:
            assert journal.append([row(0)]) == 1


@contextlib.contextmanager
def orphan(path, held_s):
    """Another open file holds the journal's lock for a while, and the process that is named is no longer."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    path.with_name(f"{path.name}.pid").write_text(f"{ended.pid} {socket.gethostname()}\n", encoding="ascii")
    with path.open("rb") as file:
        locks.fcntl.flock(file, locks.fcntl.LOCK_EX)
        release = threading.Timer(held_s, locks.fcntl.flock, [file, locks.fcntl.LOCK_UN])
        release.start()
        yield
        release.cancel()
        release.join()


def test_the_last_moments_of_a_dead_writer_s_child_are_waited_for(filled):
    with orphan(filled, held_s=0.3), open_journal(filled, CAMPAIGN, COLUMNS) as journal:
        assert journal.append([row(6)]) == 1


def test_a_dead_writer_s_child_that_goes_on_is_not_waited_for_without_end(filled, monkeypatch):
    monkeypatch.setattr(locks, "_ORPHAN_WAIT_S", 0.1)
    with orphan(filled, held_s=60), pytest.raises(JournalError, match=r"process \d+ on \S+ is writing"):
        open_journal(filled, CAMPAIGN, COLUMNS)


def test_a_forked_child_finds_the_journal_closed(filled):
    with open_journal(filled, CAMPAIGN, COLUMNS) as journal:
        child = os.fork()
        if not child:
            try:
                journal.append([row(6)])
            except JournalError as error:
                os._exit(7 if "this journal is closed" in str(error) else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert journal.append([row(6)]) == 1


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_noted_and_another_writer_is_noticed(path, monkeypatch, code):
    def none(fd, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locks.fcntl, "flock", none)
    with open_journal(path, CAMPAIGN, COLUMNS) as first:
        assert "has no locks; run one process at a time" in first.notes[0]
        with open_journal(path, CAMPAIGN, COLUMNS) as second:
            second.append([row(0)])
        with pytest.raises(JournalError, match="another program changed this journal while it was in use"):
            first.append([row(1)])
        with pytest.raises(JournalError, match="another program changed this journal"):
            first.rows()
    assert read_journal(path).rows["trial"].tolist() == [0]


def test_a_lock_that_fails_otherwise_is_an_error(path, monkeypatch):
    def broken(fd, operation):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(locks.fcntl, "flock", broken)
    with pytest.raises(JournalError, match=r"cannot be locked .*check the disk"):
        open_journal(path, CAMPAIGN, COLUMNS)
