"""Regions: they cover the object, have the asked shape, stay in the frame, and say why they are unusable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, Delaunay

from ddb.config import segment_config
from ddb.data.masks import blended, border_share, bounding_box, feather, region, shaped


def blob(height: int, width: int, top: int, left: int, tall: int, wide: int) -> np.ndarray:
    mask = np.zeros((height, width), np.bool_)
    mask[top : top + tall, left : left + wide] = True
    return mask


blobs = st.builds(
    lambda h, w, seed, share: np.random.default_rng(seed).random((h, w)) < share,
    st.integers(2, 40), st.integers(2, 40), st.integers(0, 999), st.floats(0.01, 0.5),
).filter(lambda mask: bool(mask.any()))  # fmt: skip


@given(mask=blobs, shape=st.sampled_from(["tight", "dilated", "hull", "square"]), expand=st.floats(1, 3))
def test_every_shape_covers_the_object(mask: np.ndarray, shape: str, expand: float) -> None:
    settings = segment_config(shape=shape, expand=expand)
    assert (shaped(mask, settings) | ~mask).all()


@given(mask=blobs)
def test_the_hull_equals_scipys(mask: np.ndarray) -> None:
    points = np.argwhere(mask)
    if len(points) < 4 or min(np.ptp(points, axis=0)) == 0 or np.linalg.matrix_rank(points - points[0]) < 2:
        return
    inside = Delaunay(points[ConvexHull(points).vertices]).find_simplex(np.argwhere(np.ones_like(mask))) >= 0
    ours = shaped(mask, segment_config(shape="hull", expand=1))
    assert (ours == inside.reshape(mask.shape)).all()


def test_the_hull_of_points_in_a_line_is_the_line() -> None:
    """What scipy cannot triangulate."""
    mask = np.zeros((5, 7), np.bool_)
    mask[0, 0] = mask[2, 3] = mask[4, 6] = True
    ours = shaped(mask, segment_config(shape="hull", expand=1))
    assert np.argwhere(ours).tolist() == [[0, 0], [2, 3], [4, 6]]
    row = np.zeros((3, 6), np.bool_)
    row[1, [1, 4]] = True
    assert np.argwhere(shaped(row, segment_config(shape="hull", expand=1))).tolist() == [[1, x] for x in (1, 2, 3, 4)]


def test_a_square_is_square_centred_and_grown() -> None:
    found = shaped(blob(60, 80, 20, 30, 10, 20), segment_config(shape="square", expand=1.5))
    box = bounding_box(found)
    assert (box.height, box.width) == (30, 30)
    assert ((box.top + box.bottom) / 2, (box.left + box.right) / 2) == (25, 40)
    assert found.sum() == 900


def test_a_square_moves_into_the_frame_and_has_a_smallest_side() -> None:
    found = shaped(blob(40, 60, 0, 57, 2, 3), segment_config(shape="square", expand=1, min_side=0.5))
    box = bounding_box(found)
    assert (box.top, box.right, box.height, box.width) == (0, 60, 20, 20)
    tall = shaped(blob(40, 100, 5, 5, 30, 90), segment_config(shape="square", expand=1))
    assert (bounding_box(tall).height, bounding_box(tall).width) == (40, 90)


def test_dilation_is_a_disc_of_the_asked_radius() -> None:
    dot = blob(21, 21, 10, 10, 1, 1)
    found = shaped(dot, segment_config(shape="dilated", expand=4))  # (4 - 1) / 2 = 1.5 px
    rows, columns = np.indices(dot.shape) - 10
    assert np.array_equal(found, rows**2 + columns**2 <= 1.5**2)


def test_reasons() -> None:
    settings = segment_config(min_area=0.01, max_area=0.5, shape="square", expand=1.2)
    nothing = region(np.zeros((50, 50), np.bool_), settings, "bird")
    assert (nothing.status, nothing.error) == ("no_mask", "no bird found")
    assert region(blob(50, 50, 3, 3, 4, 4), settings).status == "too_small"
    assert region(blob(50, 50, 3, 3, 40, 5), settings).status == "too_large"
    usable = region(blob(50, 50, 3, 3, 10, 10), settings)
    assert (usable.status, usable.error, usable.mask.sum()) == ("ok", "", 144)


def test_the_share_of_the_outline_on_the_border_in_closed_form() -> None:
    assert border_share(blob(40, 60, 5, 5, 10, 20)) == 0
    assert border_share(blob(40, 60, 5, 0, 10, 20)) == 10 / 60  # one side of a rectangle
    assert border_share(blob(40, 60, 0, 40, 10, 20)) == 30 / 60  # two sides, in a corner
    assert border_share(blob(40, 60, 5, 5, 10, 10) | blob(40, 60, 20, 0, 20, 10)) == 30 / 100
    assert border_share(np.ones((3, 4), np.bool_)) == 1
    ring = blob(40, 60, 0, 0, 40, 60) & ~blob(40, 60, 10, 10, 10, 10)
    assert border_share(ring) == 200 / 240  # a hole has an outline too


@given(mask=blobs)
def test_the_share_on_the_border_is_a_share_and_turns_with_the_image(mask: np.ndarray) -> None:
    share = border_share(mask)
    assert 0 <= share <= 1
    assert border_share(np.rot90(mask)) == border_share(mask[:, ::-1]) == share
    inside = np.pad(mask, 1)
    assert border_share(inside) == 0


def test_an_object_that_the_border_cuts_is_a_result_where_it_is_asked_for() -> None:
    cut = blob(60, 60, 20, 0, 20, 10)
    assert region(cut, segment_config()).status == "ok"
    strict = region(cut, segment_config(max_border=0.3), "bird")
    assert (strict.status, strict.mask.sum()) == ("touches_border", 200)
    assert strict.error == "33.3% of the bird's outline lies on the image's border, max_border is 30.0%"
    assert region(cut, segment_config(max_border=0.34)).status == "ok"
    assert region(blob(60, 60, 1, 1, 20, 10), segment_config(max_border=0)).status == "ok"


@given(mask=blobs, width=st.integers(0, 12))
def test_the_feather_lies_inside_and_reaches_one(mask: np.ndarray, width: int) -> None:
    weights = feather(mask, width)
    assert np.array_equal(weights > 0, mask)
    assert weights.max() == 1


def test_the_feather_rises_from_the_edge_but_not_from_the_frame() -> None:
    weights = feather(blob(9, 20, 0, 0, 9, 12), 3)
    assert weights[4].tolist() == pytest.approx([1] * 9 + [0.75, 0.5, 0.25] + [0] * 8)


def test_a_blend_is_the_source_where_the_weight_is_none_and_the_painting_where_it_is_one() -> None:
    source = np.array([[[10, 20, 255]] * 3], np.uint8)
    weights = np.array([[0, 0.25, 1]], np.float32)
    expected = [[[10, 20, 255], [32, 15, 191], [100, 0, 0]]]  # 32.5 and 191.25: rounded to even, to the nearest
    for dtype in (np.uint8, np.float32):
        painted = np.array([[[100, 0, 0]] * 3], dtype)
        result = blended(source, painted, weights)
        assert result.dtype == np.uint8
        assert result.tolist() == expected
