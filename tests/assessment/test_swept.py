"""Sparse chips scored in waves give the very rows that whole passes give."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from faultsim.assessment.chips import clean_scores, dense_chips
from faultsim.assessment.options import Options
from faultsim.assessment.setting import Setting, make_setting
from faultsim.assessment.swept import is_sparse, swept_chips
from faultsim.engine.sweep import sweep as sweep_module
from faultsim.engine.sweep.routes import Patch
from faultsim.engine.sweep.sweep import Sweep

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


def test_an_interrupt_keeps_every_chip_of_a_graph_that_cannot_be_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "make_router", lambda *_, **__: None)
    setting = setting_of("int8", "rad_space_leo")
    scored: list[object] = []
    whole = Sweep.score

    def score(self: Sweep, patches: Sequence[Patch], *, outcomes: Sequence[NDArray[np.uint8]] | None = None) -> Any:
        if len(scored) == 5:
            raise KeyboardInterrupt
        scored.append(patches)
        return whole(self, patches, outcomes=outcomes)

    monkeypatch.setattr(Sweep, "score", score)
    kept: list[object] = []
    with pytest.raises(KeyboardInterrupt):
        kept.extend(one.row for one in swept_chips(setting, range(CHIPS), outcomes=True))  # up to the interrupt
    assert len(kept) == 5


@pytest.mark.parametrize("device", ["reram", "gpu_sram_automotive"])
def test_noise_everywhere_and_faults_of_a_running_network_are_not_sparse(device: str) -> None:
    assert not is_sparse(setting_of("float", device))
