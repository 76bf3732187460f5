"""The product's own objective gives the reference table of the MLP, row by row, in both precisions."""

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_the_reference_table_is_met(precision, shared, root, tmp_path):
    golden = shared / "golden" / "corruption"
    flags = ["--f32"] if precision == "float32" else []
    table = tmp_path / "table.json"
    made = subprocess.run(
        [sys.executable, root / "benchmarks" / "golden_table.py", golden, table, "--trials", "12", *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    rows = json.loads(table.read_text())["rows"]
    assert len(rows) == 84
    assert {len(row["random"]["dloss"]) for row in rows} == {12}
    judged = subprocess.run(
        [sys.executable, "check_table.py", "mlp", table, *flags],
        cwd=golden,
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout
    assert judged.stdout.strip().endswith("84 passed, 0 failed")
