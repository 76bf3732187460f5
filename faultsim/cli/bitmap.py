"""``faultsim bitmap``: which stored bits matter, as a table, a picture and bitmap.json."""

import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from faultsim.cli.files import PLACE
from faultsim.cli.options import roles_option, threads_option

if TYPE_CHECKING:
    from faultsim.results.bitmap import BitMapResult

_MAPPED = ("weight", "bias", "norm")
"""Roles of the tensors that are mapped, whatever else a device stores."""


@click.command("bitmap")
@click.argument("model")
@click.option("--data", help="Samples, as for 'faultsim assess'.")
@click.option("--device", "-d", help="Digital device whose storage holds the bits; the deployed formats by default.")
@click.option("--images", type=int, default=128, show_default=True, help="Images to map with, evenly spaced.")
@click.option("--audit", type=int, default=200, show_default=True, help="Random flips evaluated exactly.")
@click.option(
    "--rivals", type=int, default=2, show_default=True, help="Nearest classes that an image is compared with."
)
@click.option("--elements", type=int, default=1 << 20, show_default=True, help="Most numbers that are mapped.")
@click.option("--preprocess", type=click.Path(path_type=Path), help="YAML that says how the data become inputs.")
@click.option("--task", help="As for 'faultsim assess'; it has to be a classification.")
@click.option("--output", help="Name of the output that is scored; the first one by default.")
@click.option("--batch-axis", multiple=True, metavar="NAME=AXIS", help="As for 'faultsim assess' (repeatable).")
@click.option("--input-shape", multiple=True, metavar="NAME=SIZES", help="As for 'faultsim assess' (repeatable).")
@click.option("--limit", type=int, help="Use the first so many samples only.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence of every interval.")
@click.option("--sites", multiple=True, metavar="GLOB", help="Map these tensors alone (repeatable).")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these tensors alone (repeatable).")
@roles_option("Map tensors of these roles alone, of weight, bias and norm")
@threads_option
@click.option("--out", "-o", type=PLACE, help="Folder for bitmap.json, .npz, .svg and .png.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
def command(model: str, out: Path | None, quiet: bool, **options: Any) -> int:
    """Estimate for every stored bit how many predictions its flip changes, without one trial per bit.

    One backward pass an image gives the first-order effect of all flips at once. Random flips are then evaluated
    exactly, and the means corrected by them. The worst bits are evaluated, too, and the report says which bits to
    protect first.

    \b
    Examples:
      faultsim bitmap digits
      faultsim bitmap model.onnx --data test.npz --images 256 --audit 1000 --out out
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.cli.files import check_out
    from faultsim.cli.progress import progress_bar
    from faultsim.errors import OptionError
    from faultsim.report.bitmap import draw, lines
    from faultsim.textfile import write_text

    check_out(out)
    with progress_bar(quiet=quiet) as tell:
        result, arrays = _run(model, tell, **options)
    for line in lines(result):
        click.echo(line)
    if out is not None:
        try:
            write_text(out / "bitmap.json", result.model_dump_json(indent=2, by_alias=True) + "\n")
            _write_arrays(out / "bitmap.npz", arrays)
            draw(result, out / "bitmap.svg")
            draw(result, out / "bitmap.png")
        except OSError as error:
            raise OptionError(f"--out {out}: cannot be written ({error.strerror}); the table stands above") from None
        click.echo("\nwritten: " + ", ".join(str(out / f"bitmap.{kind}") for kind in ("json", "npz", "svg", "png")))
    return 0


def _write_arrays(target: Path, arrays: Mapping[str, Any]) -> None:
    """Write an npz file whole or not at all."""
    import numpy as np

    partial = target.with_name(target.name + ".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    os.replace(partial, target)


def _run(
    model: str,
    tell: Any,
    *,
    data: str | None,
    device: str | None,
    images: int,
    audit: int,
    rivals: int,
    elements: int,
    **given: Any,
) -> "tuple[BitMapResult, dict[str, Any]]":
    import time

    from faultsim.assessment import Options
    from faultsim.assessment.assemble import data_info, model_info, provenance
    from faultsim.assessment.setting import make_setting
    from faultsim.campaign.storage import deployed_storage, device_storage
    from faultsim.engine.screen.advice import advise, worst_bits
    from faultsim.engine.screen.bitmap import MapOptions, bit_map, mapped_numbers
    from faultsim.engine.screen.map_audit import audit as audited
    from faultsim.engine.screen.map_audit import check_flips
    from faultsim.engine.screen.map_result import arrays, as_result
    from faultsim.engine.sweep.sweep import Sweep
    from faultsim.errors import OptionError

    if images < 1:
        raise OptionError(f"--images is {images}, it must be at least 1")
    started = time.perf_counter()
    options = Options(**given)
    chip = deployed_storage(_MAPPED) if device is None else device_storage(device)
    chosen = MapOptions(seed=options.seed, rivals=rivals, elements=elements)
    tell("load and check", 0, 1)
    setting = make_setting(model, chip, data, options, torch_device="cpu")
    stored = {name: one for name, one in setting.stored.items() if one.site.role in _MAPPED}
    if not stored:
        roles = ", ".join(sorted({one.site.role for one in setting.stored.values()}))
        raise OptionError(
            f"the chosen tensors have the roles {roles}, of which none is mapped: a bit map has those of "
            f"{', '.join(_MAPPED)}; choose others with --sites, --exclude and --roles"
        )
    units: Counter[int] = Counter()
    for name, count in mapped_numbers(stored, chosen).items():
        units[stored[name].format.bits] += count * stored[name].format.bits
    check_flips(units, audit)
    scorer = setting.subset(images)
    scorer.set_golden(setting.fault_free())
    sweep = Sweep(scorer, setting.fault_free())
    tell("load and check", 1, 1)
    mapped = bit_map(scorer, stored, sweep, chosen, tell)
    found = audited(mapped, sweep, flips=audit, seed=options.seed, level=options.level)
    command_line = shlex.join(["faultsim", *sys.argv[1:]])
    result = as_result(
        mapped,
        found,
        worst=worst_bits(mapped, sweep),
        steps=advise(mapped, found, level=options.level),
        options=chosen,
        images=len(scorer.data),
        level=options.level,
        model=model_info(setting),
        data=data_info(setting),
        provenance=provenance(setting, {}, time.perf_counter() - started, command_line),
    )
    return result, arrays(mapped)
