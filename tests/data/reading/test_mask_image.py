"""Mask files of other programs: the same 20 x 20 object in a 40 x 40 image in every form, or a refusal."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ddb.data.reading.mask_image import decode_mask
from ddb.errors import DataError

SQUARE = np.zeros((40, 40), np.uint8)
SQUARE[10:30, 10:30] = 1
RING = SQUARE.copy()  # the object with a border that VOC calls "ignore"
RING[10:30, 10:12] = 255


def png(image: Image.Image, **save: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **save)  # type: ignore[arg-type]
    return buffer.getvalue()


def grey(levels: np.ndarray) -> bytes:
    return png(Image.fromarray(levels))


def palette(index: np.ndarray, *colours: tuple[int, int, int], **save: object) -> bytes:
    image = Image.fromarray(index.astype(np.uint8), "P")
    image.putpalette([channel for colour in colours for channel in colour])
    return png(image, **save)


def rgba(colour: np.ndarray, alpha: np.ndarray) -> bytes:
    return png(Image.fromarray(np.dstack([colour, alpha])))


VOC = [(0, 0, 0)] * 256
VOC[1], VOC[2], VOC[7], VOC[15], VOC[255] = (128, 0, 0), (0, 128, 0), (128, 128, 128), (192, 128, 128), (224, 224, 192)
NOISE = np.random.default_rng(0).integers(1, 256, (40, 40, 3), dtype=np.uint8)
BLACK, WHITE = np.zeros((40, 40, 3), np.uint8), np.full((40, 40, 3), 255, np.uint8)
RED = (SQUARE[..., None] * np.array([200, 0, 0])).astype(np.uint8)
SOFT = np.asarray(Image.fromarray(SQUARE * 255).resize((20, 20), Image.Resampling.BILINEAR).resize((40, 40), 3))

READ = {
    "0 and 1": grey(SQUARE),
    "0 and 255": grey(SQUARE * 255),
    "0 and 128": grey(SQUARE * 128),
    "0 and 38": grey(SQUARE * 38),
    "one bit": png(Image.fromarray(SQUARE * 255).convert("1")),
    "16 bit, 0 and 1": grey(SQUARE.astype(np.uint16)),
    "16 bit, 0 and 255": grey(SQUARE.astype(np.uint16) * 255),
    "16 bit, 0 and 65535": grey(SQUARE.astype(np.uint16) * 65535),
    "palette of VOC": palette(SQUARE, *VOC),
    "palette of VOC, two classes": palette(SQUARE + (SQUARE > 0) * (np.arange(40) % 2), *VOC),
    "palette of VOC, a grey class": palette(SQUARE * 7, *VOC),
    "palette, short": palette(SQUARE, (0, 0, 0), (128, 0, 0)),
    "palette, black and white": palette(SQUARE, (0, 0, 0), (255, 255, 255)),
    "palette, white and black": palette(1 - SQUARE, (255, 255, 255), (0, 0, 0)),
    "palette, grey ramp": palette(SQUARE, *[(n, n, n) for n in range(256)]),
    "palette, transparent background": palette(SQUARE, (0, 0, 0), (128, 0, 0), transparency=0),
    "grey rgb": png(Image.fromarray(np.dstack([SQUARE * 255] * 3))),
    "rgb of 0 and 1": png(Image.fromarray(np.dstack([SQUARE] * 3))),
    "red on black": png(Image.fromarray(RED)),
    "rgba, opaque": rgba(np.dstack([SQUARE * 255] * 3), np.full_like(SQUARE, 255)),
    "cut-out photograph": rgba(NOISE, SQUARE * 255),
    "white on transparent white": rgba(WHITE, SQUARE * 255),
    "black on transparent black": rgba(BLACK, SQUARE * 255),
    "grey and alpha": png(Image.fromarray(np.dstack([SQUARE * 255, np.full_like(SQUARE, 255)]), "LA")),
}


@pytest.mark.parametrize("form", READ)
def test_every_form_shows_the_same_object(form: str) -> None:
    mask = decode_mask(READ[form])
    assert mask.dtype == np.bool_ and mask.mean() == 0.25
    assert np.array_equal(mask, SQUARE == 1)


def test_what_voc_ignores_is_no_object() -> None:
    assert np.array_equal(decode_mask(palette(RING, *VOC)), RING == 1)
    assert not decode_mask(palette((RING == 255) * 255, *VOC)).any()


def test_soft_edges_are_cut_at_the_middle() -> None:
    """A circle of radius 15 drawn 8 times finer and made small: the area is that of the circle."""
    big = Image.new("L", (320, 320))
    ImageDraw.Draw(big).ellipse((40, 40, 280, 280), fill=255)
    small = big.resize((40, 40), Image.Resampling.BOX)
    mask = decode_mask(png(small))
    assert mask.sum() == pytest.approx(np.pi * 15**2, rel=0.02)
    assert np.array_equal(mask, np.asarray(small) >= 128)
    wide = (np.asarray(small).astype(np.uint16)) * 257
    assert np.array_equal(decode_mask(grey(wide)), mask)


@pytest.mark.parametrize(("level", "covered"), [(0, 0), (1, 1), (255, 1)])
def test_an_image_of_one_level(level: int, covered: int) -> None:
    assert decode_mask(grey(np.full((4, 5), level, np.uint8))).mean() == covered


def test_noise_of_a_jpeg_around_black_and_white() -> None:
    levels = SQUARE * 250 + np.arange(40, dtype=np.uint8) % 4
    assert np.array_equal(decode_mask(grey(levels)), SQUARE == 1)


TRIMAP = SQUARE * 0 + 2
TRIMAP[10:30, 10:30] = 1
TRIMAP[10:30, 10:12] = 3
UPPER = np.arange(40)[:, None, None] < 20


def short_palette(index: np.ndarray) -> bytes:
    """A palette PNG whose palette has two entries, whatever the indices are."""
    data = palette(index, *[(n, 0, 0) for n in range(256)])
    start = data.index(b"PLTE") - 4
    chunk = b"PLTE" + bytes([0, 0, 0, 128, 0, 0])
    short = struct.pack(">I", 6) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:start] + short + data[start + 12 + int.from_bytes(data[start : start + 4], "big") :]


REFUSED = {
    "trimap of pets": (grey(TRIMAP), "grey levels 1, 2, 3, which leaves open"),
    "classes and ignore in grey": (grey(RING), "grey levels 0, 1, 255, which"),
    "numbers of classes": (grey((np.arange(1600).reshape(40, 40) // 160).astype(np.uint8)), "0, 1, .* 7 and 2 more"),
    "one odd level": (grey(np.full((4, 4), 77, np.uint8)), "grey levels 77"),
    "a photograph": (png(Image.fromarray(NOISE)), "more than 8 colours"),
    "two objects by colour": (png(Image.fromarray(np.where(UPPER, RED, RED[..., ::-1]))), "3 colours"),
    "palette without black": (palette(SQUARE, (0, 0, 90), (128, 0, 0)), "indices 0, 1, whose background is not black"),
    "palette too short": (short_palette(SQUARE * 9), "indices 0, 9, several of them black"),
    "two different objects": (rgba(np.dstack([(1 - SQUARE) * 255] * 3), SQUARE * 255), "show different objects"),
    "no image": (b"no picture", "not a JPEG, PNG or WebP"),
    "empty": (b"", "empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_leaves_open_where_the_object_is_is_refused(case: str) -> None:
    data, reason = REFUSED[case]
    with pytest.raises(DataError, match=reason) as error:
        decode_mask(data)
    assert "damaged" in str(error.value) or "empty" in str(error.value) or "save 255" in str(error.value)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_other_formats_are_refused_by_name(kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(SQUARE * 255).save(buffer, kind)
    with pytest.raises(DataError, match=f"a {kind} file, which need not keep values"):
        decode_mask(buffer.getvalue())


def test_a_mask_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = np.zeros((10, 20), np.uint8)
    wide[:, :5] = 255
    assert np.array_equal(decode_mask(png(Image.fromarray(wide), exif=exif)), np.rot90(wide, -1) == 255)
