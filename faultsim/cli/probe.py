"""``faultsim probe``: options in, result.json and the heat map out. Nothing is computed here."""

from pathlib import Path
from typing import Any

import click

from faultsim.cli.files import PLACE, check_result
from faultsim.cli.options import roles_option, threads_option

_OPTIONS = ("seed", "batch_size", "level", "sites", "exclude", "task", "output", "preprocess", "limit", "threads",
            "input_shape", "batch_axis")  # fmt: skip


@click.command("probe")
@click.argument("model")
@click.option("--eps", "radii", type=float, multiple=True, metavar="R", help="Radius as a part of each tensor's own "
              "norm, or as --relative says (repeatable); 0.05 and 0.2 by default.")  # fmt: skip
@click.option("--relative", type=click.Choice(["norm", "rms", "none"]), help="What radii are relative to: each "
              "tensor's own norm (default), its root mean square, or nothing: units of the weights.")  # fmt: skip
@click.option("--p", "p", metavar="P", help="Order of the norm, 1 to inf; 2 by default.")
@click.option("--n", type=int, help="Most numbers that a radius moves; all by default.")
@click.option("--scope", type=click.Choice(["tensor", "global"]), help="Whether each tensor has radius and --n for "
              "itself (default) or those of a part share them.")  # fmt: skip
@click.option("--remove", "removed", type=float, multiple=True, metavar="SHARE", help="Share of weights, or of units, "
              "that is removed (repeatable); 0.1 and 0.5 by default.")  # fmt: skip
@click.option("--mode", "modes", multiple=True, metavar="NAME", help="gradient, random, weights, units; all by default "
              "(repeatable).")  # fmt: skip
@click.option("--draws", type=int, default=5, show_default=True, help="Draws of everything random.")
@click.option("--samples", type=int, default=256, show_default=True, help="Most samples, evenly spaced.")
@click.option("--device", "-d", help="Probe the numbers as this profile stores them; the deployed format by default.")
@click.option("--data", help="Samples with labels, as for 'faultsim assess'.")
@click.option("--preprocess", type=click.Path(path_type=Path), help="YAML that says how the data become inputs.")
@click.option("--task", help="As for 'faultsim assess'.")
@click.option("--output", help="Name of the output that is scored; the first one by default.")
@click.option("--input-shape", multiple=True, metavar="NAME=SIZES", help="As for 'faultsim assess' (repeatable).")
@click.option("--batch-axis", multiple=True, metavar="NAME=AXIS", help="As for 'faultsim assess' (repeatable).")
@click.option("--limit", type=int, help="Use the first so many samples only.")
@click.option("--sites", "--only", multiple=True, metavar="GLOB", help="Probe these tensors alone (repeatable).")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these tensors alone (repeatable).")
@roles_option("Probe tensors of these roles alone (weight,bias,norm by default, with --device all that it stores)")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence of every interval.")
@click.option("--batch-size", type=int, default=250, show_default=True, help="Samples a batch.")
@threads_option
@click.option("--torch-device", default="cpu", show_default=True,
              help="Where gradients are computed: cpu, cuda, cuda:1. Other than cpu, answers are as well, by torch "
              "and not by onnxruntime.")  # fmt: skip
@click.option("--out", "-o", type=PLACE, help="Folder for result.json.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
def command(model: str, out: Path | None, quiet: bool, **given: Any) -> int:
    """Rank the layer kinds, positions and layers of MODEL by what corrupting each of them alone does.

    Each is corrupted along the gradient and at random by the same part of every tensor's own norm, and has the same
    share of its weights, or of whole units, removed. Rankings depend on that normalisation. With --p inf --n 10
    --eps 10 --relative none --scope global the 10 worst numbers of each part move by 10, whatever their size.

    \b
    Examples:
      faultsim probe digits
      faultsim probe model.onnx --data test.npz --eps 0.1 --remove 0.7 --mode gradient --mode units
      faultsim probe digits --p inf --n 10 --eps 1 --relative none --scope global --mode gradient

    Exit code: 0, 2 for bad input, 130 after Ctrl-C, which shows and writes what was measured until then.
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.assessment import Options
    from faultsim.attacks import ProbeOptions, StoppedEarlyError, probe
    from faultsim.cli.attack import show
    from faultsim.cli.attack_asked import read_order
    from faultsim.cli.interrupt import until_interrupted
    from faultsim.cli.progress import progress_bar
    from faultsim.errors import OptionError
    from faultsim.library import find_model

    check_result(out, "probe")
    asked = {name: given[name] for name in ("radii", "removed", "modes") if given[name]}
    asked |= {name: given[name] for name in ("n", "scope", "relative") if given[name] is not None}
    if given["p"] is not None:
        asked["p"] = read_order(given["p"])
    moved = (("radii", "--eps"), *((name, f"--{name}") for name in ("p", "n", "scope", "relative")))
    for name, option in (*moved, ("removed", "--remove")):
        of = ("weights", "units") if name == "removed" else ("gradient", "random")
        if name in asked and given["modes"] and not set(of) & set(given["modes"]):
            raise OptionError(f"{option} is of the modes {' and '.join(of)}, and --mode leaves both out; leave it out")
    how = ProbeOptions(draws=given["draws"], samples=given["samples"], **asked)
    options = Options(**{name: given[name] for name in _OPTIONS})
    path = find_model(model)
    with progress_bar(quiet=quiet) as tell, until_interrupted() as stopped:
        try:
            result = probe(
                path,
                given["data"],
                how=how,
                device=given["device"],
                options=options,
                roles=given["roles"],
                progress=tell,
                stopped=stopped,
                torch_device=given["torch_device"],
            )
        except (StoppedEarlyError, KeyboardInterrupt):
            raise click.Abort from None
    return show(result, out)
