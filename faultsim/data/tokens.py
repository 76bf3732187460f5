"""Text and files of token ids as windows for a language model; the labels are the next tokens."""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from faultsim.data.convert import family
from faultsim.data.dataset import constant, named
from faultsim.data.fit import Raw
from faultsim.data.preprocess import Tokens
from faultsim.data.spec import Array, Column, InputSpec
from faultsim.data.spool import Spool
from faultsim.errors import DataError

DEFAULT_WINDOW = 64
MAX_TOKENS = 1 << 31
MAX_VOCABULARY_BYTES = 256 << 20
MAX_LINE = 1 << 22
_FLUSH = 1 << 16
_EXTRA = {"attention_mask": 1, "token_type_ids": 0}


def read_tokens(
    path: Path,
    ids: Array | None,
    inputs: Sequence[InputSpec],
    options: Tokens,
    *,
    base: Path,
    limit: int | None = None,
) -> Raw:
    """Return windows over a text, or over *ids*, with the next tokens as labels.

    Window *i* is tokens ``i·T … i·T + T - 1``, its labels are tokens ``i·T + 1 … i·T + T``; windows share no
    token, and the rest after the last whole window is left out.

    Args:
        path: The text (``.gz`` too), or the file that *ids* come from.
        ids: Token ids, shape (tokens,), or ``None`` to read *path* as text.
        inputs: The inputs of the model: one of shape N×T in whole numbers. ``attention_mask`` (ones),
            ``token_type_ids`` (zeros) and ``position_ids`` (0 … T - 1) are made where the model asks for
            them.
        options: Vocabulary, window, end of line, unknown word.
        base: Folder that the vocabulary's path is relative to.
        limit: Only so many windows are needed.

    Raises:
        DataError: If there is no vocabulary for a text, a word or id is outside it, or there is no whole
            window.
    """
    spec = _token_input(inputs, path)
    size = spec.sample_shape[0]
    window = options.window or (size if isinstance(size, int) else DEFAULT_WINDOW)
    if isinstance(size, int) and window != size:
        raise DataError(f"the window of {window} tokens does not go with {spec}; set window: {size}")
    needed = None if limit is None else limit * window + 1
    vocabulary = _vocabulary(options, path, base)
    if ids is None:
        if vocabulary is None:
            raise DataError(
                f"{path} is a text, but there is no vocabulary; put {path.name.split('.')[0]}.vocab.txt "
                "beside it (one "
                "token a line), or name one in a preprocessing file: tokens: {vocabulary: FILE}"
            )
        ids = _ids(path, vocabulary, options, needed)
    count = (len(ids) - 1) // window
    if count < 1:
        raise DataError(f"{path} holds {len(ids)} tokens, too few for one window of {window} and its next token")
    _check_ids(ids, spec, None if vocabulary is None else len(vocabulary), path)
    rest = len(ids) - 1 - count * window
    note = f"{count:,} windows of {window} tokens, labels are the next tokens; {rest} tokens left over"
    arrays: dict[str, Column] = {spec.name: _Windows(ids, window, count, 0)}
    for other in inputs:
        if other.name in _EXTRA:
            arrays[other.name] = constant(_EXTRA[other.name], (count, window), other.dtype)
        elif other.name == "position_ids":
            arrays[other.name] = np.broadcast_to(np.arange(window, dtype=other.dtype), (count, window))
    labels = _Windows(ids, window, count, 1)
    return Raw(arrays, labels, str(path), path.name, (note,), samples_first=True, language_model=True)


class _Windows:
    """Rows of a flat token array, moved by *shift*."""

    def __init__(self, ids: Array, window: int, count: int, shift: int) -> None:
        self.shape, self.dtype = (count, window), ids.dtype
        self._ids, self._shift = ids, shift

    def __getitem__(self, rows: slice, /) -> Array:
        start, stop, _ = rows.indices(self.shape[0])
        window = self.shape[1]
        flat = self._ids[start * window + self._shift : stop * window + self._shift]
        return np.asarray(flat).reshape(-1, window)


def _token_input(inputs: Sequence[InputSpec], path: Path) -> InputSpec:
    made = {*_EXTRA, "position_ids"}
    found = [one for one in inputs if one.name not in made and family(one.dtype) == "int" and len(one.shape) == 2]
    if len(found) != 1 or found[0].batch_axis is None:
        raise DataError(
            f"{path.name} holds tokens, but the model has {len(found)} inputs of whole numbers and shape "
            "N×T (its inputs: "
            f"{named(dict.fromkeys(one.name for one in inputs))}); give an .npz file with one array for "
            "each input"
        )
    return found[0]


def _vocabulary(options: Tokens, path: Path, base: Path) -> dict[str, int] | None:
    if options.vocabulary is not None:
        file = base / options.vocabulary
        if not file.is_file():
            raise DataError(f"the vocabulary {file} is no file; give a path relative to the preprocessing file")
    else:
        stem = path.name.split(".")[0]
        beside = [path.parent / name for name in (f"{stem}.vocab.txt", f"{stem}.vocab.json", "vocab.txt", "vocab.json")]
        file = next((one for one in beside if one.is_file() and one != path), path)
        if file == path:
            return None
    if file.stat().st_size > MAX_VOCABULARY_BYTES:
        raise DataError(f"the vocabulary {file} is over {MAX_VOCABULARY_BYTES >> 20} MiB; give one token a line")
    try:
        text = file.read_text("utf-8-sig")
        if file.suffix != ".json":
            return _listed([line.rstrip("\r") for line in text.split("\n")], file)
        table = json.loads(text)
    except UnicodeDecodeError as error:
        raise DataError(f"the vocabulary {file} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"the vocabulary {file} is no JSON ({error}); give an object of token and id") from error
    if not isinstance(table, dict) or not all(type(value) is int and value >= 0 for value in table.values()):
        raise DataError(f'the vocabulary {file} is no object of token and id (from 0); write {{"the": 0, …}}')
    return table


def _listed(lines: list[str], file: Path) -> dict[str, int]:
    if lines and not lines[-1]:
        lines.pop()
    table: dict[str, int] = {}
    for number, token in enumerate(lines):
        if token in table:
            raise DataError(
                f"the vocabulary {file} lists {token!r} twice, in lines {table[token] + 1} and {number + 1}"
            )
        table[token] = number
    return table


def _ids(path: Path, vocabulary: dict[str, int], options: Tokens, needed: int | None) -> Array:
    """Translate a text line by line into a file of ids."""
    spool, block = Spool(str(path)), []
    unknown = vocabulary.get(options.unknown) if options.unknown is not None else None
    for line, tokens in enumerate(_lines(path, options, vocabulary), start=1):
        for token in tokens:
            number = vocabulary.get(token, unknown)
            if number is None:
                raise DataError(
                    f"{path}: line {line} holds {token[:40]!r}, which is not in the vocabulary; add it, or "
                    "a token for "
                    "unknown words (tokens: {unknown: <unk>})"
                )
            block.append(number)
        total = spool.rows + len(block)
        if len(block) >= _FLUSH:
            spool.append(np.array(block, dtype=np.int32 if max(block) < 2**31 else np.int64))
            block = []
        if needed is not None and total >= needed:
            break
        if total > MAX_TOKENS:
            raise DataError(f"{path} holds more than {MAX_TOKENS:,} tokens; cut it, or give a limit")
    spool.append(np.array(block, dtype=np.int32))
    return spool.array()[:needed]


def _lines(path: Path, options: Tokens, vocabulary: dict[str, int]) -> Iterator[list[str]]:
    end = [options.eos] if options.eos is not None and options.eos in vocabulary else []
    try:
        with _opened(path) as file:
            number = 0
            while raw := file.readline(MAX_LINE):
                number += 1
                if len(raw) == MAX_LINE and not raw.endswith(b"\n"):
                    raise DataError(f"{path}: line {number} is over {MAX_LINE >> 20} MiB; break the text into lines")
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                if options.level == "char":
                    yield list(text.rstrip("\r\n") if end else text) + end
                else:
                    yield text.split() + end
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: line {number} is not UTF-8 text; save the text as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); give a readable text") from error


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _check_ids(ids: Array, spec: InputSpec, words: int | None, path: Path) -> None:
    upper = min([bound for bound in (spec.upper, words) if bound is not None], default=None)
    for start in range(0, len(ids), 1 << 22):
        block = np.asarray(ids[start : start + (1 << 22)])
        bad = (block < 0) | (block >= upper) if upper is not None else block < 0
        if bad.any():
            at = int(np.argmax(bad))
            allowed = f"0…{upper - 1}" if upper is not None else "0 and more"
            raise DataError(
                f"{path}: token {start + at} has the id {block[at]}, allowed are {allowed}; check the vocabulary"
            )
