"""Where a rate that grows with temperature ends: refused outside the profile's range, noted where it is cut."""

import math

import pytest

from faultsim.assessment import Options, assess
from faultsim.device import Conditions, load_device
from faultsim.device.digital import clamped, memory_laws
from faultsim.errors import OptionError, SpecError

RANGE = "        valid_range: "


@pytest.fixture
def flash(root, tmp_path):
    """The flash of the library with another line for its range of temperatures, or none; *one_way* as it is."""

    def make(line: str = "", *, one_way: bool = True):
        text = (root / "devices" / "nor_flash_mcu.yaml").read_text()
        lines = [line if one.startswith(RANGE) else one for one in text.splitlines()]
        assert line in lines
        path = tmp_path / "flash.yaml"
        path.write_text("\n".join(one for one in lines if one_way or "p_flip_0to1" not in one) + "\n")
        return load_device(path)

    return make


@pytest.mark.parametrize("celsius", [-200.0, -40.1, 150.1, 500.0])
def test_a_temperature_outside_the_range_is_refused(celsius):
    spec = load_device("nor_flash_mcu").spec
    with pytest.raises(OptionError) as caught:
        memory_laws(spec, Conditions(temperature_c=celsius))
    assert str(caught.value) == (
        f"mechanism retention_stress is known from -40 to 150 °C, got {celsius:g} °C; ask for a temperature between "
        "them, or measure there and widen arrhenius.valid_range in the profile"
    )


@pytest.mark.parametrize("celsius", [-40.0, 85.0, 150.0])
def test_the_ends_belong_to_the_range_and_follow_the_law(celsius):
    (law,) = memory_laws(load_device("nor_flash_mcu").spec, Conditions(temperature_c=celsius))
    factor = math.exp(1.1 / 8.617333262e-5 * (1 / 358.15 - 1 / (celsius + 273.15)))
    assert law.fault.ber() == pytest.approx(2 * 1e-5 * factor)  # of cells, which are right for half of the data
    assert clamped(load_device("nor_flash_mcu").spec, Conditions(temperature_c=celsius)) == []


@pytest.mark.parametrize("given", ["[150, -40]", "[90, 150]", "[-40, 80]", "[85, 85]"])
def test_a_range_holds_its_reference(flash, given):
    with pytest.raises(
        SpecError, match=r"valid_range\.value must be \[lowest, highest\] with the reference 85 C within"
    ):
        flash(f"{RANGE}{{value: {given}, unit: C, status: illustrative}}")


@pytest.mark.parametrize(("one_way", "most"), [(True, "0.5"), (False, "1")])
def test_a_rate_without_an_end_is_cut_and_both_are_said(flash, one_way, most):
    device = flash(one_way=one_way)
    said = "retention_stress: scaled to any temperature, the profile gives no arrhenius.valid_range."
    assert said in device.approximations()
    assert said not in load_device("nor_flash_mcu").approximations()
    rate = 1e-5 * math.exp(1.1 / 8.617333262e-5 * (1 / 358.15 - 1 / 773.15))
    assert clamped(device.spec, Conditions(temperature_c=500.0)) == [
        f"retention_stress: its rate comes out as {rate:.3g} wrong bits a bit and is cut at {most}, the most."
    ]
    assert clamped(device.spec, Conditions(temperature_c=85.0)) == []
    assert clamped(load_device("nor_flash_mcu").spec, Conditions(temperature_c=500.0)) == []  # refused, not cut


def test_a_report_notes_that_a_rate_was_cut(flash):
    options = Options(trials=1, limit=10, site_trials=0, search_gradients=1, conditions=Conditions(temperature_c=300.0))
    result = assess("digits_int8", flash(), options=options)
    assert any(note.startswith("retention_stress: its rate comes out as") for note in result.notes)
