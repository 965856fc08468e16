"""DaC's adaptive masks: the threshold of a heat map above which its pixels are the part that the ERM model's prediction
depends on (paper section 4.1, "adaptive masking"; code: fhn98/DaC, adaptive_mask.py).

For each quantile q the pixels at or above it are kept and the rest is filled with the pretraining's mean colour (zero
after normalisation). The ERM model's loss on these images rises with q; q is chosen at the elbow of that curve.
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
    """Adaptive mask of every image of uint8 [N, S, S, 3] with its label [N]: bool [N, S, S]."""
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
    """Pixels at or above each map's quantile: heat [N, S, S], quantiles [N] in [0, 1] -> bool [N, S, S]."""
    limits = [np.quantile(one, quantile) for one, quantile in zip(heat, quantiles, strict=True)]
    return heat >= np.array(limits, heat.dtype)[:, None, None]


def filled(classifier: Classifier, pixels: Pixels, masks: Masks) -> Pixels:
    """The images with the pretraining's mean colour outside the masks."""
    mean = (np.array(classifier.mean) * 255).round().astype(np.uint8)
    return np.where(masks[..., None], pixels, mean)


def chosen_quantiles(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Quantile of each image, [N]: the elbow of its losses [N, Q] over `QUANTILES`; 0.8 where there is no elbow."""
    elbows = [elbow(np.array(QUANTILES), row) for row in losses]
    return np.array([WITHOUT_ELBOW if found is None else QUANTILES[found] for found in elbows])


def elbow(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> int | None:
    """Index of the last elbow of a convex increasing curve, or None: Kneedle (Satopaa et al. 2011), sensitivity 1, as
    in kneed 0.8.5 (which DaC pins) with online=True. x must be evenly spaced.

    The curve is scaled to the unit square and reversed, so that elbows become knees. A local maximum of its height
    above the diagonal is a knee if the height then falls by more than the mean step of x before it rises again, or
    below 0 after a local minimum.
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
