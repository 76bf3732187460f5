"""The id of a campaign: what it depends on, and what is said where two differ."""

import hashlib
import json

import pytest
from campaign import COLUMNS
from hypothesis import given
from hypothesis import strategies as st

from faultsim.journal import LAWS_VERSION, JournalError, campaign_id, difference, identity, open_journal

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
PARTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)


@given(PARTS)
def test_the_id_is_the_hash_of_the_sorted_json_and_survives_a_file(parts):
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    assert campaign_id(parts) == hashlib.sha256(text.encode()).hexdigest()
    assert campaign_id(dict(reversed(parts.items()))) == campaign_id(parts)
    assert campaign_id(json.loads(json.dumps(parts))) == campaign_id(parts)


@given(PARTS, PARTS)
def test_two_campaigns_differ_in_words_exactly_where_their_ids_differ(first, second):
    assert bool(difference(first, second)) == (campaign_id(first) != campaign_id(second))


def test_the_version_of_the_laws_is_a_part():
    one = identity({"seed": 0})
    assert one.parts == {"seed": 0, "laws_version": LAWS_VERSION}
    assert one.id == campaign_id(one.parts) != campaign_id({"seed": 0})


def test_tuples_are_lists():
    assert identity({"at": (1, 2)}) == identity({"at": [1, 2]})


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"a": 1}, {"a": 1.0}, "the a was 1, now 1.0"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "the a.b[1] was 2, now 3"),
        ({"a": [1]}, {"a": [1, 2]}, "the a was [1], now [1, 2]"),
        ({"a": None}, {}, "the a was null, now not given"),
        ({"a": 1, "b": 1, "c": 1, "d": 1}, {}, "; and 1 more"),
        ({"a": "x" * 99}, {"a": ""}, '"xxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxx", now ""'),
    ],
)
def test_differences_in_words(first, second, said):
    assert said in difference(first, second)
    assert bool(said) == bool(difference(first, second))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"p": float("inf")}, "parts.p = inf is no JSON number; give it as text"),
        ({"a": [float("nan")]}, r"parts.a\[0\] = nan is no JSON number"),
        ({"a": {1: 2}}, "parts.a: the key 1 is no text"),
        ({"a": b"x"}, "parts.a is of type bytes; give a text, number"),
        ({"a": {1, 2}}, "parts.a is of type set"),
    ],
)
def test_parts_that_are_no_json(parts, said):
    with pytest.raises(JournalError, match=said):
        identity(parts)


def test_endless_nesting_is_refused():
    parts = {}
    parts["a"] = parts
    with pytest.raises(JournalError, match="nested deeper than 32 levels"):
        identity(parts)


def test_parts_too_large_for_the_first_line(path):
    with pytest.raises(JournalError, match=r"take 1,0.* bytes of a journal's first line, at most 1,048,576"):
        open_journal(path, identity({"a": "x" * 2**20}), COLUMNS)
