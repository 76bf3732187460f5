"""Tasks: losses to differentiate, counts to report. Only names are handed on here."""

from faultsim.metrics.bleu import Bleu
from faultsim.metrics.choose import GoldenAgreement, infer_task, named_task
from faultsim.metrics.classids import ClassIds
from faultsim.metrics.classification import Classification
from faultsim.metrics.counts import NONFINITE, Counts, Judged, Outcomes, Tally
from faultsim.metrics.custom import Custom, custom_task
from faultsim.metrics.exact import ExactSum
from faultsim.metrics.losses import LOSSES, LossKind, LossSum, cross_entropy, margin
from faultsim.metrics.outcomes import classify, digests
from faultsim.metrics.regression import Regression
from faultsim.metrics.task import Headline, Task
from faultsim.metrics.tokens import LanguageModel, TokenClassification

__all__ = [
    "LOSSES",
    "NONFINITE",
    "Bleu",
    "ClassIds",
    "Classification",
    "Counts",
    "Custom",
    "ExactSum",
    "GoldenAgreement",
    "Headline",
    "Judged",
    "LanguageModel",
    "LossKind",
    "LossSum",
    "Outcomes",
    "Regression",
    "Tally",
    "Task",
    "TokenClassification",
    "classify",
    "cross_entropy",
    "custom_task",
    "digests",
    "infer_task",
    "margin",
    "named_task",
]
