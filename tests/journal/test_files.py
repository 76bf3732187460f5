"""What the system can do to a journal: full disks, folders, deleted and foreign files."""

import contextlib
import errno
import io
import os
import resource
import subprocess
from zlib import crc32

import pytest
from campaign import CAMPAIGN, COLUMNS, PARTS, row

from faultsim.journal import Columns, JournalError, identity, open_journal, read_header, read_journal
from faultsim.journal import lock as locks
from faultsim.journal.scan import Scan


def fill_until_it_fails(journal):
    for trial in range(10**6):
        try:
            journal.append([row(trial)])
        except JournalError as error:
            return trial, str(error)
    return None


def test_short_writes_at_a_real_limit_lose_nothing(path):
    """The system writes the part that fits, then refuses: with a size limit as on a full disk."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_journal(path, CAMPAIGN, COLUMNS) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_011, limit[1]))
        try:
            written, said = fill_until_it_fails(journal)
            size = path.stat().st_size
            with pytest.raises(JournalError):
                journal.append([row(trial) for trial in range(written, written + 50)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert 200 < written < 1000
        assert "campaign.journal: the journal cannot be written (File too large); raise the limit" in said
        assert (
            f"all {written} rows before are kept, and the same command goes on from there once there is space" in said
        )
        assert path.stat().st_size == size <= 20_011
        assert len(read_journal(path).rows) == len(journal) == written
        assert journal.append([row(written)]) == 1
    assert not read_journal(path).notes


def test_a_really_full_disk_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with open_journal(disk / "j", CAMPAIGN, COLUMNS) as journal:
            written, said = fill_until_it_fails(journal)
        assert "(No space left on device); free some space, or use a --journal on another disk" in said
        assert f"all {written} rows before are kept" in said
        assert read_journal(disk / "j").rows["trial"].tolist() == list(range(written))
        assert not read_journal(disk / "j").notes
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(b"x" * 64)
        with pytest.raises(JournalError, match="No space left on device"):
            open_journal(disk / "second", CAMPAIGN, COLUMNS)
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EDQUOT, "free some of your quota"), (errno.EIO, "check the disk")],
)
@pytest.mark.parametrize("mends", [True, False])
def test_any_failing_write_is_named_and_what_was_written_before_stays(filled, monkeypatch, code, remedy, mends):
    before = read_journal(filled).rows.tobytes()
    write = os.write
    calls = []

    def short(fd, data):
        calls.append(len(data))
        if len(calls) > 2:
            raise OSError(code, os.strerror(code))
        return write(fd, data[:7])

    def refuse(fd, length):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with contextlib.suppress(JournalError), open_journal(filled, CAMPAIGN, COLUMNS) as journal:
        monkeypatch.setattr(os, "write", short)
        if not mends:
            monkeypatch.setattr(os, "ftruncate", refuse)
        with pytest.raises(JournalError, match=rf"cannot be written \(.*\); {remedy}.*; all 6 rows before are kept"):
            journal.append([row(6)])
        if mends:
            monkeypatch.undo()
            assert journal.rows().tobytes() == before
        else:
            with pytest.raises(JournalError, match=r"cannot be written \(Input/output error\)"):
                journal.append([row(6)])
    monkeypatch.undo()
    assert len(calls) == 3
    with open_journal(filled, CAMPAIGN, COLUMNS) as journal:
        assert ["cut short by a crash" in note for note in journal.notes] == ([] if mends else [True])
        assert journal.rows().tobytes() == before


def test_a_failing_fsync_is_never_taken_for_a_success(filled, monkeypatch):
    def refuse(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with open_journal(filled, CAMPAIGN, COLUMNS, sync_rows=2) as journal:
        journal.append([row(6)])
        monkeypatch.setattr(os, "fsync", refuse)
        said = (
            r"cannot be put on the disk \(Input/output error\).*the last 2 rows may be lost, run the same command again"
        )
        with pytest.raises(JournalError, match=said):
            journal.append([row(7)])
        monkeypatch.undo()
        for use in (journal.sync, journal.rows, lambda: journal.append([row(8)])):
            with pytest.raises(JournalError, match="the last 2 rows may be lost"):
                use()
    assert len(read_journal(filled).rows) == 8


def test_an_error_of_the_last_sync_does_not_hide_what_went_wrong_first(filled, monkeypatch):
    def refuse(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def run():
        with open_journal(filled, CAMPAIGN, COLUMNS, sync_s=1e9) as journal:
            journal.append([row(6)])
            monkeypatch.setattr(os, "fsync", refuse)
            raise KeyError("first")

    with pytest.raises(KeyError, match="first"):
        run()


def test_syncs_come_by_count_and_by_time(path, monkeypatch):
    calls = []
    with open_journal(path, CAMPAIGN, COLUMNS, sync_rows=10, sync_s=1e9) as journal:
        monkeypatch.setattr(os, "fsync", calls.append)
        for trial in range(35):
            journal.append([row(trial)])
        assert len(calls) == 3
        journal.sync()
        journal.sync()
        assert len(calls) == 4
    with open_journal(path, CAMPAIGN, COLUMNS, sync_s=0) as journal:
        calls.clear()
        for trial in range(35, 40):
            journal.append([row(trial)])
        assert len(calls) == 5


def test_a_journal_deleted_while_in_use_is_an_error_and_its_rows_are_saved(filled):
    with open_journal(filled, CAMPAIGN, COLUMNS) as journal:
        filled.unlink()
        said = r"was deleted or replaced while it was in use; its 6 rows are in .*campaign.journal.rescued, give that"
        with pytest.raises(JournalError, match=said):
            journal.append([row(6)])
        with pytest.raises(JournalError, match=said):
            journal.append([row(6)])
    with open_journal(f"{filled}.rescued", CAMPAIGN, COLUMNS) as journal:
        assert len(journal) == 6
    assert not filled.exists()


def test_a_journal_deleted_with_its_folder_is_an_error(tmp_path):
    path = tmp_path / "gone" / "j"
    path.parent.mkdir()
    with open_journal(path, CAMPAIGN, COLUMNS) as journal:
        journal.append([row(0)])
        for file in path.parent.iterdir():
            file.unlink()
        path.parent.rmdir()
        with pytest.raises(JournalError, match="its 1 rows could not be saved"):
            journal.append([row(1)])


def test_paths_that_cannot_hold_a_journal(tmp_path):
    with pytest.raises(JournalError, match="is a folder; give the name of a file"):
        open_journal(tmp_path, CAMPAIGN, COLUMNS)
    with pytest.raises(JournalError, match=r"cannot be opened \(No such file or directory\); create the folder first"):
        open_journal(tmp_path / "none" / "j", CAMPAIGN, COLUMNS)
    os.mkfifo(tmp_path / "pipe")
    for use in (lambda p: open_journal(p, CAMPAIGN, COLUMNS), read_journal):
        with pytest.raises(JournalError, match="is no regular file"):
            use(tmp_path / "pipe")
    with pytest.raises(JournalError, match=r"File name too long.*use a shorter name"):
        open_journal(tmp_path / ("x" * 300), CAMPAIGN, COLUMNS)
    with pytest.raises(JournalError, match="cannot be opened"):
        open_journal("a\0b", CAMPAIGN, COLUMNS)
    for use in (read_header, read_journal):
        with pytest.raises(
            JournalError, match=r"cannot be read \(No such file .*\); give the path of a journal that is"
        ):
            use(tmp_path / "none")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_named(path, monkeypatch, code):
    """Root may write everywhere, so the system's answer is put in its mouth."""

    def refuse(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(JournalError, match=r"cannot be opened .* use another --journal"):
        open_journal(path, CAMPAIGN, COLUMNS)


@pytest.mark.parametrize("content", [b"trial,loss\n1,2\n", b"x", b"\x89PNG\r\n", b'{"a": 1}\n', b"\0\0\n"])
def test_a_file_of_somebody_else_is_left_as_it_is(path, content):
    path.write_bytes(content)
    with pytest.raises(JournalError, match="no journal of faultsim; it is left as it is, give another file"):
        open_journal(path, CAMPAIGN, COLUMNS)
    assert path.read_bytes() == content


def test_another_campaign_is_named_by_the_part_that_differs(filled):
    with pytest.raises(
        JournalError, match="this journal belongs to another campaign: the seed was 0, now 1; use another --journal"
    ):
        open_journal(filled, identity({**PARTS, "seed": 1}), COLUMNS)
    with pytest.raises(JournalError, match="the laws_version was 1, now 2"):
        open_journal(filled, identity({**PARTS, "laws_version": 2}), COLUMNS)
    with pytest.raises(JournalError, match=r"has other columns, trial, stratum.*\(faultsim .*\), not trial, loss; use"):
        open_journal(filled, CAMPAIGN, Columns(floats=("loss",)))


def test_a_newer_format_is_refused(filled):
    text = filled.read_bytes().replace(b'{"faultsim_journal":1,', b'{"faultsim_journal":2,')
    head, rest = text.split(b',"crc32":"', 1)
    filled.write_bytes(head + b',"crc32":"%08x"}\n' % crc32(head) + rest.split(b"\n", 1)[1])
    with pytest.raises(JournalError, match="a journal of format 2, and 1 is the one known here; update faultsim"):
        open_journal(filled, CAMPAIGN, COLUMNS)


@pytest.mark.parametrize("options", [{"sync_rows": 0}, {"sync_s": -1.0}, {"sync_s": float("nan")}])
def test_sync_options_out_of_range(path, options):
    with pytest.raises(JournalError, match="give at least 1 row and at least 0 seconds"):
        open_journal(path, CAMPAIGN, COLUMNS, **options)


def test_a_closed_journal_says_so(filled):
    journal = open_journal(filled, CAMPAIGN, COLUMNS)
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="this journal is closed; open it with open_journal"):
        journal.append([row(6)])


def test_a_file_that_is_deleted_while_it_is_opened_is_made_anew_or_given_up(path, monkeypatch):
    real = locks.fcntl.flock
    left = [1]

    def deletes(fd, operation):
        if left[0]:
            left[0] -= 1
            path.unlink()
        return real(fd, operation)

    monkeypatch.setattr(locks.fcntl, "flock", deletes)
    open_journal(path, CAMPAIGN, COLUMNS).close()
    assert read_journal(path).rows.size == 0
    left[0] = 9
    with pytest.raises(JournalError, match="is deleted again and again"):
        open_journal(path, CAMPAIGN, COLUMNS)


def test_a_reader_looks_at_the_file_as_it_was_when_it_began(filled):
    whole = filled.read_bytes()
    filled.write_bytes(whole[:-70])
    stood = whole[:-70].count(b"\n") - 1
    with io.FileIO(filled, "rb") as file:
        scan = Scan(file, filled)
        with filled.open("ab") as writer:  # between two reads the writer completes its line and goes on
            writer.write(whole[-70:])
        assert sum(len(block.lines) for block in scan.blocks()) == stood < 6
    assert scan.torn_bytes == len(whole) - 70 - scan.tail.end > 0
