"""Chips side by side give the very rows of one at a time, and where they cannot be, each has the machine for itself."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_nets

from faultsim.assessment.chips import clean_scores, dense_chips
from faultsim.assessment.options import Options
from faultsim.assessment.setting import Setting, make_setting
from faultsim.engine import beside as module
from faultsim.engine.beside import beside
from faultsim.engine.evaluate import Scorer
from faultsim.engine.runner import Runner
from faultsim.metrics import Custom, GoldenAgreement

ROOT = Path(__file__).resolve().parents[2]
CHIPS = 5


def setting_of(device: str = "reram", *, model: str = "float", threads: int = 1, batch_size: int = 80) -> Setting:
    path = ROOT / "scenarios" / "digits" / f"digits_{model}.onnx"
    options = Options(limit=120, trials=CHIPS, batch_size=batch_size, threads=threads)
    found = make_setting(path, device, None, options, torch_device="cpu")
    clean_scores(found)
    return found


@pytest.mark.parametrize(("model", "device"), [("float", "reram"), ("int8", "sram_low_voltage")])
def test_rows_and_outcomes_are_those_of_one_chip_at_a_time(model: str, device: str) -> None:
    found = []
    for threads in (1, 2, 4):
        setting = setting_of(device, model=model, threads=threads)
        assert beside(setting.scorer, setting.fault_free(), (), CHIPS).at_once == threads
        found.append(list(dense_chips(setting, range(CHIPS), outcomes=True)))
    for other in found[1:]:
        assert [one.row for one in other] == [one.row for one in found[0]]
        for one, alone in zip(other, found[0], strict=True):
            assert one.outcomes is not None
            assert np.array_equal(one.outcomes, alone.outcomes)
            assert all(np.array_equal(one.drawn.numbers[k], a) for k, a in alone.drawn.numbers.items())


def test_all_chips_together_take_the_batches_and_the_threads_of_one() -> None:
    setting = setting_of(threads=4, batch_size=50)
    way = beside(setting.scorer, setting.fault_free(), (), 2)
    assert (way.at_once, way.scorer.batch_size, way.scorer.runner.threads) == (2, 25, 2)
    assert beside(setting.scorer, setting.fault_free(), (), 9).at_once == 3  # 16 samples a batch
    assert beside(setting.scorer, setting.fault_free(), (), 2).scorer is way.scorer
    assert way.scorer.digests is setting.scorer.digests
    setting.scorer.set_golden(setting.fault_free())
    assert beside(setting.scorer, setting.fault_free(), (), 2).scorer is not way.scorer


@pytest.mark.parametrize(
    "why",
    ["torch", "one thread", "one chip", "small", "large", "codes between two levels", "effects", "custom", "bits"],
)
def test_where_it_cannot_be_each_chip_has_the_machine(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device, threads = "gpu_sram_automotive" if why == "effects" else "reram", 1 if why == "one thread" else 2
    setting = setting_of(device, threads=threads)
    fits = 16 * sum(a.nbytes for a in setting.model.numbers.values())
    monkeypatch.setattr(module, "MOST_BYTES", fits - 1 if why == "large" else fits)
    scorer, numbers, effects = setting.scorer, setting.fault_free(), ()
    if why not in ("effects", "one thread", "large"):
        assert beside(scorer, numbers, (), CHIPS).at_once == 2
        scorer.parts.clear()
    if why == "torch":
        scorer.runner = Runner(setting.model, scorer.output.name, threads=2, prefer="torch")
    if why == "small":
        scorer.batch_size = 31
    if why == "codes between two levels":
        scorer.runner._integer = {name: np.dtype(np.int8) for name in numbers}
    if why == "custom":
        scorer.task = GoldenAgreement(Custom("somebody:judge"))
    if why == "bits":
        assert scorer.digests is not None
        scorer.digests = scorer.digests + np.uint64(1)
    if why == "effects":
        effects = setting.device.effects(setting.stored, 0, 0, reads=True, conditions=None)
        assert effects
        scorer.runner = Runner(setting.model, scorer.output.name, threads=2)
        scorer.set_golden(numbers)
        assert beside(scorer, numbers, (), CHIPS).at_once == 2
    assert beside(scorer, numbers, effects, 1 if why == "one chip" else CHIPS) == (scorer, 1)


def test_a_graph_of_a_fixed_batch_keeps_it(tmp_path: Path) -> None:
    proto = tiny_nets.insisting(onnx.load(ROOT / "scenarios" / "digits" / "digits_float.onnx"), 40)
    path = tmp_path / "fixed.onnx"
    onnx.save(proto, path)
    data = ROOT / "scenarios" / "digits" / "digits_float.npz"
    setting = make_setting(path, "reram", data, Options(limit=120, threads=2), torch_device="cpu")
    clean_scores(setting)
    assert beside(setting.scorer, setting.fault_free(), (), CHIPS).at_once == 1


def test_who_leaves_leaves_no_thread_at_work() -> None:
    setting = setting_of(threads=2, batch_size=32)
    setting.scorer._kept = setting.scorer._kept * 4000  # a pass of minutes
    way = module.Beside(setting.scorer, 2)
    scored = way.each(lambda trial: setting.scorer.score(setting.fault_free()) if trial else None, range(5))
    assert next(scored) is None
    assert any(one.name.startswith("faultsim-chip") for one in threading.enumerate())
    scored.close()  # as after Ctrl-C
    for one in threading.enumerate():
        if one.name.startswith("faultsim-chip"):
            one.join(10)
    assert not any(one.name.startswith("faultsim-chip") for one in threading.enumerate())


def test_data_that_are_read_again_for_each_chip_are_read_by_one_thread_at_a_time(monkeypatch) -> None:
    setting = setting_of(threads=4, batch_size=10)
    inside, most = threading.Lock(), []

    class Data:
        def __init__(self, whole):
            self.whole, self.source, self.notes = whole, whole.source, ()

        def __len__(self):
            return len(self.whole)

        def inputs(self, start, stop):
            most.append(inside.acquire(blocking=False))
            try:
                return self.whole.inputs(start, stop)
            finally:
                inside.release()

        def labels(self, start, stop):
            return self.whole.labels(start, stop)

    monkeypatch.setattr("faultsim.engine.evaluate.KEEP_BYTES", 0)
    scorer = setting.scorer
    part = replace(scorer, data=Data(setting.data), batch_size=2)
    assert isinstance(part, Scorer)
    tallies = [setting.scorer.score(setting.fault_free())] * 4
    way = module.Beside(part, 4)
    assert list(way.each(lambda trial: part.score(setting.fault_free()), range(4))) == tallies
    assert len(most) == 4 * 60
    assert all(most)
