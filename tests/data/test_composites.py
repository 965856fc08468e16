"""Composites against what they are by definition: bytes of two images, and a fill that a slow loop computes as well."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb.data.composites import erase_object, exchange_object, exchange_surroundings, fill_box, hole_of, put_object
from ddb.data.masks import Box, bounding_box

SIDE = 24


def noise(seed: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def disc(top: int, left: int, radius: int, side: int = SIDE) -> np.ndarray:
    rows, columns = np.indices((side, side))
    return (rows - top) ** 2 + (columns - left) ** 2 <= radius**2


def test_exchanged_surroundings_are_bytes_of_both_images() -> None:
    image, other, mask, hole = noise(0), noise(1), disc(10, 12, 5), disc(15, 8, 6)
    made = exchange_surroundings(image, mask, other, hole)
    assert np.array_equal(made[mask], image[mask])
    untouched = ~mask & ~hole_of(hole)
    assert np.array_equal(made[untouched], other[untouched])


def test_an_exchanged_object_changes_its_box_alone() -> None:
    image, mask = np.full((SIDE, SIDE, 3), 40, np.uint8), disc(11, 11, 6)
    other = np.full((SIDE, SIDE, 3), 90, np.uint8)
    thing = disc(6, 6, 4)
    other[thing] = (250, 10, 10)
    made = exchange_object(image, mask, other, thing)
    outside = ~hole_of(mask)
    assert np.array_equal(made[outside], image[outside])
    assert (made[11, 11] == (250, 10, 10)).all()
    assert not (made == 90).all(axis=2).any()  # nothing of the other image but its object


@given(st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_what_is_left_of_an_erased_object_does_not_depend_on_it(seed: int) -> None:
    """Neither on its pixels nor on its silhouette: two objects in the same box leave the same image."""
    rng = np.random.default_rng(seed)
    top, left = rng.integers(0, SIDE - 3, 2)
    bottom, right = rng.integers(top + 2, SIDE + 1), rng.integers(left + 2, SIDE)
    image, mask, full = noise(seed), np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
    full[top:bottom, left:right] = True
    mask[[top, bottom - 1], [left, right - 1]] = True  # two corners have the same box
    painted = image.copy()
    painted[full] = rng.integers(0, 256, (int(full.sum()), 3))
    assert np.array_equal(erase_object(image, full), erase_object(painted, mask))
    assert np.array_equal(erase_object(image, full)[~full], image[~full])


@pytest.mark.parametrize("box", [Box(8, 6, 17, 13), Box(0, 0, 20, 9), Box(3, 0, 24, 24), Box(0, 10, 24, 12)])
def test_the_fill_is_the_weighted_mean_of_mirror_images(box: Box) -> None:
    image = noise(3)

    def fold(depth: int, room: int) -> int:
        path = [*range(room), *reversed(range(room))]
        return path[depth % len(path)]

    filled = fill_box(image, box)
    for row in range(box.top, box.bottom):
        for column in range(box.left, box.right):
            parts = []
            if box.left:
                depth = column - box.left
                parts.append((depth, image[row, box.left - 1 - fold(depth, box.left)]))
            if box.right < SIDE:
                depth = box.right - 1 - column
                parts.append((depth, image[row, box.right + fold(depth, SIDE - box.right)]))
            if box.top:
                depth = row - box.top
                parts.append((depth, image[box.top - 1 - fold(depth, box.top), column]))
            if box.bottom < SIDE:
                depth = box.bottom - 1 - row
                parts.append((depth, image[box.bottom + fold(depth, SIDE - box.bottom), column]))
            weights = np.array([(depth + 1.0) ** -3 for depth, _ in parts])
            mean = (weights[:, None] * np.array([pixel for _, pixel in parts], float)).sum(0) / weights.sum()
            assert np.abs(filled[row, column] - mean).max() <= 0.51  # rounded


def test_an_even_ground_stays_even() -> None:
    image = np.full((SIDE, SIDE, 3), (10, 120, 200), np.uint8)
    image[disc(9, 9, 5)] = 255
    assert (erase_object(image, disc(9, 9, 5)) == (10, 120, 200)).all()


def test_an_object_is_put_into_its_box_alone() -> None:
    canvas, box = noise(5), Box(4, 6, 12, 20)
    made = put_object(canvas, box, noise(6), disc(12, 12, 8))
    outside = np.ones((SIDE, SIDE), bool)
    outside[box.top : box.bottom, box.left : box.right] = False
    assert np.array_equal(made[outside], canvas[outside]) and not np.array_equal(made, canvas)


def test_nothing_to_erase_or_nothing_around_it() -> None:
    for mask in (np.zeros((SIDE, SIDE), bool), np.ones((SIDE, SIDE), bool)):
        with pytest.raises(ValueError, match="no object, or nothing outside"):
            erase_object(noise(0), mask)
    assert bounding_box(hole_of(disc(10, 10, 3))) == bounding_box(disc(10, 10, 3))
