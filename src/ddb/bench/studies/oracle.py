"""The oracle: a classifier that is trained on balanced renders of a built-in world and classifies counterfactuals.

Its training images show each class and no object in equal shares in every place; all other attributes are drawn at
random. Blur and noise augmentation makes its predictions independent of the sharpness of a generator's decoder. They
are only reported: no method is trained with them and nothing is selected by them.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddb.backends.classifiers.timm_classifier import (
    CARD,
    LoadedClassifier,
    create_classifier,
    load_classifier,
    save_classifier,
)
from ddb.config import Augment, ErmConfig, FitConfig
from ddb.engine import files
from ddb.errors import ConfigError
from ddb.learn.classifier import Pixels
from ddb.learn.device import Runtime
from ddb.learn.predict import logits
from ddb.learn.training.fit import CHECKPOINT, Images, Material, fit
from ddb.pocket.miniatures import MINIATURES
from ddb.pocket.world import FAMILIES, render, sample_scene

NOTHING = 2
"""The oracle's class for an image without object; 0 and 1 are the classes of the world."""
IMAGES, UNSEEN, BATCH = 3600, 1200, 128
BUDGET = FitConfig(
    epochs=4, lr=0.01, schedule="cosine", selection="last", augment=Augment(scale=(0.85, 1.0), blur=0.5, noise=6)
)


def open_oracle(world: str, folder: Path, runtime: Runtime) -> LoadedClassifier:
    """The oracle in `folder`, trained first if it is not there; oracle.json holds its accuracy on unseen renders.

    ConfigError where `world` is not a built-in world."""
    if world not in MINIATURES:
        raise ConfigError("Only the built-in worlds have an oracle for counterfactuals.")
    if (folder / CARD).exists():
        return load_classifier(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = (*MINIATURES[world].plans, "nothing")
    loaded = create_classifier(ErmConfig(backbone="pocket", weights="pocket", image_size=64), names, 0)
    pixels, answers = balanced_renders(world, IMAGES, 100)
    fit(loaded.classifier, Material(Images(pixels, answers)), BUDGET, runtime, 0, folder)
    unseen, truth = balanced_renders(world, UNSEEN, 999)
    right = float((answers_of(loaded, unseen, runtime) == truth).mean())
    files.write_json(folder / "oracle.json", {"world": world, "accuracy": right, "unseen": UNSEEN})
    save_classifier(loaded, folder)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return loaded


def accuracy(folder: Path) -> float | None:
    """The oracle's accuracy on unseen renders, in [0, 1]; None where there is no oracle."""
    found = files.read_json(folder / "oracle.json")
    return None if found is None else float(found["accuracy"])


def answers_of(oracle: LoadedClassifier, images: Pixels, runtime: Runtime) -> npt.NDArray[np.int64]:
    """The oracle's predictions for uint8 [N, 64, 64, 3] images: int64 [N], a class or NOTHING."""
    if not len(images):
        return np.empty(0, np.int64)
    answers: npt.NDArray[np.int64] = logits(oracle.classifier, images, runtime.exact(), BATCH).argmax(axis=1)
    return answers


def balanced_renders(world: str, count: int, seed: int) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Images uint8 [N, 64, 64, 3] and their classes (or NOTHING) int64 [N]; all (class, place) have equal shares, with
    each thing that the world has beside its objects."""
    miniature, rng = MINIATURES[world], np.random.default_rng(seed)
    family, plans = miniature.family, (*miniature.plans, None)
    surroundings = list(product(FAMILIES[family].places, dict.fromkeys(miniature.things) or [None]))
    cells = [(answer, *where) for answer in (0, 1, NOTHING) for where in surroundings]
    picks = [cells[i % len(cells)] for i in range(count)]
    scenes = [
        sample_scene(rng, family=family, plan=plans[answer], place=place, empty=answer == NOTHING, thing=thing)
        for answer, place, thing in picks
    ]
    return np.stack([render(scene).image for scene in scenes]), np.array([answer for answer, *_ in picks], np.int64)
