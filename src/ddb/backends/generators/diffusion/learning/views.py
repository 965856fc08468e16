"""Training data of a token: images and their mirror images, encoded once, with the loss weight of each latent cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from ddb.backends import Lesson, Mask
from ddb.backends.generators.diffusion.generator import canvas, remedy
from ddb.backends.generators.diffusion.geometry import take, window
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.sampling import Canvas
from ddb.config import LatentDiffusionConfig
from ddb.learn.halving import BatchSize, batches

HELD_OUT_EVERY = 5
"""One image in this many is held out, where there are that many."""
BACKGROUND_WEIGHT = 0.1
"""Loss weight of a masked cell far from the object, where an object mask is given; cells in or near it have weight
1."""
ENCODED_AT_ONCE = 8
"""Images that are encoded at a time; halved where memory runs out."""
HALO = 1 / 8
"""Width of the rim of full weight around the object, as a share of the square's side. Without it the loss does not
depend on the object's border, and the token paints objects too large."""


@dataclass(frozen=True)
class Views:
    """Encoded images and their mirror images, float32 on the device: latents and (9 channels) masked latents NChw,
    mask N1hw (1 where the image is hidden) and weight N1hw (of each cell in the loss, 0 outside the mask)."""

    latents: Tensor
    mask: Tensor
    weight: Tensor
    masked: Tensor | None

    def pick(self, rows: Tensor) -> Views:
        masked = None if self.masked is None else self.masked[rows]
        return Views(self.latents[rows], self.mask[rows], self.weight[rows], masked)


def encode_views(model: Diffusion, painting: LatentDiffusionConfig, lesson: Lesson, inside_mask: bool) -> Views:
    """Encode a lesson's images, then their mirror images: row i + n is image i mirrored. ValueError without images."""
    if not lesson.images:
        raise ValueError("no image to learn a token from")
    images, masks, objects = [], [], []
    causal = lesson.objects or [None] * len(lesson.images)
    for image, found, part in zip(lesson.images, lesson.masks, causal, strict=True):
        usable = inside_mask and found is not None and found.any()
        mask = found if usable and found is not None else np.ones(image.shape[:2], np.bool_)
        area = window(mask, painting.crop)
        square, hole = take(image, mask, area, painting.image_size)
        images.append(square)
        masks.append(hole)
        inside = mask & part if usable and part is not None else mask
        objects.append(take(image, inside if inside.any() else mask, area, painting.image_size)[1])
    images, masks, objects = (
        [*arrays, *(np.ascontiguousarray(array[:, ::-1]) for array in arrays)] for arrays in (images, masks, objects)
    )

    def board(rows: Sequence[int]) -> Canvas:
        return canvas(model, [images[row] for row in rows], [masks[row] for row in rows], True)

    room = BatchSize(ENCODED_AT_ONCE, "batches of", remedy(painting))
    parts = list(batches(board, range(len(images)), room))
    known_latents = [part.known for part in parts if part.known is not None]
    masked = [part.masked for part in parts if part.masked is not None]
    mask_cells = torch.cat([part.mask for part in parts])
    near = _near(objects, model.factor).to(mask_cells)
    weight = mask_cells * (BACKGROUND_WEIGHT + (1 - BACKGROUND_WEIGHT) * near)
    return Views(torch.cat(known_latents), mask_cells, weight, torch.cat(masked) if masked else None)


def _near(objects: Sequence[Mask], factor: int) -> Tensor:
    """N1hw at the latents' size: 1 for cells with a pixel of the object or of its halo, else 0."""
    cells = max_pool2d(torch.from_numpy(np.stack(objects))[:, None].float(), factor)
    reach = round(HALO * cells.shape[-1])
    return max_pool2d(cells, 2 * reach + 1, stride=1, padding=reach)


def split(images: int) -> tuple[Tensor, Tensor]:
    """Rows of the views for training and rows that are held out; a mirror image is in the same part as its original."""
    every = torch.arange(images)
    held = every[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    kept = every[(every + 1) % HELD_OUT_EVERY != 0]
    held = held if len(held) else every
    return torch.cat([kept, kept + images]), torch.cat([held, held + images])
