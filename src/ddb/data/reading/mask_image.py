"""Mask files of other programs to bool HW: which pixels are the object.

There is no standard form of masks. The pixel values decide how a file is read; an ambiguous file is refused:

    grey, 8 or 16 bits   0 and one other value (1, 255, 128, 65535 ...): the other one. Soft edges between 0 and the
                         highest value: what is brighter than half. All pixels alike: none if 0, all if 1 or the highest
    palette              grey colours as above. Others, as in PASCAL VOC: all that is not black, without index 255;
                         index 0 must be black if it is used
    colours              black and one other colour: the other one
    transparency         opaque pixels, if the colours do not say something else
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from ddb.data.images import PILLOW_LIMIT, Mask, opened, upright
from ddb.data.reading.encoded import orientation
from ddb.errors import DataError

IGNORED = 255
"""Index of a palette image (PASCAL VOC) for pixels that belong to no class."""
SHOWN = 8
REMEDY = "save 255 where the object is and 0 elsewhere"
Levels = npt.NDArray[np.unsignedinteger]


def decode_mask(data: bytes) -> Mask:
    """A PNG file to bool HW, upright, True where the object is. DataError with the bare reason and the values found
    where it is no PNG, is damaged, or leaves open what is the object."""
    return upright(opened(data, _object, PILLOW_LIMIT), orientation(data))


def _object(image: Image.Image) -> Mask:
    if image.format != "PNG":
        raise DataError(f"a {image.format} file, which need not keep values as they were: save masks as PNG")
    image.load()
    if image.mode == "1":
        return np.asarray(image).astype(np.bool_)
    if image.has_transparency_data:
        return _opaque(image.convert("RGBA"))
    if image.mode == "P":
        return _of_palette(image)
    if image.mode == "L" or image.mode.startswith("I"):
        return _of_levels(np.asarray(image).astype(np.uint16))
    return _of_colours(np.asarray(image.convert("RGB")))


def _of_levels(levels: Levels) -> Mask:
    """Grey levels HW, 8 or 16 bits."""
    counts = np.bincount(levels.ravel())
    found = np.flatnonzero(counts).tolist()
    top = 255 if found[-1] <= 255 else 65535
    if found in ([0], [1], [top]):
        return levels > 0
    if len(found) == 2 and found[0] == 0:
        return levels > 0
    if _soft(found, counts, top):
        return levels * 2.0 > top
    raise DataError(f"grey levels {_listed(found)}, which leaves open what is the object: {REMEDY}")


def _soft(found: list[int], counts: npt.NDArray[np.intp], top: int) -> bool:
    """Whether these are the levels of one object with soft edges, and not class numbers: pixels between dark and bright
    are fewer than bright ones, and their levels are on both sides of the middle. Without such levels, dark and bright
    ones are noise if both vary (a mask that was stored as JPEG before)."""
    dark = [level for level in found if level <= top // 16]
    bright = [level for level in found if level >= top - top // 16]
    between = [level for level in found if top // 16 < level < top - top // 16]
    if not dark or not bright:
        return False
    if not between:
        return len(dark) == 1 or len(bright) > 1
    both_sides = between[0] * 2 < top < between[-1] * 2
    return both_sides and int(counts[between].sum()) < int(counts[bright].sum())


def _of_palette(image: Image.Image) -> Mask:
    index = np.asarray(image)
    used = np.flatnonzero(np.bincount(index.ravel(), minlength=256))
    colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colours)] = colours
    named = used[used != IGNORED].tolist()
    objects: Mask = palette.max(axis=1) > 0
    if len(named) - int(objects[named].sum()) > 1:  # entries that the file does not have count as black
        raise DataError(f"a palette image with the indices {_listed(used.tolist())}, several of them black: {REMEDY}")
    if (palette[used] == palette[used, :1]).all():
        return _of_levels(palette[:, 0][index])
    if (0 in named and objects[0]) or (len(named) > 1 and objects[named].all()):
        raise DataError(
            f"a palette image with the indices {_listed(used.tolist())}, whose background is not black: {REMEDY}"
        )
    objects[IGNORED] = False
    mask: Mask = objects[index]
    return mask


def _of_colours(pixels: npt.NDArray[np.uint8]) -> Mask:
    """RGB HWC."""
    if (pixels == pixels[..., :1]).all():
        return _of_levels(pixels[..., 0])
    lit: Mask = pixels.max(axis=2) > 0
    colours = Image.fromarray(pixels).getcolors(SHOWN)
    if colours is not None and len(colours) == 2 and not lit.all():
        return lit
    number = f"more than {SHOWN}" if colours is None else str(len(colours))
    raise DataError(f"{number} colours, which leaves open what is the object: {REMEDY}")


def _opaque(image: Image.Image) -> Mask:
    """RGBA: the transparency decides where it varies; colours that say something else make the file useless."""
    pixels = np.asarray(image)
    alpha = pixels[..., 3]
    if (alpha == 255).all():
        return _of_colours(pixels[..., :3])
    mask = _of_levels(alpha)
    try:
        painted = _of_colours(pixels[..., :3])
    except DataError:  # a cut-out photograph: its colours say nothing about the mask
        return mask
    if painted.any() and not painted.all() and not np.array_equal(painted, mask):
        raise DataError(f"transparency and colours show different objects: {REMEDY}, without transparency")
    return mask


def _listed(values: list[int]) -> str:
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(map(str, values[:SHOWN])) + more
