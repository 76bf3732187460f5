"""A scenario file with its includes → a `ScenarioSpec`, every problem at once. Nothing is looked up or expanded here.

A key of the including file wins; mappings merge key by key, lists are replaced whole.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from faultsim.errors import OptionError, SpecError
from faultsim.library import find_scenario, list_scenarios
from faultsim.scenario.requirement import read_requirement
from faultsim.specs.load import check
from faultsim.specs.scenario import ScenarioPart, ScenarioSpec
from faultsim.specs.yaml import Document, NodePath, Place, Problem, Tree, read, show_path

MOST_FILES = 20
Look = Callable[[Document], list[Problem]]
"""Finds what else is wrong in one file."""


class Written(NamedTuple):
    """A scenario as its files say it.

    Attributes:
        spec: All files merged.
        origins: The file and the place of every node, by path.
        name: What messages call the scenario's own file.
        files: Every file that was read, the scenario's own last.
    """

    spec: ScenarioSpec
    origins: Mapping[NodePath, tuple[str, Place]]
    name: str
    files: tuple[Path, ...]

    def place(self, path: NodePath) -> tuple[str, Place]:
        """Return the file and the place of a node, or of the nearest one around it."""
        return self.origins[next(path[:size] for size in range(len(path), -1, -1) if path[:size] in self.origins)]

    def refusal(self, problems: list[tuple[NodePath, str]]) -> SpecError:
        """Return the error that names every problem with the file and the place of its node."""
        lines = {}
        for path, message in problems:
            file, place = self.place(path)
            said = f"{show_path(path)}: {message}" if path else message
            lines[(file != self.name, file, place, said)] = f"{file}:{place.line}:{place.column}: {said}"
        return SpecError("\n".join(lines[key] for key in sorted(lines)))


@dataclass
class _Reading:
    """What a walk over includes gathers."""

    root: Path
    look: Look
    wrong: list[str] = field(default_factory=list)
    origins: dict[NodePath, tuple[str, Place]] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


def read_scenario(source: Path | str, *, folder: Path | None = None, look: Look | None = None) -> Written:
    """Return what a scenario file, or the text of one, says with its includes.

    An included file lies in the scenario's own folder, below it, or in the library of scenarios.

    Args:
        source: A `Path` to read, or the YAML text itself.
        folder: What includes of a text are relative to; the working directory by default.
        look: Finds what else is wrong in each file.

    Raises:
        SpecError: With every problem of every file, one a line.
    """
    document = read(source)
    path = source if isinstance(source, Path) else None
    root = (path.parent if path is not None else folder or Path()).resolve()
    reading = _Reading(root, look or (lambda _: []))
    chain = () if path is None else (path.resolve(),)
    below, problems = _includes(document, path.parent.resolve() if path is not None else root, chain, reading)
    problems += reading.look(document) + _requirements(document) + _empty(document)
    whole = not problems and not reading.wrong
    merged = document._replace(
        value=_merged(below, document.value) if isinstance(document.value, dict) else document.value,
        problems=(*document.problems, *problems),
    )
    try:
        spec = check(merged, ScenarioSpec if whole or below == {} else ScenarioPart)
    except SpecError as error:
        raise SpecError("\n".join([str(error), *reading.wrong])) from None
    if reading.wrong:
        raise SpecError("\n".join(reading.wrong))
    assert isinstance(spec, ScenarioSpec)  # whole: nothing was wrong
    _note(document, reading)
    files = (*reading.files, *([path] if path is not None else ()))
    return Written(spec, reading.origins, document.name, files)


def _includes(
    document: Document, folder: Path, chain: tuple[Path, ...], reading: _Reading
) -> tuple[dict[str, Tree], list[Problem]]:
    """Return what the includes of a document hold, merged, and what is wrong with naming them."""
    tree = document.value.get("include") if isinstance(document.value, dict) else None
    named: list[tuple[NodePath, Tree]] = [(("include",), tree)] if isinstance(tree, str) else []
    if isinstance(tree, list):
        named = [(("include", i), one) for i, one in enumerate(tree)]
    merged: dict[str, Tree] = {}
    problems: list[Problem] = []
    for at, one in named:
        if not isinstance(one, str) or not one:
            continue  # the type says so
        try:
            file = _file(one, folder, reading.root)
            if file in chain:
                circle = " → ".join(path.name for path in (*chain[chain.index(file) :], file))
                raise OptionError(f"includes itself: {circle}; leave one of them out")
            if len(reading.files) >= MOST_FILES:
                raise OptionError(f"more than {MOST_FILES} files are included; write them as fewer")
            merged = _merged(merged, _part(file, chain, reading))
        except (OptionError, SpecError) as error:
            if isinstance(error, OptionError):
                place = document.places[at]
                problems.append(Problem(place.line, place.column, show_path(at), str(error)))
            else:
                reading.wrong += str(error).splitlines()
    return merged, problems


def _part(file: Path, chain: tuple[Path, ...], reading: _Reading) -> dict[str, Tree]:
    reading.files.append(file)
    document = read(file, name=_shown(file))
    below, problems = _includes(document, file.parent, (*chain, file), reading)
    problems += reading.look(document) + _requirements(document) + _empty(document)
    check(document._replace(problems=(*document.problems, *problems)), ScenarioPart)
    _note(document, reading)
    tree = document.value if isinstance(document.value, dict) else {}
    own = {key: value for key, value in tree.items() if key not in ("include", "name", "aliases")}
    return _merged(below, own)


def _shown(file: Path) -> str:
    """Return a file as messages call it: from here where it lies below, else whole."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def _file(text: str, folder: Path, root: Path) -> Path:
    """Return the file that an include names.

    Raises:
        OptionError: If there is none, or it lies outside the scenario's folder and the library.
    """
    library = {find_scenario(name).resolve().parent for name in list_scenarios()}
    rule = "an included file lies in the scenario's own folder, below it, or in the library of scenarios"
    outside = False
    for place in (folder, *sorted(library)):
        try:
            file = (place / text).resolve()
            if not file.is_file():
                continue
        except (OSError, ValueError, RuntimeError):  # too long, a NUL byte, a loop of links
            continue
        if any(file.is_relative_to(allowed) for allowed in (root, *library)):
            return file
        outside = True
    why = "lies elsewhere" if outside else "no such file"
    raise OptionError(f"{text[:80]!r}: {why}; {rule}")


def _merged(below: Mapping[str, Tree], above: Mapping[str, Tree]) -> dict[str, Tree]:
    found = dict(below)
    for key, value in above.items():
        under = found.get(key)
        found[key] = _merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return found


def _note(document: Document, reading: _Reading) -> None:
    reading.origins |= {path: (document.name, place) for path, place in document.places.items()}


def _empty(document: Document) -> list[Problem]:
    """Return the keys with nothing behind them, where that is neither the key left out nor an empty value."""
    tree = document.value if isinstance(document.value, dict) else {}
    found: list[tuple[NodePath, str]] = []
    if "hardening" in tree and tree["hardening"] is None:
        found.append((("hardening",), "write 'hardening: {}' for the defaults, or leave it out for none"))
    for section, key, none in (("devices", "corners", "{}"), ("overrides", "require", "[]")):
        entries = tree.get(section)
        for i, one in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(one, dict) and key in one and one[key] is None:
                said = f"write '{key}: {none}' for none, or leave it out for the scenario's"
                found.append(((section, i, key), said))
    return [
        Problem(document.places[at].key_line, document.places[at].key_column, show_path(at), f"is empty; {said}")
        for at, said in found
        if at not in document.spoilt
    ]


def _requirements(document: Document) -> list[Problem]:
    """Return what is wrong with a file's requirements."""
    tree = document.value if isinstance(document.value, dict) else {}
    overrides = tree.get("overrides")
    lists: list[tuple[NodePath, Tree]] = [(("require",), tree.get("require"))]
    for i, one in enumerate(overrides if isinstance(overrides, list) else []):
        if isinstance(one, dict):
            lists.append((("overrides", i, "require"), one.get("require")))
    problems = []
    for at, texts in lists:
        for i, text in enumerate(texts if isinstance(texts, list) else []):
            path = (*at, i)
            if isinstance(text, str) and text and path not in document.spoilt:
                try:
                    read_requirement(text)
                except OptionError as error:
                    place = document.places[path]
                    problems.append(Problem(place.line, place.column, show_path(path), str(error)))
    return problems
