"""What a user reads when a file is wrong: every problem at once, with place and remedy."""

import contextlib
import json
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from faultsim.errors import SpecError
from faultsim.specs.load import load
from faultsim.specs.quantity import Quantity, Spec


class Cells(Spec):
    bits: Annotated[int, Field(ge=1, le=16)]
    name: Annotated[str, Field(pattern="^[a-z]+$")] = "x"
    on: bool = True


class BitFlip(Spec):
    model: Literal["bit_flip"]
    ber: Annotated[float, Field(ge=0, le=1)] = 0.0


class StuckAt(Spec):
    model: Literal["stuck_at"]
    share: Quantity[Annotated[float, Field(gt=0, lt=1)], Literal["fraction", "%"]] | None = None


class Chip(Spec):
    name: str
    storage: Cells
    extra: Annotated[float, Field(gt=0)] | None = None
    mechanisms: tuple[Annotated[BitFlip | StuckAt, Field(discriminator="model")], ...]


def problems(text, type_=Chip, name="devices/my_chip.yaml"):
    with pytest.raises(SpecError) as caught:
        load(text, type_, name=name)
    return str(caught.value)


def test_all_errors_come_at_once_with_place_and_remedy():
    text = """\
name: my_chip
storage:
  bits: 0

mechanisms:
  - model: bit_flip
    ber: 1e-3
  - model: bit_flp
    ber: 1e-3
"""
    assert problems(text) == (
        "devices/my_chip.yaml:3:9: storage.bits: must be between 1 and 16, got 0\n"
        "devices/my_chip.yaml:8:5: mechanisms[1].model: unknown 'bit_flp', did you mean 'bit_flip'?"
    )


def test_problems_of_the_text_and_of_the_types_are_listed_together():
    text = """\
nam: my_chip
storage: {bits: 4.5, on: on, bits: 3}
extra: '1e-3'
mechanisms:
  - model: stuck_at
    share: {value: 2, unit: percent, status: verified}
  - ber: .nan
  - [model]
"""
    assert problems(text, name="c.yaml") == (
        "c.yaml:1:1: nam: unknown key, did you mean 'name'?\n"
        "c.yaml:1:1: name: missing; add it\n"
        "c.yaml:2:17: storage.bits: must be a whole number, got 4.5\n"
        "c.yaml:2:26: storage.on: must be true or false, got the text 'on';"
        " write true or false\n"
        "c.yaml:2:30: storage.bits: given twice, first in line 2; remove one of the two\n"
        "c.yaml:3:8: extra: must be a number, got the text '1e-3'; remove the quotes\n"
        "c.yaml:6:20: mechanisms[0].share.value: must be strictly between 0 and 1, got 2\n"
        "c.yaml:6:29: mechanisms[0].share.unit: wrong unit 'percent'; allowed: 'fraction', '%'\n"
        "c.yaml:6:46: mechanisms[0].share.status: 'verified' needs a source; name a key of sources:,"
        " or call it 'illustrative'\n"
        "c.yaml:7:5: mechanisms[1].model: missing; add it\n"
        "c.yaml:7:10: mechanisms[1].ber: must be a finite number, got .nan\n"
        "c.yaml:8:5: mechanisms[2]: must be a mapping of keys to values, got a list"
    )


@pytest.mark.parametrize(
    ("text", "type_", "message"),
    [
        ("", Chip, "t:1:1: must be a mapping of keys to values, got nothing"),
        ("a", tuple[int, ...], "t:1:1: must be a list, got the text 'a'"),
        ("[1, x]", tuple[int, ...], "t:1:5: [1]: must be a whole number, got the text 'x'"),
        ("1_000", float, "t:1:1: must be a number, got the text '1_000'; remove the underscores"),
        ("yes", bool, "t:1:1: must be true or false, got the text 'yes'; write true or false"),
        ("'off'", bool, "t:1:1: must be true or false, got the text 'off'; write true or false"),
        (
            "'true'",
            bool,
            "t:1:1: must be true or false, got the text 'true'; write true or false without quotes",
        ),
        ("5 %", float, "t:1:1: must be a number, got the text '5 %'; write 5 / 100 as a decimal"),
        ("7", str, "t:1:1: must be text, got 7; put it in quotes"),
        ("true", float, "t:1:1: must be a number, got true"),
        ("{a: -1}", dict[str, Annotated[int, Field(ge=0)]], "t:1:5: a: must be at least 0, got -1"),
        (
            "{a: 0}",
            dict[str, Annotated[float, Field(gt=0, le=5)]],
            "must be greater than 0 and at most 5, got 0",
        ),
        ("[]", Annotated[tuple[int, ...], Field(min_length=1)], "t:1:1: must hold at least 1 entries, got 0"),
        (
            "[1, 2]",
            Annotated[tuple[int, ...], Field(max_length=1)],
            "t:1:1: must hold at most 1 entries, got 2",
        ),
        ("c", Literal["aaa", "bbb"], "t:1:1: unknown 'c'; allowed: aaa, bbb"),
        ("{bits: 1, name: A}", Cells, "t:1:17: name: must match ^[a-z]+$, got 'A'"),
        ("{bits: 1, zzz: 1}", Cells, "t:1:11: zzz: unknown key; allowed: bits, name, on"),
    ],
)
def test_a_message_says_what_is_wrong_the_value_and_what_is_allowed(text, type_, message):
    assert message in problems(text, type_, "t")


def test_an_unquoted_exponent_is_a_number_and_a_list_fills_a_tuple():
    assert load("{model: bit_flip, ber: 1e-3}", BitFlip) == BitFlip(model="bit_flip", ber=1e-3)
    assert load("[1, [2, 3]]", tuple[int, tuple[int, int]]) == (1, (2, 3))


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-99, 99),
            st.sampled_from(["bit_flip", "stuck_at", "x", "'1'", "-1e9"]),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["name", "storage", "mechanisms", "model", "ber", "bit_flip", "share", "q"]),
                inner,
            ),
        ),
        max_leaves=12,
    )
)
def test_any_tree_gives_a_value_or_problems_that_each_have_a_place(tree):
    with contextlib.suppress(SpecError):
        load(json.dumps(tree), Chip, name="t")
