"""Test figures of a classifier: the only file of the bench that reads the test split. What it returns is reported;
nothing is chosen by it (`fits.py` and `choice.py` have chosen before it is called)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ddb.backends.classifiers.timm_classifier import LoadedClassifier
from ddb.bench.fits.trial import PREDICT_BATCH, Trial
from ddb.data.pixel_store import pixel_store
from ddb.learn import metrics, predict
from ddb.records import Group


def score(trial: Trial, loaded: LoadedClassifier) -> dict[str, Any]:
    """As `learn.metrics.summarise` gives them, in float32, groups with their names."""
    dataset = trial.dataset
    test, train = dataset.split("test"), dataset.split("train")
    pixels = pixel_store(dataset, test["id"].to_pylist(), loaded.card.preprocessing, trial.run / "cache")
    outputs = predict.logits(loaded.classifier, pixels, trial.runtime.exact(), PREDICT_BATCH)
    attributes, of_train = (
        split["attribute"].fill_null(metrics.UNKNOWN).to_numpy().astype(np.int64) for split in (test, train)
    )
    counts = Counter(map(Group, train["label"].to_pylist(), of_train.tolist()))
    figures = metrics.summarise(predict.softmax(outputs), test["label"].to_numpy(), attributes, counts)
    for row in figures["groups"]:
        place = "" if row["attribute"] is None else f" / {dataset.attributes[row['attribute']]}"
        row["name"] = dataset.classes[row["label"]] + place
    return figures | {"n": len(test)}
