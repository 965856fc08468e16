"""A contact sheet of segmented images: each is drawn twice, with its boxes and with object mask and region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from ddb.data.images import Mask, Pixels

PANEL = 192
"""Longest side of a picture on the sheet, pixels: three times that of a pocket image."""
COLUMNS, GAP, LINE = 4, 12, 17
CELL = (2 * PANEL + 4, PANEL + 3 * LINE + 6)
BOX, OBJECT, REGION = (0, 160, 255), (255, 40, 60), (255, 200, 0)
PAGE, INK, PALE, ALARM = (250, 250, 250), (25, 25, 25), (120, 120, 120), (190, 0, 30)
LEGEND = ((BOX, "box and its score"), (OBJECT, "object mask"), (REGION, "region to repaint"))


@dataclass(frozen=True)
class Look:
    """One image (uint8 HWC) with what was found: boxes (left, top, right, bottom; in pixels), a score for each, masks
    bool HW (all False: none). `reason` says why it is unusable, "" where it is usable."""

    image: Pixels
    boxes: Sequence[tuple[float, float, float, float]]
    scores: Sequence[float]
    object_mask: Mask
    region: Mask
    title: str
    reason: str
    name: str


def contact_sheet(looks: Sequence[Look], heading: str) -> Image.Image:
    """The sheet, four images a row. Small images are enlarged pixel by pixel."""
    columns = min(COLUMNS, max(len(looks), 2))
    rows = -(-len(looks) // columns)
    top = 3 * LINE + GAP
    size = (GAP + columns * (CELL[0] + GAP), top + rows * (CELL[1] + GAP))
    sheet = Image.new("RGB", size, PAGE)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), _fitted(heading, size[0] - 2 * GAP, 16), INK, _font(16))
    _legend(draw, GAP, GAP + LINE + 6)
    for number, look in enumerate(looks):
        row, column = divmod(number, columns)
        _cell(sheet, draw, look, GAP + column * (CELL[0] + GAP), top + row * (CELL[1] + GAP))
    return sheet


def outlined(image: Pixels, mask: Mask) -> Pixels:
    """A copy of the image (uint8 HWC) with the outermost pixels of the mask (bool HW) in the colour of objects."""
    drawn = image.copy()
    drawn[_edge(mask, 1)] = OBJECT
    return drawn


def _cell(sheet: Image.Image, draw: ImageDraw.ImageDraw, look: Look, left: int, top: int) -> None:
    height, width = look.image.shape[:2]
    scale = PANEL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(look.image).resize(size, _filter(scale, Image.Resampling.LANCZOS))
    x, y = (PANEL - size[0]) // 2, (PANEL - size[1]) // 2
    sheet.paste(_boxed(picture, look, scale), (left + x, top + y))
    sheet.paste(_masked(picture, look, scale), (left + PANEL + 4 + x, top + y))
    below = top + PANEL + 4
    draw.text((left, below), _fitted(look.title, CELL[0], 14), INK, _font(14))
    lines = [(look.reason, ALARM), (look.name, PALE)] if look.reason else [(look.name, PALE)]
    for number, (text, colour) in enumerate(lines, start=1):
        draw.text((left, below + number * LINE), _fitted(text, CELL[0], 13), colour, _font(13))


def _boxed(picture: Image.Image, look: Look, scale: float) -> Image.Image:
    """The picture with its boxes, the best one on top. Where there are more than three, only the best has its score."""
    picture = picture.copy()
    draw, order = ImageDraw.Draw(picture), np.argsort(look.scores, kind="stable")
    right, bottom = picture.width - 1, picture.height - 1
    for drawn, number in enumerate(order, start=1):
        x0, y0, x1, y1 = (round(side * scale) for side in look.boxes[number])
        corners = (min(max(x0, 0), right), min(max(y0, 0), bottom), max(min(x1, right), 0), max(min(y1, bottom), 0))
        if corners[2] < corners[0] or corners[3] < corners[1]:
            continue  # beside the picture
        draw.rectangle(corners, outline=BOX, width=2)
        if len(order) <= 3 or drawn == len(order):
            _label(draw, corners[0], corners[1], picture.width, f"{look.scores[number]:.2f}")
    return picture


def _label(draw: ImageDraw.ImageDraw, x: int, y: int, room: int, text: str) -> None:
    """A score above the corner (x, y) of a box, or inside at the upper edge; moved left to fit into `room` pixels."""
    height, width = 15, round(draw.textlength(text, _font(12))) + 4
    x, y = max(0, min(x, room - width)), max(0, y - height)
    draw.rectangle((x, y, x + width, y + height), fill=BOX)
    draw.text((x + 2, y), text, (255, 255, 255), _font(12))


def _masked(picture: Image.Image, look: Look, scale: float) -> Image.Image:
    """The picture with the object tinted and the region outlined."""
    pixels = np.asarray(picture).astype(np.float32)
    thing, region = (_scaled(mask, picture.size, scale) for mask in (look.object_mask, look.region))
    pixels[thing] = 0.55 * pixels[thing] + 0.45 * np.array(OBJECT, np.float32)
    pixels[_edge(thing, 1)] = OBJECT
    pixels[_edge(region, 3)] = (0, 0, 0)
    pixels[_edge(region, 2)] = REGION
    return Image.fromarray(pixels.round().astype(np.uint8))


def _scaled(mask: Mask, size: tuple[int, int], scale: float) -> Mask:
    grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    scaled: Mask = np.asarray(grey.resize(size, _filter(scale, Image.Resampling.BOX))) > 127
    return scaled


def _edge(mask: Mask, width: int) -> Mask:
    """The outermost `width` pixels of a mask, also along the border of the picture."""
    edge: Mask = mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), width)
    return edge


def _legend(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    for colour, text in LEGEND:
        draw.rectangle((x, y + 2, x + 11, y + 13), fill=colour)
        draw.text((x + 16, y), text, PALE, _font(13))
        x += 16 + round(draw.textlength(text, _font(13))) + 20


def _filter(scale: float, smooth: Image.Resampling) -> Image.Resampling:
    """The filter for a scale: from 2 on pixels are repeated, below `smooth` is used."""
    return Image.Resampling.NEAREST if scale >= 2 else smooth


def _fitted(text: str, width: int, size: int) -> str:
    """The text, cut at its end where it is wider than `width` pixels in font size `size`."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
