"""A comparison as text: it names a difference only where a test does."""

from example_kinds import shifted
from example_result import example

from faultsim.report.comparison import answer, lines
from faultsim.results.compare import compare
from faultsim.results.gates import parse_gate


def test_the_same_chips_are_said_and_the_difference_is_claimed():
    said = lines(compare(shifted(0), shifted(-10), names=("a", "b"), limits=[parse_gate("accuracy_drop>0.5%")]))
    assert said[0] == "first   a: digits_float.onnx on reram_1t1r, t = 1 day, 40 chips"
    assert said[2] == "chips   the same 40 chips, compared one by one"
    row = next(i for i, line in enumerate(said) if line.startswith("mean accuracy") and line.endswith("−1.67 pt"))
    assert said[row + 1].startswith("    worse, p")
    assert any(
        line.startswith("FAILED  mean accuracy: worse by 1.67 pt, more than the 0.50 pt allowed") for line in said
    )
    assert all(line == line.rstrip() and len(line) <= 80 for line in said)


def test_what_is_not_shown_is_not_named_a_difference():
    other = shifted(0).model_copy(update={"seed": 1})
    said = lines(compare(shifted(0), other))
    assert said[2] == "chips   two samples, not the same chips: the seeds differ (0 and 1)"
    assert any("not shown, p = 1" in line for line in said)
    assert not any(" better" in line or " worse" in line for line in said)


def test_without_chips_there_is_no_claim():
    bare = example().model_copy(update={"random": None})
    assert answer(compare(bare, bare)) == (
        "No difference can be claimed: no test could be made of the mean chip's accuracy."
    )
