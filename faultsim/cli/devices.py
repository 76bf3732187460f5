"""``faultsim devices``: the library, one profile, the check of a file, the schema. The profiles live in `devices/`."""

import json
import shutil
from pathlib import Path

import click


class _Devices(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise click.UsageError(
                f"no command {args[0]!r}; there are: {', '.join(self.commands)}; a profile is shown by "
                f"'faultsim devices show {args[0]}'",
                ctx,
            )
        return super().resolve_command(ctx, args)


@click.group("devices", cls=_Devices, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the device library; show NAME, check FILE or print the JSON Schema."""
    if ctx.invoked_subcommand is not None:
        return
    from faultsim.device import load_device
    from faultsim.library import list_devices

    for name in list_devices():
        click.echo(f"{name:<20} {load_device(name).spec.title}")


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Show what a profile is, what it is not, and its mechanisms."""
    from faultsim.device import load_device

    device = load_device(name)
    missing = {one.id: one.reason for one in device.not_simulated()}
    click.echo(f"{device.name}: {device.spec.title}\n")
    click.echo(_wrapped(f"{device.summary} {device.spec.is_not}"))
    click.echo("\nMechanisms:")
    for one in device.spec.mechanisms:
        state = f"left out: {missing[one.id]}" if one.id in missing else "simulated"
        click.echo(_wrapped(f"{one.id:<22} {one.model:<22} {state}", indent="  "))
    click.echo("\nSimplified:")
    for text in device.approximations() or ("nothing",):
        click.echo(_wrapped(text, indent="  "))
    click.echo("\nSources:")
    for key, source in device.spec.sources.items():
        click.echo(_wrapped(f"{key}: {source.cite} (read: {source.read})", indent="  "))


def _wrapped(text: str, *, indent: str = "") -> str:
    width = min(max(shutil.get_terminal_size().columns, 60), 100)
    return click.wrap_text(text, width, indent, f"{indent}    " if indent else "")


@command.command("check")
@click.argument("file", type=click.Path())
def check(file: str) -> None:
    """Check a profile: every problem at once, with line and column."""
    from faultsim.device import load_device

    device = load_device(Path(file))
    click.echo(f"{file}: a valid profile of {device.name}")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of device profiles, for editors."""
    from faultsim.specs.device import device_schema

    click.echo(json.dumps(device_schema(), indent=2))
