"""The examples in the docstrings of the data and metric layers hold."""

import doctest
import importlib

import pytest

MODULES = ["data.convert", "data.function", "data.preprocess", "data.spec", "metrics.counts", "metrics.exact"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_the_docstrings_hold(name):
    result = doctest.testmod(importlib.import_module(f"faultsim.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
