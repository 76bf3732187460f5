"""The memory peak of one tool, in a process of its own. No clock lives here."""

import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def peak_mib() -> float:
    """Return the largest resident set of this process so far, in MiB.

    On Linux from ``/proc``: ``ru_maxrss`` of a new process begins with what the process that started it held.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def peak_of(tool: str, script: Path, arguments: Sequence[str]) -> float:
    """Return the memory peak of one tool's campaign, in MiB, from a run of *script* that prints it.

    Raises:
        RuntimeError: If that run fails; with the last line that it said.
    """
    command = [sys.executable, str(script), "--memory-of", tool, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{tool}: the run for its memory peak failed: {done.stderr.strip().splitlines()[-1:]}")
    return float(done.stdout.strip().splitlines()[-1])
