"""The notes of a hardening say what happened, and no more than that."""

from types import SimpleNamespace

import pytest

from faultsim.harden.assemble import _notes, _seen
from faultsim.harden.hardening import Hardening


def _ready():
    model = SimpleNamespace(fallbacks=(), device=SimpleNamespace(type="cpu"))
    return SimpleNamespace(
        trainable=SimpleNamespace(model=model, scales={}),
        setting=SimpleNamespace(device=SimpleNamespace(acts_at_inference=lambda *, reads: False)),
        target=SimpleNamespace(towards="labels"),
        validator=SimpleNamespace(counts=False, clean=-0.5),
        test=range(10),
    )


@pytest.mark.parametrize(
    ("found", "late", "said"),
    [
        (0, False, "No step of the training was better"),
        (4, False, "nothing that was tried on the way to it both spared the clean accuracy there"),
        (4, True, "no time was left to try more of the way back: the numbers are the original's"),
    ],
)
def test_why_the_numbers_are_the_originals(found, late, said):
    best = SimpleNamespace(step=0)
    trained = SimpleNamespace(best=best, found=found, late=late, skipped=0, dropped=0)
    exported = SimpleNamespace(agreement=SimpleNamespace(max_abs_difference=0.0))
    before = SimpleNamespace(data=SimpleNamespace(labels="given"), clean=SimpleNamespace(accuracy=None))
    first = _notes(_ready(), Hardening(), exported, trained, before)[0]
    assert said in first
    assert ("Step 4" in first) == (found == 4)


@pytest.mark.parametrize(
    ("known", "other", "validation", "test", "said"),
    [
        (0.125, 0.078, 64, 64, False),  # chance
        (1.0, 0.9, 100, 100, True),
        (0.95, 0.90, 200, 200, False),  # two standard errors are 0.053
        (0.95, 0.90, 5000, 5000, True),
        (0.95, 0.925, 50000, 50000, False),  # not enough, however sure
        (1.0, 1.0, 100, 100, False),
    ],
)
def test_samples_that_were_seen_are_told_by_more_than_chance(known, other, validation, test, said):
    ready = _ready()
    ready.validator, ready.setting.data = SimpleNamespace(counts=True, clean=known), range(validation)
    ready.test = range(test)
    found = _seen(ready, SimpleNamespace(clean=SimpleNamespace(accuracy=other)))
    assert (found is not None) is said
