"""The bit search of `attack` begins with the published one, as that of the library does."""

import pytest

from faultsim.assessment import Options
from faultsim.attacks import Cells, Search, attack
from faultsim.search.bits import ProgressiveBitSearch


@pytest.mark.parametrize("limited", [False, True])
def test_the_published_search_comes_first_where_nothing_limits_it(monkeypatch, limited):
    asked = []
    monkeypatch.setattr(ProgressiveBitSearch, "search", lambda self, ledger, cells: asked.append(cells))
    few, short = Options(limit=40, batch_size=40), Search(gradients=10)
    attack("digits_int8", cells=Cells(what="bits", count=2, one_per_word=limited), search=short, options=few)
    assert asked == ([] if limited else [2])
