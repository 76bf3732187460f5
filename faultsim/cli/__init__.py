"""The command line: one file a verb, loaded when it is called, so that ``faultsim --help`` answers at once."""

import importlib
import sys
import traceback
from typing import Any

import click

from faultsim.errors import FaultsimError

_COMMANDS = {
    "assess": (
        "faultsim.cli.assess",
        "Random hardware noise against the worst case, for one model on one chip.",
    ),
    "campaign": (
        "faultsim.cli.campaign",
        "Flip stored bits drawn at random, and estimate how often an answer changes.",
    ),
    "merge": ("faultsim.cli.merge", "Unite the shards of a campaign."),
    "bitmap": ("faultsim.cli.bitmap", "Which stored bits matter: the share of answers that each flip changes."),
    "attack": (
        "faultsim.cli.attack",
        "The worst corruption, flipped bits or stuck cells: found, and proven where it can be.",
    ),
    "probe": ("faultsim.cli.probe", "Which kinds of layer and which layers are fragile, and to what."),
    "sweep": ("faultsim.cli.sweep", "The same chips over voltage, time, flux, exposure or temperature."),
    "replay": ("faultsim.cli.replay", "One chip of a result again, as a faulty model file."),
    "harden": ("faultsim.cli.harden", "Train a model against a chip; the same graph, before and after."),
    "report": ("faultsim.cli.report", "A result as one HTML page, as figures, JUnit XML or Markdown."),
    "compare": ("faultsim.cli.compare", "Two results: is the second better or worse, and may that be claimed?"),
    "run": ("faultsim.cli.run", "A scenario: models, devices and corners with requirements, a verdict for each."),
    "scenarios": ("faultsim.cli.scenarios", "List the scenario library, show or check a scenario."),
    "init": ("faultsim.cli.init", "Write a scenario to start from, for a model of yours."),
    "doctor": ("faultsim.cli.doctor", "What is installed, what is missing, and shell completion."),
    "devices": ("faultsim.cli.devices", "List the device library, show or check a profile."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from faultsim.library import closest

        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = closest(args[0], _COMMANDS)
            hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(_COMMANDS)}"
            raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if not value:
        return
    from importlib import metadata

    try:
        click.echo(f"faultsim {metadata.version('faultsim-nn')}")
    except metadata.PackageNotFoundError:
        click.echo("faultsim (not installed as a package)")
    ctx.exit()


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
def cli() -> None:
    """Will this network still work on the chip it ships on?

    faultsim takes a deployed ONNX model and a device profile, and compares random hardware noise with the worst
    case that gradients find under the same physical budget.
    """


def main(argv: list[str] | None = None) -> Any:
    """Run the command line; exit with 0, 1 (requirement missed), 2 (bad input), 70 (a bug) or 130 (interrupted)."""
    try:
        code = cli.main(args=argv, prog_name="faultsim", standalone_mode=False)
    except FaultsimError as error:
        from faultsim.report.words import plain

        said = [str(error), *getattr(error, "__notes__", ())]
        # names in files of others cannot steer the terminal
        click.echo("faultsim: " + "\n".join(plain(line) for line in "\n".join(said).split("\n")), err=True)
        sys.exit(2)
    except click.Abort:
        click.echo("faultsim: interrupted; nothing was computed yet", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except SystemExit as stop:  # click ends with 1 where the reader closed the pipe: no requirement is missed by that
        sys.exit(0 if stop.code == 1 else 2)
    except Exception:  # a bug of ours: never exit with 1, which says that a requirement is missed
        traceback.print_exc()
        click.echo("faultsim: this is a bug of faultsim; please report it with the lines above", err=True)
        sys.exit(70)
    sys.exit(code if isinstance(code, int) else 0)
