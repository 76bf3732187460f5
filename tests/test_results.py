"""The result contract: never a NaN, read back as written, its schema up to date, hostile files refused."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from example_result import chips, example
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from faultsim.errors import FaultsimError, SpecError
from faultsim.results import (
    SCHEMA_VERSION,
    Accuracies,
    Budget,
    Losses,
    Rate,
    Score,
    SiteWorst,
    TrialRow,
    Verdict,
    load_result,
    result_schema,
    schema_text,
    to_dict,
    to_json,
)


@pytest.fixture
def document() -> dict[str, object]:
    return to_dict(example("accuracy>=0.9"))


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "result.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_result_is_read_back_as_it_was_written(tmp_path):
    result = example("accuracy_drop<=0.02@p95", "nonfinite<=0")
    assert load_result(written(tmp_path, to_json(result))) == result


def test_the_contract_has_the_fields_that_other_tools_read(document):
    assert document["schema_version"] == SCHEMA_VERSION == 1
    assert document["verdict"]["pass"] is True
    assert document["worst_case"]["found"] == "found, not proven"
    assert {"mean", "low", "high", "p05", "p05_low", "p05_high", "min", "max"} <= document["random"]["accuracy"].keys()
    assert document["random"]["per_trial"][0].keys() == {
        "trial",
        "correct",
        "mismatch",
        "nonfinite",
        "n",
        "loss",
        "score",
        "outcomes",
        "detected",
        "corrected",
        "crashed",
    }


def test_the_schema_in_docs_is_up_to_date(root):
    committed = (root / "docs" / "result.schema.json").read_text(encoding="utf-8")
    assert schema_text() == committed, "run: python -m faultsim.results > docs/result.schema.json"


def test_the_command_writes_the_schema():
    run = subprocess.run(
        [sys.executable, "-m", "faultsim.results"],
        capture_output=True,
        check=True,
        text=True,
        encoding="utf-8",
    )
    assert run.stdout == schema_text()


def test_the_schema_validates_an_example_and_refuses_a_wrong_one(document):
    validator = jsonschema.Draft202012Validator(result_schema())
    validator.check_schema(result_schema())
    validator.validate(document)
    document["clean"]["accuracy"] = 98.0
    assert not validator.is_valid(document)


def test_a_p_of_infinity_is_a_word_in_json():
    entry = Budget(mechanism="m", scope="global", p=math.inf, eps=0.1, n=3, elements=9, confidence=0.99)
    assert entry.p == "inf"
    assert Budget.model_validate_json(entry.model_dump_json()) == entry


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_figure_that_is_not_finite_is_null_and_says_so(value):
    score = Score(accuracy=0.5, loss=value)
    assert score.loss is None
    assert "loss is not finite" in score.note
    assert TrialRow(trial=0, correct=0, mismatch=0, nonfinite=1, n=1, loss=float(value)).loss is None
    assert SiteWorst(accuracy=None, loss=float(value)).loss is None


def test_a_null_figure_needs_a_reason():
    with pytest.raises(ValidationError, match="accuracy is null without a reason"):
        Score(accuracy=None, loss=1.0)
    assert Score(accuracy=None, loss=1.0, note="regression").accuracy is None


def test_a_nan_where_no_null_is_foreseen_is_refused():
    with pytest.raises(ValidationError, match="finite"):
        Rate(mean=math.nan, low=None, high=None)


def test_numpy_scalars_and_lists_are_taken_and_written_as_json():
    row = TrialRow(trial=np.int64(3), correct=np.int32(1), mismatch=0, nonfinite=0, n=2, loss=np.float32(0.5))
    assert json.loads(row.model_dump_json())["trial"] == 3
    assert type(row.loss) is float


def test_swapped_ends_and_impossible_counts_name_both_offenders():
    with pytest.raises(ValidationError, match=r"low = 0\.9 lies above mean = 0\.5"):
        Rate(mean=0.5, low=0.9, high=1.0)
    with pytest.raises(ValidationError, match="correct = 3 exceeds n = 2"):
        TrialRow(trial=0, correct=3, mismatch=0, nonfinite=0, n=2, loss=0.0)
    with pytest.raises(ValidationError, match=r"mean = 2\.0 lies above max = 1\.0"):
        Losses(mean=2.0, max=1.0)
    with pytest.raises(ValidationError, match=r"min = 0\.6 lies above mean = 0\.5"):
        Accuracies(mean=0.5, low=None, high=None, p05=0.7, p05_low=None, p05_high=None, min=0.6, max=0.8)


def test_a_chip_counted_twice_or_lost_is_refused(document):
    sample = chips(4).model_dump()
    with pytest.raises(ValidationError, match="a chip is missing or twice"):
        type(chips(4)).model_validate({**sample, "trials": 5})
    twice = (*sample["per_trial"][:3], sample["per_trial"][0])
    with pytest.raises(ValidationError, match="a chip is missing or twice"):
        type(chips(4)).model_validate({**sample, "per_trial": twice})
    with pytest.raises(ValidationError, match="nonfinite_trials = 9 exceeds trials = 4"):
        type(chips(4)).model_validate({**sample, "nonfinite_trials": 9})


def test_a_verdict_that_does_not_follow_is_refused():
    with pytest.raises(ValidationError, match="does not follow from the criteria"):
        Verdict(passed=True)


def test_a_newer_version_is_refused_before_anything_else(tmp_path):
    path = written(tmp_path, json.dumps({"schema_version": 2, "new": {}}))
    with pytest.raises(SpecError, match=r"schema_version 2 is newer than 1.*update faultsim"):
        load_result(path)


@pytest.mark.parametrize("version", ['"1"', "true", "0", "1.0", "null"])
def test_a_version_that_is_no_number_is_refused(version, tmp_path):
    with pytest.raises(SpecError, match="schema_version must be a whole number from 1, got"):
        load_result(written(tmp_path, f'{{"schema_version": {version}}}'))
    with pytest.raises(SpecError, match="schema_version must be a whole number from 1, missing"):
        load_result(written(tmp_path, "{}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "no JSON"),
        (b'{"schema_version": 1', "was the file cut short"),
        (b"\xff\xfe", "not UTF-8 text at byte 0"),
        (b'{"schema_version": NaN}', "holds NaN, which is no JSON number"),
        (b'{"schema_version": 1e999}', "holds 1e999, which no float64 can hold"),
        (b'{"a": 1, "a": 2}', "holds the key 'a' twice"),
        (b"[1]", "must be an object, got list"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"schema_version": ' + b"9" * 5000 + b"}", "digits"),
    ],
)
def test_a_hostile_file_is_one_clear_sentence(text, said, tmp_path):
    with pytest.raises(SpecError, match=said):
        load_result(written(tmp_path, text))


def test_every_problem_is_named_with_its_place(document, tmp_path):
    document["model"]["sites"] = -1
    document["random"]["per_trial"][2]["correct"] = "many"
    document["surprise\x1b"] = 1
    with pytest.raises(SpecError) as caught:
        load_result(written(tmp_path, json.dumps(document)))
    said = str(caught.value)
    assert "model.sites: " in said
    assert "random.per_trial[2].correct: " in said
    assert "surprise?: " in said
    assert "\x1b" not in said


def test_at_most_twenty_problems_are_listed(document, tmp_path):
    for row in document["random"]["per_trial"]:
        row["correct"] = -1
    with pytest.raises(SpecError, match="and 80 more problems"):
        load_result(written(tmp_path, json.dumps(document)))


def test_a_large_file_a_pipe_and_a_missing_one_are_refused(tmp_path):
    with pytest.raises(SpecError, match="larger than 10 bytes"):
        load_result(written(tmp_path, to_json(example())), limit_bytes=10)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(SpecError, match="not a regular file"):
            load_result(path)
    with pytest.raises(SpecError, match="cannot be read"):
        load_result(tmp_path / "missing.json")
    with pytest.raises(SpecError, match="cannot be read"):
        load_result("nul\0byte")


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_our_own_errors(tmp_path_factory, data):
    path = written(tmp_path_factory.mktemp("fuzz"), data)
    with pytest.raises(FaultsimError):
        load_result(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_any_field_replaced_by_any_value_gives_a_result_or_our_own_error(tmp_path_factory, data):
    document = to_dict(example("accuracy>=0.9", trials=3))
    place: object = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))  # type: ignore[arg-type, call-overload]
        key = data.draw(st.sampled_from(keys))
        inner = place[key]  # type: ignore[index]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(JSON)  # type: ignore[index]
    path = written(tmp_path_factory.mktemp("fuzz"), json.dumps(document))
    try:
        found = load_result(path)
    except FaultsimError:
        return
    assert "NaN" not in to_json(found)
    assert "Infinity" not in to_json(found)
