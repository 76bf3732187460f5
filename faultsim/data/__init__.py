"""Samples for a model: files, folders, functions, or drawn. Only names are handed on here."""

from faultsim.data.dataset import check_ids
from faultsim.data.function import resolve
from faultsim.data.labels import check_labels, one_hot_as_classes
from faultsim.data.load import beside, load_data
from faultsim.data.preprocess import Preprocess, load_preprocess
from faultsim.data.protos import Reference, read_reference
from faultsim.data.spec import Batch, DataSet, InputSpec, batches

__all__ = [
    "Batch",
    "DataSet",
    "InputSpec",
    "Preprocess",
    "Reference",
    "batches",
    "beside",
    "check_ids",
    "check_labels",
    "load_data",
    "load_preprocess",
    "one_hot_as_classes",
    "read_reference",
    "resolve",
]
