"""``faultsim harden``: options in, a harder model, harden.json and a comparison out. Nothing is computed here."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from faultsim.cli import assess
from faultsim.cli.conditions import condition_options, take_conditions
from faultsim.cli.files import PLACE, check_model_file, check_out
from faultsim.textfile import write_text

F = TypeVar("F", bound=Callable[..., Any])

SHARED = ("data", "preprocess", "task", "output", "input_shape", "batch_axis", "limit", "trials", "batch_size",
          "confidence", "level", "sites", "exclude", "roles", "search_gradients", "search_samples", "threads",
          "torch_device", "reads", "quiet")  # fmt: skip
"""Options that mean what they mean for ``faultsim assess``."""
_CONTRADICTIONS = (
    ("held_out", "test_data", "is a part of --data to assess on"),
    ("validation", "validation_data", "is a part of --data to choose by"),
    ("search", "strength", "is how many strengths are tried"),
    ("epochs", "steps", "is how long to train"),
)
"""Options that have no effect beside another one, and what they are."""


def _shared(command: F) -> F:
    """Add the options of ``faultsim assess`` that mean the same here."""
    known = {one.name: one for one in assess.command.params}
    for name in reversed(SHARED):
        command.__click_params__ = [*getattr(command, "__click_params__", []), known[name]]  # type: ignore[attr-defined]
    return command


@click.command("harden")
@click.argument("model")
@click.option("--device", "-d", required=True, help="Device profile: a name of the library, or a YAML file.")
@click.option("-o", "--write", "target", required=True, type=PLACE,
              help="The hardened model: the same graph, new numbers.")  # fmt: skip
@click.option("--out", type=PLACE, help="Folder for harden.json and checkpoints.")
@click.option("--quantize", type=click.Choice(["int8", "int4"]),
              help="Quantize a float MODEL first, calibrated on training samples, and harden that: int8 weights and "
              "activations, or int4 weights.")  # fmt: skip
@click.option("--recipe", default="auto", show_default=True, help="auto (by the device), plain, lp, bits or analog.")
@click.option("--loss", "losses", multiple=True, metavar="NAME",
              help="Losses in place of a recipe: plain, l_a, l_star, sam, noise, randbet, clip, negative_bias, "
              "gradient_l1, bit_slice_l1 (repeatable; together they add up).")  # fmt: skip
@click.option("--strength", type=float,
              help="The loss's knob (a factor for several, but for knobs of --eps and --alpha). Given, nothing is "
              "searched, nor is the rate.")  # fmt: skip
@click.option("--alpha", type=float, help="Weight of the corrupted loss in l_star, noise and randbet of --loss; 0.5 by "
              "default; 1 leaves the clean pass of noise and randbet out: twice the steps.")  # fmt: skip
@click.option("--search", type=int, default=4, show_default=True, help="Most strengths tried; 1 searches nothing.")
@click.option("--p", type=float, help="Norm of virtual corruptions; inf is one. 2 by default, inf for gradient_l1.")
@click.option("--eps", type=float,
              help="Their radius in units of the weights, above 0, and no other is tried; 3 % of ‖w‖ by default, 1 % "
              "of their RMS for gradient_l1.")  # fmt: skip
@click.option("--virtual-steps", type=int, default=1, show_default=True,
              help="Gradients of a virtual corruption, of l_star and sam.")  # fmt: skip
@click.option("--epochs", type=int, help="Passes over the training samples; 20 by default, and at least 1,000 steps.")
@click.option("--steps", type=int, help="Training steps in place of epochs.")
@click.option("--train-batch", type=int, default=64, show_default=True, help="Samples a training step.")
@click.option("--split-batch", is_flag=True,
              help="Clean weights see one half of each batch and corrupted ones the other: a step of l_star, sam, "
              "noise or randbet costs about what a plain one does. Other losses alone are refused.")  # fmt: skip
@click.option("--augment", type=click.Choice(["none", "shift", "flip-shift"]), default="none", show_default=True,
              help="Random shifts and mirrored images in training; for float images NCHW.")  # fmt: skip
@click.option("--optimizer", type=click.Choice(["adam", "sgd"]), default="adam", show_default=True)
@click.option(
    "--lr",
    type=float,
    help="Largest learning rate; 2 % of the RMS of the weights or a fifth of it, as the search finds.",
)
@click.option("--ema", type=float, default=0.995, show_default=True, help="Decay of the average that is exported.")
@click.option("--patience", type=int, help="Validations without a better one before the training ends.")
@click.option("--time-budget", metavar="TIME",
              help="Time for all trainings together, such as 20m or 1h; seconds without a unit.")  # fmt: skip
@click.option("--precision", type=click.Choice(["auto", "float32", "bf16"]), default="auto", show_default=True,
              help="Of the training's passes; bf16 for float and QDQ graphs; auto: on CUDA, if float.")  # fmt: skip
@click.option("--scales", type=click.Choice(["keep", "learn"]), default="keep", show_default=True,
              help="Steps of integer weights.")  # fmt: skip
@click.option("--batch-norm", type=click.Choice(["frozen", "recalibrated"]), default="frozen", show_default=True,
              help="Running statistics of batch norms that are not folded.")  # fmt: skip
@click.option("--towards", type=click.Choice(["labels", "clean"]),
              help="Labels, or the original's own outputs; labels where there are some.")  # fmt: skip
@click.option("--test-data", metavar="DATA", help="Samples for before and after; else a part of --data is held out.")
@click.option("--held-out", type=float, default=0.25, show_default=True, help="That part.")
@click.option("--validation", type=float, default=0.15, show_default=True, help="Part that choices are made on.")
@click.option("--validation-data", metavar="DATA",
              help="Samples to choose by in place of that part, which the model was never trained on.")  # fmt: skip
@click.option("--tolerance", type=float, default=0.005, show_default=True, help="Most that clean accuracy may fall.")
@click.option("--blend/--no-blend", default=True, show_default=True,
              help="Bring numbers that cost more than that back towards the original's.")  # fmt: skip
@click.option("--radii/--no-radii", default=True, show_default=True, help="Search critical radii too.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of split, training and chips.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoints in --out.")
@_shared
@condition_options
def command(
    model: str,
    device: str,
    target: Path,
    out: Path | None,
    torch_device: str,
    data: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Train MODEL against a chip, write the same graph with new numbers, and show both on the same chips.

    \b
    Examples:
      faultsim harden digits --device reram -o hardened.onnx
      faultsim harden model.onnx --device sram --data train.npz --test-data test.npz \\
          --time-budget 20m --out out -o hardened.onnx
      faultsim harden float.onnx --device sram --quantize int8 --data train.npz -o hardened_int8.onnx

    Exit code: 0 if it helped, 1 if it did not (nothing is written to -o then), 2 for bad input, 130 after Ctrl-C:
    the same command with --resume goes on from the checkpoint in --out.
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.cli.progress import progress_bar
    from faultsim.device import load_device
    from faultsim.device.knobs import conditions_from
    from faultsim.errors import OptionError
    from faultsim.harden import harden
    from faultsim.harden.precision import slow_note
    from faultsim.harden.terminal import validation
    from faultsim.library import find_model
    from faultsim.report.hardening import lines
    from faultsim.report.words import plain, speakable

    check_out(out)
    check_model_file(target, results="harden.json")
    chip = load_device(device)
    conditions = conditions_from(chip.spec, take_conditions(options))
    if options["resume"] and out is None:
        raise OptionError("--resume needs --out: the folder with the checkpoints")
    chosen = _hardening(options, conditions)
    slow = slow_note(chosen.training.precision, torch_device)
    if slow is not None:
        click.echo(f"note: {slow}", err=True)
    with progress_bar(quiet=quiet) as tell:
        try:
            done = harden(
                find_model(model),
                chip,
                data,
                target=target,
                out=out,
                options=chosen,
                progress=tell,
                told=None if quiet else lambda point, planned: click.echo(validation(point, planned), err=True),
                torch_device=torch_device,
            )
        except KeyboardInterrupt as stop:
            for note in getattr(stop, "__notes__", ()):
                click.echo(plain(note), err=True)
            hint = "the same command with --resume goes on" if out is not None else "with --out it could be resumed"
            click.echo(f"faultsim: interrupted; {hint}", err=True)
            return 130
    for line in lines(done.result):
        click.echo(speakable(plain(line), sys.stdout.encoding or "utf-8"))
    if out is not None:
        try:
            write_text(out / "harden.json", done.result.model_dump_json(indent=2, by_alias=True) + "\n")
        except OSError as error:
            raise OptionError(f"--out {out}: cannot be written ({error.strerror}); the report stands above") from None
        click.echo(f"written: {out / 'harden.json'}")
    return 0 if done.result.helped else 1


def _hardening(options: dict[str, Any], conditions: Any) -> Any:
    """Return what the options ask for."""
    from faultsim.assessment import Options
    from faultsim.errors import OptionError
    from faultsim.harden import Ball, Hardening, Training
    from faultsim.harden.recipes import L1_EPS
    from faultsim.specs.scenario import in_minutes
    from faultsim.units import duration_s

    take = options.pop
    for name, other, why in _CONTRADICTIONS:
        source = click.get_current_context().get_parameter_source(name)
        if options[other] is not None and source is click.core.ParameterSource.COMMANDLINE:
            one, two = (f"--{word.replace('_', '-')}" for word in (name, other))
            raise OptionError(f"{one} {why}, and {two} is given; leave one of them out")
    seed = take("seed")
    budget, p, eps = take("time_budget"), take("p"), take("eps")
    ball = None
    if eps is not None or p is not None:
        if p is None:
            p = math.inf if _l1_alone(options["losses"]) else 2.0
        usual = L1_EPS if _l1_alone(options["losses"]) else 0.03
        ball = Ball(p=p, eps=usual if eps is None else eps, relative=eps is None)
    training = Training(
        epochs=take("epochs"),
        steps=take("steps"),
        batch_size=take("train_batch"),
        split_batch=take("split_batch"),
        optimizer=take("optimizer"),
        lr=take("lr"),
        ema=take("ema"),
        augment=take("augment"),
        precision=take("precision"),
        patience=take("patience"),
        time_budget_s=None if budget is None else duration_s(in_minutes(budget)),
        seed=seed,
    )
    own = {name: take(name) for name in ("recipe", "losses", "strength", "search", "alpha", "virtual_steps", "scales",
           "batch_norm", "towards", "test_data", "held_out", "validation", "validation_data", "tolerance", "blend",
           "radii", "resume", "quantize")}  # fmt: skip
    assessed = Options(seed=seed, conditions=conditions, site_trials=0, site_samples=64, **options)
    return Hardening(ball=ball, training=training, assess=assessed, **own)


def _l1_alone(losses: tuple[str, ...]) -> bool:
    """Whether gradient_l1, which is for p = inf, is the only loss here that has a ball."""
    return "gradient_l1" in losses and not {"l_a", "l_star", "sam"} & set(losses)
