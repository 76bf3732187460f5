"""What was added to the contract since its first files: optional, consistent, and those files are still read."""

import json
from pathlib import Path

import jsonschema
import pytest
from example_result import chips
from pydantic import ValidationError

from faultsim.results import (
    Halted,
    Losses,
    OutcomeShare,
    RandomResult,
    Result,
    Scores,
    SdcFit,
    load_result,
    result_schema,
    to_dict,
    to_json,
)


def test_a_file_of_the_first_writer_of_this_version_is_still_read():
    result = load_result(Path(__file__).parent / "first_contract.json")  # written at commit 67aa402
    assert result.random.per_trial[0].correct == 56
    assert result.random.outcomes is None
    assert result.random.score is None
    assert result.random.per_trial[0].outcomes is None
    assert result.random.per_trial[0].detected == 0
    assert result.clean.score is None
    assert result.data.metric is None
    assert result.verdict.unjudged == ()
    assert json.loads(to_json(result))["random"]["sdc_fit"] is None
    assert load_result_again(result) == result
    jsonschema.validate(to_dict(result), result_schema())


def load_result_again(result: Result) -> Result:
    return Result.model_validate_json(to_json(result), strict=True)


def test_every_field_added_since_the_first_writer_is_optional():
    first = json.loads((Path(__file__).parent / "first_contract.json").read_text(encoding="utf-8"))
    schema = result_schema()

    def check(value: object, node: dict[str, object], place: str) -> None:
        for option in [node, *node.get("anyOf", [])]:
            resolved = schema["$defs"][option["$ref"].rsplit("/", 1)[1]] if "$ref" in option else option
            if isinstance(value, dict) and "properties" in resolved:
                for name, inner in value.items():
                    assert name in resolved["properties"], f"{place}.{name} is gone"
                    check(inner, resolved["properties"][name], f"{place}.{name}")
            if isinstance(value, list) and isinstance(resolved.get("items"), dict):
                for inner in value:
                    check(inner, resolved["items"], place)

    check(first, schema, "result")


def test_outcomes_that_do_not_follow_from_the_chips_are_refused():
    sample = chips(4).model_dump()
    sample["outcomes"]["critical"]["total"] += 1
    with pytest.raises(ValidationError, match=r"outcomes\.critical\.total = 94 does not follow from .* 93 on 4"):
        type(chips(4)).model_validate(sample)
    sample = chips(4).model_dump()
    sample["per_trial"][0]["outcomes"]["masked"] += 1
    sample["outcomes"]["masked"]["total"] += 1
    with pytest.raises(ValidationError, match="are not of the same number of inputs"):
        type(chips(4)).model_validate(sample)
    sample = chips(4).model_dump()
    sample["per_trial"][0]["outcomes"] = None
    with pytest.raises(ValidationError, match="on 3 of 4 chips"):
        type(chips(4)).model_validate(sample)


def test_swapped_scores_and_rates_are_refused():
    with pytest.raises(ValidationError, match=r"bad_low = 3\.0 lies above bad = 2\.0"):
        Scores(mean=2.5, bad=2.0, bad_low=3.0, min=1.0, max=4.0)
    with pytest.raises(ValidationError, match=r"value = 3\.0 lies above high = 2\.0"):
        SdcFit(value=3.0, low=0.0, high=2.0, device_fit=6.0, events=9)
    with pytest.raises(ValidationError, match=r"share = 0\.5 lies above high = 0\.25"):
        OutcomeShare(total=3, share=0.5, low=0.0, high=0.25)
    with pytest.raises(ValidationError, match=r"p95 = 3\.0 lies above max = 2\.0"):
        Losses(mean=1.0, max=2.0, p95=3.0)


def test_chips_that_halt_follow_from_the_rows_and_need_a_memory_that_stops():
    found = to_dict(chips(20))
    assert RandomResult.model_validate(found).halted is None
    found["per_trial"][3]["detected"] = 2
    found["halted"] = {"on_due": "halt", "chips": 1, "share": 0.05, "low": 0.0, "high": 0.3}
    assert RandomResult.model_validate(found, strict=False).halted.chips == 1
    found["halted"]["chips"] = 2
    with pytest.raises(ValidationError, match=r"halted\.chips = 2 does not follow from per_trial, which gives 1"):
        RandomResult.model_validate(found, strict=False)
    with pytest.raises(ValidationError, match="chips = 1 halt, but on_due is 'zero_word'"):
        Halted(on_due="zero_word", chips=1, share=0.5, low=0.0, high=1.0)
