"""Test figures of a classifier: the only module of the bench that reads test images.

Its figures are only reported. Fits are chosen before it is called (`fits/choice.py`)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ddb.backends.classifiers.timm_classifier import LoadedClassifier
from ddb.bench.fits.trial import PREDICT_BATCH, Trial
from ddb.data.stores.pixel_store import pixel_store
from ddb.data.table import codes
from ddb.learn import metrics, predict
from ddb.records import Group


def score(trial: Trial, loaded: LoadedClassifier) -> dict[str, Any]:
    """The figures of `learn.metrics.summarise` on the test images, computed in float32, with the names of groups, and
    `n`, the number of test images."""
    dataset = trial.dataset
    test, train = dataset.split("test"), dataset.split("train")
    pixels = pixel_store(dataset, test["id"].to_pylist(), loaded.card.preprocessing, trial.run / "cache")
    outputs = predict.logits(loaded.classifier, pixels, trial.runtime.exact(), PREDICT_BATCH)
    attributes, of_train = (codes(split["attribute"]) for split in (test, train))
    counts = Counter(map(Group, train["label"].to_pylist(), of_train.tolist()))
    figures = metrics.summarise(predict.softmax(outputs), test["label"].to_numpy(), attributes, counts)
    for row in figures["groups"]:
        attribute = "" if row["attribute"] is None else f" / {dataset.attributes[row['attribute']]}"
        row["name"] = dataset.classes[row["label"]] + attribute
    return figures | {"n": len(test)}
