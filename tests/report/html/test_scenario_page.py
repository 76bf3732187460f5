"""The page of a whole scenario: verdict first, a row a case, links that lead to pages; nothing foreign runs."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from example_result import example

from faultsim.errors import OptionError, SpecError
from faultsim.report.html import read_bundle
from faultsim.report.html.draw_scenario import scenario_charts
from faultsim.report.html.scenario_files import write_scenario_pages
from faultsim.report.html.scenario_page import render_scenario_page
from faultsim.report.html.strip import Span, strip
from faultsim.report.scenario import every_chip
from faultsim.results import to_json
from faultsim.results.scenario import HardenedCase, ScenarioResult
from tests.report.scenario_rows import judgement, result, row


def saved(found: ScenarioResult, out: Path) -> ScenarioResult:
    """Write a folder as ``faultsim run --out`` leaves it, each case with the example's chips."""
    (out / "summary.json").write_text(found.model_dump_json(by_alias=True))
    for one in found.cases:
        if one.result is not None:
            (out / one.result).parent.mkdir(parents=True, exist_ok=True)
            (out / one.result).write_text(to_json(example()))
    return found


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.text.append(" " if tag == "br" else "")
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")

    def handle_data(self, data):
        self.text.append(data)

    def handle_endtag(self, tag):
        if tag in ("td", "th", "dt", "dd", "p", "li", "tr", "caption", "h1", "h2", "code", "small", "title"):
            self.text.append(" ")


def words(text: str) -> str:
    return " ".join("".join(_Page(re.sub("<(style|script).*?</\\1>", "", text, flags=re.DOTALL)).text).split())


def test_the_verdict_comes_first_and_every_case_has_its_row():
    found = result(row("m/a"), row("m/b", "failed"), row("m/c", "error"), row("m/e", "not run"))
    said = words(render_scenario_page(found))
    answer = "1 case of 4 missed a requirement; 1 case of 4 could not be run; 1 case not run: interrupted."
    assert said.index(answer) < said.index("Small pictures")
    assert "m/b: the mean chip reaches 95.00% (accuracy >= 0.9)" in said
    for one in ("m/a", "m/b", "m/c", "m/e"):
        assert one in said[said.index("Small pictures") :]
    assert "99.00% 95.00% [94.00, 96.00] 91.00% 10.00%" in said
    assert said.count("m.onnx: no model") == 2  # in the answer, and where it could not be run


def test_requirements_stand_by_case_and_one_that_a_case_was_not_asked_is_told():
    both = (judgement(), judgement("loss <= 1", inconclusive=True))
    said = words(render_scenario_page(result(row("m/a"), row("m/b", criteria=both))))
    table = said[said.index("Each case against each requirement") :]
    assert "case accuracy >= 0.9 loss <= 1 m/a met the mean chip reaches 95.00% not asked m/b met" in table
    assert "met ? the mean chip reaches 95.00%" in table


def test_a_run_has_a_page_of_each_case_and_every_link_leads_there(tmp_path):
    found = saved(result(row("m/a b"), row("m/#x", "failed"), row("m/c", "error")), tmp_path)
    written = write_scenario_pages(found, tmp_path)
    assert [file.relative_to(tmp_path).as_posix() for file in written] == [
        "index.html", "m/a b/report.html", "m/#x/report.html"
    ]  # fmt: skip
    page = _Page((tmp_path / "index.html").read_text())
    files = [link for link in page.links if not link.startswith("#")]
    assert files == ["m/a%20b/report.html", "m/%23x/report.html"]
    assert all((tmp_path / unquote(link)).is_file() for link in files)
    assert sum(dict(attrs).get("class") == "strip" for _, attrs in page.tags) == 2
    away = tmp_path / "elsewhere" / "page.html"
    write_scenario_pages(found, tmp_path, index=away)
    assert all((away.parent / unquote(link)).is_file() for link in _Page(away.read_text()).links if "report" in link)


def test_the_page_of_a_case_is_not_written_over(tmp_path):
    found = saved(result(row("m/a")), tmp_path)
    write_scenario_pages(found, tmp_path)
    page = tmp_path / "m" / "a" / "report.html"
    before = page.read_text()
    with pytest.raises(OptionError, match=r"report\.html: is the page of case m/a; give another name"):
        write_scenario_pages(found, tmp_path, index=tmp_path / "m" / "." / "a" / "report.html", anew=True)
    assert page.read_text() == before


def test_a_page_that_is_not_older_than_its_result_stays(tmp_path):
    found = saved(result(row("m/a")), tmp_path)
    write_scenario_pages(found, tmp_path)
    page = tmp_path / "m" / "a" / "report.html"
    page.write_text("mine")
    assert write_scenario_pages(found, tmp_path) == [tmp_path / "index.html"]
    assert page.read_text() == "mine"
    write_scenario_pages(found, tmp_path, anew=True)
    assert page.read_text() != "mine"


def test_a_summary_cannot_name_a_file_outside_its_folder(tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "result.json").write_text(to_json(example()))
    out = tmp_path / "out"
    out.mkdir()
    rows = [
        row("m/a", result=said) for said in ("../secret/result.json", str(secret / "result.json"), "\0", "none.json")
    ]
    for one in rows:
        assert write_scenario_pages(result(one), out) == [out / "index.html"]
    assert not (secret / "report.html").exists()


def test_a_broken_result_has_no_page_and_loses_no_other(tmp_path):
    found = saved(result(row("m/a"), row("m/b")), tmp_path)
    (tmp_path / "m" / "a" / "result.json").write_text("{")
    assert [file.parent.name for file in write_scenario_pages(found, tmp_path)[1:]] == ["b"]


def test_the_next_command_is_the_worst_chip_of_what_failed_or_more_chips(tmp_path):
    once = example()
    again = type(once).model_validate(dict(once) | {"rerun": {"device": "reram", "sites": ("fc.weight",)}})
    failed = saved(result(row("m/a"), row("m/b", "failed")), tmp_path)
    (tmp_path / "m" / "b" / "result.json").write_text(to_json(again))
    write_scenario_pages(failed, tmp_path)
    worst = min(again.random.per_trial, key=lambda one: one.correct).trial
    command = f"faultsim replay {tmp_path / 'm/b/result.json'} --trial {worst} -o broken.onnx"
    assert command in words((tmp_path / "index.html").read_text())
    unsure = row("m/a", criteria=(judgement(inconclusive=True),))
    write_scenario_pages(result(unsure, command="faultsim run mine.yaml"), tmp_path)
    assert "faultsim run mine.yaml --trials 400" in words((tmp_path / "index.html").read_text())


def test_foreign_names_are_text_and_the_data_can_be_read():
    hostile = '</script><img src=x onerror="alert(1)">'
    rows = [row(hostile, "failed", criteria=(judgement(hostile, passed=False, explanation=hostile),), model=hostile,
                conditions=hostile, corner=at) for at in ("a", "b")]  # fmt: skip
    found = result(*rows, title=hostile, command=f"faultsim {hostile}")
    text = render_scenario_page(found, {hostile: example()}, links={hostile: "a/report.html"}, next_command=hostile)
    page = _Page(text)
    assert not [tag for tag, attrs in page.tags if tag == "img" or any(name.startswith("on") for name in attrs)]
    data = json.loads(re.search('id="data">(.*?)</script>', text)[1])
    assert ScenarioResult.model_validate_json(json.dumps(data["scenario"])) == found
    assert not [attrs for _, attrs in page.tags if "style" in attrs]  # the policy forbids it


def test_hardened_cases_have_their_table():
    done = HardenedCase(helped=True, sentence="It helped: more.", model="m/a/hardened.onnx", passed=None)
    said = words(render_scenario_page(result(row("m/a", hardened=done), row("m/b"))))
    assert "m/a helped It helped: more. not judged" in said
    bare = row("m/a", criteria=(), status="no verdict", hardened=done)
    assert "m/a helped It helped: more. none given" in words(render_scenario_page(result(bare)))
    failed = HardenedCase(helped=False, sentence="It could not be hardened: few.", model=None, error="few")
    said = words(render_scenario_page(result(row("m/a", hardened=failed))))
    assert "m/a error It could not be hardened: few. not judged" in said


def test_the_mean_over_every_chip_weighs_the_mean_given_an_event():
    one = row(event_probability=0.01, clean=0.99, mean=0.5, low=0.4, high=0.6)
    # by hand: 0.99 chips at 0.99, 0.01 at 0.5
    assert every_chip(one) == "99.00% of the chips have no event; the mean over every chip is 98.5100%"
    assert every_chip(row()) == ""
    assert "99.999999% of the chips" in every_chip(row(event_probability=1e-8))
    said = words(render_scenario_page(result(one, row("m/b"))))
    assert "rows with and without * are of different chips and sets" in said
    assert "rows with and without *" not in words(render_scenario_page(result(one)))


def test_corners_make_a_curve_that_breaks_where_chips_are_of_another_kind():
    rows = [
        row(f"m/d/{at}", corner=at, event_probability=p) for at, p in (("a", 0.1), ("b", 0.2), ("c", None), ("e", None))
    ]
    every, curve = scenario_charts(result(*rows, row("m/alone")))
    assert (every.name, curve.name) == ("cases", "corners-1")
    assert [tick.label for tick in curve.x.ticks] == ["a *", "b *", "c", "e"]
    worst = next(mark for mark in curve.marks if getattr(mark, "label", "") == "worst case found")
    assert [y for _, y in worst.points] == [10.0, 10.0, None, 10.0, 10.0, None]
    assert curve.said.startswith("a *: without faults 99.00%, mean chip 95.00% [94.00, 96.00], ")
    assert scenario_charts(result(row("m/c", "error"))) == []


def test_the_small_picture_holds_every_chip_and_points_at_what_lies_beyond():
    span = Span(0.5, 1.0)
    text = strip([0.5, 0.75, 0.75, 1.0], 0.1, 0.99, span, "four <chips>")
    heights = [float(tall) for tall in re.findall(r'<rect [^>]*height="([\d.]+)"', text)]
    assert sorted(heights) == [10.0, 10.0, 20.0]  # one, one and two chips
    corners = [tuple(map(float, one.split(","))) for one in re.search('points="([^"]*)"', text)[1].split()]
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(corners, [*corners[1:], corners[0]], strict=True))
    assert abs(area) / 2 == pytest.approx(40)  # a triangle that is seen, its tip to the left
    assert min(corners)[0] == 0
    assert 'aria-label="four &lt;chips&gt;"' in text


def test_a_summary_is_not_taken_for_the_result_of_one_case(tmp_path):
    saved(result(row("m/a")), tmp_path)
    with pytest.raises(SpecError, match="is a run of a scenario, many cases; give the file of one case"):
        read_bundle(tmp_path / "summary.json")
