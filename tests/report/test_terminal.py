"""The exact text of the terminal report at 80 columns, and what no result may do to a terminal."""

import io
from pathlib import Path

import pytest
from example_result import example
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from faultsim.report import lines, render
from faultsim.report.words import bar, interval, pad, plain, points
from faultsim.results import Losses, NotSimulated, Result, Score, WorstCase

GOLDEN = Path(__file__).parent / "golden"
REQUIRED = ("accuracy_drop<=0.02@p95", "accuracy>=0.9", "worst_case_accuracy>=0.5", "accuracy>=0.95")


def without_labels() -> Result:
    data = example().data.model_copy(update={"labels": "golden", "samples": 64, "source": "drawn"})
    return example(trials=20, data=data, agreement=None, sites=(), kinds=(), worst_case=None)


def regression() -> Result:
    null = {"mean": None, "low": None, "high": None, "p05": None, "p05_low": None, "p05_high": None}
    accuracy = {**null, "min": None, "max": None, "note": "a regression has no accuracy"}
    random = example().random
    assert random is not None
    random = random.model_copy(
        update={
            "accuracy": type(random.accuracy)(**accuracy),
            "loss": Losses(mean=float("inf"), max=float("inf")),
            "nonfinite_trials": 3,
        }
    )
    return example(
        clean=Score(accuracy=None, loss=0.125, note="a regression has no accuracy"),
        clean_stored=None,
        random=random,
        random_in_set=None,
        worst_case=WorstCase(
            accuracy=None,
            loss=7.5,
            method="one step",
            gradients=1,
            forwards=1,
            indicator=1.0,
            note="no accuracy",
        ),
    )


RESULTS = {"full": lambda: example(*REQUIRED), "no_labels": without_labels, "regression": regression}


def printed(result: Result, **options: object) -> str:
    stream = io.StringIO()
    render(result, Console(file=stream, width=80, **options), out="out")  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("name", RESULTS)
def test_the_text_at_80_columns_is_the_golden_file(name):
    text, golden = printed(RESULTS[name]()), GOLDEN / f"{name}.txt"
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RESULTS)
def test_no_line_but_the_command_is_wider_than_the_terminal(name):
    texts = [text for text, _ in lines(RESULTS[name](), width=80) if not text.startswith("next ")]
    assert max(map(cell_len, texts)) <= 80


def test_piped_output_and_no_color_hold_no_escape_sequence(monkeypatch):
    assert "\x1b" not in printed(example(*REQUIRED))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31" not in printed(example(*REQUIRED), force_terminal=True)


def test_colour_adds_nothing_to_the_text():
    coloured = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard", record=True)
    render(example(*REQUIRED), coloured, out="out")
    assert "\x1b[" in coloured.file.getvalue()  # type: ignore[attr-defined]
    assert coloured.export_text() == printed(example(*REQUIRED))


def test_a_terminal_without_utf8_gets_every_figure():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    render(example(*REQUIRED), Console(file=stream, width=80))
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "-91.83 pt" in text
    assert "####" in text


def test_names_from_a_file_cannot_steer_the_terminal_nor_carry_markup():
    hostile = "\x1b]0;owned\x07[bold]x[/bold]\u202e:skull:\n"
    result = example(not_simulated=(NotSimulated(what=hostile, why="why"),), notes=(hostile,))
    text = printed(result, force_terminal=True, color_system=None)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "[bold]x[/bold]" in text
    assert ":skull:" in text


def test_what_is_not_verified_is_named():
    text = printed(example())
    assert "? recalled: read_noise.sigma = 0.01 of g_max" in text
    assert "? illustrative: array.rows = 256" in text
    assert "? derived from recalled: drift.nu = 0.05" in text
    assert "? verified" not in text
    assert "? derived from verified" not in text


def test_an_open_end_of_an_interval_is_a_dash():
    assert interval(None, 0.5, of_fractions=True) == "[—, 50.00]"
    assert interval(None, None, of_fractions=True) == ""


def test_the_next_step_follows_from_the_verdict():
    command = "next    faultsim assess digits --device reram "
    assert f'{command}--require "accuracy_drop<=0.01@p95"' in printed(example())
    assert f"{command}--trials 400" in printed(example("accuracy>=0.95"))
    assert f"{command}--exclude conv2.weight" in printed(example("accuracy>=0.99"))
    assert f"{command}--seed 1" in printed(example("accuracy>=0.5"))


@given(st.text(), st.integers(1, 40))
def test_padding_gives_exactly_the_asked_width_for_any_name(text, cells):
    assert cell_len(pad(plain(text), cells)) == cells


@given(st.floats(0, 1, exclude_min=True), st.integers(1, 40))
def test_a_bar_is_never_empty_nor_longer_than_its_cells(share, cells):
    assert 1 <= len(bar(share, cells)) <= cells


def test_a_rounded_zero_has_no_sign():
    assert points(-0.000001) == "0.00 pt"
    assert points(-0.03) == "−3.00 pt"
