"""Whatever ends a campaign, the same command goes on, and its result is that of a run that nothing ended."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CAMPAIGN = ("campaign", "digits", "--trials", "400", "--limit", "20", "--stratify", "bit", "--threads", "1", "--quiet")


def started(out: Path, *more: str) -> subprocess.Popen[str]:
    code = "from faultsim.cli import main; main()"
    if "--workers" in more:  # a spawned process imports this program's main module again
        code = f"if __name__ == '__main__':\n    {code.replace('; ', chr(10) + '    ')}"
    program = out.parent / "main.py"
    program.write_text(code)
    return subprocess.Popen(
        [sys.executable, str(program), *CAMPAIGN, *more, "--out", str(out)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def figures(out: Path) -> str:
    """The text of result.json without what it took."""
    found = json.loads((out / "result.json").read_text())
    del found["provenance"]
    return json.dumps(found)


def rows(out: Path) -> int:
    journal = out / "journal.jsonl"
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else -1


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The figures of a run that nothing ended."""
    whole = tmp_path_factory.mktemp("uninterrupted") / "whole"
    finished(whole)
    return figures(whole)


def until_killed(out: Path, *more: str, after_rows: int) -> None:
    run = started(out, *more)
    deadline = time.monotonic() + 60
    while run.poll() is None and rows(out) < after_rows and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()


def finished(out: Path, *more: str) -> None:
    run = started(out, *more)
    _, err = run.communicate(timeout=120)
    assert run.returncode == 0, err


@pytest.mark.slow
def test_a_killed_campaign_goes_on_to_the_same_result(wanted: str, tmp_path: Path) -> None:
    for after in (0, 40, 200):
        until_killed(tmp_path / "part", after_rows=after)
    assert not (tmp_path / "part" / "result.json").exists()
    finished(tmp_path / "part")
    assert figures(tmp_path / "part") == wanted


@pytest.mark.slow
def test_a_campaign_killed_with_its_workers_goes_on_to_the_same_result(wanted: str, tmp_path: Path) -> None:
    until_killed(tmp_path / "part", "--workers", "2", after_rows=16)
    finished(tmp_path / "part", "--workers", "2")
    assert figures(tmp_path / "part") == wanted


@pytest.mark.slow
@pytest.mark.skipif(
    "FAULTSIM_KILLS" not in os.environ, reason="minutes; set FAULTSIM_KILLS=100 for that many kills at random moments"
)
def test_a_campaign_killed_at_random_moments_comes_to_the_same_result(wanted: str, tmp_path: Path) -> None:
    moments = random.Random(0)
    out = tmp_path / "part"
    for kill in range(int(os.environ["FAULTSIM_KILLS"])):
        run = started(out)
        time.sleep(moments.uniform(0.5, 4.0))
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        if kill % 20 == 19 or (out / "result.json").exists():
            finished(out)
            assert figures(out) == wanted, f"after {kill + 1} kills"
            for left in out.iterdir():
                left.unlink()
    finished(out)
    assert figures(out) == wanted


@pytest.mark.slow
def test_ctrl_c_shows_and_writes_what_was_computed(wanted: str, tmp_path: Path) -> None:
    out = tmp_path / "part"
    run = started(out)
    deadline = time.monotonic() + 60
    while run.poll() is None and rows(out) < 32 and time.monotonic() < deadline:
        time.sleep(0.002)
    run.send_signal(signal.SIGINT)
    said, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "interrupted; what was computed until then stands above; the same command goes on" in err
    result = json.loads((out / "result.json").read_text())
    assert result["stopped"] == f"interrupted after {result['trials']} of 400 trials"
    assert "interrupted after" in said
    finished(out)
    assert figures(out) == wanted
