"""A task's own score, from the model's outputs to result and report: BLEU as sacrebleu gives it, errors, class ids."""

import sys

import numpy as np
import onnxruntime as ort
import pytest
import tiny_nets
from onnx import TensorProto, helper

import faultsim
from faultsim.assessment import Options
from faultsim.assessment.chips import chip_numbers
from faultsim.assessment.setting import make_setting
from faultsim.errors import OptionError
from faultsim.report import lines

QUICK = {"trials": 6, "search_gradients": 4, "site_trials": 2, "threads": 1, "batch_size": 7}
TOKENS, VOCABULARY = 9, 11


def sequences(path, *, ids):
    """A translator of 6 numbers into 9 tokens; its references are its own answers with every fifth token changed."""
    rng = np.random.default_rng(4)
    weights = {
        "w": rng.normal(size=(6, TOKENS * VOCABULARY)).astype(np.float32),
        "shape": np.array([0, TOKENS, VOCABULARY], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["flat"], "m"),
        helper.make_node("Reshape", ["flat", "shape"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["ids"], axis=-1, keepdims=0),
    ]
    shape = ("N", TOKENS) if ids else ("N", TOKENS, VOCABULARY)
    output = {"ids": (TensorProto.INT64, shape)} if ids else {"logits": (TensorProto.FLOAT, shape)}
    proto = tiny_nets.model(
        nodes if ids else nodes[:2], weights, inputs={"x": (TensorProto.FLOAT, ("N", 6))}, outputs=output
    )
    x = tiny_nets.samples()["x"]
    truth = (x @ weights["w"]).reshape(30, TOKENS, VOCABULARY).argmax(-1)
    truth.reshape(-1)[::5] = (truth.reshape(-1)[::5] + 1) % VOCABULARY
    return tiny_nets.save(proto, path, {"x": x, "labels": truth}), x, truth


def sacre(outputs, truth):
    sacrebleu = pytest.importorskip("sacrebleu")
    ids = outputs if outputs.ndim == 2 else outputs.argmax(-1)
    texts, references = ([" ".join(map(str, row)) for row in rows] for rows in (ids, truth))
    return sacrebleu.corpus_bleu(texts, [references], tokenize="none", force=True).score


@pytest.mark.parametrize("ids", [True, False])
def test_bleu_of_every_chip_is_what_sacrebleu_gives_for_its_outputs(ids, tmp_path):
    path, x, truth = sequences(tmp_path / "net.onnx", ids=ids)
    options = Options(**QUICK, task="bleu", require=("score>=1@p05", "score_drop<=100@max", "clean_score>=1"))
    result = faultsim.assess(path, "reram", options=options)
    assert (result.data.headline, result.data.metric) == ("score", "BLEU (0 to 100)")
    assert result.data.higher_is_better
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    clean = sacre(session.run(None, {"x": x})[0], truth)
    assert 30 < clean < 95
    assert result.clean.score == pytest.approx(clean, abs=1e-9)

    setting = make_setting(path, "reram", None, options, torch_device="cpu")
    scores = []
    for trial in range(6):
        setting.model.write(tmp_path / "chip.onnx", chip_numbers(setting, trial))
        chip = ort.InferenceSession(tmp_path / "chip.onnx", providers=["CPUExecutionProvider"])
        scores.append(sacre(chip.run(None, {"x": x})[0], truth))
    assert [one.score for one in result.random.per_trial] == pytest.approx(scores, abs=1e-9)
    found = result.random.score
    assert (found.min, found.max, found.bad) == pytest.approx((min(scores), max(scores), min(scores)))
    assert found.mean == pytest.approx(sum(scores) / 6)
    assert found.low < found.mean < found.high
    assert len(set(scores)) > 1
    assert result.random.outcomes.masked.total + result.random.outcomes.critical.total <= 180
    drop = result.verdict.criteria[1]
    assert drop.value == pytest.approx(clean - min(scores))
    assert drop.explanation.startswith("the worst of 6 chips has a score worse by")
    assert result.verdict.passed

    text = "\n".join(line for line, _ in lines(result))
    assert "scored by BLEU (0 to 100)" in text
    assert f"random chip, mean{found.mean:>18.4g}" in text
    if ids:
        assert result.worst_case is None
        assert result.data.loss == "none"
        assert result.clean.loss is None
        assert any(note.startswith("No worst case: the output is a sequence of token ids") for note in result.notes)
        assert all(site.random.score is not None for site in result.sites)
    else:
        assert result.worst_case.score < min(found.mean, clean)
        assert result.worst_case.loss > result.clean_stored.loss > 0
        assert f"worst case, same budget{result.worst_case.score:>12.4g}" in text


def test_an_error_has_a_bad_chip_and_no_answers_that_differ(tmp_path):
    data = tiny_nets.samples()
    data["labels"] = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", data)
    result = faultsim.assess(path, "reram", options=Options(**QUICK, require=("score<=1e9@p95", "loss<=1e9@p95")))
    rows = result.random.per_trial
    assert [row.score for row in rows] == [row.loss for row in rows]
    assert result.random.score.bad == result.random.loss.p95 == max(row.loss for row in rows)
    assert result.worst_case.score == result.worst_case.loss
    assert result.data.predictions == "values"
    assert result.verdict.criteria[0].value == result.verdict.criteria[1].value == result.random.loss.p95
    text = "\n".join(line for line, _ in lines(result))
    assert "task: regression, scored by mean squared error" in text
    assert "random chip, 95th pct" in text
    assert "\nanswers" not in text
    assert "  changed 100%" in text


def test_a_tolerance_makes_a_change_of_a_value_tolerable_or_critical(tmp_path):
    data = tiny_nets.samples()
    data["labels"] = np.zeros((30, 4), np.float32)
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", data)
    shares = []
    for tolerance in ("1e9", "0.2", "0"):
        result = faultsim.assess(path, "reram", options=Options(**QUICK, task=f"regression@{tolerance}"))
        assert result.data.predictions == "classes"
        shares.append(result.random.outcomes.critical.share)
    assert shares[0] == 0
    assert 0 < shares[1] < shares[2] == 1


def test_chosen_classes_are_scored_and_have_no_worst_case(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logits"], "m"),
        helper.make_node("ArgMax", ["logits"], ["class"], axis=-1, keepdims=1),
    ]
    proto = tiny_nets.model(
        nodes,
        {"w": np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)},
        inputs={"x": (TensorProto.FLOAT, ("N", 6))},
        outputs={"class": (TensorProto.INT64, ("N", 1))},
    )
    data = tiny_nets.samples(classes=5)
    path = tiny_nets.save(proto, tmp_path / "net.onnx", data)
    result = faultsim.assess(path, "sram_low_voltage", options=Options(**QUICK))
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    clean = session.run(None, {"x": data["x"]})[0][:, 0]
    assert result.clean.accuracy == (clean == data["labels"]).mean()
    assert result.data.task == "classification (class ids)"
    assert result.worst_case is None
    assert any(note.startswith("No worst case: the output has no gradient: it holds classes") for note in result.notes)
    rows = result.random.per_trial
    assert all(row.outcomes.critical == row.mismatch for row in rows)
    assert all(row.outcomes.tolerable == row.outcomes.nonfinite == 0 for row in rows)
    with pytest.raises(OptionError, match=r"loss<=1' cannot be judged: the output has no loss; require accuracy"):
        faultsim.assess(path, "sram_low_voltage", options=Options(**QUICK, require=("loss<=1",)))


def test_a_function_that_gives_losses_is_reported_by_them(tmp_path, monkeypatch):
    (tmp_path / "their_error.py").write_text("def error(outputs, labels): return (outputs[:, 0] - labels).abs()\n")
    monkeypatch.chdir(tmp_path)
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())
    try:
        result = faultsim.assess(path, "reram", options=Options(**QUICK, task="their_error:error"))
    finally:
        sys.modules.pop("their_error", None)
    assert result.clean.accuracy is None
    assert (result.data.headline, result.data.metric, result.data.loss) == ("loss", "mean loss", "mean loss")
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    x, labels = tiny_nets.samples()["x"], tiny_nets.samples()["labels"]
    want = np.abs(session.run(None, {"x": x})[0][:, 0].astype(np.float64) - labels).mean()
    assert result.clean.score == result.clean.loss == pytest.approx(want, rel=1e-6)
    assert result.worst_case.score >= result.random.score.bad


@pytest.mark.parametrize(
    ("require", "said"),
    [
        ("score<=20", r"of BLEU \(0 to 100\) higher is better; write score>="),
        ("accuracy>=0.5", "the task counts no correct answers; require score or score_drop"),
        ("loss<=1", "the output has no loss; require score or score_drop"),
        ("sdc_fit<=10", "the device gives no rate of fault events"),
    ],
)
def test_what_a_score_cannot_be_judged_by_is_refused_before_a_chip_is_drawn(require, said, tmp_path):
    pytest.importorskip("sacrebleu")
    path, _, _ = sequences(tmp_path / "net.onnx", ids=True)
    seen = []
    with pytest.raises(OptionError, match=said):
        faultsim.assess(
            path,
            "reram",
            options=Options(**QUICK, require=(require,)),
            progress=lambda phase, done, total: seen.append(phase),
        )
    assert "chips" not in seen


def test_the_score_of_a_classifier_is_its_accuracy(tmp_path):
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())
    with pytest.raises(OptionError, match="the score of the task is its accuracy; require accuracy or accuracy_drop"):
        faultsim.assess(path, "reram", options=Options(**QUICK, require=("score>=0.5",)))
