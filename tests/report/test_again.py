"""The command that gives a result again: what it says, the command line reads back as the same options."""

import shlex

import click
import pytest
from example_result import example

from faultsim.cli.assess import command as assess
from faultsim.criteria import parse_criterion
from faultsim.report.again import assess_command
from faultsim.report.verdict import more_trials, next_command
from faultsim.results import Result
from faultsim.stats import trials_for_quantile

MODEL = "scenarios/digits/digits_float.onnx"


def made(**more) -> Result:
    base = example("accuracy_drop<=0.01@p95", "accuracy>=0.9")
    rerun = {"device": "my/profile.yaml", "sites": ("fc.weight",)} | more.pop("rerun", {})
    run = base.provenance.model_copy(update={"command": "faultsim run mine.yaml --out out"})
    return Result.model_validate(dict(base) | {"rerun": rerun, "provenance": run} | more)


def read(text: str) -> dict[str, object]:
    words = shlex.split(text, comments=True)
    assert words[:2] == ["faultsim", "assess"]
    return assess.make_context("assess", words[2:], resilient_parsing=False).params


def test_the_command_line_reads_the_same_conditions_data_and_requirements():
    conditions = {"v_norm": 0.85, "exposure_h": 1.6, "flux_factor": 30.0, "temperature_c": 85.0, "t_s": 3600.0}
    others = {"data": "my data.npz", "limit": 40, "task": "top5", "reads": "inference"}
    rerun = {"conditions": conditions} | others
    found = read(assess_command(made(rerun=rerun, seed=7)))
    given = {"model": MODEL, "device": "my/profile.yaml", "vdd": "0.85", "exposure": "1.6h", "flux": "30",
             "temperature": "85", "at": "3600", "data": "my data.npz", "limit": 40, "task": "top5", "seed": 7,
             "trials": 100, "reads": "inference"}  # fmt: skip
    assert {key: found[key] for key in given} == given
    asked = [parse_criterion(text) for text in found["require"]]
    assert [(one.metric, one.limit, one.at) for one in asked] == [
        ("accuracy_drop", 0.01, "p95"),
        ("accuracy", 0.9, "mean"),
    ]


def test_a_profile_of_the_library_goes_by_its_name(root):
    inside = made(rerun={"device": str(root / "devices" / "reram_1t1r.yaml")})
    assert read(assess_command(inside))["device"] == "reram_1t1r"
    assert read(assess_command(made(rerun={"device": "gone.yaml"})))["device"] == "gone.yaml"


def test_a_requirement_that_the_option_lacks_is_left_out_and_an_old_file_has_little_to_say():
    base = made()
    factor = base.verdict.criteria[0].model_copy(update={"metric": "safety_factor"})
    verdict = base.verdict.model_copy(update={"criteria": (factor,)})
    assert "--require" not in assess_command(base.model_copy(update={"verdict": verdict}))
    old = base.model_copy(update={"rerun": None})
    assert assess_command(old).startswith(f"faultsim assess {MODEL} --device reram_1t1r --trials 100")


def test_the_next_command_of_a_case_of_a_scenario_keeps_its_conditions():
    said = next_command(made(rerun={"conditions": {"v_norm": 0.9}}))
    assert " --vdd 0.9 " in said
    assert "--require 'accuracy_drop<=0.01@p95'" in said


def test_an_unknown_option_would_be_seen():
    with pytest.raises(click.UsageError):
        read("faultsim assess m.onnx --device d --nosuch 3")


def test_a_foreign_command_whose_quotes_do_not_close_is_replaced():
    result = example()
    said = result.provenance.model_copy(update={"command": "faultsim assess it's.onnx"})
    assert next_command(result.model_copy(update={"provenance": said})).startswith("faultsim assess ")


def test_more_trials_are_enough_for_the_percentile_that_was_open():
    assert more_trials(1, ["p95", "mean"], level=0.95) == 72
    assert more_trials(1, ["p95"], level=0.99) == 104
    assert more_trials(100, ["p95", None], level=0.95) == 400
    assert more_trials(10, ["p99"], level=0.95) == trials_for_quantile(0.99)
    assert more_trials(0, [], level=0.95) == 1
    assert more_trials(5, ["p100", "p0", "pxx", "p1e5", "p99.999999"], level=0.95) == 20  # a foreign result
