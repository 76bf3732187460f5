"""A value that may be text or a mapping gets the one sentence that is about it, and none about what it is not."""

import pytest

from faultsim.errors import SpecError
from faultsim.scenario import parse_scenario

HEAD = "faultsim_scenario: 1\nname: mine\n"
REST = "models: [digits]\ndevices: [sram]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "models: [{model: digits, name: a, dta: x.npz}]\ndevices: [sram]\n",
            "<text>:3:35: models[0].dta: unknown key, did you mean 'data'?",
        ),
        ("models: [{name: b}]\ndevices: [sram]\n", "<text>:3:10: models[0].model: missing; add it"),
        (
            "models: [digits]\ndevices: [{device: sram, vnd: 1}]\n",
            "<text>:4:26: devices[0].vnd: unknown key; allowed: conditions, corners, device, name",
        ),
        (
            "models: [digits]\ndevices: [{device: 5}]\n",
            "<text>:4:20: devices[0].device: must be text, got 5; put it in quotes",
        ),
        (
            "models: [5]\ndevices: [sram]\n",
            "<text>:3:10: models[0]: must be text or a mapping of keys to values, got 5; put it in quotes",
        ),
        ("models: ['']\ndevices: [sram]\n", "<text>:3:10: models[0]: must have at least 1 characters, got 0"),
        (
            REST + "corners: {low: {vdd: {vdd: []}}}\n",
            "<text>:5:22: corners.low.vdd: must be text, a number or a list, got a mapping",
        ),
        (
            REST + "corners: {low: {vdd: {voltage: 0.9}}}\n",
            "<text>:5:22: corners.low.vdd: must be text, a number or a list, got a mapping",
        ),
        (
            REST + "corners: {low: {vdd: true}}\n",
            "<text>:5:22: corners.low.vdd: must be text, a number or a list, got true",
        ),
        (
            REST + "corners: {low: {vdd: [0.9, {}]}}\n",
            "<text>:5:28: corners.low.vdd[1]: must be text or a number, got a mapping",
        ),
        (REST + "include: [{}]\n", "<text>:5:11: include[0]: must be text, got a mapping"),
        (
            "models: [{model: digits, batch_axis: {x: q}}]\ndevices: [sram]\n",
            "<text>:3:42: models[0].batch_axis.x: must be a whole number or 'none', got the text 'q'",
        ),
    ],
)
def test_a_mistake_in_a_branch_is_told_once(text, said):
    """Pydantic reports what every member of a union lacks; the user made one mistake."""
    with pytest.raises(SpecError) as caught:
        parse_scenario(HEAD + text)
    assert str(caught.value).splitlines() == [said]
