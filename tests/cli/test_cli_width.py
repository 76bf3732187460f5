"""Prose on a terminal of 80 columns: no line is longer, and no help is cut with three dots."""

import pytest


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("group", ["devices", "scenarios"])
def test_the_help_of_a_group_cuts_no_sentence(faultsim, group):
    found = faultsim(group, "--help")
    assert found.code == 0, found.err
    rows = found.out.partition("Commands:")[2].splitlines()
    assert [row.split()[0] for row in rows if row] == ["check", "schema", "show"]
    assert all(row.endswith(".") and not row.endswith("...") for row in rows if row)


@pytest.mark.parametrize(
    "words",
    [
        ("scenarios",),
        ("devices",),
        ("run", "analog_keyword_spotting", "--list"),
        ("run", "reram_vision", "--list"),
        ("run", "low_voltage_npu", "--list"),
    ],
)
def test_no_line_is_longer_than_the_terminal(faultsim, words):
    found = faultsim(*words)
    assert found.code == 0, found.err
    assert found.out.strip()
    assert [line for line in found.out.splitlines() if len(line) > 80] == []


def test_a_requirement_of_a_listed_case_is_not_broken(faultsim):
    lines = faultsim("run", "reram_vision", "--list").out.splitlines()
    assert lines[-2:] == ["digits/digital  (40 chips; accuracy_drop <= 1 % at p95;", "    worst_case_accuracy >= 0.5)"]
    assert all(one.isascii() for one in lines)


def test_merge_says_what_to_do_next_in_lines_that_fit(faultsim, tmp_path):
    shards = []
    for k in (1, 2):
        shards.append(tmp_path / str(k))
        words = ("campaign", "digits", "--shard", f"{k}/2", "--trials", 4, "--limit", 8, "--out", shards[-1], "-q")
        made = faultsim(*words)
        assert made.code == 0, made.err
    lines = faultsim("merge", *shards, "-o", tmp_path / "whole").out.splitlines()
    assert lines[-2:] == [
        "now run the campaign's command once more, without --shard, on this journal: it",
        "  gives the result",
    ]
