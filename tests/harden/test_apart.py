"""Samples that training, validation and test data share, byte by byte."""

import numpy as np
import pytest

from faultsim.data.spec import InputSpec
from faultsim.errors import OptionError
from faultsim.harden import apart
from faultsim.harden.apart import check_apart
from tests.harden.conftest import Arrays

SPECS = (InputSpec(name="x", shape=(None, 3), dtype=np.dtype("float32"), batch_axis=0),)
RNG = np.random.default_rng(0)
MANY = RNG.standard_normal((3000, 3)).astype(np.float32)
OTHER = RNG.standard_normal((100, 3)).astype(np.float32)


def said(parts, given=("test",)):
    return check_apart({name: Arrays("x", rows, None) for name, rows in parts.items()}, SPECS, given=given)


def test_parts_that_share_nothing_say_nothing():
    assert said({"training": MANY, "validation": OTHER[:50], "test": OTHER[50:]}) == ()


def test_a_few_shared_samples_are_told_and_a_copy_is_refused():
    few = np.concatenate([OTHER[:95], MANY[2995:]])
    assert said({"training": MANY, "test": few}) == ("5 of 100 test samples are in the training data too.",)
    with pytest.raises(OptionError, match="100 of 100 test samples are in the validation data too: what is trained"):
        said({"training": MANY[:200], "validation": MANY[500:700], "test": MANY[600:700]})


def test_parts_of_the_same_data_may_share_what_it_holds_twice():
    [line] = said({"training": MANY, "test": MANY[:100]}, given=())
    assert line.startswith("100 of 100 test samples")


def test_samples_that_are_few_by_nature_are_not_taken_for_a_copy():
    coins = RNG.integers(0, 2, (400, 3)).astype(np.float32)  # eight different samples at most
    [line] = said({"training": coins[:300], "test": coins[300:]})
    assert line == "100 of 100 test samples are in the training data too."


def test_a_copy_within_other_samples_is_refused_either_way():
    with pytest.raises(OptionError, match="300 of 300 training samples are in the test data too"):
        said({"training": MANY[:300], "test": MANY})
    doubled = np.concatenate([MANY[:800], MANY[:150]])
    with pytest.raises(OptionError, match="500 of 500 test samples are in the training data too"):
        said({"training": doubled, "test": MANY[:500]})


def test_large_samples_are_read_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(apart, "_CHUNK", 60)
    read = []

    class Watched(Arrays):
        def inputs(self, start, stop):
            read.append(stop - start)
            return super().inputs(start, stop)

    check_apart({"training": Watched("x", MANY[:20], None), "test": Watched("x", OTHER[:3], None)}, SPECS, given=())
    assert read == [1, 5, 5, 5, 4, 1, 2]


def test_an_input_that_counts_samples_along_another_axis_is_taken_apart_there():
    specs = (InputSpec(name="x", shape=(3, None), dtype=np.dtype("float32"), batch_axis=1),)

    class Turned(Arrays):
        def inputs(self, start, stop):
            return {"x": self.x[start:stop].T}

    parts = {"training": Turned("x", MANY, None), "test": Turned("x", MANY[:7], None)}
    with pytest.raises(OptionError, match="7 of 7 test samples"):
        check_apart(parts, specs, given=("test",))
