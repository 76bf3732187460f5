"""A sweep and a bit map as lines: 80 columns, and the same figures as the page, of a loss too."""

from example_kinds import bitmap, sweep

from faultsim.report import bitmap as of_bitmap
from faultsim.report.html.view_more import sweep_view
from faultsim.report.sweep import lines

LONG = ("a value of this sweep was left out, since the profile says nothing of it at all: " + "0.6 V " * 9,)


def narrow(said: list[str]) -> bool:
    return all(len(line) <= 80 for line in said)


def test_long_notes_and_a_long_summary_keep_to_80_columns():
    found = sweep()
    device = found.device.model_copy(update={"summary": "a device of which there is a lot to be said " * 4})
    said = lines(found.model_copy(update={"notes": LONG, "device": device}))
    assert narrow(said)
    assert " ".join(" ".join(said).split()).endswith(" ".join(f"note: {LONG[0]}".split()))
    said = of_bitmap.lines(bitmap().model_copy(update={"notes": LONG}))
    assert narrow(said)
    assert "  note: a value of this sweep" in "\n".join(said)


def test_a_sweep_of_a_loss_has_the_percentile_of_its_page():
    found = sweep()
    data = found.data.model_copy(update={"headline": "loss", "loss": "mean squared error"})
    found = found.model_copy(update={"data": data})
    said, page = lines(found), sweep_view(found)
    assert page["edge"] == "95th percentile"
    head = next(line for line in said if line.startswith("  vdd"))
    assert head.split() == ["vdd", "mean", "95%", "interval", "p95", "worst"]
    for line, row in zip(said[said.index(head) + 1 :], page["rows"], strict=False):
        assert row["edge"] in line
        assert line[head.index("p95") - 5 : head.index("p95") + 3].strip() == row["edge"]
    assert narrow(said)
