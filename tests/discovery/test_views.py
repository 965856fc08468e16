"""What an encoder is shown."""

from __future__ import annotations

import numpy as np
import pytest

from ddb.discovery.views import GREY, boxed, inside, outside

IMAGE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
MASK = np.zeros((6, 8), bool)
MASK[1, 2] = MASK[3, 4] = True


def test_a_box_is_filled_with_the_mean_of_what_is_left() -> None:
    filled = outside(IMAGE, MASK, "box")
    box = np.zeros_like(MASK)
    box[1:4, 2:5] = True
    assert np.array_equal(boxed(MASK), box)
    assert np.array_equal(filled[~box], IMAGE[~box])
    assert (filled[box] == np.round(IMAGE[~box].mean(axis=0))).all()


def test_two_objects_with_one_box_leave_the_same_hole() -> None:
    """The hole does not tell the outline, nor a pixel of the object."""
    other, brighter = MASK.copy(), IMAGE.copy()
    other[2, 3] = other[1, 4] = True
    brighter[1:4, 2:5] += 9
    assert np.array_equal(outside(IMAGE, MASK, "box"), outside(brighter, other, "box"))


def test_the_mask_alone_is_filled_where_asked() -> None:
    filled = outside(IMAGE, MASK, "mask")
    assert np.array_equal(filled[~MASK], IMAGE[~MASK])
    assert not np.array_equal(filled[MASK], IMAGE[MASK])


def test_nothing_and_everything() -> None:
    assert outside(IMAGE, np.zeros_like(MASK), "box") is IMAGE
    assert (outside(IMAGE, np.ones_like(MASK), "box") == GREY).all()


def test_the_object_stands_alone_in_a_square() -> None:
    mask = np.zeros((6, 8), bool)
    mask[1:3, 2:6] = True
    cut = inside(IMAGE, mask)
    assert cut.shape == (4, 4, 3)
    assert np.array_equal(cut[1:3], IMAGE[1:3, 2:6])
    assert (cut[[0, 3]] == GREY).all()
    mask[1, 2] = False
    assert (inside(IMAGE, mask)[1, 0] == GREY).all()
    with pytest.raises(ValueError, match="empty"):
        inside(IMAGE, np.zeros_like(MASK))
