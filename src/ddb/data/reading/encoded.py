"""Metadata of JPEG, PNG and WebP files: the orientation, and the file's bytes without metadata.

They are read from the bytes here and not by Pillow, which refuses a whole file for one malformed entry of its metadata.
Nothing in this module raises on a damaged file.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112
_NUMBERS = {3: "H", 4: "L", 8: "h", 9: "l"}
"""TIFF types of whole numbers with two or four bytes -> struct codes."""
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_OLD_PROFILE = b"Raw profile type exif\0"
_MOST_PROFILE = 1 << 20
"""Largest number of bytes of an unpacked profile that are read."""


@dataclass(frozen=True)
class _Part:
    """A segment (JPEG) or chunk (PNG, WebP): its name, its content, and the bytes that hold it."""

    name: bytes
    content: bytes
    whole: bytes


def orientation(data: bytes) -> int:
    """The EXIF orientation of an encoded image, 1 to 8; 1 (upright) where none can be read.

    It is read from EXIF, else from XMP, as Pillow and `datasets` do. All other entries are ignored.
    """
    xmp = b""
    for part in _parts(data):
        if part.name in (b"\xe1", b"EXIF", b"eXIf") and (found := _exif_orientation(part)):
            return found
        if part.name == b"zTXt" and (found := _old_profile(part.content)):
            return found
        if part.name in (b"\xe1", b"iTXt", b"XMP ") and not xmp:
            xmp = part.content
            if part.name == b"\xe1" and not xmp.startswith(_XMP):
                xmp = b""
    match = _XMP_ORIENTATION.search(xmp)
    return int(match[1]) if match else 1


def without_metadata(data: bytes) -> bytes:
    """The file without text, EXIF and profiles. `data` itself if it is neither JPEG nor PNG (in WebP, metadata does not
    affect the decoding of pixels)."""
    if data.startswith(b"\xff\xd8"):
        parts = list(_jpeg_parts(data))
        rest = data[2 + sum(len(part.whole) for part in parts) :]
        kept = [part.whole for part in parts if not (0xE1 <= part.name[0] <= 0xEF or part.name == b"\xfe")]
        adobe = [part.whole for part in parts if part.name == b"\xee"]  # the Adobe segment holds the colour transform
        return b"".join([data[:2], *adobe, *kept, rest])
    if data.startswith(_PNG):
        needed = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
        return _PNG + b"".join(
            part.whole for part in _png_parts(data) if part.name[:1].isupper() or part.name in needed
        )
    return data


def _parts(data: bytes) -> Iterator[_Part]:
    if data.startswith(b"\xff\xd8"):
        yield from _jpeg_parts(data)
    elif data.startswith(_PNG):
        yield from _png_parts(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        yield from _webp_parts(data)


def _jpeg_parts(data: bytes) -> Iterator[_Part]:
    """The segments before the pixels; stops where the structure ends."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        start = at
        while at + 1 < len(data) and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1 : at + 2]
        if not marker or marker in (b"\xda", b"\xd9", b"\x00") or at + 4 > len(data):
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + length
        if length < 2 or end > len(data):
            return
        yield _Part(marker, data[at + 4 : end], data[start:end])
        at = end


def _png_parts(data: bytes) -> Iterator[_Part]:
    at = len(_PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            yield _Part(data[at + 4 : at + 8], data[at + 8 :], data[at:])
            return
        yield _Part(data[at + 4 : at + 8], data[at + 8 : end - 4], data[at:end])
        at = end


def _webp_parts(data: bytes) -> Iterator[_Part]:
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        yield _Part(data[at : at + 4], data[at + 8 : at + 8 + size], data[at:end])
        at = end


def _exif_orientation(part: _Part) -> int:
    """0 where the part holds no orientation."""
    if part.name == b"\xe1" and not part.content.startswith(_EXIF):
        return 0
    return _tiff_orientation(part.content.removeprefix(_EXIF))


def _old_profile(content: bytes) -> int:
    """From the compressed text in which older programs keep EXIF in PNG: 0 where there is none."""
    if not content.startswith(_OLD_PROFILE):
        return 0
    try:
        text = zlib.decompressobj().decompress(content[len(_OLD_PROFILE) + 1 :], _MOST_PROFILE)
        block = bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except (zlib.error, ValueError):
        return 0
    return _tiff_orientation(block.removeprefix(_EXIF))


def _tiff_orientation(block: bytes) -> int:
    """From the first directory of a TIFF block; 0 where there is none. Entries of the wrong type are passed over."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return 0
    (start,) = struct.unpack_from(f"{order}L", block, 4)
    if start + 2 > len(block):
        return 0
    (count,) = struct.unpack_from(f"{order}H", block, start)
    found = 0
    for at in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        tag, kind, values = struct.unpack_from(f"{order}HHL", block, at)
        if tag == _ORIENTATION and kind in _NUMBERS and values == 1:
            (value,) = struct.unpack_from(order + _NUMBERS[kind], block, at + 8)
            found = value if 1 <= value <= 8 else found
    return found
