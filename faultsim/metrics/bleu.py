"""BLEU for models that put out sequences; counted by sacrebleu, an extra (``faultsim-nn[bleu]``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from faultsim.errors import DataError, OptionError
from faultsim.metrics.counts import NONFINITE, Array, Floats, Judged, Tally
from faultsim.metrics.losses import (
    LossSum,
    checked_labels,
    numpy_cross_entropy,
    numpy_logits,
    per_row,
    taken_of,
    to_logits,
)
from faultsim.metrics.task import Headline

_ORDERS = 4


def _sacrebleu() -> Any:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise OptionError("BLEU needs sacrebleu, which is not installed: pip install sacrebleu") from error
    return BLEU


@dataclass(frozen=True, kw_only=True)
class Bleu:
    """Corpus BLEU of output sequences: token ids N×T, or logits N×T×V of which the largest are taken.

    Labels are the reference's token ids, N×T', or texts, shape (N,). Per sample only its n-gram counts are
    kept; they add up to the corpus score that sacrebleu gives. A sequence with a non-finite output is empty.

    The loss, where there is one, is the cross-entropy of a token, a mean over each sequence: logits against ids of
    the same length. Token ids and texts have none.

    Attributes:
        vocabulary: Token of each id; ``None`` scores the ids themselves, which is right where both sides use
            one vocabulary of whole words.
        eos: Id that ends a sequence, or ``None``.
        pad: Id of padding, never part of a sequence; negative ids never are either.
        tokenize: sacrebleu's tokeniser: ``none`` for text that is tokenised already, ``13a`` for raw text.
        subword: Mark that is removed with the blank after it (``@@``), or ``None``.
        output_is_probability: The graph ends in a softmax.
    """

    vocabulary: tuple[str, ...] | None = None
    eos: int | None = None
    pad: int | None = None
    tokenize: str = "none"
    subword: str | None = None
    output_is_probability: bool = False
    higher_is_better = True
    counts_correct = False
    discrete = True

    @property
    def name(self) -> str:
        """What the report calls the task."""
        return "sequence output"

    @property
    def metric(self) -> str:
        """Name and unit of the score."""
        return "BLEU (0 to 100)"

    @property
    def headline(self) -> Headline:
        """What the task is known by: BLEU is neither a share of samples nor a loss."""
        return "score"

    @property
    def share(self) -> str:
        """Name of the share of correct samples, which the task does not count."""
        return "accuracy"

    @property
    def loss_name(self) -> str:
        """Name and unit of the loss."""
        return "cross-entropy (nats)"

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor, kind: str = "cross_entropy") -> LossSum:
        """Return the token loss of logits N×T×V against labels N×T, a mean over each sequence; see `Task.loss`.

        Raises:
            OptionError: If the model puts out token ids, which have no gradient, or the references are of another
                length.
        """
        if not outputs.is_floating_point() or outputs.ndim != 3:
            raise OptionError(
                "the output is a sequence of token ids, which has no gradient: choose an output of logits (N×T×V), or "
                "random faults only"
            )
        if tuple(labels.shape) != tuple(outputs.shape[:2]):
            raise OptionError(
                f"references of shape {tuple(labels.shape)} do not go with logits of {tuple(outputs.shape[:2])} "
                "tokens: pad them to that length for a worst case"
            )
        truth = labels.long()
        kept = truth >= 0 if self.pad is None else (truth >= 0) & (truth != self.pad)
        logits = to_logits(outputs[kept], probability=self.output_is_probability)
        rows = per_row(logits, truth[kept], kind)
        lengths = kept.sum(dim=1, keepdim=True).clamp(min=1).expand_as(kept)
        return LossSum((rows / lengths[kept]).sum(), len(outputs), taken_of(logits, truth[kept], kind))

    def predict(self, outputs: Array) -> Array:
        """Return token ids N×T, int64; a sequence with a non-finite output is all -1."""
        given = np.asarray(outputs)
        if given.ndim == 3 and given.dtype.kind == "f":
            finite = np.isfinite(given).all(axis=(1, 2))
            return np.where(finite[:, None], given.argmax(axis=2), NONFINITE).astype(np.int64)
        if given.ndim != 2 or given.dtype.kind not in "iu":
            raise DataError(
                f"outputs of shape {given.shape} ({given.dtype}) are no sequences: BLEU wants ids N×T or logits N×T×V"
            )
        return given.astype(np.int64)

    def judge(self, outputs: Array, labels: Array, golden: Array | None = None) -> Judged:
        """Return the n-gram counts of each sample in `Judged.extra`; see `Task.judge`."""
        scorer = _sacrebleu()(tokenize=self.tokenize, force=True)
        ids, truth = self.predict(outputs), np.asarray(labels)
        broken = (ids == NONFINITE).all(axis=1) if np.asarray(outputs).dtype.kind == "f" else np.zeros(len(ids), bool)
        loss = self._losses(np.asarray(outputs), truth, ~broken)
        if loss is not None and not np.isfinite(loss).all():  # logits too far apart for float64
            broken, loss = broken | ~np.isfinite(loss), np.where(np.isfinite(loss), loss, 0.0)
            ids = np.where(broken[:, None], NONFINITE, ids)
        if len(truth) != len(ids) or (truth.dtype.kind in "iu") != (truth.ndim == 2):
            raise DataError(
                f"labels of shape {truth.shape} are no references: give token ids N×T or N texts for "
                f"{len(ids)} sequences"
            )
        rows = []
        for own, reference in zip(ids, truth, strict=True):
            text = self._text(reference) if truth.dtype.kind in "iu" else str(reference)
            got = scorer.corpus_score([self._text(own)], [[text]])
            rows.append([got.sys_len, got.ref_len, *got.counts, *got.totals])
        differs = np.zeros(len(ids), bool) if golden is None else (ids != np.asarray(golden)).any(axis=1)
        n, zero = np.ones(len(ids), np.int64), np.zeros(len(ids), np.int64)
        extra = np.array(rows, dtype=np.int64).reshape(-1, 2 + 2 * _ORDERS)
        return Judged(n, zero, differs.astype(np.int64), broken.astype(np.int64), loss, extra)

    def score(self, tally: Tally) -> float:
        """Return corpus BLEU, 0 … 100."""
        if not tally.extra:
            return float("nan")
        system, reference, *grams = tally.extra
        result = _sacrebleu().compute_bleu(grams[:_ORDERS], grams[_ORDERS:], system, reference, smooth_method="exp")
        return float(result.score)

    def _losses(self, outputs: Array, truth: Array, finite: Array) -> Floats | None:
        """Return the mean cross-entropy of each finite sequence, 0 for the others; ``None`` where there is no loss."""
        if outputs.dtype.kind != "f" or truth.shape != outputs.shape[:2]:
            return None
        kept = (truth >= 0) & finite[:, None]
        if self.pad is not None:
            kept &= truth != self.pad
        labels = checked_labels(np.where(kept, truth, 0), truth.shape, outputs.shape[2])
        rows = np.zeros(truth.shape)
        logits = numpy_logits(outputs[kept], probability=self.output_is_probability)
        rows[kept] = numpy_cross_entropy(logits, labels[kept])
        return np.asarray(rows.sum(axis=1) / np.maximum(kept.sum(axis=1), 1), dtype=np.float64)

    def _text(self, ids: Sequence[int] | Array) -> str:
        words = []
        for number in (int(one) for one in ids):
            if number == self.eos:
                break
            if number < 0 or number == self.pad:
                continue
            if self.vocabulary is not None and number >= len(self.vocabulary):
                raise DataError(
                    f"token id {number} is outside the vocabulary of {len(self.vocabulary)} tokens; check it"
                )
            words.append(str(number) if self.vocabulary is None else self.vocabulary[number])
        text = " ".join(words)
        return text if self.subword is None else text.replace(f"{self.subword} ", "").removesuffix(self.subword)
