"""``faultsim replay``: one trial of a result as a faulty model file. What is drawn lives in `assessment`."""

import json
from pathlib import Path
from typing import Any

import click

from faultsim.cli.files import PLACE


@click.command("replay")
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--trial", "-t", type=int, required=True, help="Number of the chip, from 0.")
@click.option("--out", "-o", type=PLACE, help="Where the faulty .onnx model goes.")
@click.option("--fault-list", type=PLACE, help="Write every fault of the chip, one JSON a line.")
@click.option("--model", help="In place of the result's model, if it moved; it must be the same file.")
@click.option("--device", "-d", help="In place of the result's device profile; it must be the same file.")
@click.option("--data", help="In place of the result's data.")
@click.option("--task", help="In place of the result's task.")
def command(
    result: Path, trial: int, out: Path | None, fault_list: Path | None, model: str | None, **places: Any
) -> int:
    """Draw a chip of RESULT (a result.json) again, write the faulty model, and score that file.

    \b
    Examples:
      faultsim replay out/result.json --trial 17 -o broken.onnx
      faultsim replay out/result.json --trial 17 --fault-list faults.jsonl

    Exit code: 0 if the counts are those of the result (or it kept none), 1 if they are not, 2 for bad input.
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.assessment.replay import counts, replay
    from faultsim.cli.files import check_apart, check_folder_of, check_model_file, write_for
    from faultsim.report.words import counted
    from faultsim.results.kinds import load_assessment, result_file

    check_model_file(out)
    given = load_assessment(result)
    named = Path(given.model.path)
    read = [result_file(result), named, named.parent / f"{named.stem}.npz", model, *places.values()]
    if given.rerun is not None:
        read += [given.rerun.device, given.rerun.data, given.rerun.preprocess]
    check_apart({"--fault-list": fault_list}, read, beside=[] if out is None else [out])
    check_folder_of("--fault-list", fault_list)
    found = replay(given, trial, out, model=model, **places)
    if fault_list is not None:
        text = "".join(f"{json.dumps(one, allow_nan=False)}\n" for one in found.faults)
        write_for("--fault-list", fault_list, text)
    correct, mismatch, nonfinite, n = counts(found.row)
    tensors = counted(len(found.chip.corruption), "tensor")
    click.echo(f"trial {trial}: {tensors} corrupted, {counted(len(found.faults) - 1, 'fault')} drawn")
    if found.chip.detected_words or found.chip.corrected_words:
        click.echo(f"  the memory's code corrected {counted(found.chip.corrected_words, 'word')} and found "
                   f"{found.chip.detected_words} that it could not correct")  # fmt: skip
    click.echo(f"  {correct} of {n} correct, {mismatch} changed, {nonfinite} not finite (on {found.runtime})")
    for path in (out, fault_list):
        if path is not None:
            click.echo(f"written: {path}")
    for note in found.notes:
        click.echo(f"note: {note}")
    if found.agrees is None:
        click.echo("the result keeps no counts of this trial: nothing to compare with")
        return 0
    if found.agrees:
        click.echo("these are the counts of the result")
        return 0
    assert found.expected is not None
    correct, mismatch, nonfinite, n = counts(found.expected)
    click.echo(
        f"faultsim: the result has {correct} of {n} correct, {mismatch} changed, {nonfinite} not finite", err=True
    )
    return 1
