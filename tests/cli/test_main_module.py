"""``python -m faultsim`` is the command line."""

import subprocess
import sys


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "faultsim", "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: faultsim [OPTIONS] COMMAND")
    wrong = subprocess.run([sys.executable, "-m", "faultsim", "asses"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "did you mean 'assess'?" in wrong.stderr
