"""``faultsim merge``: the shards of one campaign as one journal. How rows are united lives in `faultsim.journal`."""

from pathlib import Path

import click


@click.command("merge")
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="The new journal, or a new folder.")
def command(shards: tuple[Path, ...], out: Path) -> int:
    """Unite SHARDS, journals of one campaign (or folders with journal.jsonl), into a new journal.

    The same rows give the same file, whatever shards they come in. Run the campaign's command once more, without
    --shard, with --journal or --out naming what was made: it computes what is missing still, and the result.

    \b
    Example:
      faultsim campaign digits --shard 1/2 --out a      # on one machine
      faultsim campaign digits --shard 2/2 --out b      # on another
      faultsim merge a b -o whole
      faultsim campaign digits --out whole
    """  # noqa: D301  (click needs the bare backspace)
    from faultsim.errors import OptionError
    from faultsim.journal import merge

    paths = [shard / "journal.jsonl" if shard.is_dir() else shard for shard in shards]
    target = out
    if out.suffix == "" and not out.is_file():  # a folder, as --out of the campaign takes
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"--out {out}: cannot be made ({error.strerror}); give another name") from None
        target = out / "journal.jsonl"
    found = merge(paths, target)
    for note in found.notes:
        click.echo(f"note: {note}")
    twice = f", {found.duplicates:,} of them more than once" if found.duplicates else ""
    count = len(paths)
    click.echo(f"{found.path}: {found.rows:,} trials of {count} shard{'' if count == 1 else 's'}{twice}")
    click.echo("now run the campaign's command once more, without --shard, on this journal: it gives the result")
    return 0
