"""``faultsim scenarios``: the library, one scenario, the check of a file, the schema. Nothing is run here."""

import json
import shutil

import click

from faultsim.cli.files import name_or_file


class _Scenarios(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise click.UsageError(
                f"no command {args[0]!r}; there are: {', '.join(self.commands)}; a scenario is shown by "
                f"'faultsim scenarios show {args[0]}' and run by 'faultsim run {args[0]}'",
                ctx,
            )
        return super().resolve_command(ctx, args)


@click.group("scenarios", cls=_Scenarios, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the scenario library; show NAME, check FILE or print the JSON Schema."""
    if ctx.invoked_subcommand is not None:
        return
    from faultsim.library import list_scenarios
    from faultsim.scenario import Scenario

    for name in list_scenarios():
        found = Scenario.load(name)
        cases = f"{len(found.cases)} case{'' if len(found.cases) == 1 else 's'}"
        click.echo(f"{name:<24} {found.spec.title or '':<44} {cases:>9}".rstrip())
    click.echo()
    click.echo(_wrapped("'faultsim run NAME --model FILE' runs one on a model of yours."))
    click.echo(_wrapped("'faultsim scenarios show NAME' explains it."))


@command.command("show", short_help="Explain a scenario: its cases and requirements.")
@click.argument("name")
@click.option("--text", is_flag=True, help="The file itself, to start an own scenario from.")
def show(name: str, text: bool) -> None:
    """Explain a scenario: what it is and is not, its cases and requirements."""
    from faultsim.library import find_scenario
    from faultsim.scenario import Scenario

    path = find_scenario(name)
    found = Scenario.load(path)
    if text:
        click.echo(path.read_text(encoding="utf-8").rstrip("\n"))
        return
    spec = found.spec
    click.echo(f"{spec.name}: {spec.title or 'no title'}\n")
    said = " ".join(part for part in (spec.summary, spec.is_not) if part)
    if said:
        click.echo(f"{_wrapped(said)}\n")
    click.echo("Cases:")
    for case in found.cases:
        points = ", ".join(f"{key} {value}" for key, value in case.conditions.items())
        trials = f"{case.options.trials} chips"
        click.echo(_wrapped(f"{case.name:<36}  {', '.join(part for part in (trials, points) if part)}", indent="  "))
    click.echo("\nRequirements:")
    for text_, names in _requirements(found.cases).items():
        whose = "" if len(names) == len(found.cases) else f"  ({', '.join(names)})"
        click.echo(_wrapped(f"{text_}{whose}", indent="  "))
    click.echo(f"\nfile: {path}")


def _requirements(cases: tuple[object, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for case in cases:
        for one in case.asked:  # type: ignore[attr-defined]  # a Case; its module is not imported at the top
            found.setdefault(one.text, []).append(case.name)  # type: ignore[attr-defined]
    return found or {"none": []}


def _wrapped(text: str, *, indent: str = "") -> str:
    width = min(max(shutil.get_terminal_size().columns, 60), 100)
    return click.wrap_text(text, width, indent, f"{indent}    " if indent else "")


@command.command("check")
@click.argument("file", type=click.Path())
@click.option("--allow-code", is_flag=True, help="Take module:function for data and tasks.")
def check(file: str, allow_code: bool) -> None:
    """Check a scenario: every problem at once, with line and column."""
    from faultsim.scenario import Scenario

    found = Scenario.load(name_or_file(file), allow_code=allow_code)
    click.echo(f"{file}: a valid scenario, {len(found.cases)} case{'' if len(found.cases) == 1 else 's'}")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from faultsim.specs.scenario import scenario_schema

    click.echo(json.dumps(scenario_schema(), indent=2))
