"""The page of every kind of result: what stands in it, what foreign names may not do to it, who can read it."""

import itertools
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from example_kinds import attack, bitmap, campaign, harden, probe, shifted, sweep
from example_result import example

from faultsim.report.html import Bundle, read_bundle, render_page
from faultsim.report.terminal import lines
from faultsim.results import to_dict

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u202e{{7*7}}\x1b[31m"
BUNDLES = {
    "assess": Bundle(result=example("accuracy>=0.9", "worst_case_accuracy>=0.5"), path="out/result.json"),
    "harden": Bundle(result=(hardened := harden()).after, harden=hardened),
    "sweep": Bundle(sweep=sweep()),
    "campaign": Bundle(campaign=campaign()),
    "attack": Bundle(attack=attack()),
    "cells": Bundle(attack=attack(cells=True)),
    "probe": Bundle(probe=probe()),
    "bitmap": Bundle(bitmap=bitmap()),
    "all": Bundle(result=example(), harden=harden(), sweep=sweep(), attack=attack(), probe=probe(), bitmap=bitmap()),
}
every_kind = pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)


class Page(HTMLParser):
    """All elements with their attributes, the text of each script, and the text that is shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {}
        self.shown = ""
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside in ("script", "style"):
            self.raw[self._inside] = self.raw.get(self._inside, "") + data
        else:
            self.shown += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def hostile():
    base = example("accuracy>=0.9")
    sites = tuple(site.model_copy(update={"name": HOSTILE + site.name, "kind": HOSTILE}) for site in base.sites)
    one = base.device.assumptions[0].model_copy(update={"source": HOSTILE, "parameter": HOSTILE, "value": HOSTILE})
    changed = {
        "model": base.model.model_copy(update={"path": HOSTILE, "formats": (HOSTILE,)}),
        "device": base.device.model_copy(update={"name": HOSTILE, "summary": HOSTILE, "assumptions": (one,)}),
        "data": base.data.model_copy(update={"score": HOSTILE, "source": HOSTILE}),
        "provenance": base.provenance.model_copy(update={"command": HOSTILE, "hardware": HOSTILE}),
        "sites": sites,
        "notes": (HOSTILE,),
    }
    return base.model_copy(update=changed)


def test_hostile_names_stay_text():
    page = Page(render_page(Bundle(result=hostile(), sweep=sweep(HOSTILE), path=HOSTILE)))
    assert [one.get("type") for one in page.all("script")] == ["application/json"]
    assert not page.all("img")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.shown
    assert "{{7*7}}" in page.shown
    assert "\u202e" not in page.shown
    assert "\x1b" not in page.shown


def test_hostile_names_are_whole_in_the_json_of_the_page():
    result = hostile()
    page = Page(render_page(Bundle(result=result)))
    assert "<" not in page.raw["script"]
    assert json.loads(page.raw["script"]) == {"result": to_dict(result)}


@every_kind
def test_the_results_lie_in_the_page_as_json(bundle):
    found = json.loads(Page(render_page(bundle)).raw["script"])
    assert found == bundle.documents()
    assert found


@every_kind
def test_nothing_is_loaded_and_nothing_runs(bundle):
    text = render_page(bundle)
    page = Page(text)
    targets = [a[key] for _, a in page.elements for key in ("src", "href", "srcset", "action", "data") if a.get(key)]
    assert all(one.startswith("#") for one in targets)
    assert not re.search(r"url\(|@import|https?://", page.raw["style"])
    assert not [a for _, a in page.elements if "style" in a]  # the policy would forbid it
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@every_kind
def test_a_screen_reader_finds_its_way(bundle):
    page = Page(render_page(bundle))
    tags = [tag for tag, _ in page.elements]
    for landmark in ("header", "main", "nav", "footer", "h1", "title"):
        assert tags.count(landmark) == 1 or landmark == "title", landmark
    assert page.all("html")[0]["lang"] == "en"
    assert tags.count("caption") == tags.count("table")
    assert all(a.get("scope") in ("col", "row") for a in page.all("th"))
    names = [a["id"] for _, a in page.elements if a.get("id")]
    assert len(names) == len(set(names))
    for drawing in page.all("svg"):
        if drawing.get("aria-hidden") == "true":
            continue
        assert drawing["role"] == "img"
        assert set(drawing["aria-labelledby"].split()) <= set(names)
    for _, attributes in page.elements:
        for target in (attributes.get("aria-labelledby") or "").split():
            assert target in names
        if (attributes.get("href") or "").startswith("#"):
            assert attributes["href"][1:] in names
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@every_kind
def test_the_answer_comes_first(bundle):
    page = Page(render_page(bundle))
    ids = [a.get("id") for tag, a in page.elements if tag in ("h2", "h3")]
    assert ids[0] == "answer"


def test_a_missed_requirement_is_said_first_and_in_words():
    text = Page(render_page(BUNDLES["assess"])).shown
    assert "No: 1 of 2 requirements is missed." in text
    assert text.index("No: 1 of 2") < text.index("Provenance")


def test_the_page_has_the_figures_of_the_terminal():
    result = example("accuracy>=0.9")
    table = [line for line, _ in lines(result) if re.match(r"\s+(random|worst|clean)", line)]
    assert len(table) >= 5
    shown = Page(render_page(Bundle(result=result))).shown
    for number in re.findall(r"\d+\.\d\d%", "\n".join(table)):
        assert number in shown


def test_the_worst_chip_has_its_replay_command_where_the_file_is_known():
    first = read_bundle(Path(__file__).parents[2] / "first_contract.json")
    assert "faultsim replay" not in render_page(first)  # that version did not keep what it takes
    result = example()
    rerun = {"device": "reram", "sites": ("fc.weight",)}
    again = type(result).model_validate(dict(result) | {"rerun": rerun})
    worst = min(again.random.per_trial, key=lambda row: row.correct).trial
    text = re.sub("</?span[^>]*>", "", render_page(Bundle(result=again, path="my out/result.json")))
    assert f"faultsim replay &#39;my out/result.json&#39; --trial {worst} -o broken.onnx" in text


def test_a_worst_case_that_a_chip_exceeds_is_not_left_to_stand():
    base = example()
    mild = base.worst_case.model_copy(update={"accuracy": 0.98})
    assert "A chip that was drawn did worse" in render_page(Bundle(result=base.model_copy(update={"worst_case": mild})))
    assert "A chip that was drawn did worse" not in render_page(Bundle(result=base))


def test_before_and_after_say_what_got_better_and_what_is_not_finite():
    text = Page(render_page(BUNDLES["harden"])).shown
    assert "It helped." in text
    assert "+5.00 pt" in text
    assert "not finite" in text
    assert "Chips after hardening" in text
    assert "Loss over the training, step 10 taken" in text
    assert "Score 0.9 before the training, 0.95 at step 10, which was taken; 0.95 at best." in text


@pytest.mark.parametrize("result", [shifted(0).model_copy(update={"random": None, "random_in_set": None}),
                                    example(worst_case=None, sites=(), kinds=(), random_in_set=None)])  # fmt: skip
def test_what_was_not_run_is_left_out(result):
    assert "<h1>" in render_page(Bundle(result=result))


def test_a_page_is_made_without_torch_onnx_and_onnxruntime(tmp_path):
    blocker = (
        "import sys\n"
        "class No:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'onnx', 'onnxruntime', 'brevitas'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, No())\n"
        "from faultsim.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    source = Path(__file__).parents[2] / "first_contract.json"
    words = ["report", source, "-o", tmp_path / "a.html", "--figures", tmp_path / "f", "--junit", tmp_path / "j.xml"]
    done = subprocess.run([sys.executable, "-c", blocker, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "<!DOCTYPE html>" in (tmp_path / "a.html").read_text()
    assert {path.suffix for path in (tmp_path / "f").iterdir()} == {".svg", ".png"}


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(scheme):
    style = Page(render_page(BUNDLES["sweep"])).raw["style"]
    colours = dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{3,6})", re.findall(r":root\{(.*?)\}", style, re.DOTALL)[scheme]))
    for text in ("ink", "muted", "chip", "worst", "good", "warn", "set", "clean"):
        for ground in ("paper", "raised"):
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for text, ground in (("good", "pass-bg"), ("worst", "fail-bg"), ("chip", "open-bg"), ("warn", "warn-bg")):
        assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
