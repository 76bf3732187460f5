"""Sparse chips scored in waves give the very rows that whole passes give."""

from pathlib import Path

import numpy as np
import pytest

from faultsim.assessment.chips import clean_scores, dense_chips
from faultsim.assessment.options import Options
from faultsim.assessment.setting import Setting, make_setting
from faultsim.assessment.swept import is_sparse, swept_chips

ROOT = Path(__file__).resolve().parents[2]
CHIPS = 8


def setting_of(model: str, device: str, *, batch_size: int = 250) -> Setting:
    path = ROOT / "scenarios" / "digits" / f"digits_{model}.onnx"
    options = Options(limit=120, trials=CHIPS, batch_size=batch_size)
    found = make_setting(path, device, None, options, torch_device="cpu")
    clean_scores(found)
    return found


@pytest.mark.parametrize("model", ["float", "int8"])
@pytest.mark.parametrize("device", ["fpga_config_seu", "dram_field_faults", "rad_space_leo", "hbm_gpu"])
def test_swept_chips_are_the_dense_ones(model: str, device: str) -> None:
    setting = setting_of(model, device)
    assert is_sparse(setting)
    dense = list(dense_chips(setting, range(CHIPS), outcomes=True))
    swept = list(swept_chips(setting, range(CHIPS), outcomes=True))
    assert [one.row for one in swept] == [one.row for one in dense]
    for one, other in zip(swept, dense, strict=True):
        assert one.outcomes is not None
        assert np.array_equal(one.outcomes, other.outcomes)
        assert one.drawn.chip.corruption == other.drawn.chip.corruption


def test_any_batch_size_gives_the_same_rows() -> None:
    rows = [
        [one.row for one in swept_chips(setting_of("int8", "rad_space_leo", batch_size=size), range(4), outcomes=False)]
        for size in (7, 120)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("device", ["reram", "gpu_sram_automotive"])
def test_noise_everywhere_and_faults_of_a_running_network_are_not_sparse(device: str) -> None:
    assert not is_sparse(setting_of("float", device))
