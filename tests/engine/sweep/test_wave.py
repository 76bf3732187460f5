"""How many rows a call takes: a block that fits in caches on a processor, on a GPU what fits into its free memory."""

import numpy as np
import onnx
import pytest
import torch
from sweep_equality import assert_equal, faults, on_noise
from sweep_graphs import images

from faultsim.engine.sweep import opening, routes
from faultsim.engine.sweep.parts import BLOCK, rows_at_once
from faultsim.engine.sweep.spans import LEAST
from faultsim.engine.sweep.sweep import Sweep
from faultsim.model import Model, load_model

GIB = 1 << 30


@pytest.fixture
def convolutions(tmp_path) -> Model:
    onnx.save(images(["conv", "norm", "relu", "conv", "maxpool", "conv", "residual"], 5), tmp_path / "net.onnx")
    return load_model(tmp_path / "net.onnx")


def test_a_processor_takes_blocks_that_fit_in_its_caches():
    assert rows_at_once(torch.device("cpu"), 1, 1000) == BLOCK


@pytest.mark.parametrize(
    ("free", "sample", "batch", "rows"),
    [(8 * GIB, 1 << 20, 5000, 2048), (8 * GIB, 1 << 10, 250, 250), (GIB, GIB, 250, BLOCK), (GIB, 5, 8, BLOCK)],
)
def test_a_gpu_takes_a_batch_or_a_quarter_of_its_free_memory_and_a_block_at_least(
    monkeypatch, free, sample, batch, rows
):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
    assert rows_at_once(torch.device("cuda"), sample, batch) == rows


@pytest.mark.parametrize("block", [5, 40, 1000])
def test_the_rows_of_a_call_change_no_count(monkeypatch, convolutions, block):
    monkeypatch.setattr(routes, "rows_at_once", lambda device, sample_bytes, batch_size: block)
    scorer = on_noise(convolutions, 90, 0, batch_size=90)
    sweep = assert_equal(scorer, faults(convolutions, np.random.default_rng(5), 16))
    entries = [one for one in sweep._router._entries.values() if one is not None]
    assert {one.block for one in entries} == {block}


def test_little_memory_proves_ways_on_as_many_samples_as_it_computes_at_once(monkeypatch, convolutions):
    seen = []
    whole = opening.Router
    monkeypatch.setattr(opening, "Router", lambda *args, **more: seen.append(len(args[4])) or whole(*args, **more))
    Sweep(on_noise(convolutions, 60, 0, batch_size=60), memory_bytes=1)
    assert seen == [LEAST]
