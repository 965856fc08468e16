"""Files to pixels and back. Pixels are uint8 HWC RGB 0-255, masks are bool HW.

JPEG, PNG and WebP only. EXIF orientation is applied once, here; grey, palette, CMYK, 16-bit and transparent images
become RGB (transparency over white). Animations, damaged and oversized files are refused with a reason.
"""

from __future__ import annotations

import io
import struct
import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ddb.errors import DataError

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
FORMATS = ("JPEG", "PNG", "WEBP")
PILLOW_LIMIT = 178.0
"""Megapixels above which Pillow itself refuses an image."""
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises on files that are not what they claim to be."""


def resolve_inside(root: Path, relative: str) -> Path:
    """The file `relative` (separator "/") below `root`, symbolic links followed.

    DataError if the path is absolute, climbs with "..", or leads out of `root` through a link.
    """
    posix = PurePosixPath(relative)
    if posix.is_absolute() or PureWindowsPath(relative).drive or ".." in posix.parts:
        raise DataError(f"{relative!r} is not a path inside the data folder: use relative paths without '..'")
    path = _real(root / posix.parent) / posix.name
    if path.is_symlink():
        path = path.resolve()
    if not path.is_relative_to(_real(root)):
        raise DataError(f"{relative!r} leads out of the data folder through a link: copy the files into it (cp -rL)")
    return path


@lru_cache(maxsize=65536)
def _real(folder: Path) -> Path:
    return folder.resolve()


def decode(data: bytes, max_megapixels: float = PILLOW_LIMIT) -> Pixels:
    """An encoded image to uint8 HWC RGB. DataError with the bare reason where it cannot be used."""
    try:
        with _open(data, max_megapixels) as image:
            return from_pil(image)
    except DAMAGE as error:
        raise DataError(f"damaged: {error}") from error


def from_pil(image: Image.Image) -> Pixels:
    """An open image of any mode to uint8 HWC RGB, as `decode` reads its file. What Pillow raises on damaged data
    (`DAMAGE`) passes through."""
    return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))


def check(data: bytes, max_megapixels: float) -> None:
    """Raise DataError with the bare reason if `decode` would. JPEG is read whole but drawn at an eighth of its size,
    which costs about a third of decoding it."""
    try:
        with _open(data, max_megapixels) as image:
            image.draft(image.mode, (1, 1))
            image.load()
    except DAMAGE as error:
        raise DataError(f"damaged: {error}") from error


def read_image(root: Path, relative: str, max_megapixels: float = PILLOW_LIMIT) -> Pixels:
    """The image file `relative` below `root`: uint8 HWC RGB, upright. DataError names the file and the reason."""
    try:
        return decode(resolve_inside(root, relative).read_bytes(), max_megapixels)
    except OSError as error:
        raise DataError(f"{root / relative}: {error.strerror or error}") from error
    except DataError as error:
        raise DataError(f"{root / relative}: {error}") from error


def portable(data: bytes) -> tuple[bytes, str]:
    """(bytes, suffix) of a file whose pixels every reader sees as `decode` does: `data` itself if it is upright RGB,
    else a PNG of it. DataError as `decode`."""
    with _open(data, PILLOW_LIMIT) as image:
        upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
        if upright and image.mode == "RGB" and not image.has_transparency_data:
            return data, {"PNG": ".png", "WEBP": ".webp"}.get(image.format or "", ".jpg")
    return png_bytes(decode(data)), ".png"


def png_bytes(image: Pixels) -> bytes:
    """Uint8 HWC RGB (or HW grey) to PNG, always the same bytes for the same pixels."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=4)  # half the time of 6 and 4% larger
    return buffer.getvalue()


def read_png(data: bytes) -> Pixels:
    """PNG bytes of our own tables to uint8 HWC RGB."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.asarray(image.convert("RGB"))


def mask_png(mask: Mask) -> bytes:
    """Bool HW to a one-channel PNG, 255 = True."""
    return png_bytes(mask.astype(np.uint8) * np.uint8(255))


def read_mask(data: bytes) -> Mask:
    """A mask image (PNG bytes) to bool HW: True where it is brighter than 127."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.asarray(image.convert("L")) > 127


def _open(data: bytes, max_megapixels: float) -> Image.Image:
    if not data:
        raise DataError("the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise DataError("damaged, or not a JPEG, PNG or WebP image") from None
    except Image.DecompressionBombError:
        raise DataError(f"more than {PILLOW_LIMIT:g} megapixels") from None
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise DataError(f"{megapixels:.1f} megapixels, more than data.max_megapixels = {max_megapixels:g}")
    if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: a photo with a second view or preview
        raise DataError("an animation: save one frame of it")
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel, grey
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
