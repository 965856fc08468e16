"""A classifier with its card, and the public way to use it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from ddb.data.images import DAMAGE, Pixels, decode, from_pil
from ddb.data.preprocessing import Preprocessing
from ddb.errors import DataError
from ddb.learn.classifier import Classifier
from ddb.learn.device import open_accelerator
from ddb.learn.finite import require_finite
from ddb.learn.predict import logits, softmax

Picture = Image.Image | npt.NDArray[np.uint8] | str | os.PathLike[str]
"""A PIL image of any mode, an array uint8 [H, W], [H, W, 3] or [H, W, 4] in 0-255, or the path of a JPEG, PNG or WebP
file."""
Library = Literal["timm", "transformers"]


@dataclass(frozen=True)
class Card:
    """The content of `classifier.json`: timm's name of the architecture and the arguments of its constructor (of a
    transformers model its class and none), the classes in the order of the outputs, the preprocessing, and the library
    of the model."""

    architecture: str
    model_args: dict[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    library: Library = "timm"


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier with its card. `predict` is the public way to use it."""

    classifier: Classifier
    card: Card

    def predict(
        self, images: Picture | Iterable[Picture], batch_size: int = 64, device: str = "auto"
    ) -> list[dict[str, float]]:
        """For each image, in order, the probability of every class by name: one dictionary per image, also for one.

        `images`: one picture or several; an array uint8 [N, H, W, 3] is N pictures. They are read as training reads
        files: upright, 16 bits scaled to 8, transparency over white. `batch_size` of them are in memory at once.
        DataError names a picture that cannot be read, and why; StageFailed one whose outputs are not finite.
        """
        runtime, found = open_accelerator(device, "fp32").exact(), []
        numbered = enumerate(_several(images), 1)
        while batch := list(islice(numbered, batch_size)):
            pixels = np.stack([self.card.preprocessing.square(_read(number, picture)) for number, picture in batch])
            outputs = logits(self.classifier, pixels, runtime, len(pixels))
            require_finite("the outputs are", outputs, [_name(number, picture) for number, picture in batch])
            found += [dict(zip(self.card.classes, row.tolist(), strict=True)) for row in softmax(outputs)]
        return found


def _several(images: Picture | Iterable[Picture]) -> Iterator[Picture]:
    if isinstance(images, np.ndarray) and images.ndim == 4:
        yield from images
    elif isinstance(images, Image.Image | np.ndarray | str | os.PathLike) or not isinstance(images, Iterable):
        yield images  # what is no picture is named by `_read`
    else:
        yield from images


def _name(number: int, picture: Picture) -> str:
    return os.fspath(picture) if isinstance(picture, str | os.PathLike) else f"image {number}"


def _read(number: int, picture: Picture) -> Pixels:
    """uint8 [H, W, 3] of a picture. DataError with its number or path."""
    name = _name(number, picture)
    try:
        if isinstance(picture, str | os.PathLike):
            return decode(Path(picture).expanduser().read_bytes())
        if isinstance(picture, Image.Image):
            return from_pil(picture)
        if isinstance(picture, np.ndarray):
            return _of_array(picture)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except DAMAGE as error:
        raise DataError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    raise DataError(f"{name} is a {type(picture).__name__}: give a PIL image, a uint8 array or the path of a file.")


def _of_array(array: npt.NDArray[Any]) -> Pixels:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)) or not array.size:
        raise DataError(
            f"an array of {array.dtype} {list(array.shape)}; give uint8 in 0-255, [H, W], [H, W, 3] or [H, W, 4]"
        )
    return from_pil(Image.fromarray(np.ascontiguousarray(array)))
