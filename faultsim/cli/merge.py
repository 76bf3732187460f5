"""``faultsim merge``: the shards of one campaign as one journal. How rows are united lives in `faultsim.journal`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from faultsim.cli.files import PLACE


@click.command("merge")
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", "-o", required=True, type=PLACE,
              help="The new journal, a name that ends in .jsonl; any other name is a folder for it.")  # fmt: skip
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
    from faultsim.journal import merge
    from faultsim.report.words import wrapped

    given = [shard / "journal.jsonl" if shard.is_dir() else shard for shard in shards]
    paths = list({os.path.realpath(path): path for path in given}.values())  # one given twice is one
    if out.is_file() or (out.suffix == ".jsonl" and not out.is_dir()):
        found = merge(paths, out)
    else:  # a folder, as --out of the campaign takes
        with _folder(out):
            found = merge(paths, out / "journal.jsonl")
    for note in found.notes:
        click.echo(f"note: {note}")
    twice = f", {found.duplicates:,} of them more than once" if found.duplicates else ""
    click.echo(f"{found.path}: {found.rows:,} trials of {len(paths)} shard{'' if len(paths) == 1 else 's'}{twice}")
    for line in wrapped("now run the campaign's command once more, without --shard, on this journal: it gives the "
                        "result", "  "):  # fmt: skip
        click.echo(line)
    return 0


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """Make a folder, with those it lies in; what was made goes again where the block fails.

    Raises:
        OptionError: If it cannot be made.
    """
    from faultsim.errors import OptionError

    made: list[Path] = []
    try:
        try:
            made = [one for one in (out, *out.parents) if not one.exists()]
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"--out {out}: cannot be made ({error.strerror}); give another name") from None
        yield
    except BaseException:
        for one in made:  # the innermost first
            with suppress(OSError):
                one.rmdir()
        raise
