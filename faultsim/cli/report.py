"""``faultsim report``: a result in; a page, figures, JUnit XML and Markdown out. Nothing is computed or worded here."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from faultsim.cli.files import PLACE, PLACE_OR_DASH

if TYPE_CHECKING:
    from faultsim.report.html import Bundle
    from faultsim.report.html.chart import Chart


@click.command("report")
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "-o",
    type=PLACE,
    help="The page; by default report.html beside the result, or index.html of a run of a scenario.",
)
@click.option("--figures", type=PLACE, help="Folder for every figure as SVG and PNG.")
@click.option("--junit", type=PLACE, help="Write the requirements as JUnit XML.")
@click.option(
    "--markdown",
    type=PLACE_OR_DASH,
    help="Write a summary as Markdown; - for the standard output, such as >> $GITHUB_STEP_SUMMARY.",
)
@click.option("--check", is_flag=True, help="Exit code 1 where a requirement is missed or not judged.")
def command(
    result: Path, out: Path | None, figures: Path | None, junit: Path | None, markdown: Path | None, check: bool
) -> int:
    """Show RESULT as one HTML page that needs no network: the answer first, then what it rests on.

    RESULT is a .json file of assess, sweep, harden, campaign, attack, probe, bitmap or run, or the folder that --out
    named. Of a run of a scenario: index.html, the page of all cases, and a report.html for each case. Neither the model
    nor torch is needed.

    \b
    Examples:
      faultsim report out/result.json
      faultsim report out -o page.html --figures figures --junit junit.xml
      faultsim report out --markdown - --check >> "$GITHUB_STEP_SUMMARY"

    Exit code: 0; with --check 1 if a requirement is missed or not judged, a case of a scenario could not be run, or a
    hardening did not help; 2 for bad input.
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.cli.files import write_for
    from faultsim.report.html import figures as charts_of
    from faultsim.report.html import read_bundle, render_page
    from faultsim.report.junit import junit_of_bundle
    from faultsim.report.markdown import markdown_of_bundle

    summary = _summary(result)
    if summary is not None:
        return _of_scenario(summary, out, figures, junit, markdown, check=check)
    bundle = read_bundle(result)
    page = _page(out or (result if result.is_dir() else result.parent) / "report.html")
    _check(result, page, junit, markdown)
    xml = None if junit is None else junit_of_bundle(bundle)  # refused before anything is written
    write_for("-o", page, render_page(bundle))
    _beside([page], charts_of(bundle).values(), figures, junit, xml, markdown, lambda: markdown_of_bundle(bundle))
    return _code(bundle) if check else 0


def _summary(result: Path) -> Path | None:
    """Return the summary of a run of a scenario where that is what was given, else None."""
    from faultsim.errors import SpecError
    from faultsim.results.kinds import load_any

    if result.is_dir():
        return result / "summary.json" if (result / "summary.json").exists() else None
    if result.name != "summary.json":
        return None
    try:
        return result if load_any(result).kind == "scenario" else None
    except SpecError:
        return result  # its own reader says what is wrong


def _of_scenario(
    summary: Path, out: Path | None, figures: Path | None, junit: Path | None, markdown: Path | None, *, check: bool
) -> int:
    """Write the pages and the summaries of a run of a scenario."""
    from faultsim.errors import OptionError, SpecError
    from faultsim.report.html.draw_scenario import scenario_charts
    from faultsim.report.html.scenario_files import INDEX, write_scenario_pages
    from faultsim.report.scenario_junit import scenario_junit
    from faultsim.report.scenario_markdown import scenario_markdown
    from faultsim.results.kinds import load_any

    kind, result = load_any(summary)
    if kind != "scenario":
        raise SpecError(f"{summary}: is no summary of a run of a scenario; give the folder that --out of run named")
    page = _page(out or summary.parent / INDEX)
    _check(summary, page, junit, markdown)
    try:
        written = write_scenario_pages(result, summary.parent, index=page, anew=True)
    except OSError as error:
        raise OptionError(f"-o {page}: cannot be written ({error.strerror}); give another place") from None
    xml = None if junit is None else scenario_junit(result)
    _beside(written, scenario_charts(result), figures, junit, xml, markdown, lambda: scenario_markdown(result))
    return 1 if check and result.passed is False else 0


def _page(page: Path) -> Path:
    from faultsim.errors import OptionError

    if page.is_dir():
        raise OptionError(f"-o {page}: is a folder; give the name of a file, such as {page / 'report.html'}")
    return page


def _check(read: Path, page: Path, junit: Path | None, markdown: Path | None) -> None:
    """Refuse to write over a result."""
    from faultsim.cli.files import check_apart

    check_apart({"-o": page, "--junit": junit, "--markdown": markdown}, [read])


def _beside(
    written: list[Path], charts: Iterable["Chart"], figures: Path | None, junit: Path | None, xml: str | None,
    markdown: Path | None, as_markdown: Callable[[], str],
) -> None:  # fmt: skip
    """Write what else was asked for, and say what was written."""
    from faultsim.cli.files import write_for
    from faultsim.errors import OptionError
    from faultsim.report.html import write_figures

    if junit is not None and xml is not None:
        write_for("--junit", junit, xml)
        written.append(junit)
    if figures is not None:
        try:
            written += write_figures(charts, figures)
        except OSError as error:
            raise OptionError(
                f"--figures {figures}: cannot be written ({error.strerror}); give another folder"
            ) from None
    spoken = markdown is not None and str(markdown) == "-"
    if markdown is not None:
        if spoken:
            click.echo(as_markdown())
        else:
            write_for("--markdown", markdown, as_markdown())
            written.append(markdown)
    click.echo(f"written: {', '.join(map(str, written))}", err=spoken)


def _code(bundle: "Bundle") -> int:
    if bundle.harden is not None and not bundle.harden.helped:
        return 1
    verdict = None if bundle.result is None else bundle.result.verdict
    return 1 if verdict is not None and (verdict.passed is False or verdict.unjudged) else 0
