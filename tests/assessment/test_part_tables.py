"""The tables by site and kind: notes only of tables that exist, honest intervals, samples without a label."""

import numpy as np
import pytest
import tiny_nets
from onnx import TensorProto, helper

import faultsim
from faultsim.assessment import Options, tables
from faultsim.errors import FaultsimError
from faultsim.report import lines
from faultsim.stats import clopper_pearson

QUICK = {"trials": 3, "search_gradients": 1, "site_trials": 3, "threads": 1}


def run(model, device, **options):
    return faultsim.assess(str(model), device, options=Options(**(QUICK | options)))


def of_tables(result):
    return [note for note in result.notes if "ables by site and kind" in note]


def rows(result):
    return [one.random for one in (*result.sites, *result.kinds)]


@pytest.fixture
def dense(tmp_path):
    return tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())


@pytest.fixture
def hardly_labelled(tmp_path):
    """60 sequences of 5 tokens, of which the eighth alone has labels."""
    rng = np.random.default_rng(0)
    graph = tiny_nets.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "fc")],
        {"w": rng.normal(size=(6, 4)).astype(np.float32)},
        inputs={"x": (TensorProto.FLOAT, ("N", 5, 6))},
        outputs={"y": (TensorProto.FLOAT, ("N", 5, 4))},
    )
    labels = np.full((60, 5), -100)
    labels[7] = [0, 1, 2, 3, 0]
    data = {"x": rng.normal(size=(60, 5, 6)).astype(np.float32), "labels": labels}
    return tiny_nets.save(graph, tmp_path / "tokens.onnx", data)


def test_no_note_tells_of_tables_of_a_device_that_acts_while_the_network_runs(dense):
    result = run(dense, "gpu_sram_automotive")
    assert (result.sites, result.kinds) == ((), ())
    assert of_tables(result) == []


def test_notes_tell_of_tables_that_have_rows(dense):
    result = run(dense, "fpga_bram_int8")
    assert of_tables(result) == [
        "Tables by site and kind: all 30 samples, one gradient step, 3 chips.",
        "Chips in the tables by site and kind are given an event in that part.",
    ]


def test_intervals_of_the_tables_allow_for_events_that_were_not_seen(dense):
    found = run(dense, "fpga_bram_int8", site_trials=8)
    assert found.random.event_probability is not None
    unseen = clopper_pearson(0, 8, level=found.level).high
    for one in rows(found):
        assert one.low <= one.accuracy * (1 - unseen) + 1e-12
        assert one.high >= one.accuracy + (1 - one.accuracy) * unseen - 1e-12


def test_table_samples_without_a_label_have_no_accuracy_and_no_interval(hardly_labelled):
    result = run(hardly_labelled, "sram_low_voltage", site_samples=4)
    assert len(result.random.per_trial) == 3
    assert result.table_clean.accuracy is None
    assert result.table_clean.note == "none of these samples has a label"
    for one in (*result.sites, *result.kinds):
        assert (one.random.trials, one.random.accuracy, one.random.low, one.random.high) == (3, None, None, None)
        assert one.worst_case is None  # no gradient without a label
    assert lines(result)


@pytest.mark.parametrize("error", [FaultsimError, ValueError])
def test_chips_that_were_scored_outlive_a_table_that_fails(error, dense, monkeypatch):
    def fails(*_, **__):
        raise error("no row today")

    monkeypatch.setattr(tables, "table_row", fails)
    result = run(dense, "fpga_bram_int8")
    assert len(result.random.per_trial) == 3
    assert "The tables by site and kind are not whole: no row today" in result.notes
    assert not any(note.startswith(("Tables by site", "Chips in the tables")) for note in result.notes)
