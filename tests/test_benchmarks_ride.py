"""`benchmarks/ride_cost.py` on the digits: the same mismatches with and without riding, and images that rode."""

import re
import subprocess
import sys


def test_the_quick_command_prints_what_rode(root):
    command = [sys.executable, "benchmarks/ride_cost.py", "--quick", "--few", "1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(\S+), (\d+) images .* of 32   (\d+)% of ([\d,]+)", done.stdout, re.M)
    assert [(name, images) for name, images, _, _ in rows] == [
        (name, images) for name in ("digits_float", "digits_float_int8") for images in ("4", "16")
    ]
    assert any(int(share) > 0 for *_, share, _ in rows), done.stdout
