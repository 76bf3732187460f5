"""Whatever ends a run: kill -9, Ctrl-C, a cut or damaged file. Never a wrong row, and nothing acknowledged is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from campaign import CAMPAIGN, COLUMNS, row

from faultsim.journal import JournalError, open_journal, read_journal

WRITER = Path(__file__).with_name("writer.py")


@pytest.fixture
def quick(monkeypatch):
    """Thousands of repairs without waiting for the disk; what a file holds does not depend on it."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


def rows_of(path):
    with open_journal(path, CAMPAIGN, COLUMNS) as journal:
        return journal.rows(), journal.notes


def expected(path, trials):
    with open_journal(path, CAMPAIGN, COLUMNS) as journal:
        journal.append([row(trial) for trial in trials])
        return journal.rows()


def test_the_rows_come_back_bit_by_bit(filled):
    rows, notes = rows_of(filled)
    assert notes == ()
    for got, trial in zip(rows, range(6), strict=True):
        number, stratum, correct, loss, outcomes = row(trial)
        assert (got["trial"], got["stratum"], got["correct"]) == (number, stratum, correct)
        assert repr(float(got["loss"])) == repr(loss)
        assert got["outcomes"].tobytes() == outcomes


def test_a_file_cut_at_any_byte_is_repaired_to_a_prefix_and_goes_on(filled, tmp_path, quick):
    whole = filled.read_bytes()
    header = whole.index(b"\n") + 1
    for cut in range(len(whole)):
        path = tmp_path / "cut.journal"
        path.write_bytes(whole[:cut])
        with open_journal(path, CAMPAIGN, COLUMNS) as journal:
            stood = whole[header:cut].count(b"\n") if cut >= header else 0
            assert journal.trials().tolist() == list(range(stood))
            assert bool(journal.notes) == (cut not in (0, header) and whole[cut - 1 : cut] != b"\n")
            journal.append([row(trial) for trial in range(stood, 6)])
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "junk", [b"\0", b"\0" * 70_000, b"[6,0,906", b"\xff\xfe\n", b"\n", b'[6,0,1,0.5,"00000000"]\n']
)
def test_a_tail_that_holds_no_row_is_cut_off_with_a_note(filled, junk):
    whole = filled.read_bytes()
    filled.write_bytes(whole + junk)
    assert len(read_journal(filled).rows) == 6
    assert f"{len(junk)} bytes at the end are no whole row" in read_journal(filled).notes[0]
    assert filled.read_bytes() == whole + junk
    with open_journal(filled, CAMPAIGN, COLUMNS) as journal:
        assert f"cut short by a crash; {len(junk)} bytes behind row 6 were removed" in journal.notes[0]
    assert filled.read_bytes() == whole


def test_a_flipped_bit_anywhere_gives_a_prefix_or_the_place_never_a_wrong_row(filled, tmp_path, quick):
    whole = filled.read_bytes()
    good = read_journal(filled).rows
    path = tmp_path / "flipped.journal"
    first = whole.index(b"\n")  # of the long header one bit a byte
    repaired = refused = 0
    for position in range(len(whole)):
        for bit in range(8) if position > first else [position % 8]:
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                rows, _ = rows_of(path)
            except JournalError as error:
                line = whole.count(b"\n", 0, position) + 1
                offset = whole.rfind(b"\n", 0, position) + 1
                said = str(error)
                place = f"{path}:{line}: " in said and f"damaged at byte {offset}" in said
                assert place or (position < 20 and "no journal of faultsim" in said)
                assert path.read_bytes() == flipped, "a file that is refused is left as it is"
                refused += 1
                continue
            assert len(rows) >= 4, "only the last two lines can be taken for a tail"
            assert rows.tobytes() == good[: len(rows)].tobytes()
            assert whole.startswith(path.read_bytes())
            repaired += 1
    assert repaired > 100 < refused


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: [*lines[:2], *lines[3:]],  # one left out
        lambda lines: [*lines[:3], lines[2], *lines[3:]],  # one twice
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],  # two swapped
        lambda lines: [*lines[:2], b"\n", *lines[2:]],
        lambda lines: [*lines[:2], b"\0" * 5000, *lines[3:]],
        lambda lines: [*lines[:2], b"x" * 5000 + b"\n", *lines[3:]],
        lambda lines: [*lines[:2], lines[2][:-1], *lines[3:]],
    ],
)
def test_a_damaged_middle_is_refused_with_its_place_and_the_way_out(filled, tmp_path, edit):
    lines = edit(filled.read_bytes().splitlines(keepends=True))
    filled.write_bytes(b"".join(lines))
    with pytest.raises(
        JournalError, match=r"campaign.journal:[234]: damaged at byte \d+, and line \d+ after"
    ) as caught:
        open_journal(filled, CAMPAIGN, COLUMNS)
    command = str(caught.value).split("'")[1].replace("NEW", "new")
    assert command.startswith("head -c")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    rows, notes = rows_of(tmp_path / "new")
    assert not notes
    assert rows["trial"].tolist() == list(range(len(rows)))


def test_killed_at_100_random_moments_it_ends_as_an_uninterrupted_run(path, tmp_path):
    total, kills = 6000, 100
    done = subprocess.run(
        [sys.executable, WRITER, "kill", path, str(total), str(kills), "1"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    killed, stood = zip(*(map(int, line.split()) for line in done.stdout.splitlines()), strict=True)
    assert len(stood) == kills
    assert sum(killed) > kills // 4, "too few processes were still writing when they were to be killed"
    assert list(stood) == sorted(stood)
    expected(tmp_path / "whole", range(total))
    assert path.read_bytes() == (tmp_path / "whole").read_bytes()


def test_an_interrupt_anywhere_in_append_leaves_all_or_none_and_a_journal_that_goes_on(path, tmp_path):
    """KeyboardInterrupt at every line that `append` runs, as Ctrl-C would raise it."""
    wanted = expected(tmp_path / "whole", range(5)).tobytes()
    batch = [row(trial) for trial in (2, 3)]
    step = interrupted = 0
    while step == interrupted:
        path.unlink(missing_ok=True)
        with open_journal(path, CAMPAIGN, COLUMNS, sync_rows=1) as journal:
            journal.append([row(0), row(1)])
            left = step

            def trace(frame, event, argument):
                nonlocal left
                if "/faultsim/journal/" not in frame.f_code.co_filename.replace(os.sep, "/"):
                    return None
                left -= event == "line"
                if left < 0:
                    sys.settrace(None)
                    raise KeyboardInterrupt
                return trace

            sys.settrace(trace)
            try:
                journal.append(batch)
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                sys.settrace(None)
            stood = path.read_bytes()
            assert journal.trials().tolist() in ([0, 1], [0, 1, 2, 3])
            journal.append([*batch, row(4)])
            assert journal.rows().tobytes() == wanted
        assert rows_of(path)[0].tobytes() == wanted
        path.write_bytes(stood)  # the process ended right after Ctrl-C instead
        assert rows_of(path)[0]["trial"].tolist() in ([0, 1], [0, 1, 2], [0, 1, 2, 3])
        step += 1
    assert interrupted > 30


def test_ctrl_c_while_the_system_writes_leaves_a_file_that_goes_on(filled, monkeypatch):
    with open_journal(filled, CAMPAIGN, COLUMNS) as journal:
        write = os.write

        def half(fd, data):
            write(fd, data[: len(data) // 2])
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(KeyboardInterrupt):
            journal.append([row(6)])
        monkeypatch.undo()
        assert len(journal) == 6
        assert journal.append([row(6)]) == 1
    assert len(rows_of(filled)[0]) == 7


def test_sigint_to_a_process_that_appends_leaves_a_file_that_goes_on(path):
    with subprocess.Popen(
        [sys.executable, WRITER, "endless", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        while path.read_bytes().count(b"\n") < 20:
            pass
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.stderr.read()
    rows, notes = rows_of(path)
    assert notes == ()
    assert rows["trial"].tolist() == list(range(len(rows)))
    assert not path.with_name(f"{path.name}.pid").exists()
