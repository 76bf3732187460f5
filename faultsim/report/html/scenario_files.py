"""The pages of a run of a scenario: ``index.html`` in its folder and ``report.html`` in each case's. No words here.

A summary is foreign input: what it calls a case's result is read only where it lies below the folder.
"""

import contextlib
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from faultsim.errors import OptionError, SpecError
from faultsim.report.html.bundle import read_bundle
from faultsim.report.html.headline import headline, worst_chip
from faultsim.report.html.page import render_page
from faultsim.report.html.scenario_page import render_scenario_page
from faultsim.report.verdict import more_trials
from faultsim.results import Result
from faultsim.results.scenario import ScenarioResult
from faultsim.textfile import write_text

INDEX, PAGE = "index.html", "report.html"


def write_scenario_pages(
    result: ScenarioResult, out: Path, *, index: Path | None = None, anew: bool = False
) -> list[Path]:
    """Write the page of the scenario and of each case that has a result; return the files, the scenario's first.

    A case whose files cannot be read has no page.

    Args:
        result: The scenario.
        out: Its folder, which holds the cases' folders.
        index: The scenario's page; ``index.html`` in *out* where None.
        anew: Whether a case's page is made even where one lies there that is not older than what it shows.

    Raises:
        OptionError: If *index* is where the page of a case goes.
        OSError: If a page cannot be written.
    """
    index = index or out / INDEX
    taken = next((row.name for row in result.cases if _page_of(row.result, out) == index.resolve()), None)
    if taken is not None:
        raise OptionError(f"-o {index}: is the page of case {taken}; give another name for that of the scenario")
    found: dict[str, Result] = {}
    links: dict[str, str] = {}
    written = [index]
    for row in result.cases:
        folder = _folder(row.result, out)
        if folder is None:
            continue
        try:
            bundle = read_bundle(folder)
        except SpecError:
            continue
        if bundle.result is None or bundle.hardening_alone:
            continue
        found[row.name] = bundle.result
        page = folder / PAGE
        if anew or not _fresh(page, folder):
            write_text(page, render_page(bundle))
            written.append(page)
        links[row.name] = quote(Path(os.path.relpath(page, index.parent)).as_posix(), safe="/.")
    write_text(index, render_scenario_page(result, found, links=links, next_command=_next(result, found, out)))
    return written


def _page_of(said: str | None, out: Path) -> Path | None:
    folder = _folder(said, out)
    return None if folder is None else (folder / PAGE).resolve()


def _next(result: ScenarioResult, found: Mapping[str, Result], out: Path) -> str | None:
    """Return the command that is worth running next: the worst chip of a case that failed, or more chips."""
    for row in result.cases:
        one = found.get(row.name)
        if row.status != "failed" or one is None or one.random is None or one.rerun is None or row.result is None:
            continue
        chip = worst_chip(one.random, headline(one))
        if chip is not None:
            return f"faultsim replay {shlex.quote(str(out / row.result))} --trial {chip.trial} -o broken.onnx"
    unsure = [one.at for row in result.cases for one in row.criteria if one.inconclusive]
    level = max((one.level for one in found.values()), default=0.95)
    if unsure and result.command.startswith("faultsim run ") and " --trials" not in result.command:
        with contextlib.suppress(ValueError):  # a foreign result; its quotes do not close
            words = shlex.split(result.command)
            chips = more_trials(max(row.chips for row in result.cases), unsure, level=level)
            return shlex.join([*words, "--trials", str(chips)])
    return None


def _folder(said: str | None, out: Path) -> Path | None:
    """Return the folder of a case's result; None where there is none, or it lies elsewhere."""
    if said is None:
        return None
    file = out / said
    try:
        inside = file.resolve().is_relative_to(out.resolve())
        return file.parent if inside and file.is_file() else None
    except (OSError, ValueError):  # a NUL byte, a loop of links
        return None


def _fresh(page: Path, folder: Path) -> bool:
    try:
        made = page.stat().st_mtime_ns
        return all(made >= file.stat().st_mtime_ns for file in folder.glob("*.json"))
    except OSError:
        return False
