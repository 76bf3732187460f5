"""The page in a real browser: nothing is asked of a network, nothing fails, nothing runs off a phone's screen."""

import pytest
from browser import Browser, find
from example_kinds import attack, bitmap, campaign, harden, probe, sweep
from example_result import example
from test_scenario_page import result, row, saved

from faultsim.report.html import Bundle, render_page
from faultsim.report.html.scenario_files import write_scenario_pages

LONG = "encoder.layers.11." + "x" * 200 + "/weight_quantized"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find()
    if program is None:
        pytest.skip("no Chromium is installed (package chromium): the page is not opened in a browser here")
    with Browser(program, tmp_path_factory.mktemp("profile"), limit_s=120) as one:
        yield one


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    base = example("accuracy>=0.9", "worst_case_accuracy>=0.5")
    sites = tuple(site.model_copy(update={"name": LONG}) for site in base.sites)
    model = base.model.model_copy(update={"path": LONG})
    bundles = {
        "assess": Bundle(result=base, sweep=sweep(), path="out/result.json"),
        "long": Bundle(result=base.model_copy(update={"sites": sites, "model": model}), path=LONG),
        "harden": Bundle(result=(hardened := harden()).after, harden=hardened),
        "rest": Bundle(campaign=campaign(), attack=attack(), probe=probe(), bitmap=bitmap()),
    }
    folder = tmp_path_factory.mktemp("pages")
    for name, bundle in bundles.items():
        (folder / f"{name}.html").write_text(render_page(bundle), encoding="utf-8")
    cases = (row("m/d/low", "failed", corner="low"), row("m/d/high", corner="high"), row(f"{LONG}/d", "error"))
    summary = saved(result(*cases, command=f"faultsim run {LONG}"), folder)
    write_scenario_pages(summary, folder, index=folder / "scenario.html")
    return folder


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (768, "light"), (390, "dark"), (320, "light")])
@pytest.mark.parametrize("name", ["assess", "long", "harden", "rest", "scenario"])
def test_the_page_loads_nothing_fails_nothing_and_fits(browser, pages, name, width, scheme):
    address = (pages / f"{name}.html").as_uri()
    browser.open(address, width=width, scheme=scheme)
    assert browser.requested() == [address]
    assert browser.complaints() == []
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask("document.documentElement.clientWidth") <= width
    outside = (
        "[...document.querySelectorAll('main *:not(svg *)')].filter(e => !e.closest('.scroll') && "
        "e.getClientRects().length && !e.closest('thead') && "
        "e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert browser.ask(outside) == []
    assert browser.ask("document.querySelectorAll('svg[role=img]').length") >= 2


def test_the_page_follows_the_dark_scheme(browser, pages):
    seen = []
    for scheme in ("light", "dark"):
        browser.open((pages / "assess.html").as_uri(), width=900, scheme=scheme)
        seen.append(browser.ask("getComputedStyle(document.body).backgroundColor"))
    assert seen == ["rgb(255, 255, 255)", "rgb(18, 22, 27)"]


def test_the_keyboard_reaches_the_answer_first(browser, pages):
    browser.open((pages / "assess.html").as_uri(), width=900)
    browser.press("Tab", 9)
    assert browser.ask("document.activeElement.getAttribute('href')") == "#main"
    assert browser.ask("document.activeElement.getBoundingClientRect().left") >= 0  # seen once it has the focus


def test_a_link_of_the_scenario_leads_to_the_page_of_its_case(browser, pages):
    browser.open((pages / "scenario.html").as_uri(), width=900)
    goal = browser.ask("document.querySelector('.cases a').href")
    browser.open(goal, width=900)
    assert browser.complaints() == []
    assert browser.ask("document.querySelector('h1').textContent") == "digits_float.onnx on reram_1t1r"


def test_the_json_of_the_page_can_be_read_in_the_page(browser, pages):
    browser.open((pages / "assess.html").as_uri(), width=900)
    assert browser.ask("JSON.parse(document.getElementById('data').textContent).result.random.trials") == 100


def test_the_watch_sees_a_request_and_a_page_that_is_too_wide(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text('<html><body><img src="missing.png"><div style="width:3000px">x</div></body></html>')
    browser.open(bad.as_uri(), width=390)
    assert len(browser.requested()) == 2
    assert browser.complaints()
    assert browser.ask("document.documentElement.scrollWidth") > 390
