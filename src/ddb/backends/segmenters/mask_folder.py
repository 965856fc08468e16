"""Given masks as a folder with the same structure as the images': the mask of forest/1.jpg is forest/1.png, or else
forest/1_mask.png, as in UrbanCars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ddb.backends import Mask
from ddb.backends.content import file_hash
from ddb.data.images import resolve_inside
from ddb.data.reading.mask_image import decode_mask
from ddb.errors import DataError

_OTHERS = (".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".npy", ".npz", ".mat", ".pt", ".pth")


@dataclass(frozen=True)
class MaskFolder:
    """A `MaskSource`. `where`: the folder."""

    where: Path

    def mask(self, image: str, phrase: str) -> Mask | None:
        """The mask file of an image, bool HW at the file's size; None where there is none. DataError names the file and
        why it cannot be used."""
        path = self._file(image)
        if path is None:
            return None
        try:
            return decode_mask(path.read_bytes())
        except OSError as error:
            raise DataError(f"{mask_name(image)}: {error.strerror or error}") from error
        except DataError as error:
            raise DataError(f"{mask_name(image)}: {error}") from error

    def digest(self, image: str) -> str:
        """SHA-256 of the mask file in hex; "" where there is none or it cannot be read."""
        try:
            path = self._file(image)
            return file_hash(path) if path else ""
        except (OSError, DataError):
            return ""

    def looked_for(self, image: str) -> str:
        """The path where the image's mask should be, for messages."""
        return mask_name(image)

    def doubles(self, images: object) -> list[str]:
        """None: a mask file belongs to all images of its name."""
        return []

    def _file(self, image: str) -> Path | None:
        path = resolve_inside(self.where, mask_name(image))
        for spelt in (path, path.with_suffix(".PNG"), path.with_name(f"{path.stem}_mask.png")):
            if spelt.is_file():
                return spelt
        other = next((found for suffix in _OTHERS if (found := path.with_suffix(suffix)).is_file()), None)
        if other is not None:
            raise DataError(f"{mask_name(image)} is missing, {other.name} lies there: masks are PNG files, convert it")
        return None


def mask_name(image: str) -> str:
    """places/0001.jpg -> places/0001.png"""
    return PurePosixPath(image).with_suffix(".png").as_posix()
