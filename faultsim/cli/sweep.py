"""``faultsim sweep``: the same chips over one condition, as a table, a picture and sweep.json."""

import sys
from pathlib import Path
from typing import Any

import click

from faultsim.cli.conditions import condition_options, take_conditions
from faultsim.cli.files import PLACE
from faultsim.cli.options import reads_option, roles_option, threads_option


@click.command("sweep")
@click.argument("model")
@click.option("--device", "-d", required=True, help="Device profile: a name of the library, or a YAML file.")
@click.option(
    "--over",
    required=True,
    metavar="NAME=VALUES",
    help="Condition and values: vdd=0.9:0.7:9 (from, to, count), at=1s:10y:8:log, flux=1,300. "
    "Times without a unit are seconds.",
)
@click.option("--data", help="Samples with labels, as for 'faultsim assess'.")
@click.option("--preprocess", type=click.Path(path_type=Path), help="YAML that says how the data become inputs.")
@click.option("--task", help="As for 'faultsim assess'.")
@click.option("--output", help="Name of the output that is scored; the first one by default.")
@click.option("--batch-axis", multiple=True, metavar="NAME=AXIS", help="As for 'faultsim assess' (repeatable).")
@click.option("--input-shape", multiple=True, metavar="NAME=SIZES", help="As for 'faultsim assess' (repeatable).")
@click.option("--limit", type=int, help="Use the first so many samples only.")
@click.option("--trials", type=int, default=20, show_default=True, help="Chips at each value.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw.")
@click.option("--batch-size", type=int, default=250, show_default=True, help="Samples a batch.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence of every interval.")
@click.option("--sites", multiple=True, metavar="GLOB", help="Corrupt these tensors alone (repeatable).")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these tensors alone (repeatable).")
@roles_option("Corrupt tensors of these roles alone, of those that the device stores")
@threads_option
@reads_option
@click.option("--out", "-o", type=PLACE, help="Folder for sweep.json and sweep.svg.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@condition_options
def command(model: str, device: str, over: str, data: str | None, out: Path | None, quiet: bool, **options: Any) -> int:
    """Score the same chips of a device at several values of one condition.

    Chip k is the same die at every value: a cell that fails at 0.9 V fails at 0.8 V too, and an array is a day older
    a day later.

    \b
    Examples:
      faultsim sweep digits --device sram --over vdd=0.9:0.75:7
      faultsim sweep model.onnx --device pcm --over at=1s:10y:8:log --out out
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.assessment import Options
    from faultsim.assessment.sweep import sweep
    from faultsim.cli.files import check_out
    from faultsim.cli.progress import progress_bar
    from faultsim.device import load_device
    from faultsim.device.knobs import conditions_from
    from faultsim.errors import OptionError
    from faultsim.library import find_model
    from faultsim.results import SweepResult
    from faultsim.textfile import write_text

    check_out(out)
    chip = load_device(device)
    conditions = conditions_from(chip.spec, take_conditions(options))
    partial: list[SweepResult] = []
    with progress_bar(quiet=quiet) as tell:
        try:
            result = sweep(
                find_model(model),
                chip,
                data,
                over=over,
                options=Options(conditions=conditions, **options),
                progress=tell,
                command=_command_line(),
                finished=partial.append,
            )
        except KeyboardInterrupt:
            if not partial:
                raise click.Abort from None
            result = partial[0]
    _show(result)
    if out is not None:
        try:
            write_text(out / "sweep.json", result.model_dump_json(indent=2, by_alias=True) + "\n")
            _draw(result, out / "sweep.svg")
        except OSError as error:
            raise OptionError(f"--out {out}: cannot be written ({error.strerror}); the table stands above") from None
        click.echo(f"\nwritten: {out / 'sweep.json'}, {out / 'sweep.svg'}")
    if result.stopped:
        click.echo(f"faultsim: {result.stopped}; what was computed until then stands above", err=True)
        return 130
    return 0


def _command_line() -> str:
    import shlex

    return shlex.join(["faultsim", *sys.argv[1:]])


def _show(result: Any) -> None:
    from faultsim.report.sweep import lines

    for line in lines(result):
        click.echo(line)


def _draw(result: Any, path: Path) -> None:
    from faultsim.report.sweep_figure import draw

    draw(result, path)
