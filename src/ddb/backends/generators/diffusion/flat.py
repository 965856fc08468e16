"""Detection of paintings of one flat colour, the output of a failed model or a safety checker."""

from __future__ import annotations

from ddb.backends import Failed, Image, Mask

FEW = 16
"""Regions of at most this many pixels are not checked."""
SPREAD = 1
"""Largest difference of levels within a flat colour, from rounding."""


def flat_colour(image: Image, region: Mask) -> Failed | None:
    """The failure of a painting whose region is of one colour; None where it is not, or too small to tell."""
    pixels = image[region]
    if len(pixels) <= FEW or (pixels.max(axis=0).astype(int) - pixels.min(axis=0)).max() > SPREAD:
        return None
    red, green, blue = pixels[0].tolist()
    return Failed(
        f"painted one flat colour (red {red}, green {green}, blue {blue}): the model failed, or a safety checker "
        "replaced the image."
    )
