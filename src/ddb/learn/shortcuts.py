"""Two measures of shortcut learning that need no group labels: flip rate and shortcut reliance (method section 7)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ddb.learn.attribution import Integral, Masks, integrated_gradients, share_outside
from ddb.learn.classifier import Classifier, Pixels
from ddb.learn.device import Runtime
from ddb.learn.finite import require_finite
from ddb.learn.halving import BatchSize
from ddb.learn.predict import Floats, logits

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
    """For each pair of source and counterfactual (uint8 [N, S, S, 3] each), whether both are predicted as their own
    class (`from_labels`, `to_labels` [N]): bool [N]. The mean is the flip rate. StageFailed for logits that are not
    finite."""
    before, after = (logits(classifier, pixels, runtime, CHUNK) for pixels in (sources, images))
    require_finite("the logits are", np.concatenate([before, after], axis=1))
    followed: npt.NDArray[np.bool_] = (before.argmax(axis=1) == from_labels) & (after.argmax(axis=1) == to_labels)
    return followed


def reliance(
    classifier: Classifier, pixels: Pixels, masks: Masks, labels: npt.NDArray[np.integer], runtime: Runtime
) -> float:
    """Shortcut reliance in [0, 1]: mean share of |integrated gradients| outside the causal masks (bool [N, S, S],
    images uint8 [N, S, S, 3]), for the margin of each image's class, on the path from the pretraining's mean colour to
    the image. StageFailed for attributions that are not finite."""
    shares = []
    for start in range(0, len(pixels), CHUNK):
        part = slice(start, start + CHUNK)
        shares.append(share_outside(margin_attributions(classifier, pixels[part], labels[part], runtime), masks[part]))
    return float(np.concatenate(shares).mean())


def margin_attributions(
    classifier: Classifier, pixels: Pixels, labels: npt.NDArray[np.integer], runtime: Runtime
) -> Floats:
    """Integrated gradients float32 [N, S, S] of the margin of each image's label, on the path from the pretraining's
    mean colour to the images, uint8 [N, S, S, 3]. StageFailed for attributions that are not finite."""
    integral = Integral(STEPS, "margin", BatchSize(CHUNK, "images at once", "free the device"))
    mean = (np.array(classifier.mean) * 255).round().astype(np.uint8)
    baselines = np.ascontiguousarray(np.broadcast_to(mean, pixels.shape))
    found = integrated_gradients(classifier, baselines, pixels, labels, runtime, integral)
    require_finite("the integrated gradients are", found)
    return found
