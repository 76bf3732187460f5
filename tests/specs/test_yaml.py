"""Laws of the YAML loader: what text means, what it refuses, and that no text breaks it."""

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultsim.errors import SpecError
from faultsim.specs.yaml import MAX_BYTES, MAX_DEPTH, read, show_path

YAMLISH = st.text(alphabet=st.sampled_from("ab01.-+e:,[]{}&*!|>'\"%#? \n\t~<\\_xon"), max_size=80)


def value_of(text):
    document = read(text)
    assert not document.problems
    return document.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-1E+2", -100.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("12", 12),
        ("-0", 0),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("'1e-3'", "1e-3"),
        ('"true"', "true"),
        ("<<", "<<"),
        ("=", "="),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text, value):
    found = value_of(f"key: {text}")
    assert found == {"key": value}
    assert type(found["key"]) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_written_by_python_is_read_back_exactly(number):
    assert value_of(f"[{number!r}]") == [number]


@given(st.integers(-(10**30), 10**30))
def test_an_integer_is_read_back_exactly(number):
    assert value_of(f"[{number}]") == [number]


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".nan", ".NaN", "1e999", "-1e400", "1" * 301])
def test_numbers_that_are_not_finite_are_refused_with_their_place(text):
    problem = read(f"a:\n  b: {text}").problems[0]
    assert (problem.line, problem.column, problem.path) == (2, 6, "a.b")
    assert problem.message.startswith("must be a finite number, got ")


def test_every_node_has_its_place():
    places = read("a: 1\nb:\n  - x\n  - {c: d}\n").places
    assert places["b", 1, "c"] == (4, 9, 4, 6)
    assert places["b", 0] == (3, 5, 3, 5)
    assert places[()] == (1, 1, 1, 1)


def test_duplicate_keys_are_refused_and_the_first_counts():
    document = read("a: 1\nb: 2\na: 3\n")
    assert document.value == {"a": 1, "b": 2}
    assert document.problems == ((3, 1, "a", "given twice, first in line 1; remove one of the two"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1: a", "t:1:1: the key '1' is not a word; put it in quotes or rename it"),
        ("null: a", "t:1:1: the key 'null' is not a word; put it in quotes or rename it"),
        ("? [a]\n: b", "t:1:3: the key is not a word; put it in quotes or rename it"),
        ("a: !!python/name:os.system x", "is not allowed, nothing here is tagged; remove it"),
        (
            "a: !!str 1",
            "t:1:4: a: tag 'tag:yaml.org,2002:str' is not allowed, nothing here is tagged; remove it",
        ),
        ('a: "\\ud800"', "t:1:4: a: holds half of a surrogate pair; write the whole character"),
    ],
)
def test_problems_of_the_text_are_kept_beside_the_values(text, message):
    from faultsim.specs.yaml import refusal

    document = read(text, name="t")
    assert message in str(refusal(document.name, list(document.problems)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "t:1:6: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        (
            "a:\n\t- 1",
            "t:2:1: not valid YAML: found character '\\t' that cannot start any token; indent with spaces",
        ),
        ("a: 1\n---\nb: 2", "t:2:1: not valid YAML: but found another document"),
        ("a\x00b", "t:1:2: holds the character U+0000, which YAML forbids"),
        ("*x", "t:1:1: not valid YAML: found undefined alias 'x'"),
        ('a: "\\UFFFFFFFF"', "t:1:1: not valid YAML: an escape or a directive that stands for no character"),
        (b"ok: 1\n\xff", "t:2:1: not UTF-8 text (byte 6); save the file as UTF-8"),
        ("&a [*a]", "aliases nest more than 40 levels deep; write them out"),
        ("[" * (MAX_DEPTH + 1), "t:1:41: nested more than 40 levels deep; write it flatter"),
        ("a: b\n" * (MAX_BYTES // 5 + 1), "bytes or more, at most 1,048,576 are allowed"),
        ("[" + "1," * 60_000 + "]", "more than 50,000 values; split the file"),
    ],
)
def test_what_is_not_yaml_or_too_much_is_refused(text, message):
    with pytest.raises(SpecError) as caught:
        read(text, name="t")
    assert message in str(caught.value)


def test_an_alias_bomb_is_stopped():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(9)
    )
    start = time.perf_counter()
    with pytest.raises(SpecError, match="aliases expand to more than 50,000 values; write them out"):
        read(bomb)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    "text",
    [
        "{" * 5000,
        "- " * 5000,
        "? " * 5000,
        "&a " * 5000,
        "[a, " * 5000,
        "{a: " * 5000,
        "'" * 5001,
    ],
)
def test_nested_rubbish_is_refused_quickly(text):
    start = time.perf_counter()
    with pytest.raises(SpecError):
        read(text)
    assert time.perf_counter() - start < 5


def test_aliases_within_bounds_are_allowed():
    assert value_of("a: &x {v: 1}\nb: *x\n") == {"a": {"v": 1}, "b": {"v": 1}}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"gone\.yaml: cannot be read: No such file or directory"):
        read(tmp_path / "gone.yaml")


def test_a_key_with_a_newline_stays_on_one_line():
    assert "\n" not in show_path(("a\nb", 0))


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), st.binary(max_size=200), YAMLISH))
def test_any_text_gives_values_or_a_spec_error(text):
    with contextlib.suppress(SpecError):
        document = read(text)
        assert all(problem.line >= 1 and problem.column >= 1 for problem in document.problems)
