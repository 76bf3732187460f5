"""The pages: links lead somewhere, commands exist with their options, examples of Python and YAML are what they say.

Needs no docs tool: `make docs` builds the site strictly, this holds what a reader copies.
"""

import ast
import importlib.util
import re
import shlex
import sys
import unicodedata
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pytest
import yaml
from click.types import FloatParamType, IntParamType
from scipy import stats

import faultsim
from faultsim.cli import cli
from faultsim.corruption import Site, Stored
from faultsim.device import load_device
from faultsim.faults import FAULTS
from faultsim.formats import IntFormat
from faultsim.specs.device import DeviceSpec
from faultsim.specs.load import load
from faultsim.specs.scenario import ScenarioSpec

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READ = [ROOT / "README.md", ROOT / "scenarios" / "README.md", ROOT / "devices" / "README.md", *PAGES]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^|\n)\n((?: {4}[^\n]*\n)+)")
IDS = [str(path.relative_to(ROOT)) for path in READ]
each_page = pytest.mark.parametrize("path", READ, ids=IDS)

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the pages are not here")


class Block(NamedTuple):
    """A fenced block, its lines without their indentation."""

    language: str
    text: str


def blocks(text: str) -> list[Block]:
    found = FENCE.findall(text)
    return [Block(language, re.sub(f"^{indent}", "", body, flags=re.MULTILINE)) for indent, language, body in found]


def prose(path: Path) -> str:
    """The page without its code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", path.read_text()))


def anchors(path: Path) -> set[str]:
    """What the headings of a page are called: the rule of Python-Markdown, which numbers repeated ones."""
    found: list[str] = []
    for title in re.findall(r"^#+ +(.*)$", FENCE.sub("", path.read_text()), re.MULTILINE):
        plain = unicodedata.normalize("NFKD", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title.replace("`", "")))
        word = re.sub(r"[^\w\s-]", "", plain.encode("ascii", "ignore").decode()).strip().lower()
        slug = re.sub(r"[-\s]+", "-", word)
        found.append(slug if slug not in found else f"{slug}_{found.count(slug)}")
    return set(found)


@each_page
def test_links_lead_to_files_and_headings(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        goal = (path.parent / name).resolve() if name else path
        assert goal.exists(), f"{path.name} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(goal), f"{path.name} links to {target}, which has no such heading"


def shown_commands(text: str) -> list[str]:
    """Every ``faultsim …`` of a page: lines of blocks, their continuations joined, and inline code."""
    code = [block.text for block in blocks(text) if block.language not in ("python", "yaml", "json", "xml")]
    outside = FENCE.sub("", text)
    code += [re.sub("^ {4}", "", body, flags=re.MULTILINE) for body in INDENTED.findall(outside)]
    code += re.findall(r"`([^`\n]+)`", outside)
    lines = [line.strip() for body in code for line in re.sub(r"\\\n\s*", "", body).splitlines()]
    start = re.compile(r"(?:\$ |next\s+|-? ?run: |\d* *)?(?:\.venv/bin/)?faultsim ((?:[a-z]|-).*)")
    return [found[1] for line in lines if (found := start.fullmatch(line))]


def check_command(line: str) -> None:
    """Parse a command as click would, without running it; an ``…`` stands for anything.

    Raises:
        click.UsageError: If a command or an option does not exist, or a number is none.
    """
    line = re.split(r"\s{2,}(?=[A-Za-z])", line)[0]  # a remark after two blanks, as tables of text have them
    words = [word for word in shlex.split(line, comments=True) if word not in ("…", "...")]
    stop = next((i for i, word in enumerate(words) if word in ("|", ">", ">>", "&&", ";", "||")), len(words))
    words, command = words[:stop], cli
    context = click.Context(command, info_name="faultsim")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(context, words[0])
        if inner is None:
            raise click.UsageError(f"no command {words[0]!r}")
        command, words = inner, words[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    if words in (["--help"], ["-h"], ["--version"]):
        return
    given, left, _ = command.make_parser(context).parse_args(list(words))
    if left and not isinstance(command, click.Group):
        raise click.UsageError(f"{' '.join(left)!r} is one argument too many")
    for parameter in command.get_params(context):
        value = given.get(parameter.name or "")
        if isinstance(value, str) and isinstance(parameter.type, click.Choice | IntParamType | FloatParamType):
            parameter.type.convert(value, parameter, context)


@each_page
def test_commands_exist_with_their_options(path: Path) -> None:
    for line in shown_commands(path.read_text()):
        try:
            check_command(line)
        except (click.UsageError, ValueError) as error:
            message = error.message if isinstance(error, click.UsageError) else str(error)
            pytest.fail(f"{path.name} shows 'faultsim {line}': {message}")


def test_commands_are_found_and_wrong_ones_refused() -> None:
    assert len([line for path in READ for line in shown_commands(path.read_text())]) > 60
    for wrong in ("asses x", "assess x --devise reram", "assess x --trials many", "devices shw sram", "init a b"):
        with pytest.raises(click.UsageError):
            check_command(wrong)
    check_command("assess … --out DIR            the result of that")
    check_command("report out --markdown - --check >> $GITHUB_STEP_SUMMARY")


@each_page
def test_python_blocks_compile(path: Path) -> None:
    for block in blocks(path.read_text()):
        if block.language == "python" and ">>>" not in block.text:
            tree = ast.parse(block.text, f"{path.name}, a block of Python")
            for node in ast.walk(tree):
                assert_imports(node, path)


def assert_imports(node: ast.AST, path: Path) -> None:
    """What a block takes from faultsim is there; modules that the page itself makes are not asked for."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "faultsim":
        module = importlib.import_module(node.module or "")
        for name in node.names:
            assert hasattr(module, name.name), f"{path.name} imports {name.name} from {node.module}"
    named = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "faultsim"
    if named and node.attr not in dir(faultsim):
        assert importlib.util.find_spec(f"faultsim.{node.attr}"), f"{path.name} uses faultsim.{node.attr}"


@each_page
def test_yaml_blocks_are_what_they_say(path: Path, tmp_path: Path) -> None:
    for number, block in enumerate(one for one in blocks(path.read_text()) if one.language in ("yaml", "yml")):
        found = yaml.safe_load(block.text)
        file = tmp_path / f"{number}.yaml"
        file.write_text(block.text)
        if "faultsim_device" in found:
            load(file, DeviceSpec)
        elif "faultsim_scenario" in found and "include" not in found:
            load(file, ScenarioSpec)


def page_block(name: str, start: str) -> str:
    return next(block.text for block in blocks((DOCS / name).read_text()) if block.text.startswith(start))


def test_the_profile_of_the_how_to_runs(tmp_path: Path) -> None:
    path = tmp_path / "my_chip.yaml"
    path.write_text(page_block("howto/device.md", "faultsim_device"))
    quick = faultsim.Options(trials=2, limit=40, search_gradients=1, site_trials=0, threads=1)
    result = faultsim.assess("digits_int8", load_device(path), options=quick)
    assert result.device.name == "my_sram"
    assert [budget.mechanism for budget in result.budget] == ["weak_cells"] * len(result.budget)


def test_the_metric_of_the_how_to_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pair_metric.py").write_text(page_block("howto/metric.md", "# pair_metric.py"))
    monkeypatch.chdir(tmp_path)
    quick = faultsim.Options(trials=2, limit=40, search_gradients=1, site_trials=0, threads=1, task="pair_metric:score")
    try:
        result = faultsim.assess("digits", "reram", options=quick)
    finally:
        sys.modules.pop("pair_metric", None)
    assert result.clean.accuracy is not None
    assert result.clean.accuracy > 0.9
    assert result.worst_case.accuracy is not None


def test_the_law_of_the_how_to_is_a_law() -> None:
    scope: dict[str, object] = {"__name__": "top_bit_flip"}
    try:
        exec(page_block("howto/law.md", "# faultsim/faults/top_bit_flip.py"), scope)
        law = FAULTS["top_bit_flip"](p=0.05)
    finally:
        FAULTS.pop("top_bit_flip", None)
    fmt = IntFormat(8, scale=1 / 127)
    site = Site(name="w", shape=(40, 50), format=fmt, layer="fc", kind="gemm", role="weight", depth=0)
    held = Stored(site, fmt, fmt.decode(fmt.encode(np.random.default_rng(0).uniform(-1, 1, (40, 50)))))
    edits = [law.sample(held, np.random.default_rng(seed)) for seed in range(200)]
    counts = np.array([edit.indices.size for edit in edits])
    assert all((edit.masks == 128).all() for edit in edits)
    assert abs(counts.mean() - 100) < 4 * np.sqrt(2000 * 0.05 * 0.95 / 200)
    bound = law.budget(held, p=2, confidence=0.99)
    assert bound.n == stats.binom.ppf(0.99, 2000, 0.05)
    step = 128 / 127
    assert bound.eps == pytest.approx(np.sqrt(bound.n) * step, rel=0.02)
    assert np.mean((counts <= bound.n) & (np.sqrt(counts) * step <= bound.eps)) >= 0.95


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_marker_is_made_by_something_and_everything_made_is_shown(generate) -> None:
    shown = [name for path in PAGES for name in re.findall(r"^<!-- generated: (\S+) -->$", path.read_text(), re.M)]
    assert sorted(shown) == sorted(generate.GENERATORS)


def test_the_reference_has_every_command_option_name_and_key(generate) -> None:
    text = generate.command_line()
    for path, command in generate.commands():
        part = text.split(f"\n## {path}\n" if f"\n## {path}\n" in text else f"## {path}\n")[1]
        part = part.partition("\n## ")[0]
        for option in (one for one in command.params if isinstance(one, click.Option) and not one.hidden):
            assert max(option.opts, key=len) in part, (path, option.opts)
    for name in faultsim.__all__:
        assert f"## `faultsim.{name}`" in generate.python_api()
    for key in ("| `mechanisms` |", "## BitErrorRateParams", 'in `"BER"`'):
        assert key in generate.device_schema()
    for key in ScenarioSpec.model_fields:
        assert f"| `{key}`" in generate.scenario_schema()
    assert "| `worst_case`" in generate.result_fields()


def test_the_navigation_has_every_page_and_no_other() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    named = re.findall(r": ([\w/]+\.md)$", text, re.MULTILINE)
    pages = sorted(path.relative_to(DOCS).as_posix() for path in PAGES)
    assert sorted(named) == pages, "put each page into nav of mkdocs.yml"


def test_every_option_is_named_on_a_page(generate):
    """In words, beside the reference that is made from the program: what for, and where it matters."""
    said = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", "\n".join(path.read_text() for path in READ)))
    unnamed = {
        f"{path} {one.opts[-1]}"
        for path, command in generate.commands()
        for one in command.params
        if isinstance(one, click.Option) and not {*one.opts, *one.secondary_opts} & (said | {"--help"})
    }
    assert unnamed == set()
    assert "faultsim.load_data" in (DOCS / "reference" / "python.md").read_text()
