"""The one YAML loader: text → plain values with the place of every node. Types live beside.

What counts as YAML here: one document, YAML 1.2 core scalars (``1e-3`` is a number, ``on`` is a word), no
tags, keys that are words and occur once, finite numbers. Sizes are limited, so that a hostile file costs a
second at most.
"""

from pathlib import Path
from typing import NamedTuple

import yaml

from faultsim.errors import SpecError
from faultsim.specs.scalars import NotANumber, plain

MAX_BYTES = 1 << 20
MAX_NODES = 50_000
MAX_DEPTH = 40

Tree = None | bool | int | float | str | list["Tree"] | dict[str, "Tree"]
NodePath = tuple[str | int, ...]


class Place(NamedTuple):
    """Where a node lies, lines and columns from 1: its value, and the key it stands under (else the same)."""

    line: int
    column: int
    key_line: int
    key_column: int


class Problem(NamedTuple):
    """One thing that is wrong, and where; sorts by place."""

    line: int
    column: int
    path: str
    message: str


class Document(NamedTuple):
    """A YAML text as plain values, with the place of every node by its path.

    `problems` are those of the text itself. A node with a problem is ``None`` in `value`; of a key given
    twice the first counts.
    """

    name: str
    value: Tree
    places: dict[NodePath, Place]
    problems: tuple[Problem, ...]
    spoilt: frozenset[NodePath]


def show_path(path: NodePath) -> str:
    """Return a node's path as users read it.

    Examples:
        >>> show_path(("mechanisms", 1, "model"))
        'mechanisms[1].model'
    """
    return "".join(f"[{item}]" if isinstance(item, int) else f".{_word(item)}" for item in path).removeprefix(".")


def refusal(name: str, problems: list[Problem]) -> SpecError:
    """Return the error that names every problem, one a line, in the order of the file."""
    ordered = sorted(set(problems))
    return SpecError(
        "\n".join(f"{name}:{p.line}:{p.column}: {p.path + ': ' if p.path else ''}{p.message}" for p in ordered)
    )


def read_source(source: Path | str | bytes, name: str | None) -> tuple[str, str]:
    """Return the shown name and the text of *source*: a `Path` is opened, the rest is the YAML itself.

    Raises:
        SpecError: If the file cannot be read, is larger than `MAX_BYTES` or is not UTF-8.
    """
    shown = name if name is not None else str(source) if isinstance(source, Path) else "<text>"
    if isinstance(source, Path):
        try:
            with source.open("rb") as file:
                source = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SpecError(f"{shown}: cannot be read: {reason}; give a readable YAML file") from error
    size = len(source)
    if size > MAX_BYTES:
        raise SpecError(f"{shown}: {size:,} bytes or more, at most {MAX_BYTES:,} are allowed")
    if isinstance(source, str):
        return shown, source.removeprefix("\ufeff")
    try:
        return shown, source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise SpecError(f"{shown}:{line}:1: not UTF-8 text (byte {error.start}); save the file as UTF-8") from error


def read(source: Path | str | bytes, *, name: str | None = None) -> Document:
    """Return the one document of a YAML text with the place of every node.

    The result may hold problems (a key given twice, a tag, a number that is not finite): a caller that wants
    values only raises `refusal`; `load` first adds what the types say, so that the user sees all at once.

    Args:
        source: A `Path` to read, or the text itself as ``str`` or UTF-8 ``bytes``.
        name: What messages call it; the path by default, ``<text>`` for a text.

    Raises:
        SpecError: If the text cannot be read or is not YAML, or is too large, too deep or expands to too
            much.
    """
    shown, text = read_source(source, name)
    composer: _Composer | None = None
    try:
        composer = _Composer(text)
        root = composer.get_single_node()
    except _RefusedError as error:
        raise refusal(shown, [error.problem]) from None
    except yaml.reader.ReaderError as error:
        raise refusal(shown, [_unprintable(text, error)]) from error
    except yaml.MarkedYAMLError as error:
        raise refusal(shown, [_syntax(error)]) from error
    except (
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:  # PyYAML on "\UFFFFFFFF", "%YAML <5000 digits>"
        line = composer.line + 1 if composer is not None else 1
        message = "not valid YAML: an escape or a directive that stands for no character or version; remove it"
        raise refusal(shown, [Problem(line, 1, "", message)]) from error
    builder = _Builder(composer.tags)
    try:
        value = builder.build(root, ()) if root is not None else None
    except _RefusedError as error:
        raise refusal(shown, [error.problem]) from None
    if root is None:
        builder.places[()] = Place(1, 1, 1, 1)
    return Document(shown, value, builder.places, tuple(builder.problems), frozenset(builder.spoilt))


class _RefusedError(Exception):
    def __init__(self, mark: yaml.Mark, path: NodePath, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(mark.line + 1, mark.column + 1, show_path(path), message)


class _Composer(yaml.SafeLoader):
    """PyYAML's composer with limits; tags are noted and never resolved."""

    def __init__(self, text: str) -> None:
        self.tags: dict[int, str] = {}
        self._depth = 0
        self._count = 0
        super().__init__(text)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH:
            raise _RefusedError(event.start_mark, (), f"nested more than {MAX_DEPTH} levels deep; write it flatter")
        if self._count > MAX_NODES:
            raise _RefusedError(event.start_mark, (), f"more than {MAX_NODES:,} values; split the file")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and not isinstance(event, yaml.AliasEvent) and event.tag is not None:
            self.tags[id(node)] = event.tag
        return node


class _Builder:
    """Nodes → plain values, places and problems; stops an alias bomb by counting what it expands to."""

    def __init__(self, tags: dict[int, str]) -> None:
        self.places: dict[NodePath, Place] = {}
        self.problems: list[Problem] = []
        self.spoilt: set[NodePath] = set()
        self._tags = tags
        self._count = 0

    def build(self, node: yaml.Node, path: NodePath, key: yaml.Node | None = None) -> Tree:
        mark, key_mark = node.start_mark, (key or node).start_mark
        self.places[path] = Place(mark.line + 1, mark.column + 1, key_mark.line + 1, key_mark.column + 1)
        self._count += 1
        if self._count > MAX_NODES:
            raise _RefusedError(key_mark, path, f"aliases expand to more than {MAX_NODES:,} values; write them out")
        if len(path) > MAX_DEPTH:
            raise _RefusedError(key_mark, path, f"aliases nest more than {MAX_DEPTH} levels deep; write them out")
        if id(node) in self._tags:
            tag = _clip(self._tags[id(node)], 40)
            return self._spoil(mark, path, f"tag {tag!r} is not allowed, nothing here is tagged; remove it")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*path, position)) for position, child in enumerate(node.value)]
        return self._scalar(node, path) if isinstance(node, yaml.ScalarNode) else None

    def _mapping(self, node: yaml.MappingNode, path: NodePath) -> dict[str, Tree]:
        built: dict[str, Tree] = {}
        lines: dict[str, int] = {}
        for key, child in node.value:
            word = key.value if isinstance(key, yaml.ScalarNode) else None
            if word is None or id(key) in self._tags or (not key.style and not isinstance(plain(word), str)):
                shown = f" {_clip(str(word), 40)!r}" if word is not None else ""
                self._note(key.start_mark, path, f"the key{shown} is not a word; put it in quotes or rename it")
            elif word in built:
                message = f"given twice, first in line {lines[word]}; remove one of the two"
                self._note(key.start_mark, (*path, word), message)
            else:
                lines[word] = key.start_mark.line + 1
                built[word] = None
                built[word] = self.build(child, (*path, word), key)
        return built

    def _scalar(self, node: yaml.ScalarNode, path: NodePath) -> Tree:
        text: str = node.value
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            return self._spoil(node.start_mark, path, "holds half of a surrogate pair; write the whole character")
        if node.style:
            return text
        value = plain(text)
        if isinstance(value, NotANumber):
            return self._spoil(node.start_mark, path, f"must be a finite number, got {_clip(text, 40)}")
        return value

    def _spoil(self, mark: yaml.Mark, path: NodePath, message: str) -> Tree:
        self._note(mark, path, message)
        self.spoilt.add(path)
        return None

    def _note(self, mark: yaml.Mark, path: NodePath, message: str) -> None:
        self.problems.append(Problem(mark.line + 1, mark.column + 1, show_path(path), message))


def _word(key: str) -> str:
    return _clip(key, 60) if key and key.isprintable() else repr(_clip(key, 60))


def _clip(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: size - 3]}..."


def _unprintable(text: str, error: yaml.reader.ReaderError) -> Problem:
    before = text[: error.position]
    column = error.position - (before.rfind("\n") + 1) + 1
    return Problem(
        before.count("\n") + 1,
        column,
        "",
        f"holds the character U+{ord(text[error.position]):04X}, which YAML forbids",
    )


def _syntax(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    reason = " ".join((error.problem or error.context or "no YAML").split())
    remedy = "; indent with spaces" if r"'\t'" in reason else ""
    return Problem(line, column, "", f"not valid YAML: {_clip(reason, 120)}{remedy}")
