"""A scorer counts what a plain loop over onnxruntime counts, whatever the batches, the threads and the memory."""

import numpy as np
import pytest
import tiny_nets
from exact_session import exact_session

from faultsim import load_model
from faultsim.data.spec import Batch
from faultsim.device import load_device
from faultsim.engine import evaluate
from faultsim.errors import DataError, OptionError
from faultsim.metrics import Classification, Outcomes


def by_hand(path, images, labels, golden=None):
    """Correct answers, answers unlike *golden*, mean cross-entropy: one image at a time, in float64."""
    session = exact_session(path)
    logits = np.concatenate([session.run(None, {"image": image[None]})[0] for image in images]).astype(np.float64)
    classes = logits.argmax(axis=1)
    log_sum = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    loss = float((log_sum - logits[np.arange(len(labels)), labels]).mean())
    return int((classes == labels).sum()), classes, loss


def corrupted(model, seed=0):
    """Numbers of one chip with bit errors in int8 storage."""
    device = load_device("sram_low_voltage")
    stored = device.store({s.name: (s, model.numbers[s.name]) for s in model.select(device.spec.storage.stores)})
    from faultsim.corruption import apply_edit

    edits = device.sample(stored, seed, 0)
    return {n: apply_edit(edits[n], s) if n in edits else s.values for n, s in stored.items()}


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_counts_equal_a_plain_loop_over_onnxruntime(kind, digits, scorer, root, tmp_path):
    model = digits(kind)
    with np.load(root / "scenarios" / "digits" / f"digits_{kind}.npz") as data:
        images, labels = data["image"][:120], data["labels"][:120]
    np.savez(tmp_path / "few.npz", image=images, labels=labels)
    one = scorer(model, tmp_path / "few.npz", batch_size=50, threads=1)
    one.set_golden()
    correct, golden, loss = by_hand(model.path, images, labels)
    clean = one.score()
    assert (clean.counts.n, clean.counts.correct, clean.counts.mismatch, clean.counts.nonfinite) == (120, correct, 0, 0)
    assert clean.mean_loss == pytest.approx(loss, abs=1e-6)

    numbers = corrupted(model)
    model.write(tmp_path / "chip.onnx", numbers)
    correct, classes, loss = by_hand(tmp_path / "chip.onnx", images, labels)
    chip = one.score(numbers)
    assert chip.counts.correct == correct
    assert chip.counts.mismatch == int((classes != golden).sum()) > 0
    assert chip.mean_loss == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_counts_do_not_depend_on_batch_size_threads_or_memory(kind, digits, scorer, monkeypatch):
    model = digits(kind)
    numbers = corrupted(model)

    def tally(**options):
        one = scorer(model, **options)
        one.set_golden()
        one.score(numbers)  # the second pass may come from memory
        return one.score(numbers)

    reference = tally(batch_size=250, threads=1)
    others = [tally(batch_size=b, threads=1) for b in (1, 7)] + [tally(batch_size=250, threads=2)]
    monkeypatch.setattr(evaluate, "KEEP_BYTES", 0)
    others.append(tally(batch_size=7, threads=1))
    for other in others:
        assert other.counts == reference.counts
        assert other.mean_loss == pytest.approx(reference.mean_loss, abs=1e-6)


def test_data_beyond_the_memory_bound_are_read_again_and_never_kept(digits, scorer, monkeypatch):
    one = scorer(digits("float"), batch_size=100)
    kept = scorer(digits("float"), batch_size=100)
    kept.score()
    assert len(kept._kept) == 6
    monkeypatch.setattr(evaluate, "KEEP_BYTES", 2 * 100 * 64 * 4)  # two batches
    assert one.score() == kept.score()
    assert one._kept == []


def test_numbers_that_overflow_are_counted_as_nonfinite_and_wrong(scorer, tmp_path):
    model = load_model(tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples()))
    one = scorer(model)
    one.set_golden()
    weight = model.numbers["second.weight"].copy()
    weight[2] = np.inf
    tally = one.score({"second.weight": weight})
    assert tally.counts.nonfinite == tally.counts.mismatch == 30
    assert tally.counts.correct == 0


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_outcomes_equal_a_plain_loop_over_the_bytes_of_onnxruntimes_outputs(kind, digits, scorer, root, tmp_path):
    model = digits(kind)
    with np.load(root / "scenarios" / "digits" / f"digits_{kind}.npz") as data:
        images, labels = data["image"][:60], data["labels"][:60]
    np.savez(tmp_path / "few.npz", image=images, labels=labels)
    name = max((s.name for s in model.select(("weight",))), key=lambda n: model.numbers[n].size)
    weight = model.numbers[name].copy()
    weight.reshape(-1)[5] = 120 if kind == "int8" else 6.0  # one wrong weight: some images never see it
    model.write(tmp_path / "chip.onnx", {name: weight})
    outputs = {}
    for part, path in (("clean", model.path), ("faulty", tmp_path / "chip.onnx")):
        session = exact_session(path)
        outputs[part] = session.run(["logits"], {"image": images})[0]
    same = [a.tobytes() == b.tobytes() for a, b in zip(outputs["clean"], outputs["faulty"], strict=True)]
    other = outputs["clean"].argmax(1) != outputs["faulty"].argmax(1)
    want = [0 if same[i] else 2 if other[i] else 1 for i in range(60)]
    assert 1 in want

    one = scorer(model, tmp_path / "few.npz", batch_size=60, threads=1)
    one.set_golden()
    assert one.digests.nbytes == 16 * 60
    classes = np.full(60, 9, np.uint8)
    tally = one.score({name: weight}, outcomes=classes)
    assert classes.tolist() == want
    assert tally.outcomes == Outcomes(*(want.count(code) for code in range(4)))
    assert tally.outcomes.critical + tally.outcomes.nonfinite == tally.counts.mismatch
    assert one.score().outcomes == Outcomes(masked=60)


def test_an_overflow_is_detectable_and_no_silent_corruption(scorer, tmp_path):
    model = load_model(tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples()))
    one = scorer(model, batch_size=7)
    one.set_golden()
    weight = model.numbers["second.weight"].copy()
    weight[2] = np.inf
    assert one.score({"second.weight": weight}).outcomes == Outcomes(nonfinite=30)


def test_outcomes_are_refused_before_the_fault_free_chip_is_known_or_in_another_shape(digits, scorer):
    one = scorer(digits("float"))
    assert one.score().outcomes is None
    with pytest.raises(ValueError, match=r"outcomes of shape \(600,\) cannot be filled: .* after set_golden"):
        one.score(outcomes=np.zeros(600, np.uint8))
    one.set_golden()
    with pytest.raises(ValueError, match=r"outcomes of shape \(3,\) cannot be filled: give \(600,\)"):
        one.score(outcomes=np.zeros(3, np.uint8))


def test_data_without_labels_are_refused_where_labels_are_asked(scorer, tmp_path):
    data = tiny_nets.samples()
    model = load_model(tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", {"x": data["x"]}))
    with pytest.raises(DataError, match="holds no labels; give data with labels, or none at all"):
        scorer(model).score()


def test_labels_that_are_texts_have_no_loss():
    with pytest.raises(OptionError, match="the labels are texts, which have no gradient"):
        evaluate.label_tensor(np.array(["a", "b"]))


def test_labels_of_a_batch_are_those_of_its_samples(digits, scorer):
    one = scorer(digits("float"), batch_size=7)
    one.labels = np.arange(600)
    found = [one.batch_labels(batch) for batch in one.batches()]
    assert np.array_equal(np.concatenate(found), np.arange(600))
    assert isinstance(next(one.batches()), Batch)
    assert isinstance(one.task, Classification)
