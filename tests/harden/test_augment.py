"""Augmented batches hold the same pixels, moved; the same step moves them the same way."""

import numpy as np
import pytest

from faultsim.errors import OptionError
from faultsim.harden.augment import augmented, images


@pytest.mark.parametrize("kind", ["shift", "flip-shift"])
def test_images_are_moved_by_at_most_an_eighth_and_sometimes_mirrored(kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2, 16, 16)).astype(np.float32)
    found = augmented({"x": x, "n": np.ones(64)}, kind, seed=1, step=2)
    assert np.array_equal(found["n"], np.ones(64))
    mirrored = 0
    for before, after in zip(x, found["x"], strict=True):
        matches = []
        for flip in (False, True):
            source = np.pad(before, ((0, 0), (2, 2), (2, 2)), mode="reflect")
            for i in range(5):
                for j in range(5):
                    cut = source[:, i : i + 16, j : j + 16]
                    matches += [flip] if np.array_equal(cut[:, :, ::-1] if flip else cut, after) else []
        assert len(matches) == 1
        mirrored += matches[0]
    assert 16 < mirrored < 48 if kind == "flip-shift" else mirrored == 0


def test_a_step_is_augmented_the_same_way_every_time():
    x = np.arange(4 * 64.0).reshape(4, 1, 8, 8)
    one, two, other = (augmented({"x": x}, "shift", seed=0, step=step)["x"] for step in (5, 5, 6))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert augmented({"x": x}, "none", seed=0, step=5)["x"] is x


def test_what_is_no_image_is_refused():
    with pytest.raises(OptionError, match="augment 'shift' is for float images"):
        augmented({"x": np.zeros((4, 8))}, "shift", seed=0, step=0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_last_are_refused(channels):
    feeds = {"x": np.zeros((2, 8, 6, channels), np.float32)}
    with pytest.raises(OptionError, match=f"input 'x' are N×8×6×{channels}, channels last; use none"):
        augmented(feeds, "shift", seed=0, step=0)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 5, 3), (4, 4, 1), (8, 6, 2)])
def test_channels_first_are_taken(shape):
    assert images({"x": np.zeros((2, *shape), np.float32), "n": np.zeros(2)}, "shift") == ("x",)
