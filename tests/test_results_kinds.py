"""Which result a file holds is told by the file; what is none is refused in one sentence."""

import json
from pathlib import Path

import pytest
from example_kinds import attack, bitmap, campaign, harden, probe, shifted, sweep
from example_result import example

from faultsim.errors import SpecError
from faultsim.report.html import read_bundle
from faultsim.results import to_json
from faultsim.results.compare import compare
from faultsim.results.kinds import kind_of, load_any
from faultsim.results.run_comparison import compare_runs


@pytest.mark.parametrize(
    ("kind", "made"),
    [("result", example()), ("harden", harden()), ("sweep", sweep()), ("campaign", campaign()), ("attack", attack()),
     ("attack", attack(cells=True)), ("probe", probe()), ("bitmap", bitmap())],
)  # fmt: skip
def test_a_file_tells_its_kind(kind, made, tmp_path):
    path = tmp_path / "any.json"
    path.write_text(made.model_dump_json(by_alias=True))
    assert load_any(path) == (kind, made)


def test_a_file_of_the_first_contract_is_read():
    found = load_any(Path(__file__).parent / "first_contract.json")
    assert found.kind == "result"
    assert found.section.random is not None


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "no JSON"),
        ("[]", "must be an object"),
        ("{}", "schema_version must be a whole number"),
        ('{"schema_version": 2}', "newer than 1"),
        ('{"schema_version": 1, "figures": []}', "is a comparison; give the result of assess"),
        ('{"schema_version": 1}', "model: Field required"),
        ('{"schema_version": 1, "before": {}, "after": {}}', "seed: Field required"),
        ('{"schema_version": 1, "seed": NaN}', "holds NaN"),
    ],
)
def test_what_is_none_is_refused(text, match, tmp_path):
    path = tmp_path / "any.json"
    path.write_text(text)
    with pytest.raises(SpecError, match=match):
        load_any(path)


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (compare(shifted(0), shifted(1)), "a comparison"),
        (compare_runs({"a": shifted(0)}, {"a": shifted(1)}), "a comparison of two runs of a scenario"),
    ],
)
def test_a_comparison_of_any_kind_is_refused_in_one_sentence(made, what, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(made.model_dump_json(by_alias=True))
    with pytest.raises(SpecError) as caught:
        load_any(path)
    assert str(caught.value) == (
        f"{path}: is {what}; give the result of assess, sweep, harden, campaign, attack, probe, bitmap, run"
    )
    assert kind_of(path) is None


def test_a_comparison_is_named(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(compare(shifted(0), shifted(1)).model_dump_json())
    with pytest.raises(SpecError, match="is a comparison"):
        load_any(path)


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "any.json"
    path.write_text(to_json(example()))
    with pytest.raises(SpecError, match="larger than 100 bytes"):
        load_any(path, limit_bytes=100)


def test_a_folder_is_read_whole(tmp_path):
    (tmp_path / "result.json").write_text(to_json(example()))
    (tmp_path / "sweep.json").write_text(sweep().model_dump_json(by_alias=True))
    (tmp_path / "other.json").write_text(json.dumps({}))
    bundle = read_bundle(tmp_path)
    assert (bundle.result, bundle.sweep, bundle.harden) == (example(), sweep(), None)
    assert bundle.path == str(tmp_path / "result.json")
    with pytest.raises(SpecError, match="is a folder"):
        load_any(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"holds none of result.json, harden.json"):
        read_bundle(tmp_path)


def test_a_hardening_alone_shows_the_model_after_it(tmp_path):
    (tmp_path / "harden.json").write_text(harden().model_dump_json(by_alias=True))
    bundle = read_bundle(tmp_path)
    assert bundle.hardening_alone
    assert list(bundle.documents()) == ["harden"]
