"""What a campaign leaves where a disk is full, and data, models and lists that a replay must not take or overwrite."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_nets

from faultsim.assessment import Options, assess
from faultsim.assessment.record import Recorder
from faultsim.assessment.replay import replay
from faultsim.errors import OptionError


def options(**more: Any) -> Options:
    return Options(**{"trials": 3, "limit": 40, "site_trials": 0, "search_gradients": 1} | more)


def test_the_model_itself_is_never_overwritten(tmp_path: Path) -> None:
    path = tiny_nets.save(tiny_nets.qonnx(), tmp_path / "m.onnx", tiny_nets.samples(20))
    before = path.read_bytes()
    result = assess(str(path), "sram_low_voltage", options=options(trials=1))
    (tmp_path / "other.onnx").symlink_to(path)
    for out in (path, tmp_path / "other.onnx"):
        with pytest.raises(OptionError, match=r"that is the model itself, which is never overwritten; give another"):
            replay(result, 0, out)
    assert path.read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk_ends_the_list_and_not_the_chips(tmp_path: Path) -> None:
    with Recorder(Path("/dev/full"), tmp_path / "outcomes.npy") as recorder:
        result = assess("digits", "sram_low_voltage", options=options(limit=20), recorder=recorder)
    assert result.random is not None
    assert result.random.trials == 3
    assert recorder.failed == "--fault-list /dev/full could not be written from chip 0 on (No space left on device)"
    assert np.load(tmp_path / "outcomes.npy").shape == (3, 20)


def test_a_list_is_emptied_by_the_first_chip_and_not_before(tmp_path: Path) -> None:
    kept = tmp_path / "faults.jsonl"
    kept.write_text("of an hour ago")
    with Recorder(kept) as recorder, pytest.raises(OptionError, match="cannot be judged"):
        assess("digits", "reram", options=options(limit=20, require=("sdc_fit<=1",)), recorder=recorder)
    assert kept.read_text() == "of an hour ago"
    assert recorder.failed is None


def test_a_place_that_cannot_hold_a_list_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=r"cannot be written \(it is a folder\); give a file"):
        Recorder(tmp_path)
    with pytest.raises(OptionError, match=r"cannot be written \(.*file is no folder\); give another place"):
        Recorder(tmp_path / "file" / "list.jsonl")
    Recorder(tmp_path / "new" / "list.jsonl").close()
    assert not (tmp_path / "new").exists()


class InMemory:
    """Samples of the digits as an object, which counts what is read."""

    source, notes = "my samples", ()

    def __init__(self, root: Path) -> None:
        self.all = np.load(root / "scenarios" / "digits" / "digits_float.npz")
        self.last = 0

    def __len__(self) -> int:
        return 60

    def inputs(self, start: int, stop: int) -> dict[str, Any]:
        self.last = max(self.last, stop)
        return {name: self.all[name][start:stop] for name in self.all.files if name != "labels"}

    def labels(self, start: int, stop: int) -> Any:
        return self.all["labels"][start:stop]


def test_data_in_memory_are_limited_and_a_replay_asks_for_them(root: Path, tmp_path: Path) -> None:
    data = InMemory(root)
    result = assess("digits", "sram_low_voltage", data, options=options(limit=40))
    assert (result.data.samples, data.last) == (40, 40)
    assert result.rerun is not None
    assert (result.rerun.data, result.rerun.limit) == ("(in memory)", 40)
    with pytest.raises(OptionError, match=r"made on a data set in memory, .*; give it with --data"):
        replay(result, 1)
    assert replay(result, 1, data=data).agrees


@pytest.mark.parametrize("more", [{"preprocess": Path("steps.yaml")}, {"input_shape": ("input=1,8,8",)}])
def test_what_is_done_to_files_alone_is_refused_for_data_in_memory(more: dict[str, Any], root: Path) -> None:
    name = next(iter(more))
    with pytest.raises(
        OptionError, match=rf"{name} is .*data set in memory.*; leave {name} out, or give the data as a"
    ):
        assess("digits", "sram_low_voltage", InMemory(root), options=options(**more))
