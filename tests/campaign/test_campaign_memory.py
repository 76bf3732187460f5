"""What a campaign takes beside a loaded model stays near its budget, by the peak of a process of its own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

IMAGES = 250
BUDGET_MIB = 64
PROGRAM = """
import re, sys
from pathlib import Path
from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, run_campaign

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

before = []

def progress(phase, done, total):
    if phase == "trials" and not before:
        before.append(peak())

campaign = CampaignOptions(trials=20, memory_mib=int(sys.argv[3]))
run_campaign(sys.argv[1], sys.argv[2], options=Options(threads=2), campaign=campaign, progress=progress)
print(peak() - before[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a process reads its own peak on Linux alone")
def test_a_campaign_grows_by_its_budget_and_no_more(shared: Path, tmp_path: Path) -> None:
    data = shared / "data"
    with np.load(data / "cifar10" / "cifar10_test.npz", allow_pickle=False) as archive:
        images = archive["images"][:IMAGES].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        np.savez(tmp_path / "data.npz", allow_pickle=False, image=images, labels=archive["labels"][:IMAGES])

    def grown(memory_mib: int) -> float:
        model = data / "cifar10_models" / "resnet20_cifar10.onnx"
        words = [sys.executable, "-c", PROGRAM, str(model), str(tmp_path / "data.npz"), str(memory_mib)]
        return float(subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout)

    assert grown(BUDGET_MIB) < 1.5 * BUDGET_MIB  # the allocators of two runtimes beside it
    assert grown(1024) > 2 * BUDGET_MIB  # what this test would see if no budget was kept
