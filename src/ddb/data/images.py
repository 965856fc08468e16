"""Files to pixels and back. Pixels are uint8 HWC RGB 0-255, masks are bool HW.

JPEG, PNG and WebP only. EXIF orientation is applied once, here, and is all that is read of a file's metadata: colour
profiles are not applied. Grey, palette and CMYK images become RGB, 16 bits become 8 (65535 -> 255), transparent pixels
are laid over white. Animations, damaged files, and those of extreme size or shape are refused with a reason.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from ddb.data.reading.encoded import orientation, without_metadata
from ddb.errors import DataError

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
T = TypeVar("T")
Scalar = TypeVar("Scalar", bound=np.generic)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
FORMATS = ("JPEG", "PNG", "WEBP")
PILLOW_LIMIT = 178.0
"""Megapixels above which Pillow itself refuses an image."""
LONGEST = 100
"""Largest ratio of the longer to the shorter side. More elongated images are refused: they are useless for models, and
resizing or padding one to a square takes many times the memory of its pixels."""
BAND = 1 << 20
"""Pixels that are converted to RGB at a time."""
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
"""Exceptions that Pillow raises on damaged files."""


def resolve_inside(root: Path, relative: str) -> Path:
    """The file `relative` (separator "/") below `root`, symbolic links followed.

    DataError if the path is absolute, contains "..", leads out of `root` through a link, cannot be followed, or holds
    what no file system stores (a zero byte, half of a UTF-16 pair).
    """
    if "\0" in relative or any("\ud800" <= sign <= "\udfff" for sign in relative):
        raise DataError(f"{relative!r} is not a file name: it holds a zero byte or half a character")
    posix = PurePosixPath(relative)
    if posix.is_absolute() or PureWindowsPath(relative).drive or ".." in posix.parts:
        raise DataError(f"{relative!r} is not a path inside the data folder: use relative paths without '..'")
    try:
        path = _real(root / posix.parent) / posix.name
        if path.is_symlink():
            path = path.resolve()
    except (OSError, RuntimeError) as error:  # too long a name, no permission; a link to itself before Python 3.13
        shown = relative if len(relative) < 100 else f"{relative[:100]}..."
        raise DataError(f"{shown!r} cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    if not path.is_relative_to(_real(root)):
        raise DataError(f"{relative!r} leads out of the data folder through a link: copy the files into it (cp -rL)")
    return path


@lru_cache(maxsize=65536)
def _real(folder: Path) -> Path:
    return folder.resolve()


def decode(data: bytes, max_megapixels: float = PILLOW_LIMIT) -> Pixels:
    """An encoded image to uint8 HWC RGB, upright. DataError with the bare reason where it cannot be used.

    At the most 7 bytes a pixel are held at a time, 3 of them the result; 11 for transparent images.
    """
    return opened(data, lambda image: upright(_rgb(image), orientation(data)), max_megapixels)


def from_pil(image: Image.Image) -> Pixels:
    """An open image of any mode to uint8 HWC RGB, as `decode` reads its file. What Pillow raises on damaged data
    (`DAMAGE`) passes through."""
    try:
        turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    except DAMAGE:  # metadata never decides whether pixels can be used
        turn = 1
    return upright(_rgb(image), turn if turn in range(1, 9) else 1)


def check(data: bytes, max_megapixels: float) -> None:
    """Raise DataError with the bare reason if `decode` would. JPEG is read whole but decoded at an eighth of its size,
    which takes about a third of the time of decoding it."""

    def small(image: Image.Image) -> None:
        image.draft(image.mode, (1, 1))
        _rgb(image)

    opened(data, small, max_megapixels)


def upright_size(data: bytes) -> tuple[int, int]:
    """(height, width) of the array that `decode` makes, from the file's header. DataError as `decode`."""
    width, height = opened(data, lambda image: image.size, PILLOW_LIMIT)
    return (width, height) if orientation(data) >= 5 else (height, width)


def header(data: bytes) -> tuple[tuple[int, int], str, str]:
    """((width, height) as stored, mode, format) as in Pillow, from the file's header. DataError as `decode`."""
    return opened(data, lambda image: (image.size, image.mode, image.format or ""), PILLOW_LIMIT)


def read_image(root: Path, relative: str, max_megapixels: float = PILLOW_LIMIT) -> Pixels:
    """The image file `relative` below `root`: uint8 HWC RGB, upright. DataError names the file and the reason."""
    try:
        return decode(resolve_inside(root, relative).read_bytes(), max_megapixels)
    except OSError as error:
        raise DataError(f"{root / relative}: {error.strerror or error}") from error
    except DataError as error:
        raise DataError(f"{root / relative}: {error}") from error


def portable(data: bytes) -> tuple[bytes, str]:
    """(bytes, suffix) of a file that every reader decodes to the pixels of `decode`: `data` itself if it is upright RGB
    and Pillow opens it, else a PNG. DataError as `decode`."""
    try:
        with _open(data, PILLOW_LIMIT) as image:
            if image.mode == "RGB" and not image.has_transparency_data and orientation(data) == 1:
                return data, {"PNG": ".png", "WEBP": ".webp"}.get(image.format or "", ".jpg")
    except DAMAGE:  # metadata that Pillow refuses, which `decode` ignores; or damage, which it reports
        return png_bytes(decode(data)), ".png"
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


def opened(data: bytes, use: Callable[[Image.Image], T], max_megapixels: float) -> T:
    """`use` of the opened image; where Pillow fails on the file's metadata, of the image without metadata.

    DataError with the bare reason for files that cannot be used, as `decode`."""
    try:
        with _open(data, max_megapixels) as image:
            return use(image)
    except DAMAGE as error:
        plain = without_metadata(data)
        if plain == data:
            raise _damaged(error) from error
    try:
        with _open(plain, max_megapixels) as image:
            return use(image)
    except DAMAGE as error:
        raise _damaged(error) from error


def _damaged(error: BaseException) -> DataError:
    if isinstance(error, UnidentifiedImageError):
        return DataError("damaged, or not a JPEG, PNG or WebP image")
    return DataError(f"damaged: {error}")


def _open(data: bytes, max_megapixels: float) -> Image.Image:
    """The image opened by Pillow, not yet decoded. DataError where size or kind are refused; `DAMAGE` for damaged
    files."""
    if not data:
        raise DataError("the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise DataError(f"more than {PILLOW_LIMIT:g} megapixels") from None
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise DataError(f"{megapixels:.1f} megapixels, more than data.max_megapixels = {max_megapixels:g}")
    if max(image.size) > LONGEST * min(image.size):
        raise DataError(f"{image.width}x{image.height} pixels: one side is more than {LONGEST} times the other")
    if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: a photo with a second view or preview
        raise DataError("an animation: save one frame of it")
    return image


def _rgb(image: Image.Image) -> Pixels:
    """Uint8 HWC of an image as it is stored."""
    image.load()
    if image.mode == "RGB" and not image.has_transparency_data:
        return np.asarray(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(image.height, top + rows)))
        pixels[top : top + rows] = np.asarray(_to_rgb(band))
    return pixels


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel, grey
        wide = np.asarray(image).astype(np.uint32)
        grey = ((wide * 255 + 32767) // 65535).astype(np.uint8)
        if isinstance(clear := image.info.get("transparency"), int):
            grey[wide == clear] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def upright(pixels: npt.NDArray[Scalar], turn: int) -> npt.NDArray[Scalar]:
    """Stored pixels [H, W, ...] turned upright by their EXIF orientation `turn`, 1 to 8."""
    if turn >= 5:
        pixels = pixels.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
