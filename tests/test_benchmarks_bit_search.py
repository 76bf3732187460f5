"""The benchmark of the bit search: images judged on are none that are searched on, and ours needs fewer flips."""

import importlib
import re
import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture
def cases(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    return importlib.import_module("bit_search_cases")


def rows_of(images) -> set[bytes]:
    return {np.ascontiguousarray(one).tobytes() for one in images}


@pytest.mark.parametrize("seed", [0, 1])
def test_no_digit_is_both_searched_and_judged_on(cases, tmp_path, seed):
    found = cases.case("digits", tmp_path / "none", tmp_path, per_tensor=False, judged=600, seed=seed)
    assert len(found.judge.labels) == 600
    assert len(found.search.labels) == 1197
    assert not rows_of(found.search.images) & rows_of(found.judge.images)


@pytest.mark.shared
def test_no_photograph_is_both_searched_and_judged_on_and_seeds_draw_others(cases, tmp_path, shared):
    first, second = (
        cases.case("mlperf_resnet8_int8", shared / "data", tmp_path, per_tensor=False, judged=500, seed=seed)
        for seed in (0, 1)
    )
    searched, judged = rows_of(first.search.images[:256]), rows_of(first.judge.images)
    assert len(judged) == 500
    assert not searched & judged
    assert len(judged & rows_of(second.judge.images)) < 100


def test_reference_data_that_are_not_there_are_asked_for(cases, tmp_path):
    with pytest.raises(SystemExit, match="give the reference data's folder, or --model digits"):
        cases.case("resnet20", tmp_path / "none", tmp_path, per_tensor=False, judged=1, seed=0)


@pytest.mark.slow
def test_digits_reach_chance_in_fewer_flips_than_by_progressive_bit_search(root):
    command = [sys.executable, "benchmarks/bit_search.py", "--model", "digits", "--judge", "600"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    found = re.findall(r"(progressive|faultsim) +on +(\d+): +(\S+) flips", done.stdout)
    assert [(name, images) for name, images, _ in found] == [
        ("progressive", "128"),
        ("progressive", "256"),
        ("faultsim", "256"),
    ]
    most = 17  # the search ends at 16: a search that did not get there needs more
    published, more, ours = (int(flips) if flips.isdigit() else most for _, _, flips in found)
    assert ours < min(published, more)
