"""``faultsim compare``: two results in, a table and a gate out. Nothing is compared here."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from faultsim.cli.files import PLACE, PLACE_OR_DASH

if TYPE_CHECKING:
    from faultsim.results import Result
    from faultsim.results.gates import Limit
    from faultsim.results.shown import Shown


@click.command("compare")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option(
    "--fail-on-regression",
    is_flag=True,
    help="Exit code 1 where a test shows that the second's main figure (accuracy, score or loss of the mean chip) is "
    "worse, by more than --tolerance.",
)
@click.option(
    "--tolerance", metavar="NUMBER", help="By how much it may be worse: 0.005 or 0.5% of an accuracy.  [default: 0]"
)
@click.option(
    "--fail-if",
    multiple=True,
    metavar="TEXT",
    help="A limit of one figure, such as 'accuracy_drop>0.5%' or 'worst_case_drop>2%' (repeatable).",
)
@click.option("--json", "to_json", type=PLACE, help="Write the comparison as JSON.")
@click.option("--junit", type=PLACE, help="Write the gates as JUnit XML.")
@click.option(
    "--markdown",
    type=PLACE_OR_DASH,
    help="Write a summary as Markdown; - for the standard output, in place of the table.",
)
def command(
    first: Path,
    second: Path,
    fail_on_regression: bool,
    tolerance: str | None,
    fail_if: tuple[str, ...],
    to_json: Path | None,
    junit: Path | None,
    markdown: Path | None,
) -> int:
    """Compare two results of 'faultsim assess'; a difference is second minus first, and claimed only after a test.

    FIRST and SECOND are result.json files, or folders that hold one; or the folders of two runs of a scenario, then
    compared case by case. Assessed with the same seed, device and tensors, they are of the same chips: chip by chip is
    then compared, which shows far smaller differences.

    \b
    Examples:
      faultsim compare main/result.json branch/result.json --fail-on-regression
      faultsim compare a b --tolerance 0.5% --fail-on-regression --fail-if 'worst_case_drop>2%'
      faultsim compare main_run branch_run --fail-on-regression

    Exit code: 0, 1 if a gate fails, 2 for bad input.
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.cli.files import check_apart
    from faultsim.errors import OptionError
    from faultsim.report.comparison import lines
    from faultsim.report.comparison import markdown as as_markdown
    from faultsim.report.junit import junit_of_comparison
    from faultsim.results.compare import compare, main_figure
    from faultsim.results.gates import parse_gate, regression_limit

    if tolerance is not None and not fail_on_regression:
        raise OptionError("--tolerance is of --fail-on-regression; give both, or a limit with --fail-if")
    check_apart({"--json": to_json, "--junit": junit, "--markdown": markdown}, _files(first, second))
    limits = [parse_gate(text) for text in fail_if]
    runs = [_run(place) for place in (first, second)]
    if runs[0] is not None and runs[1] is not None:
        from faultsim.report import run_comparison as shown
        from faultsim.report.junit import junit_of_runs
        from faultsim.results.run_comparison import compare_runs

        def asked(one: "Result") -> tuple["Limit", ...]:
            own = (regression_limit(main_figure(one), tolerance or "0"),) if fail_on_regression else ()
            return (*own, *limits)

        every = compare_runs(runs[0], runs[1], names=(str(first), str(second)), limits=asked)
        _write(every, to_json, junit, markdown, lambda: junit_of_runs(every), lambda: shown.markdown(every),
               lambda: shown.lines(every))  # fmt: skip
        return 1 if every.failed else 0
    results = [_load(place) for place in (first, second)]
    if fail_on_regression:
        limits.insert(0, regression_limit(main_figure(results[0]), tolerance or "0"))
    found = compare(results[0], results[1], names=(str(first), str(second)), limits=limits)
    _write(found, to_json, junit, markdown, lambda: junit_of_comparison(found), lambda: as_markdown(found),
           lambda: lines(found))  # fmt: skip
    return 1 if found.failed else 0


def _files(*places: Path) -> list[Path]:
    """Return what is read of the two."""
    from faultsim.results.kinds import FILES

    return [file for place in places for file in (place, *(place / name for name in FILES))]


def _write(
    found: "Shown", to_json: Path | None, junit: Path | None, markdown: Path | None, as_junit: Callable[[], str],
    as_markdown: Callable[[], str], as_lines: Callable[[], list[str]],
) -> None:  # fmt: skip
    """Write what was asked for, and print the table, or the Markdown in its place."""
    from faultsim.cli.files import write_for
    from faultsim.report.words import speakable

    if to_json is not None:
        write_for("--json", to_json, found.model_dump_json(indent=2, by_alias=True) + "\n")
    if junit is not None:
        write_for("--junit", junit, as_junit())
    if markdown is not None and str(markdown) != "-":
        write_for("--markdown", markdown, as_markdown())
    text = as_markdown() if str(markdown) == "-" else "\n".join(as_lines())
    click.echo(speakable(text, sys.stdout.encoding or "utf-8"))


def _run(place: Path) -> "dict[str, Result] | None":
    """Return the results of a run of a scenario, by name of the case; None where *place* is no folder of one."""
    from faultsim.errors import SpecError
    from faultsim.results import load_result
    from faultsim.results.kinds import load_any

    summary = place / "summary.json" if place.is_dir() else place
    if summary.name != "summary.json" or not summary.is_file() or (place / "result.json").exists():
        return None
    kind, section = load_any(summary)
    if kind != "scenario":
        return None
    found = {}
    for row in section.cases:
        file = None if row.result is None else summary.parent / row.result
        if file is None or not file.resolve().is_relative_to(summary.parent.resolve()):
            continue
        try:
            found[row.name] = load_result(file)
        except SpecError as error:
            raise SpecError(f"case {row.name}: {error}") from None
    return found


def _load(place: Path) -> "Result":
    from faultsim.errors import OptionError
    from faultsim.results.kinds import NAMES, load_any, result_file

    path = result_file(place)
    kind, section = load_any(path)
    if kind != "result":
        own = {"harden": "; it compares before and after itself: faultsim report shows it",
               "campaign": "; compare campaigns with faultsim campaign --paired-with",
               "scenario": ", or two runs of a scenario"}  # fmt: skip
        raise OptionError(f"{path}: is {NAMES[kind]}; give two results of faultsim assess{own.get(kind, '')}")
    result: Result = section
    return result
