"""Device profiles: the shipped ones are honest and complete, and a wrong one is told everything at once."""

import contextlib
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from faultsim.errors import SpecError
from faultsim.specs.device import DeviceSpec, device_schema
from faultsim.specs.load import load
from faultsim.specs.quantity import Provenance, Quantity
from faultsim.specs.yaml import read

ROOT = Path(__file__).parents[2]
PROFILES = sorted((ROOT / "devices").glob("*.yaml"))
FACTS = ROOT.parent / "shared" / "devices"
STRENGTH = ("illustrative", "recalled", "derived", "secondary", "verified")

GOOD = """\
faultsim_device: 1
name: mine
technology: sram
title: Mine
summary: A memory.
is_not: Not a flash.
sources:
  lab: {cite: "Our lab, 2026", read: primary}
  hearsay: {cite: "A talk", read: memory}
storage: {domain: digital, encoding: twos_complement, bits: 8}
mechanisms:
  - id: cells
    model: bit_error_rate
    target: weights
    persistence: permanent
    params: {ber: {value: 1e-3, unit: BER, status: verified, source: lab}}
assess: {confidence: 0.99, scope: per_tensor}
"""


def profile(path):
    return load(path, DeviceSpec)


def provenances(value):
    """Every value with a provenance inside *value*, with what is around it."""
    if isinstance(value, Provenance):
        yield value
    if hasattr(type(value), "model_fields"):
        value = [getattr(value, name) for name in type(value).model_fields]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from provenances(inner)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_shipped_profile_loads_and_is_named_like_its_file(path):
    device = profile(path)
    assert device.name == path.stem
    assert device.assess.acceptance


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_no_number_claims_more_than_its_source(path):
    device = profile(path)
    allowed = {"primary": 4, "secondary": 3, "memory": 1}
    found = list(provenances(device))
    assert len(found) >= 2
    for item in found:
        if item.status in ("verified", "secondary", "recalled"):
            assert STRENGTH.index(item.status) <= allowed[device.sources[item.source].read]
        elif item.status == "derived":
            assert item.formula
            assert item.rests_on


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_the_json_schema_accepts_a_shipped_profile(path):
    jsonschema.Draft202012Validator.check_schema(device_schema())
    jsonschema.Draft202012Validator(device_schema()).validate(read(path).value)


def test_the_json_schema_refuses_what_the_types_refuse():
    document = read(GOOD.replace("BER", "percent")).value
    assert list(jsonschema.Draft202012Validator(device_schema()).iter_errors(document))


@pytest.mark.shared
@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_no_status_is_better_than_in_the_sourced_facts(path):
    if not (FACTS / path.name).is_file():
        pytest.skip("the sourced facts are not beside the checkout")

    def statuses(node):
        if isinstance(node, dict):
            if "status" in node and isinstance(node.get("value", node.get("limit")), int | float | list | dict):
                yield repr(_floats(node.get("value", node.get("limit")))), node["status"]
            for inner in node.values():
                yield from statuses(inner)
        elif isinstance(node, list):
            for inner in node:
                yield from statuses(inner)

    facts = {}
    for value, status in statuses(yaml.safe_load((FACTS / path.name).read_text())):
        facts[value] = max(facts.get(value, 0), STRENGTH.index(status))
    ours = list(statuses(read(path).value))
    known = [(value, status) for value, status in ours if status != "illustrative"]
    assert [value for value, _ in known if value not in facts] == []
    assert [value for value, status in known if STRENGTH.index(status) > facts[value]] == []


def _floats(value):
    if isinstance(value, list):
        return [_floats(item) for item in value]
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    return float(value)


def test_the_derived_upset_rate_is_what_its_formula_says():
    device = profile(ROOT / "devices" / "fpga_bram_int8.yaml")
    params = device.mechanisms[0].params
    assert params.rate.value == pytest.approx(
        params.sigma.value * device.environment.neutron_flux.value * 1e15, rel=1e-3
    )


def test_a_good_profile_is_read_with_its_defaults():
    device = load(GOOD, DeviceSpec)
    assert device.storage.stores == ("weight", "bias", "norm")
    assert device.storage.ecc.scheme == "none"
    assert device.mechanisms[0].params.ber.trust == "verified"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bits: 8", "bits: 0", "m:10:61: storage.bits: must be between 1 and 16, got 0"),
        (
            "bit_error_rate",
            "bit_flp",
            "m:13:5: mechanisms[0].model: unknown 'bit_flp', did you mean 'bit_flip_",
        ),
        (
            "bit_error_rate",
            "bit_eror_rate",
            "m:13:5: mechanisms[0].model: unknown 'bit_eror_rate', did you mean",
        ),
        ("unit: BER", "unit: '%'", "m:16:39: mechanisms[0].params.ber.unit: wrong unit '%'; allowed: 'BER'"),
        (
            "1e-3",
            "'1e-3'",
            "m:16:27: mechanisms[0].params.ber.value: must be a number, got the text '1e-3'; remove",
        ),
        ("1e-3", "2", "m:16:27: mechanisms[0].params.ber.value: must be between 0 and 1, got 2"),
        ("1e-3", ".nan", "m:16:27: mechanisms[0].params.ber.value: must be a finite number, got .nan"),
        (
            "source: lab",
            "source: lap",
            "m:16:70: mechanisms[0].params.ber.source: 'lap' is not in sources:, did you",
        ),
        (
            ", source: lab",
            "",
            "ber.status: 'verified' needs a source; name a key of sources:, or call it 'illus",
        ),
        (
            "source: lab",
            "source: hearsay",
            "m:16:52: mechanisms[0].params.ber.status: 'verified' claims more than source 'hearsay'"
            " (read: memory); at most 'recalled'",
        ),
        (
            "verified, source: lab",
            "derived",
            "'derived' needs formula: and rests_on: (the status of its weakest",
        ),
        (
            "source: lab}",
            "source: lab, rests_on: recalled}",
            "rests_on: goes with status 'derived', not with",
        ),
        ("ber: {", "bre: {", "mechanisms[0].params.bre: unknown key, did you mean 'ber'?"),
        (
            "model: bit_error_rate",
            "modle: bit_error_rate",
            "mechanisms[0].model: missing; write 'model' for 'modle', if that is meant",
        ),
        (
            "encoding: twos_complement",
            "encoding: float16",
            "storage: bits: goes with the encodings twos_complement, ",
        ),
        ("name: mine", "name: ../mine", "m:2:7: name: must match ^[a-z0-9_]+$, got '../mine'"),
        (
            "assess:",
            "  - {id: cells, model: read_noise_1f, target: weights, persistence: transient, params: {t_read:"
            " {value: 1, unit: s, status: illustrative}, q_s: {value: {c: 1, exponent: 1, max: 1}, unit: '1',"
            " status: illustrative}}}\nassess:",
            "m:1:1: mechanism id 'cells' is given twice; mechanism 'cells' (read_noise_1f) cannot act on"
            " digital storage; storage.g_max is needed by the analog mechanisms",
        ),
    ],
)
def test_a_wrong_profile_is_told_what_and_where(old, new, message):
    with pytest.raises(SpecError) as caught:
        load(GOOD.replace(old, new, 1), DeviceSpec, name="m")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("{}", "needs exactly one of: ber, ber_vs_v_norm, or all of v_min, v_crash and ber_at_v_crash"),
        ("{v_min: {value: 1, unit: V, status: illustrative}}", "needs exactly one of: ber, ber_vs_v_norm"),
        (
            "{ber_vs_v_norm: {value: [[0.8, 0.1], [0.9, 0.0]], unit: '[V/Vmin, BER]', status: illustrative}}",
            "ber_vs_v_norm.value must hold at least two points, voltages falling and BER not falling",
        ),
        (
            "{v_min: {value: 1, unit: V, status: illustrative},"
            " v_crash: {value: 2, unit: V, status: illustrative},"
            " ber_at_v_crash: {value: 0.1, unit: BER, status: illustrative}}",
            "v_crash must be less than v_min",
        ),
    ],
)
def test_the_law_of_a_bit_error_rate_must_be_one(params, message):
    old = "{ber: {value: 1e-3, unit: BER, status: verified, source: lab}}"
    with pytest.raises(SpecError) as caught:
        load(GOOD.replace(old, params), DeviceSpec, name="m")
    assert f"m:16:13: mechanisms[0].params: {message}" in str(caught.value)


def test_multiplicities_must_add_up():
    shares = "{value: [0.5, 0.4], unit: 'P(size = 1, 2, ...)', status: illustrative}"
    spatial = f"spatial: {{pattern: row, multiplicity: {shares}}}"
    with pytest.raises(SpecError, match=r"mechanisms\[0\]\.spatial: multiplicity\.value must add up to 1, got 0\.9"):
        load(GOOD.replace("    params:", f"    {spatial}\n    params:"), DeviceSpec)


def test_a_derived_number_shows_what_it_rests_on():
    quantity = Quantity[float, str](value=1.0, unit="h", status="derived", formula="x", rests_on="recalled")
    assert quantity.trust == "derived from recalled"


SHIPPED = [path.read_text() for path in PROFILES]


@settings(max_examples=150, deadline=2000)
@given(
    st.sampled_from(SHIPPED),
    st.integers(0, 6000),
    st.integers(0, 60),
    st.sampled_from(["", "x", "1", ".nan", "{}", "[]", "~", "\n", "  ", ": ", "'", "&a *a", "!!int 1", "1e-3", "on"]),
)
def test_a_damaged_profile_is_still_a_profile_or_a_spec_error(text, start, length, put):
    start %= len(text)
    with contextlib.suppress(SpecError):
        load(text[:start] + put + text[start + length :], DeviceSpec)


def test_a_wrong_word_hides_nothing_beside_it():
    text = GOOD.replace("domain: digital, encoding", "domain: digitl, encodng").replace("bits: 8", "bits: 80")
    with pytest.raises(SpecError) as caught:
        load(text.replace("bit_error_rate", "bit_flp").replace("target: weights", "target: weigts"), DeviceSpec)
    said = str(caught.value)
    assert "storage.domain: unknown 'digitl', did you mean 'digital'?" in said
    assert "storage.encodng: unknown key, did you mean 'encoding'?" in said
    assert "storage.bits: must be between 1 and 16, got 80" in said
    assert "mechanisms[0].target: unknown 'weigts', did you mean 'weights'?" in said
    assert "n_flips" not in said  # what a bit_flp needs nobody knows


def test_what_no_law_simulates_can_be_declared():
    stuck = """\
mechanisms:
  - id: stuck
    model: declared
    target: weights
    persistence: permanent
    params:
      p_stuck_lrs: {value: 0.0904, unit: fraction of cells, status: illustrative}
      by_mode: {value: {bit: 14.2, word: 1.4}, unit: FIT/device, status: illustrative}
      levels: {value: [[0.0, 0.01], [1.0, 0.003]], unit: "[mean, sigma]", status: illustrative}
    settings: {direction: one_way_per_cell}
assess:"""
    before, _, after = GOOD.partition("mechanisms:")
    mechanism = load(before + stuck + after.partition("assess:")[2], DeviceSpec).mechanisms[0]
    assert mechanism.params["levels"].value == [[0.0, 0.01], [1.0, 0.003]]
    assert mechanism.settings == {"direction": "one_way_per_cell"}


CURVE = "{a_ln: -0.0125, b: -0.0059, min: 0.008, max: 0.045}"


@pytest.mark.parametrize(
    ("written", "messages"),
    [
        ("{a_ln: on, b: 0, min: 0, max: 1}", ["value.a_ln: must be a number, got the text 'on'"]),
        (
            "{a_ln: 1, b: 0, mn: 0, max: 1}",
            ["value.min: missing; add it", "value.mn: unknown key, did you mean 'min'?"],
        ),
        ("{points: [[0, 1], [1, x]]}", ["value.points[1][1]: must be a number, got the text 'x'"]),
        ("{coefficients: []}", ["value.coefficients: must hold at least 1 entries, got 0"]),
        (
            "{split: 0.5, below: {coefficients: [1]}, above: {points: [[0, on]]}}",
            ["value.above.points[0][1]: must be a number, got the text 'on'"],
        ),
        ("3", ["value: must be a mapping of keys to values, got 3"]),
    ],
)
def test_a_wrong_curve_is_told_once_as_the_curve_that_it_is(written, messages, tmp_path):
    text = (ROOT / "devices" / "pcm_analog.yaml").read_text()
    path = tmp_path / "pcm_analog.yaml"
    path.write_text(text.replace(f"nu_std: {{value: {CURVE}", f"nu_std: {{value: {written}"))
    with pytest.raises(SpecError) as caught:
        profile(path)
    said = [line.split("params.nu_std.", 1)[1] for line in str(caught.value).splitlines()]
    assert said == messages


def test_a_curve_in_two_branches_is_read(tmp_path):
    text = (ROOT / "devices" / "pcm_analog.yaml").read_text()
    path = tmp_path / "pcm_analog.yaml"
    branches = f"{{split: 0.5, below: {{coefficients: [0.01]}}, above: {CURVE}}}"
    path.write_text(text.replace(f"nu_std: {{value: {CURVE}", f"nu_std: {{value: {branches}"))
    curve = next(m for m in profile(path).mechanisms if m.model == "power_law_drift").params.nu_std.value
    assert curve.below.coefficients == (0.01,)
    assert curve.above.max == 0.045


def test_how_a_source_was_read_is_a_word(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("read: primary", "read: [primary]"))
    with pytest.raises(SpecError, match=r"sources.lab.read: must be 'primary', 'secondary' or 'memory', got a list"):
        profile(path)
