"""The image processor of a transformers model, and `Preprocessing` that gives the same pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from transformers import AutoImageProcessor

from ddb.backends.weights import readable
from ddb.data.images import Pixels
from ddb.data.preprocessing import Colour, Preprocessing
from ddb.errors import ModelError

CLOSE = 1.5
"""Largest mean difference, grey levels, between the processor's picture and ours: transformers resizes with
torchvision, ddb with Pillow, which round differently. A picture cut or squeezed otherwise differs by 10 and more."""
SHAPES = ((90, 144), (144, 90), (120, 120))
"""Height and width of the pictures that are compared."""


def preprocessing_of_processor(folder: Path) -> Preprocessing:
    """`Preprocessing` that equals the folder's processor, compared with it on three pictures. ModelError: there is no
    processor, or `Preprocessing` cannot represent what it does."""
    processor = readable(
        folder, lambda: AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    )
    settings, name = processor.to_dict(), type(processor).__name__
    pictures = [_picture(number, *shape) for number, shape in enumerate(SHAPES)]
    wanted = readable(folder, lambda: [_processed(processor, picture) for picture in pictures])
    side = wanted[0].shape[-1]
    if any(one.shape != (3, side, side) for one in wanted):
        shapes = ", ".join(str(list(one.shape)) for one in wanted)
        raise ModelError(
            f"{folder}: {name} gives pictures of {shapes} (colours, height, width); ddb's classifiers take squares of "
            "one size."
        )
    found = [(_difference(one, pictures, wanted), one) for one in _candidates(settings, side)]
    difference, best = min(found, key=lambda pair: pair[0])
    if difference > CLOSE:
        raise ModelError(
            f"{folder}: {name} makes pictures that ddb cannot make: resized to one length, cut to the centre, scaled "
            f"and normalised, they differ by {difference:.0f} grey levels on average."
        )
    return best


def processor_settings(preprocessing: Preprocessing) -> dict[str, Any]:
    """The content of preprocessor_config.json of a processor that equals `preprocessing`."""
    short = math.floor(preprocessing.size / preprocessing.crop)
    squashed = {"height": short, "width": short}
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": squashed if preprocessing.crop_mode == "squash" else {"shortest_edge": short},
        "resample": int(Image.Resampling[preprocessing.interpolation.upper()]),
        "do_center_crop": True,
        "crop_size": {"height": preprocessing.size, "width": preprocessing.size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
    }


def _candidates(settings: Mapping[str, Any], side: int) -> Iterator[Preprocessing]:
    """What the processor may do to give squares of this side: for each length to which it may resize, cut or
    squeezed."""
    interpolation = Image.Resampling(settings.get("resample") or 0).name.lower()
    mean, std = _colours(settings)
    for short in _lengths(settings, side):
        for mode in ("center", "squash"):
            yield Preprocessing(side, _share(side, short), interpolation, mean, std, mode)


def _lengths(settings: Mapping[str, Any], side: int) -> list[int]:
    """Lengths of at least `side` pixels to which the shorter side, or both, may be resized."""
    size = settings.get("size") or {}
    edge = size.get("shortest_edge") or size.get("height") or side
    share = settings.get("crop_pct") or 1.0
    found = (edge, int(edge / share), int(256 / 224 * edge))  # the last: LeViT
    return sorted({length for length in found if length >= side} | {side})


def _colours(settings: Mapping[str, Any]) -> tuple[Colour, Colour]:
    """Mean and standard deviation for pixels in [0, 1]."""
    factor = 255 * settings["rescale_factor"] if settings.get("do_rescale", True) else 255.0
    if not settings.get("do_normalize", True):
        return (0.0, 0.0, 0.0), _scaled(1.0, factor)
    return _scaled(settings["image_mean"], factor), _scaled(settings["image_std"], factor)


def _scaled(values: Any, factor: float) -> Colour:
    """The values of red, green and blue (one number: of all), divided by `factor`."""
    red, green, blue = values if isinstance(values, list | tuple) else (values,) * 3
    return red / factor, green / factor, blue / factor


def _share(side: int, short: int) -> float:
    """The crop share with which `Preprocessing` resizes to `short`, whatever the division rounds to."""
    share = side / short
    return share if math.floor(side / share) == short else math.nextafter(share, 0)


def _picture(number: int, height: int, width: int) -> Pixels:
    """Smooth random colours, uint8 [height, width, 3]."""
    coarse = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _processed(processor: Any, picture: Pixels) -> npt.NDArray[np.float32]:
    outputs = processor(images=Image.fromarray(picture), return_tensors="pt")["pixel_values"]
    pixels: npt.NDArray[np.float32] = outputs[0].float().numpy()
    return pixels


def _difference(ours: Preprocessing, pictures: list[Pixels], wanted: list[npt.NDArray[np.float32]]) -> float:
    """Mean absolute difference between our inputs of the model and those wanted, grey levels."""
    found = []
    for picture, theirs in zip(pictures, wanted, strict=True):
        levels = theirs.transpose(1, 2, 0) * np.array(ours.std) * 255 + np.array(ours.mean) * 255
        found.append(np.abs(levels - ours.square(picture)).mean())
    return float(np.mean(found))
