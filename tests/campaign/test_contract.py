"""The contract of a campaign's result: its schema is up to date, and every result fits it."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from campaign_nets import Tiny

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, run_campaign
from faultsim.results.injection import InjectionResult, schema_text


def test_the_schema_in_docs_is_up_to_date(root: Path) -> None:
    committed = (root / "docs" / "campaign.schema.json").read_text(encoding="utf-8")
    assert schema_text() == committed, "run: python -m faultsim.results.injection > docs/campaign.schema.json"


def test_the_command_writes_the_schema() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "faultsim.results.injection"], capture_output=True, text=True, check=True
    )
    assert run.stdout == schema_text()
    assert run.stderr == ""


@pytest.mark.parametrize(
    "given",
    [
        {"trials": 40, "stratify": "bit"},
        {"trials": 30, "flips": 3},
        {"until": "halfwidth<=0.2@0.9"},
        {"trials": 30, "screen": True},
    ],
)
def test_every_result_fits_the_schema_and_is_read_back(net: Tiny, given: dict[str, object]) -> None:
    result = run_campaign(net.path, options=Options(threads=1), campaign=CampaignOptions(**given))  # type: ignore[arg-type]
    text = result.model_dump_json(by_alias=True)
    jsonschema.validate(json.loads(text), json.loads(schema_text()))
    assert InjectionResult.model_validate_json(text) == result
