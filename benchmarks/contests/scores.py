"""Scores and the last layer beside captum and scikit-learn. The model is the pocket backbone at 64 pixels, or (full) a
ResNet-50 at 224 pixels without trained weights. Both contenders of `scores` compute in float32 without TF32, as stage
score does."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from captum.attr import IntegratedGradients
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from contests.contest import Contest, timed
from contests.training import settings_of
from ddb.backends.classifiers.timm_classifier import create_classifier
from ddb.learn import predict
from ddb.learn.attribution import output_change
from ddb.learn.classifier import to_tensor
from ddb.learn.device import open_accelerator
from ddb.rivals.dfr_regression import Regression, logistic_head

PAIRS, SCORED_AT_ONCE = 128, 64
CAPTUM_PAIRS, CAPTUM_STEPS, CAPTUM_AT_ONCE = 8, 50, 128


def scores_contest(device: str, full: bool) -> Contest:
    """ddb's closed form, with the sources' logits as stage erm stored them, and of captum's integrated
    gradients with 50 steps."""
    classifier = create_classifier(settings_of(full), ("a", "b"), 0).classifier
    runtime = open_accelerator(device, "auto").exact()
    side, rng = classifier.image_size, np.random.default_rng(0)
    sources = rng.integers(0, 256, (PAIRS, side, side, 3), dtype=np.uint8)
    images, labels = sources.copy(), np.arange(PAIRS) % 2
    images[:, side // 4 : -side // 4, side // 4 : -side // 4] //= 2
    before = predict.logits(classifier, sources, runtime, SCORED_AT_ONCE)
    attribution = IntegratedGradients(classifier.on(runtime.device).eval())

    def closed() -> int:
        for at in range(0, PAIRS, SCORED_AT_ONCE):
            own = slice(at, at + SCORED_AT_ONCE)
            after = predict.logits(classifier, images[own], runtime, SCORED_AT_ONCE)
            output_change(before[own], after, labels[own], "logit")
            predict.softmax(after), predict.softmax(before[own])
        return PAIRS

    def captum() -> int:
        baselines, inputs = (
            classifier.normalise(to_tensor(pixels[:CAPTUM_PAIRS], runtime.device)) for pixels in (sources, images)
        )
        with runtime.autocast():
            maps = attribution.attribute(
                inputs,
                baselines,
                target=torch.from_numpy(labels[:CAPTUM_PAIRS]).to(runtime.device),
                n_steps=CAPTUM_STEPS,
                internal_batch_size=CAPTUM_AT_ONCE,
            )
        maps.sum(1).detach().cpu()
        return CAPTUM_PAIRS

    works = {"ddb": closed, f"captum, {CAPTUM_STEPS} steps": captum}
    return Contest("pruning score", "pairs/s", {name: timed(work, runtime.device) for name, work in works.items()})


def last_layer_contest() -> Contest:
    """An L1 logistic regression on 2,000 vectors of 512 features: ddb's head (of DFR), and scikit-learn as DFR's code
    calls it. ddb calls the same solver, so this shows what its own part costs."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000)
    features = (rng.normal(size=(2000, 512)) + 0.1 * labels[:, None]).astype(np.float32)
    regression = LogisticRegression(C=0.1, l1_ratio=1.0, solver="liblinear", max_iter=100, random_state=0)

    def ours() -> int:
        logistic_head(features, labels, 2, Regression(0.1))
        return 1

    def theirs() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            regression.fit(features, labels)
        return 1

    cpu = torch.device("cpu")
    return Contest("last layer", "fits/s", {"ddb": timed(ours, cpu), "scikit-learn": timed(theirs, cpu)})
