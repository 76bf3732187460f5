"""Reference pages made from the program: a hook of mkdocs that fills ``<!-- generated: NAME -->``. No prose lives here.

The command line comes from click's own parameters, the schemas from the types that files are read with, the Python
names from `faultsim.__init__`, so that none of them can fall behind. `GENERATORS` has one function a name, each of
which returns Markdown; they need faultsim and nothing of mkdocs.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import click

import faultsim
from faultsim.cli import cli as root
from faultsim.results import result_schema
from faultsim.specs.device import DeviceSpec
from faultsim.specs.scenario import ScenarioSpec

_MARKER = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+([^)#]+)(?:#[^)]*)?\)")
Schema = dict[str, Any]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill the markers of a page; links into the repository, which the site lacks, become the names of files."""
    depth = page.file.src_uri.count("/")
    return _MARKER.sub(lambda found: GENERATORS[found[1]](), _without_outside(markdown, depth))


def _without_outside(markdown: str, depth: int) -> str:
    def replace(found: re.Match[str]) -> str:
        climbs = found[0].split("](", 1)[1].count("../")
        return found[0] if climbs <= depth else f"{found[1]} (`{found[2]}` in the repository)"

    return _OUTSIDE.sub(replace, markdown)


def python_api() -> str:
    """Return a directive of mkdocstrings for each public name: functions first, then types."""
    names = sorted(faultsim.__all__, key=lambda name: (name[0].isupper(), name))
    return "\n\n".join(f"## `faultsim.{name}`\n\n::: {faultsim._NAMES[name]}.{name}" for name in names)


def command_line() -> str:
    """Return every command with its usage, its text and its options."""
    return "\n\n".join(_command(path, command) for path, command in commands())


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command of faultsim and its sub-commands, by its words such as ``devices show``."""
    context = click.Context(root, info_name="faultsim")
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", one) for inner, one in command.commands.items())


def _command(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"faultsim {path}", max_content_width=100)
    usage = " ".join(command.get_usage(context).removeprefix("Usage:").split())
    text = inspect.cleandoc(command.help or "").replace("\b\n", "```\n")
    paragraphs = [f"{p}\n```" if p.startswith("```") else p for p in re.split(r"\n\s*\n", text) if p.strip()]
    lines = [f"## {path}", f"```\n{usage}\n```", *paragraphs]
    rows = [record for one in command.get_params(context) if (record := one.get_help_record(context)) is not None]
    rows = [(name, told) for name, told in rows if told]
    table = [f"| `{_cell(name)}` | {_cell(told)} |" for name, told in rows]
    return "\n\n".join([*lines, "\n".join(["| option | |", "|---|---|", *table])])


def device_schema() -> str:
    """Return the keys of a device profile: the file, then every type that it uses."""
    return _schema(DeviceSpec.model_json_schema())


def scenario_schema() -> str:
    """Return the keys of a scenario file."""
    return _schema(ScenarioSpec.model_json_schema())


def result_fields() -> str:
    """Return the fields of ``result.json``."""
    return _schema(result_schema())


def _schema(schema: Schema) -> str:
    defs = schema.get("$defs", {})
    quantities = {name: part for name, part in defs.items() if name.startswith("Quantity")}
    parts = [_table(schema["title"], schema, quantities)]
    for name, part in sorted(defs.items()):
        if name in quantities:
            continue
        if "properties" in part:
            parts.append(_table(name, part, quantities))
        elif "enum" in part:
            parts.append(f"## {name}\n\none of {', '.join(f'`{value}`' for value in part['enum'])}")
    return "\n\n".join(parts)


def _table(name: str, part: Schema, quantities: Schema) -> str:
    required = set(part.get("required", ()))
    rows = [
        f"| `{key}`{'' if key in required else ' (optional)'} | {_type(value, quantities)} | {_cell(_said(value))} |"
        for key, value in part.get("properties", {}).items()
    ]
    text = _cell(part.get("description", "").split("\n\n")[0])
    return "\n\n".join([f"## {name}", text, "\n".join(["| key | type | |", "|---|---|---|", *rows])])


def _said(value: Schema) -> str:
    told = value.get("description", "").replace("\n", " ")
    default = value.get("default")
    return (
        told
        if default in (None, "") or isinstance(default, dict | list)
        else f"{told} Default: `{json.dumps(default)}`.".strip()
    )


def _type(value: Schema, quantities: Schema) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return _quantity(quantities[name], quantities) if name in quantities else f"[`{name}`](#{name.lower()})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in value:
            return " or ".join(dict.fromkeys(_type(one, quantities) for one in value[key]))
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return ", ".join(f"`{json.dumps(one)}`" for one in value["enum"])
    kind = value.get("type", "any")
    if kind == "array":
        inner = value.get("items") or {"anyOf": value.get("prefixItems", [{}])}
        return f"list of {_type(inner, quantities)}"
    if kind == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"mapping to {_type(value['additionalProperties'], quantities)}"
    return str(kind) + _range(value)


def _quantity(part: Schema, quantities: Schema) -> str:
    value, unit = (_type(part["properties"][key], quantities) for key in ("value", "unit"))
    return f"number with source: {value}, in {unit}"


def _range(value: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return "".join(f" {sign} {value[key]}" for key, sign in signs.items() if key in value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


GENERATORS: dict[str, Callable[[], str]] = {
    "python": python_api,
    "cli": command_line,
    "device-schema": device_schema,
    "scenario-schema": scenario_schema,
    "result-schema": result_fields,
}
