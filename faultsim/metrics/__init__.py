"""Tasks: losses to differentiate, counts to report. Only names are handed on here."""

from faultsim.metrics.bleu import Bleu
from faultsim.metrics.choose import GoldenAgreement, infer_task, named_task
from faultsim.metrics.classification import Classification
from faultsim.metrics.counts import NONFINITE, Counts, Judged, Tally
from faultsim.metrics.custom import Custom, custom_task
from faultsim.metrics.exact import ExactSum
from faultsim.metrics.losses import LOSSES, LossKind, LossSum, cross_entropy, margin
from faultsim.metrics.regression import Regression
from faultsim.metrics.task import Task
from faultsim.metrics.tokens import LanguageModel, TokenClassification

__all__ = [
    "LOSSES",
    "NONFINITE",
    "Bleu",
    "Classification",
    "Counts",
    "Custom",
    "ExactSum",
    "GoldenAgreement",
    "Judged",
    "LanguageModel",
    "LossKind",
    "LossSum",
    "Regression",
    "Tally",
    "Task",
    "TokenClassification",
    "cross_entropy",
    "custom_task",
    "infer_task",
    "margin",
    "named_task",
]
