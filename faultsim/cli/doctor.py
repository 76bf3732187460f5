"""``faultsim doctor``: versions, threads, GPU, memory, the library, what is missing, shell completion."""

import importlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import click

from faultsim.processors import processors

_DISTRIBUTION = "faultsim-nn"
_MODULES = {"pyyaml": "yaml", "pillow": "PIL", "scikit-learn": "sklearn"}
_EXTRAS = {
    "sacrebleu": ("BLEU of translations", "pip install sacrebleu"),
    "pandas": ("results as data frames", "pip install pandas"),
    "ray": ("campaigns on more than one machine", "pip install ray"),
}
_COMPLETION = {
    "bash": 'eval "$(_FAULTSIM_COMPLETE=bash_source faultsim)"    # in ~/.bashrc',
    "zsh": 'eval "$(_FAULTSIM_COMPLETE=zsh_source faultsim)"     # in ~/.zshrc',
    "fish": "_FAULTSIM_COMPLETE=fish_source faultsim | source    # in ~/.config/fish/completions/faultsim.fish",
}
_LABEL = 14


class Finding(NamedTuple):
    """One line of the report.

    Attributes:
        label: What it is about.
        text: What was found.
        remedy: What to do where something is wrong; empty where nothing is.
        broken: Whether faultsim cannot work without it.
    """

    label: str
    text: str
    remedy: str = ""
    broken: bool = False


@click.command("doctor")
def command() -> int:
    """Say what is installed, what is missing, and how to switch shell completion on.

    Exit code: 0 if faultsim can work here, 1 if something that it needs is missing or broken.
    """
    found = [*_versions(), *_machine(), *_gpu(), *_library(), *_extras()]
    for one in found:
        mark = "MISSING " if one.broken else ""
        click.echo(f"{one.label:<{_LABEL}}{mark}{one.text}")
        if one.remedy:
            click.echo(f"{'':<{_LABEL}}→ {one.remedy}")
    click.echo("\nshell completion: add the line of your shell, then open a new one")
    for shell, line in _COMPLETION.items():
        click.echo(f"  {shell:<6}{line}")
    broken = [one for one in found if one.broken]
    if broken:
        click.echo(
            f"\n{len(broken)} problem{'' if len(broken) == 1 else 's'}: {', '.join(one.label for one in broken)}"
        )
        return 1
    click.echo("\nfaultsim can work here")
    return 0


def _versions() -> Iterator[Finding]:
    """Yield Python, faultsim and everything that it needs, each imported: an installed wheel can be broken."""
    yield Finding("python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    try:
        version, needed = metadata.version(_DISTRIBUTION), metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Finding("faultsim", "not installed as a package", "pip install faultsim-nn, or -e . in a checkout")
        needed = []
        version = ""
    if version:
        yield Finding("faultsim", version)
    for line in needed:
        name = re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0]
        if "extra ==" not in line:
            yield _package(name, line)


def _package(name: str, asked: str) -> Finding:
    module = _MODULES.get(name.lower(), name.replace("-", "_"))
    try:
        version = metadata.version(name)
        importlib.import_module(module)
    except metadata.PackageNotFoundError:
        return Finding(name, f"not installed (needed: {asked})", f"pip install '{asked}'", broken=True)
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())[:120]
        return Finding(
            name,
            f"cannot be imported: {type(error).__name__}: {said}",
            f"pip install --force-reinstall '{asked}'",
            broken=True,
        )
    return Finding(name, version)


def _machine() -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    allowed = processors()
    limited = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    said = "".join(f", {name}={value}" for name, value in limited.items())
    yield Finding("threads", f"{allowed} of {cores} cores{said}")
    total, free = _memory_gib()
    if total is not None:
        there = "" if free is None else f", {free:.1f} GiB free"
        remedy = "large models may not fit; close other programs" if free is not None and free < 1 else ""
        yield Finding("memory", f"{total:.1f} GiB{there}", remedy)
    try:
        disk = shutil.disk_usage(Path.cwd()).free / 2**30
        yield Finding("disk", f"{disk:.1f} GiB free here", "results may not fit" if disk < 1 else "")
    except OSError:
        yield Finding("disk", "cannot be read here")


def _memory_gib() -> tuple[float | None, float | None]:
    """Return this machine's memory, whole and free, None where the system does not tell."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        found = {match[1]: int(match[2]) / 2**20 for match in re.finditer(r"(\w+):\s+(\d+) kB", text)}
        return found.get("MemTotal"), found.get("MemAvailable")
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, None
    except (AttributeError, OSError, ValueError):
        return None, None


def _gpu() -> Iterator[Finding]:
    """Yield the GPUs that torch sees: with ``--torch-device`` gradients and chips are computed there."""
    try:
        import torch

        if not torch.cuda.is_available():
            yield Finding("GPU", "none that torch can use; everything runs on the CPU")
            return
        for i in range(torch.cuda.device_count()):
            free, total = (size / 2**30 for size in torch.cuda.mem_get_info(i))
            memory = f"{free:.1f} of {total:.1f} GiB free"
            use = f"--torch-device cuda:{i} computes gradients and chips there"
            yield Finding("GPU", f"cuda:{i} {torch.cuda.get_device_name(i)}, {memory} ({use})")
    except (ImportError, RuntimeError, OSError) as error:
        yield Finding("GPU", f"cannot be asked: {' '.join(str(error).split())[:120]}")


def _library() -> Iterator[Finding]:
    from faultsim.errors import FaultsimError
    from faultsim.library import find_model, list_devices, list_scenarios

    devices, scenarios = list_devices(), list_scenarios()
    again = "install faultsim again; $FAULTSIM_LIBRARY can name another place"
    yield Finding(
        "library", f"{len(devices)} devices, {len(scenarios)} scenarios", "" if devices else again, broken=not devices
    )
    try:
        there = find_model("digits").is_file()
    except FaultsimError:
        there = False
    yield Finding("demo model", "there" if there else "not found", "" if there else again, broken=not there)


def _extras() -> Iterator[Finding]:
    for name, (use, how) in _EXTRAS.items():
        try:
            yield Finding(name, f"{metadata.version(name)} ({use})")
        except metadata.PackageNotFoundError:
            yield Finding(name, f"not installed; only for {use}", how)
    if not sys.stdout.isatty():
        return
    yield Finding("terminal", f"{shutil.get_terminal_size().columns} columns, {sys.stdout.encoding}")
