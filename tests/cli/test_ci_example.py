"""The GitHub Actions example of docs/ci.md runs as written; what it installs is only looked at."""

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


def steps_of(root: Path) -> dict[str, str]:
    text = (root / "docs" / "ci.md").read_text(encoding="utf-8")
    workflow = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    return {step["name"]: step["run"] for step in workflow["jobs"]["faultsim"]["steps"] if "run" in step}


@pytest.mark.parametrize("wheel", [True, False])
def test_it_installs_the_wheel_of_the_repository_or_else_the_repository(wheel, root, tmp_path):
    program = tmp_path / "bin" / "pip"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" >> asked\n')
    program.chmod(0o755)
    if wheel:
        (tmp_path / "wheels").mkdir()
        (tmp_path / "wheels" / "faultsim_nn-0.1.0-py3-none-any.whl").touch()
    env = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-e", "-c", steps_of(root)["Install"]], cwd=tmp_path, env=env, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0].startswith("install torch --index-url https://")
    assert asked[1:] == ["install wheels/faultsim_nn-0.1.0-py3-none-any.whl" if wheel else "install ."]


def test_the_example_of_the_documentation_runs(root, tmp_path):
    steps = steps_of(root)
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
