"""What every profile of the library must keep: its file, its sources, its conditions, and a small campaign."""

import io
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_nets
import yaml
from rich.console import Console

from faultsim.assessment import Options, assess
from faultsim.assessment.chips import chip_row
from faultsim.assessment.setting import make_setting
from faultsim.corruption import Site, Stored
from faultsim.device import Device, load_device
from faultsim.device.digital import geometry
from faultsim.device.knobs import NAMES, conditions_from, knobs
from faultsim.device.laws import keeps_pattern, why_not
from faultsim.errors import OptionError
from faultsim.formats import FloatFormat
from faultsim.library import list_devices
from faultsim.memory import MemoryMap
from faultsim.report.terminal import render
from faultsim.results import Result
from faultsim.specs.device import DeviceSpec
from faultsim.specs.load import load
from faultsim.specs.quantity import quantities

DEVICES = list_devices()
OTHER = {
    "at": ("1h", "20h"),
    "vdd": ("0.85", "0.76"),
    "flux": ("2", "1e4"),
    "exposure": ("30min", "100y"),
    "temperature": ("20", "150"),
}
"""Two values of each condition, far enough apart that eight chips show it."""


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> Device:
    return load_device(request.param)


@pytest.fixture(scope="module")
def held(device: Device) -> dict[str, Stored]:
    rng = np.random.default_rng(3)
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {"w": ((16, 12), "weight"), "b": ((16,), "bias")}
    tensors = {}
    for name, (shape, role) in shapes.items():
        site = Site(name=name, shape=shape, format=FloatFormat(), layer="fc", kind="gemm", role=role, depth=0)
        tensors[name] = (site, rng.normal(size=shape).astype(np.float32))
    return device.store(tensors)


def test_a_profile_survives_a_round_trip_through_yaml(device: Device, tmp_path: Path) -> None:
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(device.spec.model_dump(mode="json", exclude_unset=True), sort_keys=False))
    assert load(path, DeviceSpec) == device.spec
    again = load_device(path)
    assert (again.name, again.summary) == (device.name, device.summary)


def test_every_number_says_where_it_comes_from(device: Device) -> None:
    found = list(quantities(device.spec))
    assert found
    for place, one in found:
        if one.status == "illustrative":
            continue
        assert one.source is not None or one.formula is not None, place
        if one.source is not None:
            assert device.spec.sources[one.source].cite, place
    cited = {one.source for _, one in found} | {one.source for one in device.spec.assess.acceptance}
    backed = cited & set(device.spec.sources)
    assert backed or all(one.status == "illustrative" for _, one in found), "its sources back none of its numbers"


def test_what_is_said_of_patterns_is_true(device: Device) -> None:
    said = " ".join(device.approximations())
    for one in device.spec.mechanisms:
        simulated = why_not(one) is None
        iid = one.spatial is None or one.spatial.pattern == "iid"
        assert (f"{one.id}: its pattern" in said) == (simulated and not iid and not keeps_pattern(one))


def figures(device: Device, held: dict[str, Stored], given: dict[str, str]) -> tuple[Any, ...]:
    """Everything about eight chips that a condition could change."""
    conditions = conditions_from(device.spec, given)
    drawn = [device.draw(held, 0, trial, conditions=conditions) for trial in range(8)]
    chips = tuple((one.corruption.digest, one.corrected_words, one.detected_words) for one in drawn)
    return chips, device.event_probability(held, conditions=conditions), device.fit(held, conditions=conditions)


def test_every_condition_of_a_device_changes_its_chips_or_their_rate(device: Device, held: dict[str, Stored]) -> None:
    for name, knob in knobs(device.spec).items():
        low, high = OTHER[name]
        assert figures(device, held, {name: low}) != figures(device, held, {name: high}), name
        if knob.own is not None:
            own = figures(device, held, {name: repr(knob.own) if knob.unit != "h" else f"{knob.own!r}h"})
            assert own == figures(device, held, {}), f"{name}: the profile's own value is not what it is drawn at"
            assert str(knob.own) not in ("nan", "inf")
            assert knob.show(knob.own)


def test_a_condition_that_a_device_has_not_is_one_error_that_names_those_it_has(device: Device) -> None:
    there = knobs(device.spec)
    has = ", ".join(f"--{name}" for name in there) or "none at all"
    for name in set(NAMES) - set(there):
        with pytest.raises(OptionError) as failed:
            conditions_from(device.spec, {name: OTHER[name][0]})
        expected = f"no law of device {device.name} depends on --{name}; the conditions that it has: {has}"
        assert str(failed.value) == expected


def test_the_order_of_the_tensors_does_not_matter(device: Device, held: dict[str, Stored]) -> None:
    turned = dict(reversed(held.items()))
    for trial in range(6):
        one, other = device.draw(held, 1, trial), device.draw(turned, 1, trial)
        assert one.corruption == other.corruption
        assert one[2:] == other[2:]


def test_a_bound_is_a_size_and_nothing_is_bounded_by_not_a_number(device: Device, held: dict[str, Stored]) -> None:
    for p, confidence in itertools.product((1, 2, math.inf), (0.5, 0.999)):
        for bound in device.budgets(held, p=p, confidence=confidence):
            most = sum(one.site.elements for one in held.values())
            if bound.scope != "global":
                most = held[bound.scope].site.elements
            assert bound.eps >= 0
            assert 0 <= bound.n <= most


def test_a_memory_holds_every_bit_once(device: Device, held: dict[str, Stored]) -> None:
    if device.spec.storage.domain != "digital":
        pytest.skip("conductances have no words")
    layout = MemoryMap(list(held.values()), geometry(device.spec.storage))
    assert layout.cells >= sum(one.site.elements * one.format.bits for one in held.values())


@pytest.fixture(scope="module")
def qonnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_nets.save(tiny_nets.qonnx(), tmp_path_factory.mktemp("nets") / "q.onnx", tiny_nets.samples())


@pytest.mark.parametrize(("model", "site_trials"), [("digits", 0), ("digits_int8", 1), ("qonnx", 1)])
def test_a_small_campaign_runs_and_its_report_is_80_columns_wide(
    device: Device, model: str, site_trials: int, qonnx: Path
) -> None:
    options = Options(trials=2, limit=20, site_trials=site_trials, search_gradients=1, search_samples=20)
    found = assess(str(qonnx) if model == "qonnx" else model, device, options=options)
    assert found.random is not None
    assert [row.n for row in found.random.per_trial] == [20, 20]
    assert Result.model_validate_json(found.model_dump_json(by_alias=True)) == found
    page = io.StringIO()
    render(found, Console(file=page, width=80))
    text = page.getvalue().splitlines()
    assert all(len(line) <= 80 for line in text if not line.startswith("next ")), text
    assert device.name in page.getvalue()
    for one in found.budget:
        assert one.eps >= 0
        assert one.n <= one.elements
    for row in found.random.per_trial:
        if row.outcomes is not None:
            assert sum(row.outcomes.model_dump().values()) == row.n


def test_a_trial_scores_the_same_alone_and_after_others(device: Device, qonnx: Path) -> None:
    options = Options(trials=3, limit=20, site_trials=0, search_gradients=1)
    whole = assess(str(qonnx), device, options=options)
    assert whole.random is not None
    setting = make_setting(str(qonnx), device, None, options, torch_device="cpu")
    from faultsim.assessment.chips import clean_scores

    clean_scores(setting)
    alone, _ = chip_row(setting, 2)
    assert alone == whole.random.per_trial[2]
