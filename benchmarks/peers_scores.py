"""Scores and the last layer beside captum and scikit-learn: pairs/s and fits/s, for `benchmarks/peers.py`.

    python benchmarks/peers_scores.py [--device cuda --full] [--rounds 5]

`scores` and `last_layer` return a rate for each contender. Contenders take turns; the rate is the median of the rounds.
The model is the pocket backbone at 64 pixels, with `--full` a ResNet-50 at 224 pixels without trained weights. Both
contenders of `scores` compute in float32 without TF32, as stage score does.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from captum.attr import IntegratedGradients
from peers_training import Rates, medians, settings_of
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from ddb.backends.classifiers.timm_classifier import create_classifier
from ddb.learn import predict
from ddb.learn.attribution import output_change
from ddb.learn.classifier import to_tensor
from ddb.learn.device import open_accelerator
from ddb.rivals.dfr_regression import Regression, logistic_head

PAIRS, SCORED_AT_ONCE = 128, 64
CAPTUM_PAIRS, CAPTUM_STEPS, CAPTUM_AT_ONCE = 8, 50, 128


def scores(device: str, full: bool, rounds: int) -> Rates:
    """Pairs/s of ddb's closed form, with the sources' logits as stage erm stored them, and of captum's integrated
    gradients with 50 steps."""
    classifier = create_classifier(settings_of(full), ("a", "b"), 0).classifier
    runtime = open_accelerator(device, "auto").exact()
    side, rng = classifier.image_size, np.random.default_rng(0)
    sources = rng.integers(0, 256, (PAIRS, side, side, 3), dtype=np.uint8)
    images, labels = sources.copy(), np.arange(PAIRS) % 2
    images[:, side // 4 : -side // 4, side // 4 : -side // 4] //= 2
    before = predict.logits(classifier, sources, runtime, SCORED_AT_ONCE)
    attribution = IntegratedGradients(classifier.on(runtime.device).eval())

    def closed() -> float:
        start = time.perf_counter()
        for at in range(0, PAIRS, SCORED_AT_ONCE):
            own = slice(at, at + SCORED_AT_ONCE)
            after = predict.logits(classifier, images[own], runtime, SCORED_AT_ONCE)
            output_change(before[own], after, labels[own], "logit")
            predict.softmax(after), predict.softmax(before[own])
        return PAIRS / (time.perf_counter() - start)

    def captum() -> float:
        start = time.perf_counter()
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
        return CAPTUM_PAIRS / (time.perf_counter() - start)

    return medians({"ddb": closed, "captum": captum}, rounds)


def last_layer(rounds: int) -> Rates:
    """Fits/s of an L1 logistic regression on 2,000 vectors of 512 features: ddb's head (of DFR), and scikit-learn as
    DFR's code calls it. ddb calls the same solver, so this shows what its own part costs."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000)
    features = (rng.normal(size=(2000, 512)) + 0.1 * labels[:, None]).astype(np.float32)
    theirs = LogisticRegression(C=0.1, l1_ratio=1.0, solver="liblinear", max_iter=100, random_state=0)

    def timed(call: Callable[[], object]) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                call()
            return 1 / (time.perf_counter() - start)

        return run

    ours = timed(lambda: logistic_head(features, labels, 2, Regression(0.1)))
    return medians({"ddb": ours, "scikit-learn": timed(lambda: theirs.fit(features, labels))}, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(json.dumps({"scores, pairs/s": scores(args.device, args.full, args.rounds)}), flush=True)
    print(json.dumps({"last layer, fits/s": last_layer(args.rounds)}), flush=True)


if __name__ == "__main__":
    main()
