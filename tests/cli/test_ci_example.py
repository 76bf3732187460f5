"""The GitHub Actions example of docs/ci.md runs as written, but for the installation."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bash") is None, reason="the steps are lines of bash, which is missing"),
]


def test_the_example_of_the_documentation_runs(root, tmp_path):
    text = (root / "docs" / "ci.md").read_text(encoding="utf-8")
    workflow = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    steps = {step["name"]: step["run"] for step in workflow["jobs"]["faultsim"]["steps"] if "run" in step}
    assert list(steps) == ["Install", "Assess", "Report", "Compare with the baseline"]
    code = f"#!/bin/sh\nexec {sys.executable} -c 'from faultsim.cli import main; main()' \"$@\"\n"
    program = tmp_path / "bin" / "faultsim"
    program.parent.mkdir()
    program.write_text(code)
    program.chmod(0o755)
    summary = tmp_path / "summary.md"
    env = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(summary),
                        "PYTHONPATH": str(root)}  # fmt: skip

    def step(name: str) -> int:
        done = subprocess.run(["bash", "-e", "-c", steps[name]], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode

    assert step("Assess") == 0
    assert step("Report") == 0
    shutil.copytree(tmp_path / "out", tmp_path / "baseline")
    assert step("Compare with the baseline") == 0
    assert ElementTree.parse(tmp_path / "out" / "junit.xml").getroot().get("failures") == "0"
    assert Path(tmp_path / "out" / "report.html").exists()
    assert summary.read_text().count("## ") == 2
