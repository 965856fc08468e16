"""The contact sheet: what is drawn stands where it was found, for small, large, wide and empty images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from ddb.report.contact_sheet import BOX, CELL, COLUMNS, GAP, LINE, OBJECT, PANEL, REGION, Look, contact_sheet

TOP = 3 * LINE + GAP


def look(height: int = 64, width: int = 64, **more: Any) -> Look:
    none = np.zeros((height, width), np.bool_)
    plain: dict[str, Any] = {"boxes": [], "scores": [], "object_mask": none, "region": none}
    plain |= {"title": "bird: ok", "reason": "", "name": "a.png"}
    image = np.full((height, width, 3), 90, np.uint8)
    return Look(image=image, **{**plain, **more})


def panels(sheet: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """The first image, with its boxes and with its masks: PANEL x PANEL pixels each."""
    pixels = np.asarray(sheet).astype(int)[TOP : TOP + PANEL]
    return pixels[:, GAP : GAP + PANEL], pixels[:, GAP + PANEL + 4 : GAP + 2 * PANEL + 4]


def rows_and_columns(pixels: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """First and last row, first and last column with a colour."""
    rows, columns = np.nonzero((pixels == colour).all(axis=2))
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_a_small_image_is_enlarged_pixel_by_pixel_and_masks_lie_on_it() -> None:
    thing, region = np.zeros((64, 64), np.bool_), np.zeros((64, 64), np.bool_)
    thing[20:30, 10:40] = region[16:44, 8:44] = True
    left, right = panels(contact_sheet([look(object_mask=thing, region=region)], "one"))
    assert (left == 90).all()
    assert rows_and_columns(right, OBJECT) == (60, 89, 30, 119)
    assert rows_and_columns(right, REGION) == (48, 131, 24, 131)
    tint = right[75, 75]
    assert tint == pytest.approx(0.55 * 90 + 0.45 * np.array(OBJECT), abs=1)
    assert (right[100, 100] == 90).all()


def test_boxes_stand_where_they_were_found_and_are_cut_at_the_frame() -> None:
    left, _ = panels(contact_sheet([look(boxes=[(10, 30, 40, 50)], scores=[0.5])], "one"))
    assert rows_and_columns(left, BOX)[1:3] == (150, 30)
    assert rows_and_columns(left, BOX)[3] == 120
    outside = contact_sheet([look(boxes=[(-5, 20, 90, 80), (70, 70, 90, 90)], scores=[0.5, 0.9])], "one")
    first, last, start, end = rows_and_columns(panels(outside)[0], BOX)
    assert (last, start, end) == (PANEL - 1, 0, PANEL - 1)
    assert first == 60 - 15  # its score stands above it
    assert not (np.asarray(outside)[:, GAP + PANEL : GAP + PANEL + 4] == BOX).all(axis=2).any()


@pytest.mark.parametrize(("height", "width"), [(20, 400), (1000, 30), (1, 1), (193, 191)])
def test_images_of_any_shape_keep_it(height: int, width: int) -> None:
    everything = np.ones((height, width), np.bool_)
    _, right = panels(contact_sheet([look(height, width, region=everything)], "one"))
    first, last, start, end = rows_and_columns(right, REGION)
    drawn = (last - first + 1, end - start + 1)
    assert max(drawn) == PANEL
    assert min(drawn) == max(1, round(PANEL * min(height, width) / max(height, width)))


def test_the_sheet_has_room_for_all_and_shows_reasons_in_red() -> None:
    looks = [look() for _ in range(2 * COLUMNS)] + [look(reason="no bird found", name="x" * 500)]
    sheet = contact_sheet(looks, "many words " * 50)
    assert sheet.size == (GAP + COLUMNS * (CELL[0] + GAP), TOP + 3 * (CELL[1] + GAP))
    below = np.asarray(sheet)[-CELL[1] - GAP + PANEL :].astype(int)
    assert ((below[..., 0] > 150) & (below[..., 1] < 60)).any()
    assert (np.asarray(sheet)[:, -GAP:] == 250).all()  # nothing runs over the edge
    assert contact_sheet([], "none").size[0] > 0
