"""``faultsim init``: a commented scenario for a model of the user's. What stands in it is written in `scenario`."""

from pathlib import Path

import click

from faultsim.cli.files import PLACE


@click.command("init")
@click.argument("model")
@click.option(
    "--device", "-d", "devices", multiple=True, help="Device profile (repeatable); two of the library by default."
)
@click.option("--data", help="Samples with labels, as for 'faultsim assess'; what lies beside the model by default.")
@click.option("--preprocess", help="YAML that says how the data become inputs.")
@click.option("--task", help="As for 'faultsim assess'.")
@click.option("--output", help="As for 'faultsim assess'.")
@click.option("--input-shape", multiple=True, metavar="NAME=SIZES", help="As for 'faultsim assess' (repeatable).")
@click.option("--batch-axis", multiple=True, metavar="NAME=AXIS", help="As for 'faultsim assess' (repeatable).")
@click.option(
    "--out",
    "-o",
    "target",
    type=PLACE,
    default=Path("scenario.yaml"),
    show_default=True,
    help="The file to write.",
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def command(
    model: str,
    devices: tuple[str, ...],
    data: str | None,
    preprocess: str | None,
    task: str | None,
    output: str | None,
    input_shape: tuple[str, ...],
    batch_axis: tuple[str, ...],
    target: Path,
    force: bool,
) -> None:
    """Write a commented scenario for MODEL, an .onnx file or a bundled name, ready to run.

    The model is read and checked first, so what is written runs.

    \b
    Examples:
      faultsim init model.onnx --data test.npz
      faultsim run scenario.yaml
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.cli.files import check_apart, check_folder_of
    from faultsim.errors import OptionError
    from faultsim.scenario import parse_scenario
    from faultsim.scenario.starter import DEFAULT_DEVICES, starter
    from faultsim.textfile import write_text

    check_folder_of("-o", target)
    check_apart({"-o": target}, [model, data, preprocess, *devices])
    if target.exists() and not force:
        raise OptionError(f"-o {target}: is there already; give another name, or --force to write over it")
    made = starter(
        model,
        target,
        devices=devices or DEFAULT_DEVICES,
        data=data,
        preprocess=preprocess,
        task=task,
        output=output,
        input_shape=input_shape,
        batch_axis=batch_axis,
    )
    cases = parse_scenario(made.text, folder=target.parent, allow_code=True).cases
    try:
        write_text(target, made.text)
    except OSError as error:
        raise OptionError(f"-o {target}: cannot be written ({error.strerror}); give another file") from None
    click.echo(made.said)
    click.echo(f"written: {target}, {len(cases)} cases")
    code = (
        " --allow-code"
        if any(one is not None and ":" in one and not Path(one).exists() for one in (data, task))
        else ""
    )
    click.echo(f"next: faultsim run {target} --out out{code}")
