"""``faultsim campaign``: options in, result.json, journal and report out. Nothing is computed here."""

import sys
from pathlib import Path
from typing import Any

import click

from faultsim.cli.files import PLACE, check_result
from faultsim.cli.options import roles_option
from faultsim.textfile import write_text

_OPTIONS = ("seed", "batch_size", "level", "sites", "exclude", "task", "output", "preprocess", "limit", "threads",
            "input_shape", "batch_axis")  # fmt: skip


@click.command("campaign")
@click.argument("model")
@click.option(
    "--device", "-d", help="Take the memory of this profile: name or YAML file. Without: the deployed format."
)
@click.option("--data", help="Samples with labels, as for 'faultsim assess'.")
@click.option("--preprocess", type=click.Path(path_type=Path), help="YAML that says how the data become inputs.")
@click.option("--task", help="As for 'faultsim assess'.")
@click.option("--output", help="Name of the output that is scored; the first one by default.")
@click.option("--input-shape", multiple=True, metavar="NAME=SIZES", help="As for 'faultsim assess' (repeatable).")
@click.option("--batch-axis", multiple=True, metavar="NAME=AXIS", help="As for 'faultsim assess' (repeatable).")
@click.option("--limit", type=int, help="Use the first so many samples only.")
@click.option("--trials", type=int, help="Trials; with --until at most so many. Default: the number for --margin.")
@click.option("--margin", type=float, help="Half-width that trials are planned for.  [default: 0.01]")
@click.option("--until", metavar="RULE", help="Stop when this narrow: 'halfwidth<=0.005@0.99'; looking is allowed.")
@click.option(
    "--stratify",
    type=click.Choice(["none", "site", "bit", "site,bit"]),
    default="none",
    show_default=True,
    help="Split the population, and draw from each part.",
)
@click.option(
    "--allocation",
    type=click.Choice(["proportional", "neyman"]),
    default="proportional",
    show_default=True,
    help="Trials of each stratum: by its size, or by size and spread seen in a pilot.",
)
@click.option("--pilot", type=int, help="Trials of the pilot for neyman; a tenth by default.")
@click.option("--flips", type=int, default=1, show_default=True, help="Flipped bits a trial, exactly.")
@roles_option("Flip bits in tensors of these roles alone", default="weight")
@click.option("--sites", multiple=True, metavar="GLOB", help="Flip bits in these tensors alone (repeatable).")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these tensors alone (repeatable).")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence of every interval.")
@click.option("--batch-size", type=int, default=250, show_default=True, help="Samples a batch; the same counts, unless "
              "the graph quantizes with scales of its batch, or --screen rounds.")  # fmt: skip
@click.option("--screen", is_flag=True, help="Evaluate few images of each trial, and correct the rates by audits.")
@click.option("--engine", type=click.Choice(["sweep", "plain"]), default="sweep", show_default=True,
              help="One sweep for many trials, or a whole pass for each, to check; the same counts.")  # fmt: skip
@click.option("--workers", type=int, default=1, show_default=True, help="Processes; the same result, but for --screen.")
@click.option("--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="Processes of this machine, or actors of a Ray cluster (extra 'ray').")  # fmt: skip
@click.option("--ray-address", help="Address of the cluster; one is started on this machine by default.")
@click.option("--threads", type=int, default=0, help="Threads over all workers; all cores by default.")
@click.option("--torch-device", default="cpu", show_default=True, help="Where the model runs: cpu, cuda, cuda:1.")
@click.option("--memory", "memory_mib", type=int, default=1024, show_default=True,
              help="MiB for clean activations, over all workers.")  # fmt: skip
@click.option("--shard", metavar="K/M", help="Compute part K of M of the trials alone, such as 2/5.")
@click.option("--journal", type=PLACE, help="File of rows to go on from; --out has one of its own.")
@click.option("--paired-with", type=click.Path(path_type=Path),
              help="Result or journal of the same faults, drawn without --stratify: compare.")  # fmt: skip
@click.option("--out", "-o", type=PLACE, help="Folder for result.json and journal.jsonl.")
@click.option("--dry-run", is_flag=True, help="Show population, strata, trials and the expected time, "
              "from a few trials of which nothing is kept.")  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
def command(model: str, out: Path | None, journal: Path | None, dry_run: bool, quiet: bool, **given: Any) -> int:
    """Flip stored bits of MODEL, drawn at random, and estimate how often that changes an answer.

    The population is every stored bit of the weights (see --roles, --sites). No fault is drawn twice, and intervals
    know how large the population is; with --screen, or --flips 2 and more, trials are independent and two may be the
    same. Seed and trial give every fault again; batch size, engine, workers and
    interruptions change no figure, except that a graph may mix the samples of a batch, and that --screen leaves out
    samples by margins in floating point, which another batch size, --memory, --workers or --threads may round apart.

    \b
    Examples:
      faultsim campaign digits
      faultsim campaign digits_int8 --until 'halfwidth<=0.005@0.99' --out out
      faultsim campaign model.onnx --data test.npz --stratify site,bit \\
          --trials 20000 --workers 4 --out out

    Exit code: 0, 2 for bad input, 130 after Ctrl-C, which shows and writes what was computed until then; the same
    command goes on.
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.assessment import Options
    from faultsim.campaign import CampaignOptions, Interrupted, parse_shard, run_campaign
    from faultsim.cli.progress import progress_bar
    from faultsim.errors import OptionError
    from faultsim.library import find_model

    if not dry_run:
        check_result(out, "campaign")
        _check_journal(out, journal)
        _check_other(out, given["paired_with"])
    options = Options(**{name: given[name] for name in _OPTIONS})
    campaign = CampaignOptions(
        roles=given["roles"],
        shard=None if given["shard"] is None else parse_shard(given["shard"]),
        **{
            name: given[name]
            for name in ("trials", "margin", "until", "stratify", "allocation", "pilot", "flips", "screen", "engine",
                         "workers", "executor", "ray_address", "memory_mib")
        },
    )  # fmt: skip
    path = find_model(model)
    if dry_run:
        from faultsim.campaign.preview import preview

        found = preview(
            path, given["data"], device=given["device"], options=options, campaign=campaign,
            paired_with=given["paired_with"], torch_device=given["torch_device"],
        )  # fmt: skip
        for line in found:
            click.echo(line)
        return 0
    if journal is None and out is not None:
        _make(out)
        journal = out / "journal.jsonl"
    interrupted = False
    with progress_bar(quiet=quiet) as tell:
        try:
            result = run_campaign(
                path,
                given["data"],
                device=given["device"],
                options=options,
                campaign=campaign,
                journal=journal,
                paired_with=given["paired_with"],
                replaces=None if out is None else out / "result.json",
                progress=tell,
                torch_device=given["torch_device"],
                command=_command_line(),
            )
        except Interrupted as stop:
            if stop.result is None and not stop.kept:
                raise click.Abort from None
            if stop.result is None:
                said = f"faultsim: interrupted; {stop.kept:,} trials are in {journal}, and the same command goes on"
                click.echo(said, err=True)
                return 130
            result, interrupted = stop.result, True
        except KeyboardInterrupt:
            raise click.Abort from None
    try:
        if out is not None:
            write_text(out / "result.json", result.model_dump_json(indent=2, by_alias=True) + "\n")
    except OSError as error:
        _show(result, None)
        raise OptionError(f"--out {out}: cannot be written ({error.strerror}); the report stands above") from None
    _show(result, out)
    if interrupted:
        kept = "; the same command goes on" if journal is not None else ""
        click.echo(f"faultsim: interrupted; what was computed until then stands above{kept}", err=True)
        return 130
    return 0


def _check_journal(out: Path | None, journal: Path | None) -> None:
    """Refuse a journal that the result would replace."""
    from faultsim.errors import OptionError

    if out is not None and journal is not None and journal.resolve() == (out / "result.json").resolve():
        raise OptionError(f"--journal {journal}: is where --out writes the result; give the journal another name")


def _check_other(out: Path | None, other: Path | None) -> None:
    """Refuse to write over the campaign that is compared with."""
    from faultsim.errors import OptionError

    if out is None or other is None or (not other.is_dir() and other.name not in ("result.json", "journal.jsonl")):
        return
    if (other if other.is_dir() else other.parent).resolve() == out.resolve():
        raise OptionError(f"--out {out}: holds what --paired-with reads, which would be lost; give another folder")


def _make(out: Path) -> None:
    from faultsim.errors import OptionError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"--out {out}: cannot be made ({error.strerror}); give a folder that can be written"
        ) from None


def _command_line() -> str:
    import shlex

    return shlex.join(["faultsim", *sys.argv[1:]])


def _show(result: Any, out: Path | None) -> None:
    import contextlib

    from rich.console import Console

    from faultsim.report.injection import render

    with contextlib.suppress(SystemExit):  # rich's end where the reader closed the pipe
        render(result, Console(file=sys.stdout, highlight=False), out=None if out is None else str(out))
