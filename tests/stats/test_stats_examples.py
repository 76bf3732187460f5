"""The examples in the docstrings of the package hold."""

import doctest
import importlib
import pkgutil

import pytest

import faultsim.stats

# The types of `estimate` and the search of `stratified_exact` have no examples of their own.
MODULES = sorted({one.name for one in pkgutil.iter_modules(faultsim.stats.__path__)} - {"estimate", "stratified_exact"})


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_the_docstrings_hold(name):
    result = doctest.testmod(importlib.import_module(f"faultsim.stats.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
