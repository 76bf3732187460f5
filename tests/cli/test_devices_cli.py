"""What ``faultsim devices`` says of numbers: which a figure rests on, how far to trust them, what to require."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from faultsim import assess, load_device
from faultsim.assessment import Options
from faultsim.corruption import Site
from faultsim.criteria import parse_criterion
from faultsim.device import Device
from faultsim.device.analog import analog_parts
from faultsim.device.conditions import Conditions, resolve
from faultsim.device.digital import logic_laws, memory_laws
from faultsim.device.numbers import numbers
from faultsim.device.periphery import activation_events, effects
from faultsim.formats import FloatFormat
from faultsim.library import find_model, list_devices
from faultsim.specs.quantity import Quantity


def part(text: str, title: str) -> str:
    """Return the lines under *title* up to the next empty line."""
    return text.partition(f"\n{title}")[2].partition("\n\n")[0]


@pytest.fixture
def shown(faultsim):
    """Show a device; a part of what it says as one line, or all."""

    def show(*words: object, title: str | None = None) -> str:
        outcome = faultsim("devices", "show", *words)
        assert (outcome.code, outcome.err) == (0, "")
        assert all(len(line) <= 80 for line in outcome.out.splitlines())
        return outcome.out if title is None else " ".join(part(outcome.out, title).split())

    return show


@pytest.fixture
def profile(root, tmp_path):
    """Write a profile made from one of the library by text replacement."""

    def write(name: str, *changes: tuple[str, str]):
        text = (root / "devices" / f"{name}.yaml").read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


USED = "Numbers that the laws use:"
BESIDE = "Published numbers beside them, and others that no law reads:"


@pytest.mark.parametrize("name", ["hbm_gpu", "rad_space_leo"])
def test_the_shares_by_size_are_numbers_that_a_law_uses(shown, name):
    assert re.search(r"\* \w+\.spatial\.multiplicity = \[0\.\d.*?\] P\(size", shown(name, title=USED))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("gpu_sram_automotive", "* storage.capacity = 32 Mbit [illustrative]"),
        ("pcm_analog", "storage.g_max = 25 uS [verified: aihwkit]"),
        ("sram_low_voltage", "* environment.v_norm = 0.8 V/Vmin [illustrative]"),
        ("fpga_config_seu", "* environment.flux_factor = 1 x NYC sea level [illustrative]"),
        ("nor_flash_mcu", "environment.temperature = 85 C [verified"),
        ("hbm_gpu", "* assess.exposure = 8760 h [illustrative]"),
    ],
)
def test_numbers_outside_the_mechanisms_are_listed_where_a_law_reads_them(shown, name, number):
    assert number in shown(name, title=USED)


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("rad_space_leo", ("proton_seu_sram.sigma", "scrub_period", "storage.capacity", "environment.dose_rate")),
        ("fpga_bram_int8", ("seu_bram.sigma", "environment.v ", "environment.neutron_flux", "storage.capacity")),
        ("dram_field_faults", ("field_modes.scrub = 10800 s",)),
        ("dram_rowhammer", ("rowhammer.hc_first",)),
    ],
)
def test_what_no_law_reads_stands_apart(shown, name, beside):
    text = shown(name)
    for one in beside:
        assert one in " ".join(part(text, BESIDE).split())
        assert one not in part(text, USED)


@pytest.mark.parametrize("name", list_devices())
def test_every_number_of_a_profile_is_shown_once_and_fits_the_terminal(shown, name):
    text = shown(name)
    for one in numbers(load_device(name).spec):
        assert text.count(f" {one.name} = ") == 1


def moved(value: Any) -> Any:
    """Return a value near *value*, of its kind: shares that add up to 1 change places, others grow."""
    if hasattr(value, "model_dump"):
        names = list(value.model_dump())
        new = moved(tuple(getattr(value, name) for name in names))
        return value.model_copy(update=dict(zip(names, new, strict=True)))
    if isinstance(value, tuple):
        flat = all(isinstance(one, int | float) for one in value)
        return value[::-1] if flat and abs(sum(value) - 1) < 1e-9 else tuple(moved(one) for one in value)
    if isinstance(value, int):
        return 2 * value
    return value * 0.97 + 0.0037


def replaced(part: Any, path: list[str], quantity: Quantity[Any, Any]) -> Any:
    """Return *part* with the quantity at *path* replaced; nothing is validated."""
    name, at = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", path[0]).groups()
    old = getattr(part, name)
    inner = old if at is None else old[int(at)]
    new = quantity if len(path) == 1 else replaced(inner, path[1:], quantity)
    whole = new if at is None else (*old[: int(at)], new, *old[int(at) + 1 :])
    return part.model_copy(update={name: whole})


def acts(library: Device, spec: Any) -> str:
    """Return all that a profile does to a tensor, as text."""
    device, world = replace(library, spec=spec), resolve(spec, None)
    site = Site(name="w", shape=(4, 3), format=FloatFormat(), layer="w", kind="gemm", role="weight", depth=0)
    stored = device.store({"w": (site, np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))})
    digital = spec.storage.domain == "digital"
    laws = [*memory_laws(spec, world), *logic_laws(spec, world)] if digital else analog_parts(spec, world)
    return repr((laws, effects(spec, 0, 0, world), activation_events(spec, world), [s.format for s in stored.values()]))


@pytest.mark.parametrize("name", list_devices())
def test_a_number_is_used_exactly_where_it_changes_what_the_device_does(name):
    library = load_device(name)
    spec = library.spec
    if spec.environment.temperature is not None:  # away from the reference, where the activation energy says nothing
        warm = spec.environment.temperature.model_copy(update={"value": 60.0})
        spec = replaced(spec, ["environment", "temperature"], warm)
    before = acts(library, spec)
    ids = [mechanism.id for mechanism in spec.mechanisms]
    for one in numbers(spec):
        facts = one.mechanism is not None and one.parameter in spec.mechanisms[ids.index(one.mechanism)].facts
        if one.role == "left_out" or facts:
            continue
        path = one.parameter.split(".")
        if one.mechanism is not None:
            inside = [] if path[0] == "spatial" else ["params"]
            path = [f"mechanisms[{ids.index(one.mechanism)}]", *inside, *path]
        other = one.quantity.model_copy(update={"value": moved(one.quantity.value)})
        assert other != one.quantity
        changed = acts(library, replaced(spec, path, other)) != before
        assert changed == (one.role == "used"), one.name


def test_defaults_of_conditions_have_a_status(shown):
    title = "Conditions that can be given:"
    assert "--vdd by default 0.8 V/Vmin [illustrative]" in shown("sram_low_voltage", title=title)
    assert "--temperature by default 85 °C [verified" in shown("nor_flash_mcu", title=title)
    leo = shown("rad_space_leo", title=title)
    assert re.fullmatch(r"--flux by default .* 1.* \[illustrative\] --exposure by default .* \[illustrative\]", leo)
    assert "[what the rate is given for]" in shown("hbm_gpu", title=title)
    assert "--at by default 1 day [the profile's choice]" in shown("pcm_analog", title=title)


def test_a_star_is_on_what_rests_on_weak_numbers_and_is_explained(faultsim):
    out = faultsim("devices").out
    stars = {line.split()[0] for line in out.partition("\n\n")[0].splitlines() if line.endswith("*")}
    assert stars == {
        name for name in list_devices() if any(n.weak for n in numbers(load_device(name).spec) if n.role == "used")
    }
    assert "gpu_sram_automotive" in stars
    assert not stars & {"reram_1t1r", "pcm_analog", "sonos_analog"}
    foot = " ".join(out.partition("\n\n")[2].split())
    assert "* a figure rests on a number that is recalled or illustrative" in foot
    assert "Recommended requirements do not count" in foot


@pytest.mark.parametrize("name", list_devices())
def test_recommended_requirements_can_be_passed_on_or_say_why_not(shown, name):
    text = part(shown(name), "Recommended requirements")
    offered = re.findall(r"^    --require '(\S+)'$", text, flags=re.MULTILINE)
    criteria = load_device(name).spec.assess.acceptance
    assert len(offered) + text.count("    no --require: ") == len(criteria)
    for one, said in zip(criteria, offered, strict=False):
        assert parse_criterion(said).limit == one.limit


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpu_sram", "sdc_fit 10 at mean [verified: ti] --require 'sdc_fit<=10'"),
        ("dram_rowhammer", "--require 'worst_case_drop<=0.1'"),
        ("reram_stuck_at", "--require 'accuracy_drop<=0.01@p99'"),
        ("fefet", "[verified: mueller23] --require 'accuracy_drop<=0.01@mean'"),
        ("pcm", "--require 'accuracy_drop<=0.01@mean'"),
        ("leo", "--require 'accuracy_drop<=0.01@p99'"),
    ],
)
def test_the_text_of_a_requirement(shown, name, said):
    assert said in shown(name, title="Recommended requirements")


def test_requirements_that_no_text_states(shown, profile):
    rare = profile("reram_stuck_at", ("confidence: 0.99", "confidence: 0.999"))
    assert "whole percentiles up to p99, not 99.9 %" in shown(rare, title="Recommended requirements")
    loss = profile(
        "reram_stuck_at", ("top1_drop_abs, limit: 0.01, at: quantile", "loss_increase, limit: 1, at: worst_case")
    )
    assert "loss_increase at worst_case is no metric" in shown(loss, title="Recommended requirements")
    for metric, said in (
        ("relative_accuracy", "faultsim judges no ratio; give limit times clean accuracy as accuracy>=..."),
        ("p_fail", "faultsim judges no probability that a chip fails"),
    ):
        other = profile("reram_stuck_at", ("top1_drop_abs, limit: 0.01, at: quantile", f"{metric}, limit: 1, at: mean"))
        assert f"no --require: {said}" in shown(other, title="Recommended requirements")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("dram", "field_modes: no budget, the profile bounds the chip as a whole (scope: global)"),
        ("gpu_sram", "buffer_seu: no budget, it acts while the network runs"),
    ],
)
def test_a_device_without_budgets_says_why_and_has_no_empty_table(shown, name, why):
    text = shown(name, "--model", "digits", title="Budgets on digits")
    assert why in text
    assert "L2 radius" not in text


def test_global_budgets_are_in_the_table(shown):
    text = shown("hbm", "--model", "digits", title="Budgets on digits")
    assert "L2 radius global hbm_multibit 9,930 4 no ball" in text
    pcm = shown("pcm", "--model", "digits", title="Budgets on digits")
    assert "adc: no budget" in pcm
    assert "programming: no budget" not in pcm


@pytest.mark.parametrize("encoding", ["twos_complement", "sign_magnitude", "offset_binary", "fixed_point"])
def test_one_bit_of_an_integer_encoding_is_refused_by_the_check(faultsim, profile, encoding):
    more = "\n  fraction_bits: 0" if encoding == "fixed_point" else ""
    path = profile(
        "sram_low_voltage",
        ("encoding: twos_complement", f"encoding: {encoding}"),
        ("\n  bits: 8", f"\n  bits: 1{more}"),
    )
    outcome = faultsim("devices", "check", path)
    assert (outcome.code, outcome.out) == (2, "")
    assert re.search(
        r"mine\.yaml:\d+:\d+: storage.*bits: 1 holds no magnitude; give 2 or more, or encoding binary", outcome.err
    )


def test_the_assumptions_of_a_result_are_the_numbers_that_laws_use():
    options = Options(conditions=Conditions(exposure_h=24.0), trials=3, limit=20, site_trials=0, search_gradients=1)
    result = assess(find_model("digits"), "hbm", options=options)
    said = {(one.mechanism, one.parameter): one for one in result.device.assumptions}
    spec = load_device("hbm").spec
    assert set(said) == {(one.mechanism, one.parameter) for one in numbers(spec) if one.role == "used"}
    assert said["hbm_multibit", "spatial.multiplicity"].status == "illustrative"
    assert (said[None, "assess.exposure"].value, said[None, "assess.exposure"].status) == ("24 h", "given")
