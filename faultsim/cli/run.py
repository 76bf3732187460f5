"""``faultsim run``: a scenario file in, a result for each case and one table out. What is run lives in `scenario`."""

import sys
from pathlib import Path
from typing import Any

import click

from faultsim.cli.files import PLACE, PLACE_OR_DASH
from faultsim.cli.options import threads_option


@click.command("run")
@click.argument("scenario")
@click.option("--only", multiple=True, metavar="GLOB", help="Run these cases alone, such as '*/sram*' (repeatable).")
@click.option("--list", "listing", is_flag=True, help="List the cases and run none.")
@click.option(
    "--out",
    "-o",
    type=PLACE,
    help="Folder for summary.json and each case's result.json; cases finished there with the same inputs are kept.",
)
@click.option("--model", help="A model in place of the scenario's own: an .onnx file, or a bundled name.")
@click.option("--data", help="Samples of that model, as for 'faultsim assess'; what lies beside it by default.")
@click.option("--preprocess", help="YAML that says how those data become inputs.")
@click.option("--task", help="Task of that model, as for 'faultsim assess'.")
@click.option("--trials", type=int, help="Chips a case, in place of the scenario's number: a few for a quick look.")
@click.option("--junit", type=PLACE, help="Write the verdicts as JUnit XML, for CI.")
@click.option(
    "--markdown",
    type=PLACE_OR_DASH,
    help="Write the summary as Markdown, for CI; - for the standard output, in place of the table.",
)
@threads_option
@click.option(
    "--torch-device",
    default="cpu",
    show_default=True,
    help="Where gradients are computed: cpu, cuda. Other than cpu, chips are scored there as well, by torch and not by "
    "onnxruntime.",
)
@click.option("--allow-code", is_flag=True, help="Let the file name module:function, which runs that Python code.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def command(
    scenario: str,
    only: tuple[str, ...],
    listing: bool,
    out: Path | None,
    model: str | None,
    data: str | None,
    preprocess: str | None,
    task: str | None,
    trials: int | None,
    junit: Path | None,
    markdown: Path | None,
    threads: int,
    torch_device: str,
    allow_code: bool,
    quiet: bool,
) -> int:
    """Run SCENARIO: every model on every device at every corner, with a verdict for each.

    SCENARIO is a YAML file, or a name that 'faultsim scenarios' lists. A case that cannot be run loses no other.

    \b
    Examples:
      faultsim run demo
      faultsim run low_voltage_npu --model my.onnx --data test.npz --out out
      faultsim run scenario.yaml --only '*/sram*' --junit junit.xml

    Exit code: 0 if every requirement is met or none was given, 1 if one is missed, 2 for bad input or a case that
    could not be run, 130 after Ctrl-C: finished cases are kept in --out, and the same command goes on.
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.cli.files import check_apart, check_folder_of, check_out
    from faultsim.cli.progress import progress_bar
    from faultsim.report.scenario import case_line, render_scenario
    from faultsim.report.words import wrapped
    from faultsim.scenario import Scenario

    chosen = Scenario.load(scenario, model=model, data=data, preprocess=preprocess, task=task, allow_code=allow_code)
    if listing:
        for case in chosen.only(only):
            asked = "; ".join(one.text.replace(" ", "\N{NO-BREAK SPACE}") for one in case.asked) or "no requirement"
            row = f"{case.name}  ({case.options.trials if trials is None else trials} chips; {asked})"
            click.echo("\n".join(wrapped(row, "    ")).replace("\N{NO-BREAK SPACE}", " "))
        return 0
    check_out(out)
    check_folder_of("--junit", junit)
    check_folder_of("--markdown", markdown)
    own = () if out is None else (out / "summary.json", out / "index.html")
    read = dict.fromkeys(one for case in chosen.cases for one in (case.model, case.device, case.data))
    check_apart({"--junit": junit, "--markdown": markdown}, [chosen.path, preprocess, *read], beside=own)
    with progress_bar(quiet=quiet) as tell:

        def told(number: int, of: int, row: Any) -> None:
            if not quiet:
                click.echo(case_line(number, of, row), err=True)

        result = chosen.run(
            only=only,
            trials=trials,
            out=out,
            threads=threads,
            torch_device=torch_device,
            progress=lambda case: lambda phase, done, total: tell(phase, done, total),
            told=told,
        )
    if markdown is not None and str(markdown) == "-":
        from faultsim.report.scenario_markdown import scenario_markdown
        from faultsim.report.words import speakable

        click.echo(speakable(scenario_markdown(result), sys.stdout.encoding or "utf-8"))
    else:
        from rich.console import Console

        render_scenario(result, Console(file=sys.stdout, highlight=False), out=None if out is None else str(out))
    _write(result, junit, markdown)
    if result.interrupted:
        kept = (
            "the same command goes on after the finished cases" if out is not None else "with --out they would be kept"
        )
        click.echo(f"faultsim: interrupted; {kept}", err=True)
    code: int = result.exit_code
    return code


def _write(result: Any, junit: Path | None, markdown: Path | None) -> None:
    """Write what CI shows; what is not asked for is not imported."""
    from faultsim.cli.files import write_for

    if junit is not None:
        from faultsim.report.scenario_junit import scenario_junit

        write_for("--junit", junit, scenario_junit(result))
    if markdown is not None and str(markdown) != "-":
        from faultsim.report.scenario_markdown import scenario_markdown

        write_for("--markdown", markdown, scenario_markdown(result))
