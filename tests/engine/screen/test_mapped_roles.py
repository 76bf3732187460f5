"""``faultsim bitmap --device``: what is mapped is the same whatever else the device stores."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from screen_nets import stored_of

from faultsim.cli import main
from faultsim.engine.screen.bitmap import MapOptions, bit_map
from faultsim.engine.screen.weight_slopes import weight_slopes
from faultsim.engine.sweep.sweep import Sweep
from faultsim.library import find_model


@pytest.fixture
def device(root: Path, tmp_path: Path) -> Path:
    """A memory that holds scales and zero points, too."""
    given = yaml.safe_load((root / "devices" / "hbm_gpu.yaml").read_text(encoding="utf-8"))
    given["storage"]["stores"] = ["weight", "bias", "norm", "scale", "zero_point"]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(given))
    return tmp_path / "all.yaml"


def test_scales_and_zero_points_are_not_mapped_where_a_device_stores_them(
    device: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--images", "16", "--audit", "80", "--elements", "400", "--threads", "1", "-q"]
    call = ["bitmap", str(find_model("digits_int8")), "--device", str(device), *small]
    with pytest.raises(SystemExit) as stop:
        main([*call, "-o", str(tmp_path / "out")])
    assert not stop.value.code, capsys.readouterr().err
    found = json.loads((tmp_path / "out" / "bitmap.json").read_text())
    assert {one["role"] for one in found["sites"]} <= {"weight", "bias", "norm"}
    assert found["sites"]
    with pytest.raises(SystemExit) as stop:
        main([*call, "--sites", "*_scale"])
    assert stop.value.code == 2
    assert "of which none is mapped: a bit map has those of weight, bias, norm" in capsys.readouterr().err


def test_a_map_takes_the_numbers_of_the_whole_chip(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor that is not mapped has the chip's numbers all the same."""
    one = tiny()
    stored = stored_of(one.runner.model)
    numbers = {"last.weight": (stored.pop("last.weight").values * np.float32(40)).astype(np.float32)}
    one.set_golden(numbers)
    seen = []

    def slopes(program, *given, **options):
        seen.append(np.asarray(program.tensors["last.weight"]))
        return weight_slopes(program, *given, **options)

    monkeypatch.setattr("faultsim.engine.screen.bitmap.weight_slopes", slopes)
    bit_map(one, stored, Sweep(one, numbers), MapOptions(), lambda *given: None)
    assert np.array_equal(seen[0], numbers["last.weight"])
