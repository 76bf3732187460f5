"""Files whose checksums fit but that no journal wrote: one sentence, no traceback, and no more memory than allowed."""

import numpy as np
import pytest
from campaign import CAMPAIGN, COLUMNS, row

from faultsim.journal import Columns, JournalError, merge, open_journal, read_header, read_journal
from faultsim.journal.format import first_chain, header_line, seal
from faultsim.journal.opening import header_of
from faultsim.journal.scan import Block


def written(path, texts, columns=COLUMNS):
    line = header_line(header_of(CAMPAIGN, columns))
    chain, lines = first_chain(line), [line]
    for text in texts:
        sealed, chain = seal(text, chain)
        lines.append(sealed)
    path.write_bytes(b"".join(lines))
    return path


@pytest.mark.parametrize("word", [b"0" * 5000 + b"5", b"9" * 5000, b"05", b"+5", b"1_0", b"9223372036854775808", b""])
def test_a_trial_that_is_no_plain_number_is_no_row(path, word):
    good = COLUMNS.encode(row(3))
    written(path, [good, b"[" + word + good[2:]])
    with pytest.raises(JournalError, match=r":3: no row of .*it does not start with a trial.*give another file"):
        open_journal(path, CAMPAIGN, COLUMNS)


def test_the_largest_trial_is_one(path):
    good = COLUMNS.encode(row(3))
    written(path, [b"[9223372036854775807" + good[2:], b"[0" + good[2:]])
    with open_journal(path, CAMPAIGN, COLUMNS) as journal:
        assert journal.trials().tolist() == [0, 2**63 - 1]


def test_a_trial_that_is_there_twice_and_cannot_be_read_is_no_row(path):
    written(path, [COLUMNS.encode(row(3)), b"[5,x", b"[5,x"])
    with pytest.raises(JournalError, match=r":3: no row of this journal's columns at byte \d+"):
        open_journal(path, CAMPAIGN, COLUMNS)


LARGE = Columns(byte_arrays=(("b", 2**16),))


def packed(path, trials):
    with open_journal(path, CAMPAIGN, LARGE) as journal:
        journal.append([(trial, np.zeros(2**16, np.uint8)) for trial in trials])
    return path


def test_no_more_is_unpacked_than_allowed(path, tmp_path, monkeypatch):
    packed(path, range(8))
    size = LARGE.dtype.itemsize
    assert path.stat().st_size < size
    assert len(read_journal(path, most_bytes=8 * size).rows) == 8
    unpacked = []
    monkeypatch.setattr(Block, "table", lambda self, columns, path: unpacked.append(path))
    with pytest.raises(JournalError, match=r"its rows take more than 524,351 bytes, at 65,544 a row.*merge fewer"):
        read_journal(path, most_bytes=8 * size - 1)
    with pytest.raises(JournalError, match="has other columns, trial, b, not trial, stratum"):
        read_journal(path, columns=COLUMNS)
    assert unpacked == []


def test_shards_that_take_too_much_together_are_refused(tmp_path, monkeypatch):
    shards = [packed(tmp_path / name, trials) for name, trials in (("a", range(5)), ("b", range(5, 9)))]
    monkeypatch.setitem(merge.__globals__, "MOST_BYTES", 9 * LARGE.dtype.itemsize)
    assert merge(shards, tmp_path / "whole").rows == 9
    monkeypatch.setitem(merge.__globals__, "MOST_BYTES", 8 * LARGE.dtype.itemsize)
    with pytest.raises(JournalError, match=r"b: its rows take more than 196,632 bytes.*allowed are 524,352 over all"):
        merge(shards, tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_a_header_is_read_without_its_rows(filled):
    assert read_header(filled).campaign == CAMPAIGN.id
    written(filled, [b"[5,x"])
    assert read_header(filled).columns == COLUMNS
