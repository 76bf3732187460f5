"""``faultsim assess``: options in, result.json and the terminal report out. What is computed lives in `assess`."""

import sys
from pathlib import Path
from typing import Any

import click

from faultsim.cli.conditions import condition_options, take_conditions
from faultsim.cli.files import PLACE, check_apart, check_result
from faultsim.cli.options import reads_option, roles_option, threads_option
from faultsim.textfile import write_text


@click.command("assess")
@click.argument("model")
@click.option("--device", "-d", required=True, help="Device profile: a name of the library, or a YAML file.")
@click.option(
    "--data",
    help="Samples with labels: .npz, image folder or ZIP, test_data_set_* folder, text of tokens, "
    "or module:function. Without: model.npz or test_data_set_0 beside the model, else drawn inputs.",
)
@click.option("--preprocess", type=click.Path(path_type=Path), help="YAML that says how the data become inputs.")
@click.option(
    "--task",
    help="classification, top5, class-ids, tagging, segmentation (segmentation@255 leaves out what is labelled 255), "
    "language-model, regression, bleu or module:function. Told from data and output by default.",
)
@click.option("--output", help="Name of the output that is scored; the first one by default.")
@click.option(
    "--input-shape",
    multiple=True,
    metavar="NAME=SIZES",
    help="For drawn inputs: sizes in place of open dimensions, such as ids=1,128 (repeatable).",
)
@click.option(
    "--batch-axis",
    multiple=True,
    metavar="NAME=AXIS",
    help="Axis that counts the samples, from 0, of an input, an output or the labels, such as x=1 for T×N×C; "
    "NAME=none for an input that is the same for every sample (repeatable). Told from the model by default.",
)
@click.option("--limit", type=int, help="Use the first so many samples only.")
@click.option("--trials", type=int, default=100, show_default=True, help="Chips to draw.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw.")
@click.option(
    "--batch-size",
    type=int,
    default=250,
    show_default=True,
    help="Samples a batch; the same chips and counts unless the graph looks at its whole batch "
    "(DynamicQuantizeLinear). Losses may differ in the last digits.",
)
@click.option("--confidence", type=float, help="Part of the chips that the budgets hold; the profile's own by default.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence of every interval.")
@click.option("--sites", multiple=True, metavar="GLOB", help="Corrupt these tensors alone (repeatable).")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these tensors alone (repeatable).")
@roles_option("Corrupt tensors of these roles alone, of those that the device stores")
@click.option(
    "--require",
    multiple=True,
    metavar="TEXT",
    help="A requirement such as 'accuracy_drop<=0.01@p95' or 'worst_case_accuracy>=0.5' (repeatable).",
)
@click.option(
    "--search-gradients",
    type=int,
    default=12,
    show_default=True,
    help="Most gradients of the worst-case search.",
)
@click.option("--search-samples", type=int, default=1000, show_default=True, help="Most samples that the search sees.")
@click.option("--site-trials", type=int, default=3, show_default=True, help="Chips for each row of the site table.")
@click.option("--site-samples", type=int, default=256, show_default=True, help="Most samples for the site table.")
@threads_option
@click.option(
    "--torch-device",
    default="cpu",
    show_default=True,
    help="Where gradients are computed: cpu, cuda, cuda:1. Other than cpu, chips are scored there as well, by torch "
    "and not by onnxruntime.",
)
@click.option("--out", "-o", type=PLACE, help="Folder for result.json, report.html and outcomes.npy.")
@click.option("--fault-list", type=PLACE, help="Write every fault of every chip, one JSON object a line.")
@reads_option
@condition_options
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
def command(
    model: str,
    device: str,
    data: str | None,
    torch_device: str,
    out: Path | None,
    fault_list: Path | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Assess MODEL on a chip: random hardware noise against the worst case under the same budget.

    MODEL is an .onnx file (float, QDQ, QOperator or QONNX), or the name of a bundled one: digits, digits_int8.

    \b
    Examples:
      faultsim assess digits --device reram
      faultsim assess model.onnx --device my_chip.yaml --data test.npz \\
          --require 'accuracy_drop<=1%@p95' --out out

    Exit code: 0 if every requirement is met or none was given, 1 if one is missed, 2 for bad input
    or, where none is missed, a requirement that could not be judged, 130 after Ctrl-C, which shows
    and writes what was computed until then.
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.assessment import Options, assess
    from faultsim.assessment.record import Recorder
    from faultsim.assessment.run import Interrupted
    from faultsim.cli.progress import progress_bar
    from faultsim.device import load_device
    from faultsim.device.knobs import conditions_from
    from faultsim.errors import OptionError
    from faultsim.library import find_model

    check_result(out, "result")
    chip = load_device(device)
    conditions = conditions_from(chip.spec, take_conditions(options))
    chosen = Options(conditions=conditions, **options)
    path = find_model(model)
    read = [device, path, path.parent / f"{path.stem}.npz", data, options["preprocess"]]
    own = () if out is None else [out / name for name in ("result.json", "report.html", "outcomes.npy")]
    check_apart({"--fault-list": fault_list}, read, beside=own)
    interrupted = False
    outcomes = None if out is None else out / "outcomes.npy"
    with progress_bar(quiet=quiet) as tell, Recorder(fault_list, outcomes) as recorder:
        try:
            result = assess(
                path, chip, data, options=chosen, progress=tell, torch_device=torch_device, recorder=recorder
            )
        except Interrupted as stop:
            if stop.result is None:
                raise click.Abort from None
            result, interrupted = stop.result, True
        except KeyboardInterrupt:
            raise click.Abort from None
    try:
        if out is not None:
            _write(result, out)
    except OSError as error:
        _show(result, None)  # an hour of chips is not lost to a full disk
        raise OptionError(f"--out {out}: cannot be written ({error.strerror}); the report stands above") from None
    _show(result, out)
    if recorder.failed:
        click.echo(f"faultsim: {recorder.failed}", err=True)
    if interrupted:
        click.echo("faultsim: interrupted; what was computed until then stands above", err=True)
        return 130
    if result.verdict.unjudged:
        click.echo("faultsim: not all requirements could be judged; the notes say why", err=True)
    return 1 if result.verdict.passed is False else 2 if result.verdict.unjudged else 0


def _write(result: Any, out: Path) -> None:
    from faultsim.report.html import Bundle, render_page
    from faultsim.results import to_json

    write_text(out / "result.json", to_json(result))
    write_text(out / "report.html", render_page(Bundle(result=result, path=str(out / "result.json"))))


def _show(result: Any, out: Path | None) -> None:
    import contextlib

    from rich.console import Console

    from faultsim.report.terminal import render

    with contextlib.suppress(SystemExit):  # rich's end where the reader closed the pipe; the verdict stands
        render(result, Console(file=sys.stdout, highlight=False), out=None if out is None else str(out))
