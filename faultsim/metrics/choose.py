"""Which task it is: from the output and the labels, or by name; and agreement with the clean model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from faultsim.data.function import is_function
from faultsim.errors import DataError, OptionError
from faultsim.library import closest
from faultsim.metrics.bleu import Bleu
from faultsim.metrics.classids import ClassIds
from faultsim.metrics.classification import Classification
from faultsim.metrics.counts import NONFINITE, Array, Judged, Tally
from faultsim.metrics.custom import Custom, custom_task
from faultsim.metrics.losses import LossSum
from faultsim.metrics.regression import Regression
from faultsim.metrics.task import Headline, Task
from faultsim.metrics.tokens import LanguageModel, TokenClassification

Number = TypeVar("Number", int, float)
NAMES = (
    "classification",
    "top<k>",
    "class-ids",
    "tagging",
    "segmentation",
    "language-model",
    "regression",
    "regression@<tolerance>",
    "bleu",
    "module:function",
)
OF_POSITIONS = ("class-ids", "tagging", "segmentation", "language-model")
"""Those that may leave labels out: ``segmentation@255`` scores no position labelled 255."""


@dataclass(frozen=True)
class GoldenAgreement:
    """The inner task with the clean model's own predictions as labels: how often faults change an answer.

    It says nothing about accuracy: a model that is always wrong agrees with itself.
    """

    inner: Task

    @property
    def name(self) -> str:
        """What the report calls the task."""
        return f"agreement with the clean model ({self.inner.name})"

    @property
    def metric(self) -> str:
        """Name of the score."""
        return "agreement" if self.inner.metric == "accuracy" else f"{self.inner.metric} against the clean model"

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger score is a better one."""
        return self.inner.higher_is_better

    @property
    def counts_correct(self) -> bool:
        """Whether `Counts.correct` means anything."""
        return self.inner.counts_correct

    @property
    def discrete(self) -> bool:
        """Whether a prediction is an answer."""
        return self.inner.discrete

    @property
    def headline(self) -> Headline:
        """What the task is known by."""
        return self.inner.headline

    @property
    def share(self) -> str:
        """Name of the share of answers that agree."""
        return {"accuracy": "agreement", "token accuracy": "agreement of tokens"}.get(
            self.inner.share, f"{self.inner.share} of the clean model"
        )

    @property
    def loss_name(self) -> str:
        """Name and unit of the loss."""
        return self.inner.loss_name

    def labels_from(self, outputs: Array, start: int = 0) -> Array:
        """Return the labels of a batch from the clean outputs; *start* is the number of its first sample.

        Raises:
            DataError: If a clean output is not finite: there is nothing to agree with.
        """
        predictions = self.inner.predict(outputs)
        broken = predictions == NONFINITE if predictions.dtype.kind == "i" else ~np.isfinite(predictions)
        if broken.any() and np.asarray(outputs).dtype.kind == "f":
            at = int(np.argwhere(broken)[0][0]) + start
            raise DataError(
                f"the clean model's output for sample {at} is not finite, so nothing can agree with it; give data"
            )
        return predictions

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor, kind: str = "cross_entropy") -> LossSum:
        """Return the inner task's loss; see `Task.loss`."""
        return self.inner.loss(outputs, labels, kind)

    def predict(self, outputs: Array) -> Array:
        """Return the inner task's predictions."""
        return self.inner.predict(outputs)

    def judge(self, outputs: Array, labels: Array, golden: Array | None = None) -> Judged:
        """Return the inner task's verdict; without *golden*, mismatches are against the labels."""
        return self.inner.judge(outputs, labels, labels if golden is None else golden)

    def score(self, tally: Tally) -> float:
        """Return the inner task's score."""
        return self.inner.score(tally)


def infer_task(
    output_shape: Sequence[int | str | None],
    labels: Array | None,
    *,
    output_dtype: np.dtype[np.generic] | str = "float32",
    output_is_probability: bool = False,
    language_model: bool = False,
    ignore_index: int = -100,
) -> Task:
    """Return the task that an output and its labels most plainly are.

    Whole-number labels, one a sample: classification. One a position: token classification, or language
    modelling where the caller says so. Labels shaped like the output, or fractions: regression. Token ids
    N×T (int32, int64): BLEU. Whole numbers one a sample or N×H×W, and truth values: class ids. Without labels:
    agreement with the clean model, on classes for N×C and N×T×C (C > 1), on values otherwise. Outputs of 8 bits
    are quantized logits. One-hot labels are class numbers by then (`faultsim.data.one_hot_as_classes`).

    Args:
        output_shape: Declared or seen shape of the output that is scored, samples first.
        labels: Some labels of the data, at least one sample, or ``None``.
        output_dtype: Its type.
        output_is_probability: The graph ends in a softmax or sigmoid.
        language_model: The labels are next tokens.
        ignore_index: Label of positions that are not scored.

    Raises:
        DataError: If output and labels go with no task.
    """
    rank = len(output_shape)
    while rank > 2 and output_shape[rank - 1] == 1:  # N×C×1×1
        rank -= 1
    ids = np.dtype(output_dtype).name in ("int32", "int64")  # 8 bits: the codes of quantized logits
    if _class_ids(output_shape, rank, np.dtype(output_dtype).name, labels):
        return ClassIds(ignore_index=ignore_index) if labels is not None else GoldenAgreement(ClassIds())
    tokens = LanguageModel if language_model else TokenClassification
    pixels = tokens(class_axis=1, output_is_probability=output_is_probability, ignore_index=ignore_index)
    positions = tokens(output_is_probability=output_is_probability, ignore_index=ignore_index)
    if ids and rank == 2 and (labels is None or np.ndim(labels) == 2 or np.asarray(labels).dtype.kind == "U"):
        return Bleu() if labels is not None else GoldenAgreement(Bleu())
    if labels is None:
        if rank == 2 and output_shape[1] != 1:
            return GoldenAgreement(Classification(output_is_probability=output_is_probability))
        return GoldenAgreement(positions if rank == 3 else Regression())
    given = np.asarray(labels)
    while given.ndim > 1 and given.shape[-1] == 1 and rank < 3:
        given = given[..., 0]
    if given.dtype.kind in "iu" and given.ndim == 1 and rank in (1, 2):
        two = output_shape[rank - 1] if rank == 2 else 1
        if two != 1 or bool(np.isin(given, (0, 1)).all()):
            return Classification(output_is_probability=output_is_probability)
        return Regression()
    if rank >= 3 and output_shape[1] == 1 and given.shape[1:2] == (1,) and _mask(given, ignore_index):
        return pixels
    if given.dtype.kind in "iu" and rank >= 3 and given.ndim == rank - 1:
        last = all(not isinstance(a, int) or a == b for a, b in zip(output_shape[1:-1], given.shape[1:], strict=False))
        return positions if rank == 3 and last else pixels
    if given.dtype.kind in "fiu" and _same(output_shape, given.shape):
        return Regression()
    raise DataError(
        f"labels of shape {given.shape} ({given.dtype}) and an output of shape {tuple(output_shape)} are no "
        "task that can be "
        f"told from them; give --task with one of {', '.join(NAMES)}"
    )


def named_task(
    name: str,
    *,
    output_is_probability: bool = False,
    ignore_index: int = -100,
    outputs: Array | None = None,
    labels: Array | None = None,
) -> Task:
    """Return the task of a name: one of `NAMES`, ``top5`` for k = 5, ``regression@0.1`` for a tolerance of 0.1.

    ``segmentation@255`` leaves out the positions labelled 255, and so do the others of `OF_POSITIONS`.

    Args:
        name: The name.
        output_is_probability: The graph ends in a softmax or sigmoid.
        ignore_index: Label of positions that are not scored.
        outputs: Clean outputs of a first batch: one call on them tells whether a ``module:function`` gives losses,
            correctness or both; without them it is taken to give both.
        labels: Labels of that batch; the outputs themselves where ``None``.

    Raises:
        OptionError: If there is no such task.
        DataError: If the function does not give one entry a sample.
    """
    if is_function(name) and outputs is not None:
        return custom_task(name, outputs, outputs if labels is None else labels)
    if is_function(name):
        return Custom(name)
    if name.startswith("top") and name[3:].removeprefix("-").isdecimal():
        return Classification(top_k=int(name[3:].removeprefix("-")), output_is_probability=output_is_probability)
    if name.startswith("regression@"):
        return Regression(tolerance=_tolerance(name))
    kind, _, left_out = name.partition("@")
    if left_out and kind in OF_POSITIONS:
        name, ignore_index = kind, _label(name)
    tasks: dict[str, Task] = {
        "class-ids": ClassIds(ignore_index=ignore_index),
        "classification": Classification(output_is_probability=output_is_probability),
        "tagging": TokenClassification(output_is_probability=output_is_probability, ignore_index=ignore_index),
        "segmentation": TokenClassification(
            class_axis=1, output_is_probability=output_is_probability, ignore_index=ignore_index
        ),
        "language-model": LanguageModel(output_is_probability=output_is_probability, ignore_index=ignore_index),
        "regression": Regression(),
        "bleu": Bleu(output_is_probability=output_is_probability),
    }
    if name not in tasks:
        near = closest(name, tasks)
        raise OptionError(
            f"task {name!r} is unknown" + (f", did you mean {near!r}?" if near else f": give one of {', '.join(NAMES)}")
        )
    return tasks[name]


def _class_ids(shape: Sequence[int | str | None], rank: int, dtype: str, labels: Array | None) -> bool:
    """Whether the output holds chosen classes: truth values, or whole numbers, one a sample or one a pixel."""
    if dtype not in ("int32", "int64", "bool") or (labels is not None and np.asarray(labels).dtype.kind not in "iub"):
        return False
    one_each = rank == 1 or (rank == 2 and shape[1] == 1)
    if dtype == "bool" or one_each:
        return True
    if labels is None:  # int32 may hold logits: sums of products of 8 bits
        return rank > 2 and dtype == "int64"
    return rank > 2 and np.ndim(labels) == rank


def _tolerance(name: str) -> float:
    return _after_at(name, float, "no number for a tolerance; write for example regression@0.1, in the labels' unit")


def _label(name: str) -> int:
    return _after_at(name, int, "no label; write for example segmentation@255 to leave out what has label 255")


def _after_at(name: str, kind: Callable[[str], Number], refused: str) -> Number:
    """Return the number that follows ``@`` in a task's name."""
    given = name.partition("@")[2]
    try:
        return kind(given.replace("_", "x"))  # Python takes 1_000 for a number
    except ValueError:
        raise OptionError(f"task {name!r}: {given!r} is {refused}") from None


def _mask(labels: Array, ignore_index: int) -> bool:
    """Whether labels are whole numbers 0 and 1, or not scored: those of two classes."""
    return labels.dtype.kind in "iub" and bool(np.isin(labels, (0, 1, ignore_index)).all())


def _same(declared: Sequence[int | str | None], shape: tuple[int, ...]) -> bool:
    sizes = [size for size in declared[1:] if size != 1]
    have = [size for size in shape[1:] if size != 1]
    return len(sizes) == len(have) and all(not isinstance(a, int) or a == b for a, b in zip(sizes, have, strict=True))
