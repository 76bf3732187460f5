"""``faultsim attack``: options in, result.json, report and the worst model out. Nothing is computed here."""

import sys
from pathlib import Path
from typing import Any

import click

from faultsim.cli.attack_asked import cells_of, check_of_device, curve_and_ball
from faultsim.cli.conditions import condition_options, take_conditions
from faultsim.cli.files import PLACE, check_model_file, check_result
from faultsim.cli.options import roles_option, threads_option
from faultsim.textfile import write_text

_OPTIONS = ("seed", "batch_size", "level", "confidence", "sites", "exclude", "task", "output", "preprocess", "limit",
            "threads", "input_shape", "batch_axis")  # fmt: skip
_SEARCH = ("objective", "gradients", "forwards", "certify")


@click.command("attack")
@click.argument("model")
@click.option("--p", "p", metavar="P", help="Order of the norm, 1 to inf; 2 by default.")
@click.option("--eps", metavar="RADIUS", help="Radius of the set: 0.1 in units of the weights, rel:0.1 of each "
              "tensor's root mean square, norm:0.1 of its own norm.")  # fmt: skip
@click.option("--n", type=int, help="Most numbers that move; all by default.")
@click.option("--scope", type=click.Choice(["tensor", "global"]), help="Whether each tensor has the budget for itself "
              "(default) or all share one.")  # fmt: skip
@click.option("--device", "-d", help="Search the set of this profile, or the cells of its memory: name or YAML file.")
@click.option("--bits", type=int, metavar="N", help="Search the worst N flipped bits of the stored format instead.")
@click.option("--levels", type=int, metavar="N", help="Search the worst N confused levels of multi-level cells.")
@click.option("--stuck", type=int, metavar="N", help="Search the worst N stuck cells.")
@click.option(
    "--until-accuracy",
    type=float,
    metavar="A",
    help="Stop at this accuracy, look for fewer cells, then for more damage by as many.",
)
@click.option("--target", type=int, metavar="CLASS", help="Have samples taken for this class; any error by default.")
@click.option("--victim", type=int, metavar="CLASS", help="Aim at samples of this class alone.")
@click.option("--stealthy", is_flag=True, help="Keep the accuracy of all other samples (with --victim).")
@click.option("--tolerance", type=float, help="Most accuracy that those may lose with --stealthy; 0.02 by default.")
@click.option("--one-per-word", is_flag=True, help="At most one changed cell a memory word.")
@click.option("--row", metavar="any|BANK:ROW", help="All cells in one row of the device's memory.")
@click.option(
    "--flippable", type=click.Path(path_type=Path), help="CSV of bits that can flip: tensor,element,bit[,to]."
)
@click.option("--bits-per-cell", type=int, help="Of levels and stuck cells, 1 to 8; 2 by default.")
@click.option("--cell-code", type=click.Choice(["binary", "gray"]), help="Bit pattern of a level; binary by default.")
@click.option("--stuck-at", type=click.Choice(["low", "high", "either"]), help="Where cells stick; either by default.")
@click.option("--allow-nonfinite", is_flag=True, help="Count outputs that are not finite as damage.")
@click.option("--curve", type=click.Choice(["eps", "n"]), help="Search at several radii, or numbers of elements.")
@click.option("--from", "start", metavar="X", help="First value of the curve, such as 0.01 or rel:0.01.")
@click.option("--to", "stop", metavar="X", help="Last value of the curve.")
@click.option("--points", type=int, help="Values of the curve; 7 by default.")
@click.option("--keep", type=float, help="Accuracy of the critical radius; 5 points below the clean one by default.")
@click.option("--per-layer", is_flag=True, help="A critical radius for every layer alone as well.")
@click.option("--method", "methods", multiple=True, metavar="NAME", help="one-step, random, fixed-point, pgd, greedy, "
              "swap, vertices, exhaustive, or all: those that suit the set (repeatable).")  # fmt: skip
@click.option("--objective", type=click.Choice(["cross-entropy", "margin", "both"]), default="both", show_default=True,
              help="What is raised.")  # fmt: skip
@click.option("--gradients", type=int, help="Most gradients; 60, for cells 200. On a curve for each value.")
@click.option("--forwards", type=int, help="Most forward passes of the search; no limit, for cells 3000.")
@click.option("--restarts", type=int, help="Random starts of searches that have one; 2, for cells 1.")
@click.option("--trials", type=int, help="Random corruptions of the set to compare with; 50 by default.")
@click.option("--search-samples", type=int, default=1000, show_default=True, help="Most samples that the search sees.")
@click.option("--search-data", help="Other samples for gradients and search, so that --data only judges.")
@click.option("--certify/--no-certify", default=None, help="Prove a bound over the whole set; by default where quick.")
@click.option("--data", help="Samples with labels, as for 'faultsim assess'.")
@click.option("--preprocess", type=click.Path(path_type=Path), help="YAML that says how the data become inputs.")
@click.option("--task", help="As for 'faultsim assess'.")
@click.option("--output", help="Name of the output that is scored; the first one by default.")
@click.option("--input-shape", multiple=True, metavar="NAME=SIZES", help="As for 'faultsim assess' (repeatable).")
@click.option("--batch-axis", multiple=True, metavar="NAME=AXIS", help="As for 'faultsim assess' (repeatable).")
@click.option("--limit", type=int, help="Use the first so many samples only.")
@click.option("--sites", "--only", multiple=True, metavar="GLOB", help="Attack these tensors alone (repeatable).")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these tensors alone (repeatable).")
@roles_option("Attack tensors of these roles alone (weight,bias,norm by default, weight for cells, with --device all "
              "that it stores)")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@click.option("--confidence", type=float, help="Part of the chips that a device's budget holds.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence of every interval.")
@click.option("--batch-size", type=int, default=250, show_default=True, help="Samples a batch.")
@threads_option
@click.option("--torch-device", default="cpu", show_default=True,
              help="Where gradients are computed: cpu, cuda, cuda:1. Other than cpu, answers are as well, by torch "
              "and not by onnxruntime.")  # fmt: skip
@condition_options
@click.option("--write", "-o", type=PLACE, help="File for the worst model, ending in .onnx.")
@click.option("--out", type=PLACE, help="Folder for result.json.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
def command(model: str, write: Path | None, out: Path | None, quiet: bool, **given: Any) -> int:
    """Search for the corruption of MODEL's stored numbers that does most damage.

    Every corruption is scored as the deployed number format holds it, and the worst of all that was tried is shown:
    found, not proven. Where a bound over the whole set can be proven, it stands beside it (--certify).

    \b
    Examples:
      faultsim attack digits --p 2 --eps 0.3
      faultsim attack digits --curve eps --from rel:0.01 --to rel:1
      faultsim attack digits_int8 --bits 20 --until-accuracy 0.12 -o worst.onnx
      faultsim attack model.onnx --device reram --data test.npz \\
          --search-data train.npz --out out

    Exit code: 0, 2 for bad input, 130 after Ctrl-C, which shows and writes what was found until then.
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.assessment import Options
    from faultsim.attacks import Search, StoppedEarlyError, attack
    from faultsim.cli.interrupt import until_interrupted
    from faultsim.cli.progress import progress_bar
    from faultsim.device import load_device
    from faultsim.device.knobs import conditions_from
    from faultsim.library import find_model

    check_result(out, "attack")
    check_model_file(write, results="result.json")
    cells = cells_of(given)
    curve, ball = curve_and_ball(given, cells)
    chosen = () if "all" in given["methods"] else given["methods"]
    spent = {name: given[name] for name in ("restarts", "trials") if given[name] is not None}
    search = Search(methods=chosen, samples=given["search_samples"], **{name: given[name] for name in _SEARCH}, **spent)
    device, asked = given["device"], take_conditions(given)
    check_of_device(given, asked, of_device=device is not None and cells is None and ball is None)
    conditions = None
    if device is not None:
        device = load_device(device)
        conditions = conditions_from(device.spec, asked)
    options = Options(conditions=conditions, **{name: given[name] for name in _OPTIONS})
    path = find_model(model)
    with progress_bar(quiet=quiet) as tell, until_interrupted() as stopped:
        try:
            result = attack(
                path,
                given["data"],
                ball=ball,
                device=device,
                cells=cells,
                curve=curve,
                search_data=given["search_data"],
                search=search,
                options=options,
                roles=given["roles"],
                write=write,
                progress=tell,
                stopped=stopped,
                torch_device=given["torch_device"],
            )
        except (StoppedEarlyError, KeyboardInterrupt):
            raise click.Abort from None
    return show(result, out)


def show(result: Any, out: Path | None) -> int:
    """Write result.json where asked for, print the report, and return the exit code."""
    import contextlib
    import json

    from rich.console import Console

    from faultsim.attacks.write import NOT_WRITTEN
    from faultsim.errors import OptionError
    from faultsim.report.attack import render

    def printed(folder: Path | None) -> None:
        with contextlib.suppress(SystemExit):  # rich's end where the reader closed the pipe
            console = Console(file=sys.stdout, highlight=False)
            render(result, console, out=None if folder is None else str(folder))

    try:
        if out is not None:
            write_text(out / "result.json", json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n")
    except OSError as error:
        printed(None)
        raise OptionError(f"--out {out}: cannot be written ({error.strerror}); the report stands above") from None
    printed(out)
    if result.stopped is not None:
        click.echo("faultsim: interrupted; what was found until then stands above", err=True)
        return 130
    if any(note.startswith(NOT_WRITTEN) for note in result.notes):
        click.echo("faultsim: the worst model was not written; the notes above say why", err=True)
        return 2
    return 0
