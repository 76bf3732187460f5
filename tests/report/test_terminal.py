"""The exact text of the terminal report at 80 columns, and what no result may do to a terminal."""

import io
from pathlib import Path

import pytest
from example_result import chips, example
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from faultsim.report import lines, render
from faultsim.report.html.answer import of_result
from faultsim.report.markdown import markdown
from faultsim.report.words import bar, interval, pad, plain, points
from faultsim.results import (
    Losses,
    NotSimulated,
    OutcomeShare,
    Result,
    Score,
    Scores,
    SdcFit,
    SiteRandom,
    Verdict,
    WorstCase,
)

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
            "loss": Losses(mean=float("inf"), max=float("inf"), p95=2.5, p95_low=1.25),
            "nonfinite_trials": 3,
        }
    )
    data = {
        "task": "regression",
        "loss": "mean squared error",
        "headline": "loss",
        "metric": "mean squared error",
        "higher_is_better": False,
        "predictions": "values",
    }
    return example(
        data=example().data.model_copy(update=data),
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


def bleu() -> Result:
    """Token ids: no loss, no gradient, a score of its own."""
    lossless = Losses(mean=None, max=None, note="the task has no loss")
    null = {"mean": None, "low": None, "high": None, "p05": None, "p05_low": None, "p05_high": None}
    sample = chips(100)
    scores = Scores(mean=25.5, low=25.1, high=25.9, bad=22.25, bad_low=20.5, bad_high=23.0, min=20.5, max=27.25)
    accuracy = type(sample.accuracy)(**null, min=None, max=None, note="the task counts no correct answers")
    data = {
        "task": "sequence output",
        "loss": "none",
        "headline": "score",
        "metric": "BLEU (0 to 100)",
        "higher_is_better": True,
    }
    clean = Score(accuracy=None, loss=None, score=27.5, note="no accuracy, no loss")
    alone = [SiteRandom(trials=3, accuracy=None, loss=None, score=score) for score in (27.25, 20.0, 27.5)]
    sites = tuple(
        site.model_copy(update={"worst_case": None, "random": one})
        for site, one in zip(example().sites, alone, strict=True)
    )
    return example(
        data=example().data.model_copy(update=data),
        clean=clean,
        clean_stored=clean.model_copy(update={"score": 27.0}),
        random=sample.model_copy(update={"accuracy": accuracy, "loss": lossless, "score": scores}),
        random_in_set=None,
        worst_case=None,
        sites=sites,
        kinds=(),
        notes=("No worst case: the output is a sequence of token ids, which has no gradient.",),
    )


def rare() -> Result:
    """Chips given a rare event, with few critical outcomes, and requirements that an interruption left unjudged."""
    sample = chips(100)
    shares = {
        "masked": OutcomeShare(total=59_981, share=59_981 / 60_000, low=0.9995, high=0.9999),
        "tolerable": OutcomeShare(total=14, share=14 / 60_000, low=0.0001, high=0.0004),
        "critical": OutcomeShare(total=5, share=5 / 60_000, low=0.0, high=0.0002),
        "nonfinite": OutcomeShare(total=0, share=0.0, low=0.0, high=0.0362),
    }
    outcomes = sample.outcomes.model_copy(update={**shares, "chips_masked": 93, "chips_critical": 2})
    random = sample.model_copy(
        update={
            "outcomes": outcomes,
            "per_trial": (),
            "event_probability": 0.0000123,
            "sdc_fit": SdcFit(value=0.05, low=0.0, high=0.12, device_fit=600.0, events=100),
        }
    )
    result = example(random=random, random_in_set=None, worst_case=None, sites=(), kinds=())
    asked = ("worst_case_accuracy>=0.5", "accuracy_drop<=0.01@p95")
    flags = " ".join(f"--require '{one}'" for one in asked)
    command = f"{result.provenance.command} {flags}"
    return result.model_copy(
        update={
            "verdict": Verdict(unjudged=asked),
            "provenance": result.provenance.model_copy(update={"command": command}),
        }
    )


RESULTS = {
    "full": lambda: example(*REQUIRED),
    "no_labels": without_labels,
    "regression": regression,
    "bleu": bleu,
    "rare": rare,
}


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


def test_requirements_that_an_interruption_left_unjudged_are_no_missing_requirements():
    text = printed(rare())
    assert "NO VERDICT  2 requirements were not judged: the run was interrupted" in text
    assert "no requirement was given" not in text
    command = text.splitlines()[-1]
    assert command.count("--require") == 2
    assert command.endswith("# once more, to its end")
    api = rare()
    api = api.model_copy(update={"provenance": api.provenance.model_copy(update={"command": "faultsim.assess(…)"})})
    assert "--require 'worst_case_accuracy>=0.5' --require 'accuracy_drop<=0.01@p95'" in printed(api)


@pytest.mark.parametrize("notes", [(), ("Not judged: no worst case was searched.",)])
def test_a_miss_is_a_miss_where_another_requirement_could_not_be_judged(notes):
    base = example("accuracy>=0.999")
    verdict = base.verdict.model_copy(update={"unjudged": ("worst_case_accuracy>=0.5",)})
    found = base.model_copy(update={"verdict": verdict, "notes": notes})
    why = "a figure is missing, as the notes say" if notes else "the run was interrupted"
    said = " ".join(printed(found).split())
    assert f"FAILED 1 requirement missed, and 1 requirement was not judged: {why}" in said
    assert "NO VERDICT" not in said
    page = of_result(found)
    assert (page.standing, page.word) == ("fail", "Failed")
    assert page.sentence == "No: 1 of 2 requirements is missed, and 1 could not be judged."
    assert markdown(found).startswith("## ❌ ")


def test_a_share_is_0_or_100_only_where_it_is_exact():
    text = printed(rare())
    assert "outcomes       masked >99.9%  tolerable 0.02%  critical 0.008%  non-finite 0%" in text


def test_values_change_and_are_no_answers_that_differ():
    text = printed(regression())
    assert "answers " not in text
    assert "  changed 3.3%" in text


@given(st.text(), st.integers(1, 40))
def test_padding_gives_exactly_the_asked_width_for_any_name(text, cells):
    assert cell_len(pad(plain(text), cells)) == cells


@given(st.floats(0, 1, exclude_min=True), st.integers(1, 40))
def test_a_bar_is_never_empty_nor_longer_than_its_cells(share, cells):
    assert 1 <= len(bar(share, cells)) <= cells


def test_a_rounded_zero_has_no_sign():
    assert points(-0.000001) == "0.00 pt"
    assert points(-0.03) == "−3.00 pt"
