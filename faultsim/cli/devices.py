"""``faultsim devices``: the library, one profile, the check of a file, the schema. The profiles live in `devices/`."""

import json

import click


@click.group("devices", invoke_without_command=True)
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
    click.echo(f"{device.name}: {device.spec.title}\n\n{device.summary}\n{device.spec.is_not}\n")
    for mechanism in device.spec.mechanisms:
        click.echo(f"  {mechanism.id:<22} {mechanism.model:<22} {'on' if mechanism.enabled else 'off'}")
    for missing in device.not_simulated():
        click.echo(f"  not simulated: {missing.id} ({missing.reason})")
    click.echo("\nSources:")
    for key, source in device.spec.sources.items():
        click.echo(f"  {key}: {source.cite} (read: {source.read})")


@command.command("check")
@click.argument("file", type=click.Path())
def check(file: str) -> None:
    """Check a profile: every problem at once, with line and column."""
    from faultsim.device import load_device

    device = load_device(file)
    click.echo(f"{file}: a valid profile of {device.name}")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of device profiles, for editors."""
    from faultsim.specs.device import device_schema

    click.echo(json.dumps(device_schema(), indent=2))
