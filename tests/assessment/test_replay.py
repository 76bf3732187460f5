"""A trial again from its key: the written file in onnxruntime, the list of its faults, results that say otherwise."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_nets
from onnx import numpy_helper

from faultsim.assessment import Options, assess
from faultsim.assessment.record import Recorder
from faultsim.assessment.replay import counts, replay
from faultsim.device import load_device
from faultsim.errors import DeviceError, ModelError, OptionError
from faultsim.results import Result

LIMIT = 120


def options(**more: Any) -> Options:
    return Options(**{"trials": 3, "limit": LIMIT, "site_trials": 0, "search_gradients": 1} | more)


class Campaign:
    """A campaign with its fault list and outcomes."""

    def __init__(self, folder: Path, model: str, device: str | Path, **more: Any) -> None:
        self.list, self.outcomes = folder / "faults.jsonl", folder / "outcomes.npy"
        with Recorder(self.list, self.outcomes) as recorder:
            self.result: Result = assess(model, device, options=options(**more), recorder=recorder)

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.list.read_text().splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    made: dict[tuple[str, str], Campaign] = {}

    def one(model: str, device: str | Path) -> Campaign:
        key = (model, str(device))
        if key not in made:
            made[key] = Campaign(tmp_path_factory.mktemp("campaign"), model, device)
        return made[key]

    return one


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A flash with so many errors that its code corrects some words and gives up on others."""
    text = (root / "devices" / "nor_flash_mcu.yaml").read_text()
    assert "value: 1.0e-5, unit: BER" in text
    path = tmp_path_factory.mktemp("profile") / "worn.yaml"
    path.write_text(text.replace("value: 1.0e-5, unit: BER", "value: 1.0e-2, unit: BER"))
    return path


def initializers(path: str | Path) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


def in_onnxruntime(path: str | Path, data: str) -> tuple[int, np.ndarray]:
    """Correct answers and predictions of a file, by onnxruntime and nothing of faultsim."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with np.load(data) as arrays:
        images = arrays["image"][:LIMIT]
        labels = next(arrays[key] for key in arrays.files if key != "image")[:LIMIT]
    seen = session.run(None, {session.get_inputs()[0].name: images})[0].argmax(1)
    return int((seen == labels).sum()), seen


@pytest.mark.parametrize("model", ["digits", "digits_int8"])
@pytest.mark.parametrize("trial", [0, 2])
def test_onnxruntime_gives_the_written_file_the_counts_of_the_result(
    run, model: str, trial: int, tmp_path: Path
) -> None:
    result = run(model, "sram_low_voltage").result
    found = replay(result, trial, tmp_path / "broken.onnx")
    row = result.random.per_trial[trial]
    assert found.agrees
    assert counts(found.row) == counts(row)
    correct, seen = in_onnxruntime(tmp_path / "broken.onnx", result.data.source)
    assert correct == row.correct
    none = run(model, "nor_flash_mcu").result  # its chips are whole: what the stored numbers give
    whole = tmp_path / "whole.onnx"
    replay(none, 0, whole)
    assert int((seen != in_onnxruntime(whole, result.data.source)[1]).sum()) == row.mismatch


@pytest.mark.parametrize("model", ["digits", "digits_int8"])
def test_the_fault_list_is_what_differs_between_the_files(run, model: str, tmp_path: Path) -> None:
    campaign = run(model, "sram_low_voltage")
    replay(campaign.result, 1, tmp_path / "broken.onnx")
    replay(run(model, "nor_flash_mcu").result, 0, tmp_path / "whole.onnx")
    before, after = initializers(tmp_path / "whole.onnx"), initializers(tmp_path / "broken.onnx")
    differing = {
        (name, int(place))
        for name, values in before.items()
        for place in np.flatnonzero(values.reshape(-1) != after[name].reshape(-1))
    }
    mine = [one for one in campaign.records if one["trial"] == 1 and "fate" in one]
    assert len(differing) > 100
    assert {(one["site"], one["element"]) for one in mine if one["fate"] == "in the model"} == differing
    assert {one["fate"] for one in mine} == {"in the model", "no change"}
    for one in mine:
        place = (one["site"], one["element"])
        assert np.ravel_multi_index(one["index"], before[one["site"]].shape) == one["element"]
        assert before[one["site"]].reshape(-1)[one["element"]] == pytest.approx(one["before"], rel=1e-6)
        assert after[one["site"]].reshape(-1)[one["element"]] == pytest.approx(one["after"], rel=1e-6)
        assert (one["bits"] == []) == (place not in differing)


def test_a_replay_lists_the_faults_that_the_campaign_listed(run) -> None:
    campaign = run("digits_int8", "sram_low_voltage")
    assert list(replay(campaign.result, 2).faults) == [one for one in campaign.records if one["trial"] == 2]


def test_what_the_code_did_adds_up(run, corrected: Path, tmp_path: Path) -> None:
    campaign = run("digits_int8", corrected)
    found = replay(campaign.result, 0, tmp_path / "broken.onnx")
    fates = [one["fate"] for one in found.faults if "fate" in one]
    assert found.chip.corrected_words > 100
    assert found.chip.detected_words > 0
    assert fates.count("removed by the code") > found.chip.corrected_words / 2
    before, after = initializers(campaign.result.model.path), initializers(tmp_path / "broken.onnx")
    differing = sum(int((before[name] != after[name]).sum()) for name in before)
    left = {(one["site"], one["element"]) for one in found.faults if one.get("fate") == "in the model"}
    assert len(left) <= differing  # a wrong correction also flips bits that no fault struck
    assert differing == sum(len(edit.indices) if edit.masks.all() else 0 for edit in found.chip.corruption.values())
    last = found.faults[-1]
    assert (last["corrected_words"], last["detected_words"]) == (found.chip.corrected_words, found.chip.detected_words)
    assert campaign.result.random.per_trial[0].detected == found.chip.detected_words


def test_the_outcomes_of_the_images_are_those_of_the_rows(run) -> None:
    campaign = run("digits_int8", "sram_low_voltage")
    outcomes = np.load(campaign.outcomes)
    assert outcomes.shape == (3, LIMIT)
    assert outcomes.dtype == np.uint8
    for row, classes in zip(campaign.result.random.per_trial, outcomes, strict=True):
        tally = np.bincount(classes, minlength=4).tolist()
        assert row.outcomes is not None
        assert tally == [row.outcomes.masked, row.outcomes.tolerable, row.outcomes.critical, row.outcomes.nonfinite]


def test_upsets_of_activations_are_listed_and_score_the_same_again(run, tmp_path: Path) -> None:
    campaign = run("digits", "gpu_sram_automotive")
    struck = [one for one in campaign.records if one.get("fate") == "while the network runs"]
    assert [one["trial"] for one in struck] == [0, 1, 2]
    assert all(one["mechanism"] == "buffer_seu" and one["bits"] for one in struck)
    found = replay(campaign.result, 1, tmp_path / "whole.onnx")
    assert found.agrees
    assert "buffer_seu: acts while the network runs and is not in the file, which by itself has" in found.notes[0]
    assert struck[1] in found.faults


def test_converters_do_not_make_a_replay_disagree(run, tmp_path: Path) -> None:
    result = run("digits", "pcm_analog").result
    found = replay(result, 1, tmp_path / "broken.onnx")
    alone, _ = in_onnxruntime(tmp_path / "broken.onnx", result.data.source)
    assert found.agrees
    assert f"by itself has {alone} of {LIMIT} correct" in found.notes[0]


def test_analog_noise_behind_integer_codes_cannot_be_written(run, tmp_path: Path) -> None:
    result = run("digits_int8", "pcm_analog").result
    with pytest.raises(ModelError, match=r"not all codes of int8 .* run it in faultsim"):
        replay(result, 0, tmp_path / "broken.onnx")
    assert not (tmp_path / "broken.onnx").exists()
    assert replay(result, 0).agrees


def test_a_qonnx_file_is_written_and_scored_in_torch(tmp_path: Path) -> None:
    path = tiny_nets.save(tiny_nets.qonnx(), tmp_path / "q.onnx", tiny_nets.samples(60))
    result = assess(str(path), "sram_low_voltage", options=options(trials=4))
    assert result.random is not None
    for trial in range(4):
        found = replay(result, trial, tmp_path / "broken.onnx")
        assert found.agrees
        assert found.runtime.startswith("torch on ")
        before, after = initializers(path)["w"], initializers(tmp_path / "broken.onnx")["w"]
        codes = np.clip(np.rint(before / 0.25), -8, 7) * 0.25
        differing = set(np.flatnonzero(codes.reshape(-1) != after.reshape(-1)).tolist())
        assert {one["element"] for one in found.faults if one.get("fate") == "in the model"} == differing
        assert set(np.unique(after / 0.25)) <= set(range(-8, 8))
    with pytest.raises(Exception, match="Quant"):
        onnxruntime.InferenceSession(str(tmp_path / "broken.onnx"), providers=["CPUExecutionProvider"])


def test_a_trial_beyond_those_of_the_result_is_drawn_and_compared_with_nothing(run) -> None:
    result = run("digits_int8", "sram_low_voltage").result
    longer = assess("digits_int8", "sram_low_voltage", options=options(trials=6))
    found = replay(result, 5)
    assert found.agrees is None
    assert longer.random is not None
    assert counts(found.row) == counts(longer.random.per_trial[5])
    assert found.faults[-1]["digest"] == found.chip.corruption.digest


def test_results_that_do_not_fit_are_refused(run, tmp_path: Path, root: Path) -> None:
    result: Result = run("digits", "sram_low_voltage").result
    assert result.rerun is not None

    def changed(**fields: Any) -> Result:
        assert result.rerun is not None
        return result.model_copy(update={"rerun": result.rerun.model_copy(update=fields)})

    with pytest.raises(OptionError, match="--trial is -1, it must be at least 0"):
        replay(result, -1)
    with pytest.raises(OptionError, match="written by an older faultsim and does not say how to draw its chips"):
        replay(result.model_copy(update={"rerun": None}), 0)
    with pytest.raises(
        OptionError, match=r"reram_1t1r is not the profile of the result .* give the old file with --dev"
    ):
        replay(result, 0, device="reram")
    with pytest.raises(OptionError, match=r"digits_int8.onnx is not the model of the result .* with --model"):
        replay(result, 0, model="digits_int8")
    with pytest.raises(OptionError, match="has a condition 'speed', which there is not; there are: t_s, v_norm"):
        replay(changed(conditions={"speed": 1.0}), 0)
    with pytest.raises(OptionError, match=r"condition v_norm must be above 0 and at most 10: .*, got -1\.0"):
        replay(changed(conditions={"v_norm": -1.0}), 0)
    with pytest.raises(OptionError, match="'no such tensor' fits no site"):
        replay(changed(sites=("no such tensor",)), 0)
    with pytest.raises(DeviceError, match="no such file"):
        replay(changed(device=str(tmp_path / "gone.yaml")), 0)


def test_a_result_cannot_make_a_replay_run_a_function(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result: Result = run("digits", "sram_low_voltage").result
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('ran').touch()\ndef load(): ...\n")
    monkeypatch.chdir(tmp_path)
    for field in ("data", "task"):
        assert result.rerun is not None
        hostile = result.model_copy(update={"rerun": result.rerun.model_copy(update={field: "evil:load"})})
        with pytest.raises(OptionError, match=f"made with --{field} evil:load, a Python function, which is not run"):
            replay(hostile, 0)
    assert not Path("ran").exists()


def test_a_model_that_moved_is_replayed_from_its_new_place(run, tmp_path: Path, root: Path) -> None:
    result: Result = run("digits", "sram_low_voltage").result
    moved = result.model_copy(update={"model": result.model.model_copy(update={"path": str(tmp_path / "gone.onnx")})})
    with pytest.raises(ModelError, match=r"gone.onnx"):
        replay(moved, 0)
    source = root / "scenarios" / "digits"
    (tmp_path / "here.onnx").write_bytes((source / "digits_float.onnx").read_bytes())
    found = replay(moved, 0, model=tmp_path / "here.onnx", data=str(source / "digits_float.npz"))
    assert found.agrees


def test_conditions_and_sites_are_those_of_the_campaign() -> None:
    from faultsim.device.knobs import conditions_from

    device = load_device("sram_low_voltage")
    conditions = conditions_from(device.spec, {"vdd": "0.76"})
    given = options(trials=2, sites=("fc.*",), conditions=conditions, limit=60)
    result = assess("digits", device, options=given)
    found = replay(Result.model_validate_json(result.model_dump_json(by_alias=True)), 1)
    assert found.agrees
    assert set(found.chip.corruption) <= {"fc.weight", "fc.bias"}
    assert len({one["element"] for one in found.faults if one.get("site") == "fc.weight"}) > 800
