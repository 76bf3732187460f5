"""The survey of small layers leaves passes for the search itself."""

import pytest

from faultsim.assessment import Options
from faultsim.attacks import Cells, Search, attack
from faultsim.search.bits import beam


@pytest.mark.parametrize(("forwards", "most"), [(80, 20), (400, 100), (3000, 256)])
def test_it_takes_a_quarter_of_the_passes_left_at_most(
    forwards: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    own = beam.survey

    def spied(*given, most, **more):
        asked.append(most)
        return own(*given, most=0, **more)

    monkeypatch.setattr(beam, "survey", spied)
    short = Search(gradients=4, forwards=forwards)
    cells = Cells(what="bits", count=1, one_per_word=True)  # nothing else is searched before
    attack("digits_int8", cells=cells, search=short, options=Options(limit=20, batch_size=20, threads=1))
    assert asked
    assert 0.8 * most <= asked[0] <= most
