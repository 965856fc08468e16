"""DaC's adaptive masks: how much of a heat map counts as the part that the ERM model decides by (paper section 4.1,
"adaptive masking"; code: fhn98/DaC, adaptive_mask.py).

For each quantile q the pixels at or above it are kept and the rest is filled with the pretraining's mean colour (zero
after normalisation); the ERM model's loss there rises as less is kept. The elbow of that curve picks q.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ddb.learn.attribution import Masks
from ddb.learn.classifier import Classifier, Pixels
from ddb.learn.device import Runtime
from ddb.learn.gradcam import xgradcam
from ddb.learn.predict import Floats, cross_entropy, logits

QUANTILES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
WITHOUT_ELBOW = 0.8


def adaptive_masks(
    classifier: Classifier, pixels: Pixels, labels: npt.NDArray[np.int64], runtime: Runtime, batch_size: int
) -> Masks:
    """The part of every image that the classifier decides by: bool [N, S, S] for uint8 [N, S, S, 3]."""
    masks = np.empty(pixels.shape[:3], np.bool_)
    for start in range(0, len(pixels), batch_size):
        rows = slice(start, start + batch_size)
        heat = xgradcam(classifier, pixels[rows], runtime, batch_size)
        losses = [
            cross_entropy(logits(classifier, filled(classifier, pixels[rows], mask), runtime, batch_size), labels[rows])
            for mask in (at_quantile(heat, np.full(len(heat), q)) for q in QUANTILES)
        ]
        masks[rows] = at_quantile(heat, chosen_quantiles(np.stack(losses, axis=1)))
    return masks


def at_quantile(heat: Floats, quantiles: npt.NDArray[np.floating]) -> Masks:
    """Pixels at or above each map's own quantile: bool [N, S, S] of heat [N, S, S], quantiles [N]."""
    limits = [np.quantile(one, quantile) for one, quantile in zip(heat, quantiles, strict=True)]
    return heat >= np.array(limits, heat.dtype)[:, None, None]


def filled(classifier: Classifier, pixels: Pixels, masks: Masks) -> Pixels:
    """The images with the pretraining's mean colour outside the masks."""
    mean = (np.array(classifier.mean) * 255).round().astype(np.uint8)
    return np.where(masks[..., None], pixels, mean)


def chosen_quantiles(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The quantile of each image: the elbow of its losses [N, Q] over `QUANTILES`, 0.8 where there is none."""
    elbows = [elbow(np.array(QUANTILES), row) for row in losses]
    return np.array([WITHOUT_ELBOW if found is None else QUANTILES[found] for found in elbows])


def elbow(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> int | None:
    """Index of the last elbow of a convex rising curve, None without one: Kneedle (Satopaa et al. 2011), sensitivity 1,
    as kneed 0.8.5 (which DaC pins) finds it with online=True. x must be evenly spaced.

    The curve is scaled to the unit square and turned about, so that elbows become knees; a maximum of its height over
    the diagonal is a knee where the height then falls by more than the mean step of x before it rises again, or below
    0 after a minimum.
    """
    if np.ptp(y) == 0:
        return None
    across = (x - x[0]) / (x[-1] - x[0])
    risen = (y - y.min()) / np.ptp(y)
    height = (1 - risen)[::-1] - across
    padded = np.pad(height, 1, mode="edge")
    is_maximum = (height >= padded[:-2]) & (height >= padded[2:])
    is_minimum = (height <= padded[:-2]) & (height <= padded[2:])
    knee, last, threshold = None, 0, -np.inf
    for i in range(len(x) - 1):
        if is_maximum[i]:
            last, threshold = i, height[i] - across[1]
        if is_minimum[i] and threshold != -np.inf:
            threshold = 0.0
        if height[i + 1] < threshold:
            knee = len(x) - 1 - last
    return knee
