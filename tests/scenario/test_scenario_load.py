"""A scenario file says what is wrong with it, all at once and with places; includes stay where they may be."""

import itertools
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from faultsim.errors import FaultsimError, OptionError, SpecError
from faultsim.library import list_devices
from faultsim.scenario import Scenario, parse_scenario
from faultsim.specs.scenario import scenario_schema
from faultsim.specs.yaml import MAX_BYTES

HEAD = "faultsim_scenario: 1\nname: mine\n"
WHOLE = HEAD + "models: [digits]\ndevices: [sram]\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems(text: str) -> list[str]:
    """Write a scenario into the working directory and return what is said of it, a line each."""
    Path("mine.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        Scenario.load("mine.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WHOLE + "sampling: {trails: 9}\n", "mine.yaml:5:12: sampling.trails: unknown key, did you mean 'trials'?"),
        (
            HEAD + "models: [digits]\ndevices:\n  - {device: sram, corners: {low: {vdd: 800 mV}}}\n",
            "mine.yaml:5:41: devices[0].corners.low.vdd: '800 mV' is no number; give one such as 0.8, in V/Vmin, "
            "without the unit",
        ),
        (
            HEAD + "models: [my.onnx]\ndevices: [sram]\n",
            "mine.yaml:3:10: models[0]: 'my.onnx': no such file in the scenario's folder; paths are relative to that "
            "folder",
        ),
        (
            HEAD + "models: [digits]\ndevices: [rerm]\n",
            f"mine.yaml:4:11: devices[0]: unknown device 'rerm', did you mean 'reram'? available: "
            f"{', '.join(list_devices())}; or give the path of a YAML file",
        ),
        (
            WHOLE + "require:\n  - accuracy_drop >= 1 % at p95\n",
            "mine.yaml:6:5: require[0]: requirement 'accuracy_drop >= 1 % at p95': >= cannot bound accuracy_drop: "
            "lower is better; write accuracy_drop<=1%",
        ),
    ],
    ids=["unknown key", "wrong unit", "missing file", "unknown device", "bad criterion"],
)
def test_each_of_five_typical_mistakes_gets_one_sentence_with_its_place_and_remedy(folder, text, said):
    assert problems(text) == [said]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "models: digits\ndevices: [sram]\n",
         "mine.yaml:3:9: models: must be a list, got the text 'digits'; write [digits]"),
        (HEAD + "models: [digits]\ndevices: [chip.yaml]\n",
         "mine.yaml:4:11: devices[0]: 'chip.yaml': no such file in the scenario's folder; paths are relative to that "
         "folder"),
        ("name: mine\nmodels: [digits]\ndevices: [sram]\n",
         "mine.yaml:1:1: faultsim_scenario: missing; add 'faultsim_scenario: 1', the version of the format"),
        (WHOLE + "name: mine\n", "mine.yaml:5:1: name: given twice, first in line 2; remove one of the two"),
        (HEAD + "models:\n\t- digits\n",
         "mine.yaml:4:1: not valid YAML: found character '\\t' that cannot start any token; indent with spaces"),
    ],
    ids=["no list", "missing profile", "no version", "twice", "tab"],
)  # fmt: skip
def test_five_more_get_theirs(folder, text, said):
    assert problems(text) == [said]


@pytest.mark.parametrize("text", ["profiles/", "./profiles", "profiles/inner"])
def test_a_folder_of_profiles_is_no_profile(folder, text):
    Path("profiles/inner").mkdir(parents=True)
    (said,) = problems(HEAD + f"models: [digits]\ndevices: [{text}]\n")
    assert said == (
        f"mine.yaml:4:11: devices[0]: '{text}': is a folder in the scenario's folder; give the path of one file in it"
    )


def test_a_profile_of_the_library_is_found_with_its_ending_too(folder):
    Path("mine.yaml").write_text(HEAD + "models: [digits]\ndevices: [reram_1t1r.yaml]\n")
    assert [case.name for case in Scenario.load("mine.yaml").cases] == ["digits/reram_1t1r"]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(folder):
    found = problems(
        "faultsim_scenario: 1\nname: a b\nmodels: [digitss]\ndevices: [rerm]\n"
        "sampling: {trials: 0}\nrequire: [nonsense]\n"
    )
    assert [line.split(": ")[0] for line in found] == [
        "mine.yaml:2:7",
        "mine.yaml:3:10",
        "mine.yaml:4:11",
        "mine.yaml:5:20",
        "mine.yaml:6:11",
    ]
    assert "did you mean the bundled model 'digits'?" in found[1]


def test_a_condition_that_no_law_has_is_told_for_every_device(folder):
    found = problems(HEAD + "models: [digits]\ndevices: [reram, sram]\ncorners: {low: {vdd: 0.9}, old: {at: 1y}}\n")
    assert [line.split(": ")[1] for line in found] == ["corners.low.vdd", "corners.old.at"]
    assert "no law of device reram_1t1r depends on vdd" in found[0]
    assert "give device reram 'corners' of its own" in found[0]


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ("overrides: [{cases: 'x*', skip: true}]", r"overrides\[0\].cases: fits no case; there are: digits/sram"),
        ("overrides: [{cases: '*', skip: true}]", "every case is skipped; leave one at least"),
        ("corners: {a: {vdd: []}}", r"corners.a.vdd: the list is empty; give one value at least, or leave it out"),
        ("corners: {a: {vdd: [0.9, 0.90]}}", "corners: two corners are called 'a-0.9'; rename one"),
        ("corners: {case.json: {vdd: 0.9}}", "is called 'case.json', as a file that a run writes; rename it"),
        ("hardening: {time_budget: soon}", "hardening.time_budget: 'soon' is no duration"),
        (f"corners: {{a: {{vdd: [{'1, ' * 1000}1]}}}}", "gives 1,001 cases, at most 1,000 are allowed"),
        (
            "corners: {a: {vdd: 800}}",
            "corners.a.vdd: vdd 800: must be above 0 and at most 10: it is in volts over the low",
        ),
        ("corners: {a: {vdd: 0.5}}", "corners.a: voltage 0.5 is below the BER table, which starts at 0.75"),
    ],
)
def test_what_cannot_be_expanded_is_refused_with_its_place(folder, more, match):
    Path("mine.yaml").write_text(WHOLE + more + "\n")
    with pytest.raises(SpecError, match=match):
        Scenario.load("mine.yaml")


def test_an_age_that_no_law_was_measured_at_is_told(folder):
    [line] = problems(HEAD + "models: [digits]\ndevices: [reram]\ncorners: {old: {at: 10y}}\n")
    assert "corners.old: conductance noise is known up to 172800 s after programming" in line


def test_what_no_case_asks_for_may_be_beyond_a_law(folder):
    Path("mine.yaml").write_text(
        HEAD + "models: [digits]\ndevices:\n"
        "  - {device: sram, conditions: {vdd: 0.5}, corners: {fine: {vdd: 0.9}, low: {vdd: 0.6}}}\n"
        "overrides: [{cases: '*/low', skip: true}]\n"
    )
    assert [one.name for one in Scenario.load("mine.yaml").cases] == ["digits/sram/fine"]


def test_events_of_a_model_are_not_judged_by_another_one(folder):
    Path("mine.yaml").write_text(HEAD + "models: [digits]\ndevices: [fpga_bram_int8]\ncorners: {a: {flux: 1e12}}\n")
    assert len(Scenario.load("mine.yaml").cases) == 1


@pytest.mark.parametrize(("data", "said"), [("", "judged by"), ("data: train.npz, ", "trained on")])
def test_what_a_hardening_chooses_by_is_neither_trained_on_nor_judged_by(folder, data, said):
    for name in ("train", "test"):
        Path(f"{name}.npz").touch()
    chosen = "train" if data else "test"
    [line] = problems(
        HEAD + "models: [{model: digits, data: test.npz}]\ndevices: [sram]\n"
        f"hardening: {{{data}validation_data: {chosen}.npz}}\n"
    )
    assert f"hardening.validation_data: is what case digits/sram is {said} too" in line


def test_lists_that_multiply_are_counted_before_they_are_expanded(folder):
    values = ", ".join(str(one) for one in range(1000))
    corner = ", ".join(f"{name}: [{values}]" for name in ("at", "vdd", "flux", "exposure", "temperature"))
    [line] = problems(WHOLE + f"corners: {{a: {{{corner}}}}}\n")
    assert "gives 1,000,000,000,000,000 cases" in line


def test_two_things_of_one_name_are_refused(folder):
    found = problems(HEAD + "models: [digits, digits]\ndevices: [sram, sram]\n")
    assert ["give one of them another 'name'" in line for line in found] == [True, True]


def test_a_list_of_conditions_belongs_in_corners(folder):
    [line] = problems(HEAD + "models: [digits]\ndevices: [{device: sram, conditions: {vdd: [0.8, 0.9]}}]\n")
    assert line == "mine.yaml:4:38: devices[0].conditions: holds a list of values; lists belong in corners"


def test_code_in_a_file_runs_only_where_it_is_allowed(folder):
    text = HEAD + "models: [{model: digits, data: 'my_data:load'}]\ndevices: [sram]\n"
    [line] = problems(text)
    assert "'my_data:load' runs Python code; give --allow-code if you trust this file" in line
    assert Scenario.load("mine.yaml", allow_code=True).cases[0].data == "my_data:load"


# includes


def test_a_key_of_the_including_file_wins_and_mappings_merge(folder):
    Path("base.yaml").write_text("sampling: {trials: 7, seed: 3}\nrequire: [accuracy >= 0.5, nonfinite <= 0]\n")
    Path("mine.yaml").write_text(WHOLE + "include: base.yaml\nsampling: {trials: 9}\nrequire: [accuracy >= 0.9]\n")
    [case] = Scenario.load("mine.yaml").cases
    assert (case.options.trials, case.options.seed, case.options.require) == (9, 3, ("accuracy>=0.9",))
    assert case.asked[0].source == "mine.yaml:7"


def test_what_is_wrong_in_an_included_file_is_told_with_its_own_place(folder):
    Path("base.yaml").write_text("sampling: {trials: many}\n")
    found = problems(HEAD + "include: base.yaml\nmodels: [digits]\ndevices: [rerm]\n")
    assert found[0].startswith("mine.yaml:5:11: devices[0]: unknown device 'rerm'")
    assert found[1] == "base.yaml:1:20: sampling.trials: must be a whole number, got the text 'many'"


def test_a_requirement_of_an_included_file_keeps_its_place(folder):
    Path("base.yaml").write_text("\n\nrequire:\n  - accuracy >= 0.5\n")
    Path("mine.yaml").write_text(WHOLE + "include: [base.yaml]\n")
    assert Scenario.load("mine.yaml").cases[0].asked[0].source == "base.yaml:4"


def test_a_file_that_includes_itself_is_refused(folder):
    Path("base.yaml").write_text("include: mine.yaml\n")
    assert (
        "includes itself: mine.yaml → base.yaml → mine.yaml; leave one of them out"
        in problems(WHOLE + "include: base.yaml\n")[0]
    )


def test_an_include_stays_in_the_scenarios_folder(folder):
    (folder.parent / "secret.yaml").write_text("require: [accuracy >= 0.5]\n")
    (folder / "link.yaml").symlink_to(folder.parent / "secret.yaml")
    for text in ("../secret.yaml", str(folder.parent / "secret.yaml"), "link.yaml"):
        [line] = problems(WHOLE + f"include: {text}\n")
        assert "lies elsewhere; an included file lies in the scenario's own folder" in line
    (folder.parent / "secret.yaml").unlink()


def test_a_missing_include_is_told(folder):
    assert "include: 'nowhere.yaml': no such file" in problems(WHOLE + "include: nowhere.yaml\n")[0]


def test_a_chain_of_includes_is_bounded(folder):
    for i in range(30):
        Path(f"part{i}.yaml").write_text(f"include: part{i + 1}.yaml\n")
    Path("part30.yaml").write_text("sampling: {trials: 3}\n")
    assert any(
        "more than 20 files are included; write them as fewer" in line
        for line in problems(WHOLE + "include: part0.yaml\n")
    )


# hostile files


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[" * 60 + "]" * 60, "nested more than 40 levels deep"),
        ("a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in itertools.pairwise("abcdefgh")
        ), "aliases expand to more than 50,000 values"),
        ("#" * (MAX_BYTES + 1), "at most 1,048,576 are allowed"),
        ("a: !!python/object/apply:os.system [x]", "is not allowed, nothing here is tagged"),
    ],
    ids=["deep", "aliases", "huge", "tag"],
)  # fmt: skip
def test_a_hostile_file_is_refused_at_once(folder, text, match):
    Path("mine.yaml").write_text(text)
    with pytest.raises(SpecError, match=match):
        Scenario.load("mine.yaml")


KEYS = (
    "models",
    "devices",
    "model",
    "device",
    "corners",
    "vdd",
    "require",
    "sampling",
    "include",
    "overrides",
    "cases",
)
PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
TREES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(TREES)
def test_any_tree_is_a_scenario_or_our_own_error(tree):
    base = {"faultsim_scenario": 1, "name": "x", "models": ["digits"], "devices": ["sram"]}
    text = yaml.safe_dump({**base, **tree} if isinstance(tree, dict) else tree)
    try:
        cases = parse_scenario(text).cases
    except FaultsimError:
        return
    assert cases


def test_a_folder_in_the_working_directory_hides_no_bundled_model(folder):
    Path("digits").mkdir()
    for found in (parse_scenario(WHOLE), Scenario.load("demo", model="digits")):
        assert found.cases[0].model.name == "digits_float.onnx"


# the schema


def test_the_schema_takes_the_library_and_refuses_what_the_loader_refuses(root):
    schema = scenario_schema()
    check = jsonschema.Draft202012Validator(schema)
    check.check_schema(schema)
    for file in sorted((root / "scenarios").glob("*.yaml")):
        check.validate(yaml.safe_load(file.read_text()))
    for wrong in ({}, {**yaml.safe_load(WHOLE), "trials": 3}, {**yaml.safe_load(WHOLE), "models": []}):
        assert not check.is_valid(wrong)


def test_an_unknown_scenario_gets_a_hint(folder):
    with pytest.raises(OptionError, match="unknown scenario 'dem', did you mean 'demo'"):
        Scenario.load("dem")


def test_the_example_of_the_documentation_is_a_scenario(folder, root):
    """Its blocks of YAML, put together, with the files that they name."""
    page = (root / "docs" / "scenarios.md").read_text()
    blocks = [part.partition("```")[0] for part in page.split("```yaml\n")[1:]]
    for name in ("detector_int8.onnx", "test.npz", "train.npz", "val.npz"):
        Path(name).write_bytes(b"")
    for name in ("team_defaults.yaml", "limits/automotive.yaml"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("sampling: {trials: 7}\n")
    Path("my_flash.yaml").write_bytes((root / "devices" / "nor_flash_mcu.yaml").read_bytes())
    whole, more, include = blocks
    Path("whole.yaml").write_text(whole)
    assert [case.name for case in Scenario.load("whole.yaml").cases] == [
        "detector_int8/sram_low_voltage/vdd-0.95",
        "detector_int8/sram_low_voltage/vdd-0.9",
        "detector_int8/flash",
    ]
    more = more.replace("vdd-0.8", "vdd-0.9")
    rest = whole.replace("sampling:\n  trials: 200\n", "")
    Path("more.yaml").write_text(rest + more + include)
    cases = Scenario.load("more.yaml").cases
    assert [case.name for case in cases] == ["detector_int8/sram_low_voltage/vdd-0.95", "detector_int8/flash"]
    assert cases[1].options.require == ("accuracy_drop<=0.5%@mean",)
    assert cases[0].options.trials == 200
