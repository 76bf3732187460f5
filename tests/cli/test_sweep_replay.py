"""``faultsim sweep`` and ``faultsim replay``: what is printed, written and refused."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import onnxruntime
import pytest
from example_kinds import campaign as bit_flips
from example_kinds import harden
from onnx import numpy_helper

from faultsim.device import load_device
from faultsim.device.knobs import conditions_from
from faultsim.model import load_model
from faultsim.results import SweepResult, load_result
from faultsim.results.kinds import kind_of
from faultsim.units import duration_s, show_duration

SMALL = ("--trials", 3, "--limit", 40, "--quiet")


@pytest.fixture
def swept(faultsim, tmp_path: Path):
    def one(over: str, model: str = "digits_int8", device: str = "sram", *more: object):
        return faultsim("sweep", model, "--device", device, "--over", over, "-o", tmp_path / "out", *SMALL, *more)

    return one


def test_a_sweep_writes_a_table_a_picture_and_a_result_that_loads(swept, tmp_path: Path) -> None:
    outcome = swept("vdd=0.9:0.75:4")
    assert outcome.code == 0, outcome.err
    result = SweepResult.model_validate_json((tmp_path / "out" / "sweep.json").read_text())
    assert [point.value for point in result.points] == [0.9, 0.85, 0.8, 0.75]
    assert (result.over, result.unit, result.trials, result.stopped) == ("vdd", "V/Vmin", 3, None)
    lines = outcome.out.splitlines()
    assert all(len(line) <= 80 for line in lines if not line.startswith("written")), outcome.out
    for point in result.points:
        row = next(line for line in lines if line.strip().startswith(point.label))
        assert f"{100 * (point.random.accuracy.mean or 0):.2f}%" in row
        assert f"{100 * (point.random.accuracy.min or 0):.2f}%" in row
    picture = ElementTree.parse(tmp_path / "out" / "sweep.svg").getroot()
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert not list((tmp_path / "out").glob("*.partial"))


def test_a_sweep_scores_at_each_value_what_an_assessment_there_scores(swept, faultsim, tmp_path: Path) -> None:
    swept("vdd=0.85,0.77")
    points = SweepResult.model_validate_json((tmp_path / "out" / "sweep.json").read_text()).points
    for text, point in zip(("0.85", "0.77"), points, strict=True):
        folder = tmp_path / text
        words = ("assess", "digits_int8", "-d", "sram", "--vdd", text, "--site-trials", 0, "--search-gradients", 1)
        outcome = faultsim(*words, *SMALL, "-o", folder)
        assert outcome.code == 0, outcome.err
        assert load_result(folder / "result.json").random == point.random


@pytest.mark.parametrize("reads", ["chip", "inference"])
def test_a_sweep_reads_as_an_assessment_does(swept, faultsim, tmp_path: Path, reads: str) -> None:
    outcome = swept("at=1h,1d", "digits", "reram", "--reads", reads)
    assert outcome.code == 0, outcome.err
    found = SweepResult.model_validate_json((tmp_path / "out" / "sweep.json").read_text())
    words = ("assess", "digits", "-d", "reram", "--reads", reads, "--site-trials", 0, "--search-gradients", 1)
    assert faultsim(*words, *SMALL, "-o", tmp_path / "assessed").code == 0  # the profile's own age is a day
    alone = load_result(tmp_path / "assessed" / "result.json").random
    assert alone is not None
    assert found.points[1].random.loss == alone.loss
    said = "(--reads inference; in a scenario reads: inference of its sampling)"
    assert any(said in note for note in found.notes) == (reads == "chip")


def test_a_cell_that_fails_at_a_voltage_fails_at_every_lower_one() -> None:
    device = load_device("sram")
    model = load_model(Path(__file__).parents[2] / "scenarios" / "digits" / "digits_int8.onnx")
    stored = device.store({s.name: (s, model.numbers[s.name]) for s in model.select(device.spec.storage.stores)})
    for trial in range(3):
        before: dict[tuple[str, int, int], bool] = {}
        for volts in ("0.9", "0.85", "0.8", "0.75"):
            chip = device.draw(stored, 0, trial, conditions=conditions_from(device.spec, {"vdd": volts}))
            failing = {
                (one.site, int(place), bit): bool(int(value) >> bit & 1)
                for one in chip.drawn
                for place, mask, value in zip(one.edit.indices, one.edit.masks, one.edit.bits, strict=True)
                for bit in range(32)
                if int(mask) >> bit & 1
            }
            assert before.items() <= failing.items()
            assert len(failing) > len(before)
            before = failing


def test_the_same_array_is_older_later() -> None:
    """Chip k of a sweep over time is one array: its numbers at two times are nearly the same, another chip's not."""
    device = load_device("pcm")
    model = load_model(Path(__file__).parents[2] / "scenarios" / "digits" / "digits_float.onnx")
    stored = device.store({s.name: (s, model.numbers[s.name]) for s in model.select(device.spec.storage.stores)})

    def delta(trial: int, at: str) -> np.ndarray:
        chip = device.draw(stored, 0, trial, conditions=conditions_from(device.spec, {"at": at}))
        return np.asarray(chip.corruption["fc.weight"].delta).reshape(-1)

    assert np.corrcoef(delta(0, "1d"), delta(0, "2d"))[0, 1] > 0.95
    assert abs(np.corrcoef(delta(0, "1d"), delta(1, "1d"))[0, 1]) < 0.3


def test_rare_events_keep_their_chips_and_change_their_rate(swept, tmp_path: Path) -> None:
    assert swept("flux=1,10", "digits_int8", "fpga_bram_int8").code == 0
    one, ten = SweepResult.model_validate_json((tmp_path / "out" / "sweep.json").read_text()).points
    assert one.random.per_trial == ten.random.per_trial
    assert one.random.event_probability is not None
    assert ten.random.event_probability == pytest.approx(10 * one.random.event_probability, rel=1e-3)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ("vdd", "--over 'vdd': write NAME=FROM:TO:COUNT"),
        ("vdd=", "--over 'vdd=': write NAME=FROM:TO:COUNT"),
        ("vdd=1:2", "--over 'vdd=1:2': write NAME=FROM:TO:COUNT"),
        ("vdd=1:2:3:lin", "--over 'vdd=1:2:3:lin': write NAME="),
        ("vdd=a:b:3", "'a' is no number; give one such as 0.8"),
        ("vdd=0.9:0.8:1", "COUNT is '1', it must be a whole number from 2 to 200"),
        ("vdd=0.9:0.8:1e9", "COUNT is '1e9', it must be a whole number from 2 to 200"),
        ("vdd=0.9:0.9:3", "FROM and TO must be two different numbers"),
        ("vdd=0:0.9:3:log", "with :log both ends must be above 0"),
        ("vdd=0.9:inf:3", "FROM and TO must be two different numbers"),
        ("vdd=0.9,0.9", "gives a value twice; leave one out"),
        ("vdd=,", "gives 0 values, allowed are 1 to 200"),
        ("vdd=0.9,-1", "--over 'vdd=0.9,-1': vdd must be above 0 and at most 10"),
        ("vdd=nan", "vdd must be above 0 and at most 10: it is in volts over the lowest error-free voltage, got nan"),
        ("vdd=900:800:3", "it is in volts over the lowest error-free voltage, got 900"),
        ("at=1d", "no law of device sram_low_voltage depends on --at; the conditions that it has: --vdd"),
        ("vd=0.8", "there is no condition 'vd', did you mean 'vdd'?"),
        ("colour=0.8", "there is no condition 'colour'; there are: at, vdd, flux, exposure, temperature"),
    ],
)
def test_what_cannot_be_swept_over_is_said(swept, tmp_path: Path, over: str, message: str) -> None:
    outcome = swept(over)
    assert outcome.code == 2
    assert message in " ".join(outcome.err.split())
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_condition_given_and_swept_is_refused(swept, tmp_path: Path) -> None:
    outcome = swept("vdd=0.9,0.8", "digits_int8", "sram", "--vdd", "0.8")
    assert outcome.code == 2
    assert "--over sweeps vdd, and --vdd is given too; leave one out" in " ".join(outcome.err.split())


def test_an_interrupted_sweep_keeps_the_values_that_are_whole(monkeypatch: pytest.MonkeyPatch, swept, tmp_path) -> None:
    import faultsim.assessment.sweep as module

    real, calls = module.random_chips, []

    def stops(*given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(module, "random_chips", stops)
    outcome = swept("vdd=0.9:0.75:4")
    assert outcome.code == 130
    assert "interrupted after 2 of 4 values; what was computed until then stands above" in outcome.err
    result = SweepResult.model_validate_json((tmp_path / "out" / "sweep.json").read_text())
    assert [point.value for point in result.points] == [0.9, 0.85]
    assert result.stopped == "interrupted after 2 of 4 values"
    ElementTree.parse(tmp_path / "out" / "sweep.svg")


def test_a_sweep_interrupted_at_once_writes_nothing(monkeypatch: pytest.MonkeyPatch, swept, tmp_path: Path) -> None:
    import faultsim.assessment.sweep as module

    def stops(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "random_chips", stops)
    assert swept("vdd=0.9:0.75:4").code == 130
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1d", 86400), ("90 min", 5400), ("1mo", 2592000), ("10y", 315360000), ("1e3", 1000), ("0", 0)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds
    assert show_duration(seconds)


@pytest.mark.parametrize(("command", "count"), [("assess", 2), ("sweep", 2), ("harden", 3), ("attack", 2)])
def test_the_help_says_what_a_time_without_a_unit_is(faultsim, command: str, count: int) -> None:
    text = " ".join(faultsim(command, "--help").out.split())
    assert text.count("seconds without a unit") == count  # --at, --exposure and --time-budget
    if command == "harden":
        assert "a step of l_star, sam, noise or randbet costs about what a plain one does" in text


@pytest.mark.parametrize("text", ["", "d", "-1d", "1 fortnight", "1e999y", "nan", "1d2h", "--1"])
def test_what_is_no_duration_is_said(faultsim, text: str) -> None:
    outcome = faultsim("assess", "digits", "-d", "pcm", f"--at={text}")
    assert outcome.code == 2
    assert (
        f"{text!r} is no duration; write such as 90min, 12h, 1d, 1mo or 10y; without a unit it is seconds"
        in outcome.err
    )


@pytest.mark.parametrize(
    "words", [("assess", "digits"), ("sweep", "digits", "--over", "vdd=0.9,0.8"), ("devices", "show")]
)
def test_a_condition_that_the_device_has_not_is_an_error_everywhere(faultsim, words: tuple[str, ...]) -> None:
    device = ("sram",) if words[0] == "devices" else ("-d", "sram")
    outcome = faultsim(*words, *device, "--at", "1d")
    assert outcome.code == 2
    assert "no law of device sram_low_voltage depends on --at; the conditions that it has: --vdd" in outcome.err


@pytest.fixture
def campaign(faultsim, tmp_path: Path) -> Path:
    words = ("assess", "digits_int8", "-d", "sram", "--site-trials", 0, "--search-gradients", 1)
    assert faultsim(*words, *SMALL, "-o", tmp_path / "run", "--fault-list", tmp_path / "all.jsonl").code == 0
    return tmp_path / "run" / "result.json"


def test_a_replay_writes_the_faulty_model_and_the_faults(faultsim, campaign: Path, tmp_path: Path) -> None:
    outcome = faultsim("replay", campaign, "-t", 2, "-o", tmp_path / "b.onnx", "--fault-list", tmp_path / "f.jsonl")
    assert outcome.code == 0, outcome.err
    row = load_result(campaign).random.per_trial[2]
    assert f"{row.correct} of {row.n} correct, {row.mismatch} changed" in outcome.out
    assert "these are the counts of the result" in outcome.out
    mine = [json.loads(line) for line in (tmp_path / "f.jsonl").read_text().splitlines()]
    everything = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert mine == [one for one in everything if one["trial"] == 2]
    assert f"{len(mine) - 1} faults drawn" in outcome.out
    session = onnxruntime.InferenceSession(str(tmp_path / "b.onnx"), providers=["CPUExecutionProvider"])
    with np.load(load_result(campaign).data.source) as arrays:
        seen = session.run(None, {"image": arrays["image"][:40]})[0].argmax(1)
        labels = next(arrays[key] for key in arrays.files if key != "image")[:40]
    assert int((seen == labels).sum()) == row.correct
    clean = {
        one.name: numpy_helper.to_array(one) for one in onnx.load(load_result(campaign).model.path).graph.initializer
    }
    broken = {one.name: numpy_helper.to_array(one) for one in onnx.load(tmp_path / "b.onnx").graph.initializer}
    differing = sum(int((clean[name] != broken[name]).sum()) for name in clean)
    assert differing == sum(one.get("fate") == "in the model" for one in mine)


def test_counts_that_differ_are_an_exit_code(faultsim, campaign: Path, tmp_path: Path) -> None:
    changed = json.loads(campaign.read_text())
    row = changed["random"]["per_trial"][0]
    row["mismatch"] -= 1
    campaign.write_text(json.dumps(changed))
    outcome = faultsim("replay", campaign, "-t", 0)
    assert outcome.code == 1
    assert f"the result has {row['correct']} of 40 correct, {row['mismatch']} changed" in outcome.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[[", "no JSON"),
        ("{}", "schema_version must be a whole number from 1, missing"),
        ('{"schema_version": 99}', "newer than"),
        ('{"schema_version": 1, "seed": NaN}', "NaN"),
        ("[" * 100_000, "nested too deeply"),
        ('{"schema_version": 1}', "model: Field required"),
    ],
)
def test_a_file_that_is_no_result_is_one_error(faultsim, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    outcome = faultsim("replay", path, "-t", 0)
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_a_result_of_another_command_is_called_by_its_name(faultsim, tmp_path: Path) -> None:
    (tmp_path / "harden.json").write_text(harden().model_dump_json(by_alias=True))
    for place in (tmp_path / "harden.json", tmp_path):
        outcome = faultsim("replay", place, "-t", 0)
        assert outcome.code == 2
        assert "harden.json: is a hardening; give the result.json of faultsim assess" in " ".join(outcome.err.split())


@pytest.mark.parametrize(
    "words",
    [
        ("assess", "digits", "-d", "sram", *SMALL),
        ("attack", "digits", "--eps", 1, "--limit", 20, "--gradients", 1),
        ("probe", "digits", "--limit", 20),
    ],
)
def test_a_result_of_another_command_is_not_written_over(faultsim, tmp_path: Path, words: tuple[object, ...]) -> None:
    other = tmp_path / "result.json"
    for text in (bit_flips().model_dump_json(by_alias=True), '{"schema_version": 999, "kind": "bit_flip_campaign"}'):
        other.write_text(text)
        outcome = faultsim(*words, "--out", tmp_path)
        assert outcome.code == 2
        said = " ".join(outcome.err.split())
        assert "its result.json is a campaign of bit flips, which would be lost; give another folder" in said
        assert other.read_text() == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [("{", None), ("{}", None), ("[]", None), ('{"schema_version": 999, "clean": {}, "device": {}}', "result")],
)
def test_what_wrote_a_file_is_told_by_its_fields(tmp_path: Path, text: str, kind: str | None) -> None:
    (tmp_path / "result.json").write_text(text)
    assert kind_of(tmp_path / "result.json") == kind


@pytest.mark.parametrize("option", ["-o", "--fault-list"])
def test_a_place_that_cannot_be_written_is_said(faultsim, campaign: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_text("")
    outcome = faultsim("replay", campaign, "-t", 0, option, tmp_path / "file" / "x.onnx")
    assert outcome.code == 2
    assert "cannot be written" in outcome.err or "is a file; give a folder" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_sweep_into_a_file_is_refused_before_it_starts(faultsim, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    words = ("sweep", "digits", "-d", "sram", "--over", "vdd=0.9,0.8", *SMALL)
    outcome = faultsim(*words, "-o", tmp_path / "file")
    assert outcome.code == 2
    assert "is a file; give a folder" in outcome.err
