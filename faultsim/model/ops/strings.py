"""Ops on text, NumPy object arrays in and out, without gradients; TfIdfVectorizer counts n-grams."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.model.ops.registry import Context, op

Text = NDArray[Any]


@op("StringConcat", since=20)
def StringConcat(x: Text, y: Text) -> Text:
    """Element by element, one text behind the other (StringConcat-20)."""
    return np.asarray(np.add(x, y), dtype=object)


@op("StringNormalizer", since=10)
def StringNormalizer(
    x: Text,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str = "",
    stopwords: Sequence[str] | None = None,
) -> Text:
    """Text in one case, without stop words (StringNormalizer-10); one empty text if none is left."""
    changes: dict[str, Callable[[str], str]] = {"LOWER": str.lower, "UPPER": str.upper, "NONE": str}
    change = changes[case_change_action]
    stop = {w if is_case_sensitive else w.lower() for w in stopwords or []}
    words = [w for w in x.reshape(-1).tolist() if (w if is_case_sensitive else w.lower()) not in stop]
    result = np.array([change(w) for w in words] or [""], dtype=object)
    return result.reshape(1, -1) if x.ndim == 2 else result


@op("StringSplit", since=20)
def StringSplit(
    x: Text, *, delimiter: str | None = None, maxsplit: int | None = None, ctx: Context
) -> tuple[Text, Tensor]:
    """Parts of every text, filled up with empty ones, and how many there are (StringSplit-20)."""
    parts = [w.split(delimiter or None, -1 if maxsplit is None else maxsplit) for w in x.reshape(-1).tolist()]
    most = max((len(p) for p in parts), default=0)
    table = np.array([p + [""] * (most - len(p)) for p in parts], dtype=object).reshape(*x.shape, most)
    counts = torch.tensor([len(p) for p in parts], dtype=torch.int64, device=ctx.device)
    return table, counts.reshape(x.shape)


@op("RegexFullMatch", since=20)
def RegexFullMatch(x: Text, *, pattern: str, ctx: Context) -> Tensor:
    """Whether each text matches the pattern from end to end (RegexFullMatch-20)."""
    expression = re.compile(pattern)
    hits = [expression.fullmatch(w) is not None for w in x.reshape(-1).tolist()]
    return torch.tensor(hits, dtype=torch.bool, device=ctx.device).reshape(x.shape)


@op("TfIdfVectorizer", since=9)
def TfIdfVectorizer(
    x: Tensor | Text,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Sequence[int],
    ngram_indexes: Sequence[int],
    pool_int64s: Sequence[int] | None = None,
    pool_strings: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
    ctx: Context,
) -> Tensor:
    """How often each n-gram of a pool occurs in a row, or whether it does, weighted (TfIdfVectorizer-9)."""
    pool = list(pool_strings) if pool_strings is not None else list(pool_int64s or [])
    column: dict[tuple[Any, ...], int] = {}
    for size, start in enumerate(ngram_counts, start=1):
        end = ngram_counts[size] if size < len(ngram_counts) else len(pool)
        for place in range(start, end, size):
            column[tuple(pool[place : place + size])] = len(column)
    width = max(ngram_indexes) + 1
    rows = x.tolist() if x.ndim == 2 else [x.tolist()]
    counts = torch.zeros(len(rows), width, device=ctx.device)
    scale = torch.zeros(width, device=ctx.device)
    for place in column.values():
        scale[ngram_indexes[place]] = 1.0 if weights is None else weights[place]
    for number, row in enumerate(rows):
        for gram in _grams(row, min_gram_length, max_gram_length, max_skip_count):
            if gram in column:
                counts[number, ngram_indexes[column[gram]]] += 1
    if mode == "IDF":
        counts = (counts > 0).float() * scale
    elif mode == "TFIDF":
        counts = counts * scale
    return counts if x.ndim == 2 else counts[0]


def _grams(row: list[Any], least: int, most: int, skips: int) -> list[tuple[Any, ...]]:
    """All n-grams with up to *skips* tokens between neighbours; a single token counts once."""
    found: list[tuple[Any, ...]] = []
    for size in range(least, most + 1):
        for step in range(1, (skips if size > 1 else 0) + 2):
            reach = (size - 1) * step
            found.extend(tuple(row[i : i + reach + 1 : step]) for i in range(len(row) - reach))
    return found
