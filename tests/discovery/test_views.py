"""What an encoder is shown."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ddb.discovery.embed import neutral_sizes
from ddb.discovery.views import GREY, Box, box_hole, box_of, inside, widened, without_object

IMAGE = (np.arange(16 * 20 * 3) % 251).astype(np.uint8).reshape(16, 20, 3)
MASK = np.zeros((16, 20), bool)
MASK[4, 5] = MASK[9, 12] = True


def test_a_hole_is_filled_with_the_mean_of_what_is_left() -> None:
    filled = without_object(IMAGE, MASK)
    assert np.array_equal(filled[~MASK], IMAGE[~MASK])
    assert (filled[MASK] == np.round(IMAGE[~MASK].mean(axis=0))).all()
    brighter = IMAGE.copy()
    brighter[MASK] += 9
    assert np.array_equal(filled, without_object(brighter, MASK))  # no pixel of the object is left


def test_nothing_and_everything() -> None:
    assert without_object(IMAGE, np.zeros_like(MASK)) is IMAGE
    assert (without_object(IMAGE, np.ones_like(MASK)) == GREY).all()


def test_the_box_of_a_mask() -> None:
    box = box_of(MASK)
    assert box == (4 / 16, 5 / 20, 10 / 16, 13 / 20)
    hole = box_hole(box, (0, 0), MASK.shape)
    assert hole[4:10, 5:13].all() and hole.sum() == 48


def test_a_smaller_box_grows_about_its_centre_and_stays_inside() -> None:
    hole = box_hole(Box(0.4, 0.4, 0.6, 0.6), (0.5, 0.1), (100, 100))
    assert hole[25:75, 40:60].all() and hole.sum() == 50 * 20
    corner = box_hole(Box(0.0, 0.9, 0.1, 1.0), (0.5, 0.5), (100, 100))
    assert corner[:50, 50:].all() and corner.sum() == 2500
    assert box_hole(Box(0.2, 0.2, 0.4, 0.4), (3.0, 3.0), (100, 100)).all()


def test_the_holes_of_all_classes_have_the_same_sizes() -> None:
    """Objects of one class are twice as large as those of the other two; the holes are not."""
    rng = np.random.default_rng(0)
    labels = np.arange(1500) % 3
    sides = rng.uniform(0.1, 0.3, (1500, 2)) * np.where(labels == 2, 2, 1)[:, None]
    boxes = [Box(0, 0, height, width) for height, width in sides.tolist()]
    found = np.array(neutral_sizes(boxes, labels, 0))
    assert (found >= sides - 1e-9).all()
    for side in (0, 1):
        assert stats.ks_2samp(sides[labels == 0, side], sides[labels == 2, side]).pvalue < 1e-9
        assert stats.ks_2samp(found[labels == 0, side], found[labels == 2, side]).pvalue > 0.01
    assert neutral_sizes([None, boxes[1]], np.array([0, 1]), 0) == [(0.0, 0.0), boxes[1].size]
    assert np.array_equal(found, neutral_sizes(boxes, labels, 0))


def test_masks_grow_with_the_image() -> None:
    small, large = np.zeros((64, 64), bool), np.zeros((640, 640), bool)
    small[30, 30] = large[300, 300] = True
    assert widened(small).sum() == 5**2
    assert widened(large).sum() == 41**2


def test_the_object_stands_alone_in_a_square() -> None:
    mask = np.zeros_like(MASK)
    mask[1:3, 2:6] = True
    cut = inside(IMAGE, mask)
    assert cut.shape == (4, 4, 3)
    assert np.array_equal(cut[1:3], IMAGE[1:3, 2:6])
    assert (cut[[0, 3]] == GREY).all()
    mask[1, 2] = False
    assert (inside(IMAGE, mask)[1, 0] == GREY).all()
    with pytest.raises(ValueError, match="empty"):
        inside(IMAGE, np.zeros_like(MASK))
