"""Paintings that show nothing: one flat colour, as a failed model or a safety checker leaves it."""

from __future__ import annotations

from ddb.backends import Failed, Image, Mask

FEW = 16
"""Regions of at most this many pixels may be of one colour."""
SPREAD = 1
"""Levels by which a flat colour may differ from place to place: rounding."""


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
