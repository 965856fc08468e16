"""Orientation and metadata of files: as Pillow reads intact ones; damaged metadata never makes pixels unusable."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from ddb.data.images import check, decode, header, portable, upright_size
from ddb.data.reading.encoded import orientation, without_metadata
from ddb.errors import DataError

PHOTO = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
TURNED = np.rot90(PHOTO, -1)  # what orientation 6 asks for: 32 rows, 24 columns


def encoded(kind: str, **save: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}) | save)  # type: ignore
    return buffer.getvalue()


def pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def tiff(*entries: tuple[int, int, int, bytes], order: str = "<", declared: int | None = None) -> bytes:
    """A TIFF block of one directory."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}L", 8)
    body = b"".join(struct.pack(f"{order}HHL", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in sorted(entries))
    return head + struct.pack(f"{order}H", declared or len(entries)) + body + bytes(4)


def exif(*entries: tuple[int, int, int, bytes], order: str = "<", **more: int) -> bytes:
    """A block with orientation 6 and further entries."""
    return b"Exif\0\0" + tiff((0x0112, 3, 1, struct.pack(f"{order}HH", 6, 0)), *entries, order=order, **more)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_healthy_orientations_are_read_as_pillow_reads_them(kind: str, turn: int, order: str) -> None:
    block = b"Exif\0\0" + tiff((0x0112, 3, 1, struct.pack(f"{order}HH", turn, 0)), order=order)
    data = encoded(kind, exif=block)
    assert orientation(data) == turn
    assert np.array_equal(decode(data), pillow(data))
    assert upright_size(data) == decode(data).shape[:2]


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(name: bytes, content: bytes, data: bytes | None = None) -> bytes:
    """A PNG with one more chunk behind its header."""
    data = data or encoded("PNG")
    return data[:33] + chunk(name, content) + data[33:]


def test_orientations_in_text_are_read_as_pillow_reads_them() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    profile = exif().hex().encode()
    packed = zlib.compress(b"\nexif\n      %d\n" % (len(profile) // 2) + profile + b"\n")
    for data in (
        with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        with_chunk(b"zTXt", b"Raw profile type exif\0\0" + packed),
        encoded("JPEG", xmp=xmp),
        encoded("WEBP", xmp=xmp),
    ):
        assert orientation(data) == 6 and decode(data).shape == (32, 24, 3)
        assert np.array_equal(decode(data), pillow(data))


ODD = {
    "a text for a number": ((0x0100, 2, 4, b"abc\0"),),
    "a float for a text": ((0x0131, 11, 1, struct.pack("<f", 1.5)),),
    "a unit that is none": ((0x0128, 4, 1, struct.pack("<I", 70000)),),
    "an offset beyond the end": ((0x010F, 2, 500, struct.pack("<I", 1 << 30)),),
    "an unknown type": ((0x9999, 77, 1, b"abcd"),),
    "a directory at nowhere": ((0x8769, 4, 1, struct.pack("<I", 1 << 31)),),
    "a rational of zero": ((0x011A, 5, 1, struct.pack("<I", 0)),),
    "negative counts": ((0x0110, 2, 0xFFFFFFFF, b"abcd"),),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_odd_entries_change_nothing(case: str, kind: str) -> None:
    """Right: the photograph, turned."""
    data = encoded(kind, exif=exif(*ODD[case]))
    check(data, 50)
    pixels = decode(data)
    assert pixels.shape == (32, 24, 3)
    assert np.array_equal(pixels, np.rot90(decode(encoded(kind)), -1))
    again, _ = portable(data)
    assert np.array_equal(pillow(again), pixels)


@pytest.mark.parametrize(("kind", "count", "value", "turn"), [
    (3, 1, b"\x06\0", 6), (4, 1, b"\x06\0\0\0", 6), (3, 2, b"\x06\0\x06\0", 1), (2, 2, b"6\0", 1), (1, 1, b"\x06", 1),
    (3, 1, b"\x09\0", 1), (3, 1, b"\0\0", 1), (11, 1, struct.pack("<f", 6), 1), (3, 1, b"\xff\xff", 1),
])  # fmt: skip
def test_orientations_that_are_no_small_number_are_none(kind: int, count: int, value: bytes, turn: int) -> None:
    assert orientation(encoded("JPEG", exif=b"Exif\0\0" + tiff((0x0112, kind, count, value)))) == turn


def test_damaged_blocks_never_stop_an_image() -> None:
    """Random EXIF blocks, cut and changed: every file is read, by both, and has one of the two shapes."""
    rng = np.random.default_rng(1)
    whole = exif(*(entry for entries in ODD.values() for entry in entries), declared=40)
    for trial in range(300):
        block = bytearray(whole)
        for place in rng.integers(0, len(block), int(rng.integers(1, 12))):
            block[place] = int(rng.integers(256))
        kind = ("JPEG", "PNG", "WEBP")[trial % 3]
        data = encoded(kind, exif=bytes(block[: int(rng.integers(1, len(block) + 1))]))
        check(data, 50)
        assert decode(data).shape in ((24, 32, 3), (32, 24, 3))
        portable(data)


def test_text_that_pillow_refuses_does_not_hide_the_pixels() -> None:
    """Image generators write their whole settings into PNG text; Pillow stops at more than a megabyte."""
    data = with_chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3_000_000)))
    with pytest.raises(ValueError, match="Decompressed data too large"), Image.open(io.BytesIO(data)) as image:
        image.load()
    check(data, 50)
    assert np.array_equal(decode(data), PHOTO)
    assert header(data) == ((32, 24), "RGB", "PNG")
    again, suffix = portable(data)
    assert suffix == ".png" and np.array_equal(pillow(again), PHOTO)
    broken = bytearray(with_chunk(b"tEXt", b"Comment\0hello"))
    broken[33 + 8 + 8] ^= 255  # the chunk's checksum no longer fits
    assert np.array_equal(decode(bytes(broken)), PHOTO)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "LA"])
def test_files_without_their_metadata_have_the_same_pixels(kind: str, mode: str) -> None:
    buffer = io.BytesIO()
    try:
        Image.fromarray(PHOTO).convert(mode).save(buffer, kind, exif=exif(), comment=b"x", icc_profile=bytes(200))
    except (OSError, KeyError):
        pytest.skip(f"{kind} has no {mode}")
    data = buffer.getvalue()
    plain = without_metadata(data)
    with Image.open(io.BytesIO(data)) as a, Image.open(io.BytesIO(plain)) as b:
        assert a.mode == b.mode and np.array_equal(np.asarray(a), np.asarray(b))
    assert kind == "WEBP" or len(plain) < len(data)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF0000WEBP", b"GIF89a"])
def test_what_is_no_image_has_no_orientation(data: bytes) -> None:
    assert orientation(data) == 1
    with pytest.raises(DataError):
        decode(without_metadata(data))
