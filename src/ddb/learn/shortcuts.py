"""Two measures of what a classifier looks at that need no group labels (method section 7)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ddb.learn.attribution import Masks, integrated_gradients, share_outside
from ddb.learn.classifier import Classifier, Pixels
from ddb.learn.device import Runtime
from ddb.learn.predict import logits

STEPS = 16
CHUNK = 32


def follows(
    classifier: Classifier,
    sources: Pixels,
    images: Pixels,
    from_labels: npt.NDArray[np.integer],
    to_labels: npt.NDArray[np.integer],
    runtime: Runtime,
) -> npt.NDArray[np.bool_]:
    """For each pair, whether the prediction follows the causal part: the source gets its class and the counterfactual
    its own. The mean is the flip rate."""
    before, after = (logits(classifier, pixels, runtime, CHUNK).argmax(axis=1) for pixels in (sources, images))
    followed: npt.NDArray[np.bool_] = (before == from_labels) & (after == to_labels)
    return followed


def reliance(
    classifier: Classifier, pixels: Pixels, masks: Masks, labels: npt.NDArray[np.integer], runtime: Runtime
) -> float:
    """Shortcut reliance: mean share of |integrated gradients| outside the causal masks [N, S, S], for the margin of
    each image's class, along the path from the pretraining's mean colour to the image."""
    shares = []
    for start in range(0, len(pixels), CHUNK):
        part = slice(start, start + CHUNK)
        mean = (np.array(classifier.mean) * 255).round().astype(np.uint8)
        baselines = np.ascontiguousarray(np.broadcast_to(mean, pixels[part].shape))
        found = integrated_gradients(classifier, baselines, pixels[part], labels[part], runtime, STEPS, "margin")
        shares.append(share_outside(found, masks[part]))
    return float(np.concatenate(shares).mean())
