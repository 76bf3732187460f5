"""What a result does in a session or a notebook: plain values, rows, a data frame, axes, a line, HTML."""

import base64
import json
import re
import subprocess
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib
import pytest
from example_kinds import attack, bitmap, campaign, harden, probe, shifted, sweep
from example_result import example
from matplotlib import pyplot
from matplotlib.figure import Figure

from faultsim.errors import OptionError
from faultsim.report.notebook import html
from faultsim.results import Result, load_result, to_json
from faultsim.results.compare import compare
from faultsim.results.scenario import CaseRow, ScenarioResult
from faultsim.results.tables import _tables

matplotlib.use("Agg")


def scenario() -> ScenarioResult:
    rows = [CaseRow(name=name, model="m.onnx", device="d", status="no verdict", clean=0.99, mean=0.9, tail=0.8, chips=9)
            for name in ("m/a", "m/b")]  # fmt: skip
    return ScenarioResult(name="mine", sha256="0" * 64, cases=tuple(rows))


ALL = {
    "result": example("accuracy>=0.9"), "harden": harden(), "sweep": sweep(), "campaign": campaign(),
    "attack": attack(), "cells": attack(cells=True), "probe": probe(), "bitmap": bitmap(), "scenario": scenario(),
    "comparison": compare(shifted(0), shifted(1)),
}  # fmt: skip
every = pytest.mark.parametrize("name", ALL)


@every
def test_the_dictionary_is_what_the_file_holds(name):
    made = ALL[name]
    assert json.loads(json.dumps(made.to_dict(), allow_nan=False)) == made.to_dict()
    assert type(made).model_validate_json(json.dumps(made.to_dict())) == made


def test_the_dictionary_of_an_assessment_is_its_file():
    assert ALL["result"].to_dict() == json.loads(to_json(ALL["result"]))


@every
def test_every_table_has_the_same_columns_in_each_row(name):
    made = ALL[name]
    assert made.to_rows(), "the first table that holds something"
    for table in _tables(made):
        rows = made.to_rows(table)
        assert len({tuple(row) for row in rows}) <= 1
        assert not [key for row in rows for key, value in row.items() if hasattr(value, "model_fields")]


def test_chips_are_the_rows_of_the_file_with_their_accuracy():
    made = ALL["result"]
    rows = made.to_rows("chips")
    assert [(row["trial"], row["accuracy"]) for row in rows] == [
        (one.trial, one.correct / one.n) for one in made.random.per_trial
    ]
    assert sum(row["accuracy"] for row in rows) / len(rows) == pytest.approx(made.random.accuracy.mean)
    assert made.to_rows() == rows
    assert [row["name"] for row in made.to_rows("sites")] == [site.name for site in made.sites]
    assert made.to_rows("sites")[0]["worst_case_accuracy"] == made.sites[0].worst_case.accuracy


def test_other_results_have_the_tables_that_people_ask_for():
    over = ALL["sweep"]
    assert [row[over.over] for row in over.to_rows()] == [point.value for point in over.points]
    assert [row["accuracy_mean"] for row in over.to_rows()] == [point.random.accuracy.mean for point in over.points]
    assert len(over.to_rows("chips")) == sum(len(point.random.per_trial) for point in over.points)
    bits = ALL["bitmap"].to_rows()
    assert len(bits) == sum(len(site.bits) for site in ALL["bitmap"].sites)
    assert {row["model"] for row in ALL["harden"].to_rows("chips")} == {"before", "after"}
    assert [row["name"] for row in ALL["scenario"].to_rows()] == ["m/a", "m/b"]
    assert [row["name"] for row in ALL["comparison"].to_rows()] == [one.name for one in ALL["comparison"].figures]


def test_a_table_that_is_none_is_refused_with_those_that_there_are():
    with pytest.raises(OptionError, match="no table 'chps', did you mean 'chips'\\? there are: chips, sites, kinds, "):
        ALL["result"].to_rows("chps")


def test_without_pandas_the_way_out_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError, match="pandas is not installed; pip install pandas, or take to_rows"):
        ALL["result"].to_pandas()


def test_a_data_frame_is_made_of_the_rows_of_the_table(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda rows: ("frame", rows)))
    assert ALL["result"].to_pandas("sites") == ("frame", ALL["result"].to_rows("sites"))


@every
def test_with_pandas_a_table_is_a_data_frame(name):
    pytest.importorskip("pandas", reason="pandas is no dependency; this test runs where it is installed")
    frame = ALL[name].to_pandas()
    rows = ALL[name].to_rows()
    assert list(frame.columns) == list(rows[0])
    assert len(frame) == len(rows)


@every
def test_a_figure_is_drawn_on_axes(name):
    made = ALL[name]
    if name in ("probe", "comparison"):
        with pytest.raises(OptionError, match="has nothing to draw"):
            made.plot()
        return
    own = Figure().add_subplot()
    assert made.plot(ax=own) is own
    assert own.get_title(loc="left")
    assert own.has_data()
    with pytest.raises(OptionError, match=r"no figure 'none such'; there are: \w+"):
        made.plot("none such")


def test_a_figure_is_taken_by_its_name_and_new_axes_are_made():
    axes = ALL["result"].plot("chips")
    heights = [patch.get_height() for patch in axes.patches]
    assert sum(heights) == ALL["result"].random.trials
    pyplot.close(axes.figure)


@every
def test_the_line_is_one_line_and_says_what_it_is_of(name):
    said = repr(ALL[name])
    assert said.startswith(f"<{type(ALL[name]).__name__} ")
    assert said.endswith(">")
    assert "\n" not in said
    assert len(said) < 500


def test_the_line_holds_the_answer():
    assert repr(ALL["result"]).startswith("<Result digits_float.onnx on reram_1t1r: Yes: the requirement is met")
    assert repr(ALL["scenario"]) == "<ScenarioResult mine: NO VERDICT: the scenario states no requirement>"


def test_printing_a_result_shows_what_the_terminal_shows():
    assert "random chip, 5th pct" in str(ALL["result"])
    assert "tested" in str(ALL["comparison"])


def test_a_half_made_result_still_has_a_line():
    half = Result.model_construct(seed=3)
    assert repr(half).startswith("Result(")
    assert half._repr_html_() is None


@every
def test_the_html_is_well_formed_and_loads_nothing(name):
    made = ALL[name]
    root = ElementTree.fromstring(re.sub(r"(<img [^>]*)>", r"\1/>", html(made)))
    assert len(root.findall(".//tbody/tr")) >= 1
    for image in root.iter("img"):
        kind, _, data = image.attrib["src"].partition(",")
        assert kind == "data:image/svg+xml;base64"
        picture = base64.b64decode(data).decode()
        ElementTree.fromstring(picture)
        assert "prefers-color-scheme" not in picture
        assert image.attrib["alt"]
    assert made._repr_html_() == html(made)


def test_a_long_table_is_cut_and_says_so():
    rows = ALL["bitmap"].to_rows()
    said = html(ALL["bitmap"])
    assert said.count("<tr>") == 1 + 16
    assert f"and {len(rows) - 16} more rows: to_rows()" in said
    assert "more row" not in html(ALL["scenario"])


def test_names_in_the_html_are_text():
    hostile = '<img src=x onerror="alert(1)">'
    base = ALL["result"]
    model = base.model.model_copy(update={"path": hostile})
    made = html(base.model_copy(update={"model": model}))
    assert "<img src=x" not in made
    assert "&lt;img src=x" in made


def test_a_result_that_is_only_read_loads_no_report(tmp_path):
    (tmp_path / "result.json").write_text(to_json(ALL["result"]))
    code = (
        "import sys; from faultsim.results import load_result; found = load_result(sys.argv[1]); found.to_rows(); "
        "print([name for name in ('matplotlib', 'jinja2', 'torch', 'faultsim.report') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "result.json")], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
    assert load_result(tmp_path / "result.json") == ALL["result"]


def test_a_hardening_is_printed_as_the_command_prints_it():
    said = str(ALL["harden"])
    assert "before" in said and "after" in said  # noqa: PT018
    assert ALL["harden"].sentence in said.splitlines()
