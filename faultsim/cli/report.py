"""``faultsim report``: a result in; a page, figures, JUnit XML and Markdown out. Nothing is computed or worded here."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from faultsim.report.html import Bundle


@click.command("report")
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="The page; report.html beside the result by default."
)
@click.option("--figures", type=click.Path(path_type=Path), help="Folder for every figure as SVG and PNG.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write the requirements as JUnit XML.")
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write a summary as Markdown; - for the standard output, such as >> $GITHUB_STEP_SUMMARY.",
)
@click.option("--check", is_flag=True, help="Exit code 1 where a requirement is missed.")
def command(
    result: Path, out: Path | None, figures: Path | None, junit: Path | None, markdown: Path | None, check: bool
) -> int:
    """Show RESULT as one HTML page that needs no network: the answer first, then what it rests on.

    RESULT is a .json file of assess, sweep, harden, campaign, attack, probe or bitmap, or the folder that --out named.
    Neither the model nor torch is needed.

    \b
    Examples:
      faultsim report out/result.json
      faultsim report out -o page.html --figures figures --junit junit.xml
      faultsim report out --markdown - --check >> "$GITHUB_STEP_SUMMARY"

    Exit code: 0; with --check 1 if a requirement is missed or not judged, or a hardening did not help; 2 for bad input.
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.cli.files import write_for
    from faultsim.errors import OptionError
    from faultsim.report.html import read_bundle, render_page, write_figures
    from faultsim.report.junit import junit_of_bundle
    from faultsim.report.markdown import markdown_of_bundle

    bundle = read_bundle(result)
    page = out or (result if result.is_dir() else result.parent) / "report.html"
    if page.is_dir():
        raise OptionError(f"-o {page}: is a folder; give the name of a file, such as {page / 'report.html'}")
    xml = None if junit is None else junit_of_bundle(bundle)  # refused before anything is written
    written = [page]
    write_for("-o", page, render_page(bundle))
    if junit is not None and xml is not None:
        write_for("--junit", junit, xml)
        written.append(junit)
    if figures is not None:
        try:
            written += write_figures(bundle, figures)
        except OSError as error:
            raise OptionError(
                f"--figures {figures}: cannot be written ({error.strerror}); give another folder"
            ) from None
    spoken = markdown is not None and str(markdown) == "-"
    if markdown is not None:
        text = markdown_of_bundle(bundle)
        if spoken:
            click.echo(text)
        else:
            write_for("--markdown", markdown, text)
            written.append(markdown)
    click.echo(f"written: {', '.join(map(str, written))}", err=spoken)
    return _code(bundle) if check else 0


def _code(bundle: "Bundle") -> int:
    if bundle.harden is not None and not bundle.harden.helped:
        return 1
    verdict = None if bundle.result is None else bundle.result.verdict
    return 1 if verdict is not None and (verdict.passed is False or verdict.unjudged) else 0
