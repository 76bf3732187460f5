"""The figures as files: well-formed, named, of the same numbers as the result."""

import re
from xml.etree import ElementTree

import pytest
from example_kinds import attack, bitmap, campaign, harden, sweep
from example_result import example
from hypothesis import example as known
from hypothesis import given
from hypothesis import strategies as st

from faultsim.report.html import Bundle, figures, write_figures
from faultsim.report.html.chart import bounded, linear, logarithmic
from faultsim.report.html.draw_harden import harden_charts
from faultsim.report.html.svg import file_text

SVG = "{http://www.w3.org/2000/svg}"
ALL = Bundle(result=example(), harden=harden(), sweep=sweep(), campaign=campaign(), attack=attack(), bitmap=bitmap())


def test_every_kind_has_its_figures():
    assert set(figures(ALL)) == {
        "chips", "random-against-worst", "damage-along-the-graph", "sweep", "before-and-after",
        "chips-before-and-after", "training-loss", "validation-score", "tensor-by-bit", "attack", "bit-map-8",
        "bit-map-32",
    }  # fmt: skip
    assert list(figures(Bundle(attack=attack(cells=True)))) == ["attack-cells"]


def test_files_are_vector_and_raster_and_named_for_who_cannot_see_them(tmp_path):
    written = write_figures(figures(ALL).values(), tmp_path / "made")
    assert len(written) == 2 * len(figures(ALL))
    for path in written:
        data = path.read_bytes()
        if path.suffix == ".png":
            assert data.startswith(b"\x89PNG\r\n\x1a\n")
            continue
        root = ElementTree.fromstring(data)
        assert root.tag == f"{SVG}svg"
        assert (root.find(f"{SVG}title").text or "").strip()
        assert (root.find(f"{SVG}desc").text or "").strip()


def test_the_histogram_holds_every_chip():
    result = example()
    bars = figures(Bundle(result=result))["chips"].marks[0].boxes
    assert sum(bar.y1 for bar in bars) == result.random.trials
    values = [100 * row.correct / row.n for row in result.random.per_trial]
    for bar in bars:
        inside = [value for value in values if bar.x0 - 1e-9 <= value <= bar.x1 + 1e-9]
        assert len(inside) >= bar.y1


def test_the_curve_of_a_sweep_is_of_its_means_and_shows_every_chip():
    found = sweep()
    marks = figures(Bundle(sweep=found))["sweep"].marks
    mean = next(mark for mark in marks if mark.label == "mean chip")
    assert mean.points == tuple((one.value, 100 * one.random.accuracy.mean) for one in found.points)
    each = next(mark for mark in marks if mark.label == "each chip")
    assert len(each.points) == sum(one.random.trials for one in found.points)
    worst = next(mark for mark in marks if mark.label == "worst drawn")
    assert [y for _, y in worst.points] == [100 * one.random.accuracy.min for one in found.points]


def _curve(*points, best_step=0):
    """A hardening whose training went through points (step, training loss, clean loss, accuracy, score)."""
    whole = harden()
    names = "step", "train_loss", "loss", "accuracy", "score"
    first = whole.training.curve[0]
    curve = tuple(first.model_copy(update=dict(zip(names, one, strict=True))) for one in points)
    return whole.model_copy(
        update={"training": whole.training.model_copy(update={"curve": curve, "best_step": best_step})}
    )


def _drawn(hardened):
    return {one.name: {mark.label: mark for mark in one.marks} for one in harden_charts(hardened)}


def test_the_training_is_drawn_over_its_steps_and_the_step_that_was_taken_is_marked():
    points = (0, None, 0.2, 0.9, 0.5), (5, 2.0, 0.3, 0.8, 0.6), (9, 1.0, 0.1, 0.95, 0.7), (12, 0.5, 0.2, 0.9, 0.65)
    drawn = _drawn(_curve(*points, best_step=9))
    loss, score = drawn["training-loss"], drawn["validation-score"]
    assert loss["training loss"].points == ((5, 2.0), (9, 1.0), (12, 0.5))
    assert loss["clean, validation samples"].points == ((0, 0.2), (5, 0.3), (9, 0.1), (12, 0.2))
    assert score["validation score"].points == tuple((step, pytest.approx(100 * s)) for step, *_, s in points)
    assert score["clean accuracy"].points == tuple((step, pytest.approx(100 * a)) for step, _, _, a, _ in points)
    for marks in (loss, score):
        assert (marks["taken"].at, marks["taken"].axis) == (9, "x")


def test_a_training_that_diverged_does_not_flatten_the_rest_of_its_curve():
    points = (0, None, 0.2, 0.9, 0.5), (5, 1.0, 0.3, 0.8, 0.7), (9, None, 1e30, 0.1, -1e9)
    charts = {one.name: one for one in harden_charts(_curve(*points, best_step=5))}
    axis = charts["validation-score"].y
    assert -70 < axis.low < -25  # a hundred points below the best, and some room
    assert charts["validation-score"].marks[0].label == "validation score, cut below"
    assert charts["training-loss"].y.log
    of_losses = (0, None, 0.2, None, -0.2), (5, 1.0, 0.1, None, -0.1), (9, 5.0, 9e9, None, -1e9)
    axis = next(one for one in harden_charts(_curve(*of_losses)) if one.name == "validation-score").y
    assert -0.6 < axis.low < -0.5
    assert axis.label == "score"


def test_a_training_without_a_second_point_has_no_curve():
    assert not {"training-loss", "validation-score"} & set(_drawn(_curve((0, None, 0.2, 0.9, 0.5))))


def test_the_heat_map_is_darker_where_more_flips_are_critical():
    boxes = figures(Bundle(campaign=campaign()))["tensor-by-bit"].marks[0].boxes
    assert [box.strength for box in boxes] == pytest.approx([0.06 + 0.94 * 2 * bit / 20 for bit in range(8)])
    assert boxes[7].said == "fc.weight, bit 7: 14 of 20 trials critical"


def test_a_heat_map_says_what_its_shades_stand_for():
    heat, bits = figures(Bundle(campaign=campaign()))["tensor-by-bit"], figures(Bundle(bitmap=bitmap()))["bit-map-8"]
    strengths = {said: strength for strength, said in heat.marks[0].scale}
    assert strengths["50 %"] == pytest.approx(0.53)
    assert bits.marks[0].scale[0] == (0.06, "≤ 0.01 %")
    assert bits.marks[0].scale[-1] == (pytest.approx(1.0), "100 %")
    for chart in (heat, bits):
        drawn = ElementTree.fromstring(file_text(chart))
        shown = [text.text for text in drawn.iter(f"{SVG}text")]
        told = [said for _, said in chart.marks[0].scale]
        assert [one for one in shown if one in told] == told


def test_the_bit_map_has_a_logarithmic_scale():
    boxes = figures(Bundle(bitmap=bitmap()))["bit-map-32"].marks[0].boxes
    steps = [after.strength - before.strength for before, after in zip(boxes[-12:], boxes[-11:], strict=False)]
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert boxes[0].strength == 0.06


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.booleans())
@known(992000.0, 10000.0, False)
def test_ticks_are_few_inside_the_axis_and_whole_where_things_are_counted(low, span, whole):
    axis = bounded("x", low, low + span, whole=whole)
    assert len(axis.ticks) <= 8
    for tick in axis.ticks:
        assert axis.low - 1e-6 * span <= tick.at <= axis.high + 1e-6 * span
        if whole:
            assert tick.at == pytest.approx(round(tick.at))
    assert len({tick.label for tick in axis.ticks}) == len(axis.ticks)


def test_axes_hold_one_value_alone():
    for axis in (linear("x", [5.0]), linear("x", [0.0]), logarithmic("x", [3.0])):
        assert axis.low < axis.high
    assert re.fullmatch(r"1e?.*", logarithmic("x", [1e-6, 1.0]).ticks[0].label)
