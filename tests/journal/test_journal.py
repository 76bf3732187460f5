"""Laws of a journal: union on the trial, any order and split give the same rows, hostile content is refused."""

import base64
import itertools
import json
import math
import os
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from campaign import CAMPAIGN, COLUMNS, row
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from faultsim.journal import Columns, JournalError, open_journal, read_journal
from faultsim.journal.format import seal
from faultsim.journal.index import TrialIndex
from faultsim.journal.scan import BLOCK_BYTES


class Machine(RuleBasedStateMachine):
    """Appends, reopens and tears the file at random; a dictionary is what the journal must equal."""

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(os, "fsync", lambda fd: None)  # not what is tested here, and slow
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "j"
        self.known = {}
        self.order = []
        self.journal = open_journal(self.path, CAMPAIGN, COLUMNS)

    def teardown(self):
        self.journal.close()
        self.patch.undo()
        shutil.rmtree(self.folder)

    @rule(trials=st.lists(st.integers(0, 12), max_size=6))
    def append(self, trials):
        new = [t for t in dict.fromkeys(trials) if t not in self.known]
        assert self.journal.append([row(t) for t in trials]) == len(new)
        self.known |= {t: row(t) for t in new}
        self.order += new

    @rule(trial=st.integers(0, 12), other=st.integers(13, 20))
    def conflict(self, trial, other):
        number, stratum, correct, loss, outcomes = row(trial)
        wrong = (number, stratum, correct + 1, loss, outcomes)
        pair = [row(other), row(trial), wrong]  # a whole batch is refused for one row
        with pytest.raises(
            JournalError, match=f"trial {trial} has two answers: correct = {correct} in .*, {correct + 1}"
        ):
            self.journal.append(pair)

    @rule()
    def reopen(self):
        self.journal.close()
        self.journal = open_journal(self.path, CAMPAIGN, COLUMNS)
        assert not self.journal.notes

    @precondition(lambda self: self.known)
    @rule(cut=st.integers(1, 60))
    def tear(self, cut):
        self.journal.close()
        data = self.path.read_bytes()
        kept = max(data.index(b"\n") + 1, len(data) - cut)
        self.path.write_bytes(data[:kept])
        lost = data[kept:].count(b"\n")
        for trial in self.order[len(self.order) - lost :]:
            del self.known[trial]
        self.order = self.order[: len(self.order) - lost]
        self.journal = open_journal(self.path, CAMPAIGN, COLUMNS)

    @invariant()
    def holds_what_was_appended(self):
        assert len(self.journal) == len(self.known)
        assert self.journal.trials().tolist() == sorted(self.known)
        assert list(self.journal.missing(15)) == [t for t in range(15) if t not in self.known]
        assert all((t in self.journal) == (t in self.known) for t in range(15))
        rows = self.journal.rows()
        assert rows["loss"].tobytes() == np.array([row(t)[3] for t in sorted(self.known)]).tobytes()
        assert rows["outcomes"].tobytes() == b"".join(row(t)[4] for t in sorted(self.known))


TestMachine = Machine.TestCase


@given(order=st.permutations(range(8)), cuts=st.sets(st.integers(1, 7)))
def test_any_order_and_batching_gives_the_same_rows(order, cuts):
    with tempfile.TemporaryDirectory() as folder:
        with open_journal(Path(folder) / "a", CAMPAIGN, COLUMNS) as one:
            one.append([row(t) for t in range(8)])
            wanted = one.rows().tobytes()
        with open_journal(Path(folder) / "b", CAMPAIGN, COLUMNS) as other:
            edges = [0, *sorted(cuts), 8]
            for first, last in itertools.pairwise(edges):
                other.append([row(t) for t in order[first:last]])
            assert other.rows().tobytes() == wanted
            assert other.append(other.rows()) == 0


@given(
    whole=st.integers(-(2**63), 2**63 - 1),
    real=st.floats(),
    data=st.binary(min_size=9, max_size=9),
    trial=st.integers(0, 2**63 - 1),
)
def test_every_value_comes_back(whole, real, data, trial):
    columns = Columns(ints=("whole",), floats=("real",), byte_arrays=(("data", 9),))
    text = columns.encode((trial, whole, real, data))
    assert len(text) <= columns.limit_bytes
    json.loads(text + b"]")
    back = columns.decode([text])[0]
    assert (int(back["trial"]), int(back["whole"]), back["data"].tobytes()) == (trial, whole, data)
    got = float(back["real"])
    assert repr(got) == repr(real)


@given(st.integers(1, 5000), st.randoms(use_true_random=False))
def test_incompressible_bytes_fit_the_longest_line(size, random):
    columns = Columns(byte_arrays=(("data", size),))
    assert len(columns.encode((2**63 - 1, random.randbytes(size)))) <= columns.limit_bytes


def test_numpy_values_are_taken(path):
    columns = Columns(ints=("a",), floats=("b",), byte_arrays=(("c", 3),))
    with open_journal(path, CAMPAIGN, columns) as journal:
        array = np.array([1, 2, 3], np.uint8)
        journal.append([(np.int64(4), np.uint8(7), np.float32(0.1), array), (5, 8, 1, array)])
        assert journal.rows()["b"].tolist() == [float(np.float32(0.1)), 1.0]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ((1, 2), "a row of 2 values for 5 columns: trial, stratum"),
        ((-1, 0, 0, 0.0, b"12345"), "trial -1: trials are numbered from 0"),
        ((1.0, 0, 0, 0.0, b"12345"), r"trial = 1\.0"),
        ((1, True, 0, 0.0, b"12345"), "stratum = True: true or false"),
        ((1, 0, 2**63, 0.0, b"12345"), "correct = 9223372036854775808: beyond 64 bits"),
        ((1, 0, 0, "0.5", b"12345"), "loss = '0.5': no number"),
        ((1, 0, 0, None, b"12345"), "loss = None"),
        ((1, 0, 0, 0.0, b"1234"), "outcomes is not the 5 bytes"),
        ((1, 0, 0, 0.0, np.zeros(5)), "outcomes is an array of float64, not of uint8"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_and_nothing_is_written(filled, bad, said):
    before = filled.read_bytes()
    with open_journal(filled, CAMPAIGN, COLUMNS) as journal, pytest.raises(JournalError, match=said):
        journal.append([row(9), bad])
    assert filled.read_bytes() == before


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"ints": ("trial",)}, "each name once, 'trial' not at all"),
        ({"ints": ("a",), "floats": ("a",)}, "each name once"),
        ({"ints": ("a b",)}, "no usable name"),
        ({"ints": tuple(f"c{i}" for i in range(256))}, "give at most 256"),
        ({"byte_arrays": (("a", 0),)}, "give a length from 1"),
        ({"byte_arrays": (("a", 2**25),)}, "give a length from 1"),
        ({"byte_arrays": (("a", 2**24), ("b", 1))}, "more than 16777216 bytes a row together; give fewer"),
    ],
)
def test_columns_that_cannot_be(declared, said):
    with pytest.raises(JournalError, match=said):
        Columns(**declared)


BOMB = base64.b64encode(zlib.compress(bytes(10**7))).decode()
GOOD = base64.b64encode(zlib.compress(b"12345")).decode()


@pytest.mark.parametrize(
    "payload",
    [
        "[6",
        "[6,0,1,0.5",
        f'[6,0,1,0.5,"{GOOD}",1',
        f'[-6,0,1,0.5,"{GOOD}"',
        f'[6.0,0,1,0.5,"{GOOD}"',
        f'[6,true,1,0.5,"{GOOD}"',
        f'[6,0,{10**30},0.5,"{GOOD}"',
        f'[{2**63},0,1,0.5,"{GOOD}"',
        f'[6,0,1,1,"{GOOD}"',
        f'[6,0,1,NaN,"{GOOD}"',
        f'[6,0,1,1e999,"{GOOD}"',
        f'[6,0,1,"1e3","{GOOD}"',
        f'[6,0,1,null,"{GOOD}"',
        '[6,0,1,0.5,"!!!!"',
        '[6,0,1,0.5,"AAAA"',
        '[6,0,1,0.5,"' + base64.b64encode(zlib.compress(b"1234")).decode() + '"',
        '[6,0,1,0.5,"' + base64.b64encode(zlib.compress(b"12345") + b"x").decode() + '"',
        "[6,0,1,0.5,7",
        "[" * 200,
        "[6," + "[" * 100,
        '{"a":1',
        f'[6,0,1,0.5,"{GOOD}"],[7,0,1,0.5,"{GOOD}"',
        "",
        "x,y",
        f'[6,0,1,0.5,"\u00e9{GOOD}"',
    ],
)
def test_a_line_with_a_fitting_checksum_that_is_no_row_is_refused_with_its_place(filled, payload):
    data = filled.read_bytes()
    text = payload.encode("latin-1")
    line, _ = seal(text, int(data[-11:-3], 16))
    filled.write_bytes(data + line)
    place = rf"campaign.journal:8: no row of this journal's columns at byte {len(data)} \("

    def use():
        with open_journal(filled, CAMPAIGN, COLUMNS) as journal:
            journal.rows()

    with pytest.raises(JournalError, match=place):
        use()
    with pytest.raises(JournalError, match=place):
        read_journal(filled)


def test_a_bomb_in_a_byte_column_stays_packed():
    columns = Columns(byte_arrays=(("data", 5),))
    with pytest.raises(ValueError, match="of another length than 5"):
        columns.decode([f'[0,"{BOMB}"'.encode()])


def test_duplicates_inside_a_file_are_one_row_or_an_error_that_names_the_trial(filled):
    data = filled.read_bytes()
    chain = int(data[-11:-3], 16)
    line, _ = seal(COLUMNS.encode(row(2)), chain)
    filled.write_bytes(data + line)
    with open_journal(filled, CAMPAIGN, COLUMNS) as journal:
        assert len(journal) == len(journal.rows()) == 6
    number, stratum, correct, loss, outcomes = row(2)
    line, _ = seal(COLUMNS.encode((number, stratum, correct, 0.0, outcomes)), chain)
    assert math.copysign(1, loss) == -1, "0.0 and -0.0 are different answers"
    filled.write_bytes(data + line)
    with pytest.raises(
        JournalError, match=r"trial 2 has two answers: loss = -0\.0 in .*, 0\.0 in .*campaign.journal, byte"
    ):
        open_journal(filled, CAMPAIGN, COLUMNS)


def test_a_journal_of_many_blocks_reads_as_it_was_written(path):
    columns = Columns(ints=("a",))
    total = 3 * BLOCK_BYTES // 20
    with open_journal(path, CAMPAIGN, columns) as journal:
        journal.append((t, t * t) for t in reversed(range(total)))
        assert path.stat().st_size > 2 * BLOCK_BYTES
    with open_journal(path, CAMPAIGN, columns) as journal:
        rows = journal.rows()
        assert rows["trial"].tolist() == list(range(total))
        assert rows["a"].tolist() == [t * t for t in range(total)]
        assert journal.append([(5, 25), (total, 1)]) == 1
        with pytest.raises(JournalError, match=r"trial 5 has two answers: a = 25 in .*, 26 in the row to be appended"):
            journal.append([(5, 26)])


@given(st.lists(st.lists(st.integers(0, 60), unique=True, max_size=10), max_size=12), st.integers(0, 40))
def test_the_index_is_a_dictionary(batches, end):
    index, known, at = TrialIndex(np.empty(0, np.int64), np.empty(0, np.int64)), {}, 0
    for number, batch in enumerate(batches):
        index.settle(least=number + 1)
        new = {t: at + k for k, t in enumerate(batch) if t not in known}
        index.add(new)
        known |= new
        at += len(batch)
    assert len(index) == len(known)
    assert {t: index.offset(t) for t in range(61) if index.offset(t) is not None} == known
    assert index.trials().tolist() == sorted(known)
    index.add({99: end + 1})
    index.drop_from(end + 1)
    assert index.offset(99) is None


def test_a_row_of_a_campaign_takes_at_most_120_bytes(path):
    counts = ("stratum", "site", "element", "bit", "n", "correct", "mismatch", "nonfinite")
    columns = Columns(ints=(*counts, "masked", "tolerable", "critical"), floats=("loss",))
    text = columns.encode((9_999_999, 1600, 52, 23_000_000, 31, *[10_000] * 7, -1 / 3e10))
    assert len(seal(text, 0)[0]) <= 120
