"""Windows over token ids and texts: the next token is the label; nothing unknown slips through."""

import gzip
import json

import numpy as np
import pytest

from faultsim.data import InputSpec, load_data
from faultsim.errors import DataError

I64 = np.dtype(np.int64)
IDS = InputSpec("ids", I64, ("N", "T"))


def _load(path, *inputs, text=None, tmp_path=None, **options):
    if text is not None:
        (tmp_path / "p.yaml").write_text(text)
        options["preprocess"] = tmp_path / "p.yaml"
    return load_data(path, model_path=None, inputs=inputs or [IDS], **options)


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_windows_tile_the_ids_and_labels_are_the_next_tokens(tmp_path, kind):
    ids = np.arange(23, dtype=np.int32)
    path = tmp_path / f"t.{kind}"
    np.save(path, ids) if kind == "npy" else np.savez(path, tokens=ids)
    data = _load(path, InputSpec("ids", I64, ("N", 5)))
    assert len(data) == 4
    assert data.inputs(0, 4)["ids"].ravel().tolist() == list(range(20))
    assert np.array_equal(data.labels(1, 3), data.inputs(1, 3)["ids"] + 1)
    assert data.inputs(0, 1)["ids"].dtype == I64
    assert data.notes[0] == "4 windows of 5 tokens, labels are the next tokens; 2 tokens left over"
    assert len(_load(path, InputSpec("ids", I64, ("N", 5)), limit=2)) == 2


@pytest.mark.parametrize("packed", [False, True])
def test_a_text_is_translated_with_ends_of_lines_and_unknown_words(tmp_path, packed):
    path = tmp_path / ("t.txt.gz" if packed else "t.txt")
    text = "the cat sat\nthe zebra sat\n" * 10
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    (tmp_path / "t.vocab.txt").write_text("<unk>\nthe\ncat\nsat\n<eos>\n")
    data = _load(path, text="tokens: {window: 4}", tmp_path=tmp_path)
    assert data.inputs(0, 2)["ids"].tolist() == [[1, 2, 3, 4], [1, 0, 3, 4]]
    assert data.labels(0, 1).tolist() == [[2, 3, 4, 1]]
    assert len(data) == 19
    assert len(_load(path, text="tokens: {window: 4}", tmp_path=tmp_path, limit=3)) == 3


def test_characters_and_json_vocabularies_work(tmp_path):
    (tmp_path / "t.txt").write_text("abab\nb")
    (tmp_path / "v.json").write_text(json.dumps({"a": 0, "b": 1, "\n": 2}))
    data = _load(
        tmp_path / "t.txt",
        text="tokens: {level: char, vocabulary: v.json, window: 5, eos: null}",
        tmp_path=tmp_path,
    )
    assert data.inputs(0, 1)["ids"].tolist() == [[0, 1, 0, 1, 2]]
    assert data.labels(0, 1).tolist() == [[1, 0, 1, 2, 1]]


def test_masks_and_positions_are_made(tmp_path):
    np.save(tmp_path / "t.npy", np.arange(9))
    names = ("attention_mask", "token_type_ids", "position_ids")
    data = _load(
        tmp_path / "t.npy",
        InputSpec("input_ids", I64, ("N", 4)),
        *(InputSpec(n, I64, ("N", 4)) for n in names),
    )
    got = data.inputs(0, 2)
    assert [got[name][1].tolist() for name in names] == [[1] * 4, [0] * 4, [0, 1, 2, 3]]


def test_time_major_models_get_time_first(tmp_path):
    np.save(tmp_path / "t.npy", np.arange(9))
    data = _load(tmp_path / "t.npy", InputSpec("ids", I64, (4, "N"), batch_axis=1))
    assert data.inputs(0, 2)["ids"].tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert data.labels(0, 2).shape == (2, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "tokens: {window: 3, unknown: null}",
            "line 2 holds 'zebra', which is not in the vocabulary; add it, or a token for",
        ),
        ("tokens: {window: 30}", "holds 6 tokens, too few for one window of 30 and its next token"),
        (
            "tokens: {vocabulary: none.txt}",
            "none.txt is no file; give a path relative to the preprocessing file",
        ),
        ("tokens: {vocabulary: bad.json}", "bad.json is no JSON .*; give an object of token and id"),
        ("tokens: {vocabulary: list.json}", r"list.json is no object of token and id \(from 0\)"),
        ("tokens: {vocabulary: twice.txt}", "twice.txt lists 'a' twice, in lines 1 and 3"),
        ("tokens: {vocabulary: latin.txt}", "latin.txt is not UTF-8 text"),
    ],
)
def test_texts_that_cannot_be_translated_are_refused(tmp_path, text, message):
    (tmp_path / "t.txt").write_text("the\nthe zebra\nthe")
    (tmp_path / "t.vocab.txt").write_text("the\n<eos>\n<unk>\n")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "twice.txt").write_text("a\nb\na\n")
    (tmp_path / "latin.txt").write_bytes(b"\xe4\n")
    if "unknown" in text:
        (tmp_path / "t.vocab.txt").write_text("the\n<eos>\n")
    if "30" in text:
        (tmp_path / "t.txt").write_text("the\nthe\nthe")
    with pytest.raises(DataError, match=message):
        _load(tmp_path / "t.txt", text=text, tmp_path=tmp_path)


def test_a_text_without_a_vocabulary_says_how_to_give_one(tmp_path):
    (tmp_path / "t.txt").write_text("the cat")
    with pytest.raises(DataError, match=r"there is no vocabulary; put t.vocab.txt beside it \(one token a line\)"):
        _load(tmp_path / "t.txt")


def test_damaged_texts_are_refused(tmp_path):
    (tmp_path / "t.vocab.txt").write_text("a\n")
    (tmp_path / "t.txt").write_bytes(b"a\n\xff\n")
    with pytest.raises(DataError, match="line 2 is not UTF-8 text; save the text as UTF-8"):
        _load(tmp_path / "t.txt")
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(b"a " * 5000)[:-12])
    with pytest.raises(DataError, match=r"t.txt.gz cannot be read .*; give a readable text"):
        _load(tmp_path / "t.txt.gz")


@pytest.mark.parametrize(
    ("ids", "spec", "message"),
    [
        (
            [0, 1, 12],
            InputSpec("ids", I64, ("N", 2), upper=10),
            "token 2 has the id 12, allowed are 0…9; check the vocabulary",
        ),
        ([0, -1, 2], InputSpec("ids", I64, ("N", 2)), "token 1 has the id -1, allowed are 0 and more"),
        ([0, 1, 2], InputSpec("ids", I64, ("N", 5)), "holds 3 tokens, too few for one window of 5"),
    ],
)
def test_ids_out_of_range_are_named(tmp_path, ids, spec, message):
    np.save(tmp_path / "t.npy", np.array(ids))
    with pytest.raises(DataError, match=message):
        _load(tmp_path / "t.npy", spec)


def test_models_that_take_no_tokens_are_told_so(tmp_path):
    (tmp_path / "t.txt").write_text("a")
    with pytest.raises(DataError, match="holds tokens, but the model has 0 inputs of whole numbers and shape N×T"):
        _load(tmp_path / "t.txt", InputSpec("x", np.dtype(np.float32), ("N", 3)))
    np.save(tmp_path / "t.npy", np.arange(20))
    with pytest.raises(DataError, match=r"the window of 3 tokens does not go with input 'ids' .*; set window: 4"):
        _load(tmp_path / "t.npy", InputSpec("ids", I64, ("N", 4)), text="tokens: {window: 3}", tmp_path=tmp_path)


def test_endless_lines_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("faultsim.data.tokens.MAX_LINE", 100)
    (tmp_path / "t.vocab.txt").write_text("a\n")
    (tmp_path / "t.txt").write_text("a " * 500)
    with pytest.raises(DataError, match="line 1 is over 0 MiB; break the text into lines"):
        _load(tmp_path / "t.txt")


@pytest.mark.shared
def test_ptb_has_its_published_number_of_tokens(shared, tmp_path):
    path = shared / "data/ptb/ptb.test.txt.gz"
    words = sorted({*gzip.decompress(path.read_bytes()).decode().split(), "<eos>"})
    (tmp_path / "v.txt").write_text("\n".join(words))
    data = _load(path, text="tokens: {vocabulary: v.txt, window: 35}", tmp_path=tmp_path)
    assert len(data) == (82430 - 1) // 35


def test_sizes_are_limited(tmp_path, monkeypatch):
    (tmp_path / "t.vocab.txt").write_text("a\n")
    (tmp_path / "t.txt").write_text("a a a\n" * 100)
    monkeypatch.setattr("faultsim.data.tokens.MAX_TOKENS", 50)
    with pytest.raises(DataError, match="holds more than 50 tokens; cut it, or give a limit"):
        _load(tmp_path / "t.txt")
    monkeypatch.setattr("faultsim.data.tokens.MAX_VOCABULARY_BYTES", 1)
    with pytest.raises(DataError, match=r"t.vocab.txt is over 0 MiB; give one token a line"):
        _load(tmp_path / "t.txt")


def test_text_and_ids_say_that_they_are_for_a_language_model(tmp_path):
    np.save(tmp_path / "t.npy", np.arange(9))
    assert _load(tmp_path / "t.npy", InputSpec("ids", I64, ("N", 4))).language_model
    np.savez(tmp_path / "d.npz", ids=np.zeros((2, 4), int), labels=np.zeros((2, 4), int))
    assert not _load(tmp_path / "d.npz", InputSpec("ids", I64, ("N", 4))).language_model
