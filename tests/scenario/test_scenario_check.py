"""What a scenario says wrong whatever the model is told when it is read, with its place: words, shapes, empty keys."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from faultsim.errors import SpecError
from faultsim.scenario import Scenario
from faultsim.specs.scenario import scenario_schema

HEAD = "faultsim_scenario: 1\nname: mine\n"
DEVICES = "devices: [sram]\n"
WHOLE = HEAD + "models: [digits]\n" + DEVICES


def problems(text: str) -> list[str]:
    Path("mine.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        Scenario.load("mine.yaml")
    return str(caught.value).splitlines()


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WHOLE + "hardening:\n",
         "mine.yaml:5:1: hardening: is empty; write 'hardening: {}' for the defaults, or leave it out for none"),
        (HEAD + "models: [digits]\ndevices:\n  - device: sram\n    corners:\n",
         "mine.yaml:6:5: devices[0].corners: is empty; write 'corners: {}' for none, or leave it out for the "
         "scenario's"),
        (WHOLE + "overrides:\n  - cases: '*'\n    require:\n",
         "mine.yaml:7:5: overrides[0].require: is empty; write 'require: []' for none, or leave it out for the "
         "scenario's"),
    ],
)  # fmt: skip
def test_a_key_with_nothing_behind_it_is_refused(text, said):
    assert problems(text) == [said]
    [wrong] = jsonschema.Draft202012Validator(scenario_schema()).iter_errors(yaml.safe_load(text))
    assert wrong.instance is None or wrong.context


def test_an_included_file_is_read_the_same_way():
    Path("more.yaml").write_text("hardening:\n")
    assert problems(WHOLE + "include: more.yaml\n") == [
        "more.yaml:1:1: hardening: is empty; write 'hardening: {}' for the defaults, or leave it out for none"
    ]


def test_empty_values_that_say_so_are_taken():
    Path("mine.yaml").write_text(
        HEAD + "models: [digits]\ndevices:\n  - {device: sram, corners: {}}\nhardening: {}\n"
        "require: [accuracy >= 0.5]\noverrides: [{cases: '*', require: []}]\n"
    )
    [case] = Scenario.load("mine.yaml").cases
    assert case.hardening is not None
    assert case.asked == ()


MODEL = HEAD + "models:\n  - {{model: digits, {}}}\n" + DEVICES


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("task: classifcation", "models[0].task: task 'classifcation' is unknown, did you mean 'classification'?"),
        ("task: top0", "models[0].task: top_k = 0 is out of range: give at least 1"),
        ("input_shape: {x: '1,a'}",
         "models[0].input_shape.x: '1,a': give whole numbers above 0 with commas between, such as '1,128'"),
        ("input_shape: {x: ''}",
         "models[0].input_shape.x: '': give whole numbers above 0 with commas between, such as '1,128'"),
        ("input_shape: {x: '0,3'}",
         "models[0].input_shape.x: '0,3': give whole numbers above 0 with commas between, such as '1,128'"),
        ("batch_axis: {y: -3}",
         "models[0].batch_axis.y: '-3': give the number of the axis that counts the samples, from 0, or none"),
    ],
)  # fmt: skip
def test_what_no_model_could_take_is_told_before_any_is_read(said, message):
    [line] = problems(MODEL.format(said))
    assert line.partition(": ")[2] == message


@pytest.mark.parametrize("said", ["task: top5", "task: regression@0.1", "input_shape: {x: '1, 8'}",
                                  "batch_axis: {x: 1, h: none}"])  # fmt: skip
def test_what_a_model_may_take_is_left_to_it(said):
    Path("mine.yaml").write_text(MODEL.format(said))
    assert len(Scenario.load("mine.yaml").cases) == 1


def test_a_task_that_is_a_function_is_code_and_no_unknown_word():
    [line] = problems(MODEL.format("task: 'my_tasks:judge'"))
    assert "runs Python code; give --allow-code" in line
    Path("mine.yaml").write_text(MODEL.format("task: 'my_tasks:judge'"))
    assert len(Scenario.load("mine.yaml", allow_code=True).cases) == 1
