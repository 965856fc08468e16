"""Deep Feature Reweighting (Kirichenko, Izmailov and Wilson, ICLR 2023; code: PolinaKirichenko/
deep_feature_reweighting, dfr_evaluate_spurious.py).

The backbone of the ERM model is frozen. On its standardised features, L1 logistic regressions (liblinear, which
penalises the intercept too) are fitted to random subsets in which all groups have the size of the smallest, and their
coefficients are averaged. C is searched first: the strength with the highest worst-group accuracy, the first of equals.

- dfr_val trains on the validation images and their groups. The search for C fits heads to a balanced half of them and
  compares worst-group accuracies on the other half. The figures are therefore those of the best head of the search, not
  of the returned head, which is fitted to all validation images.
- dfr_train trains on the training images and their groups. The search for C and class weights compares figures of the
  selection rule on all validation images.

The search standardises features by the images that it fits to (dfr_val) or by all training images (dfr_train). The
final fits standardise by all training images, as that code does; `scaler: val` follows the authors' later code
(spurious_feature_learning).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from sklearn.preprocessing import StandardScaler

from ddb.learn.seeds import seed_of
from ddb.learn.training.fit import Figures
from ddb.learn.validation import lowest_accuracy
from ddb.rivals import Fitted, Problem, Rival, Settings
from ddb.rivals.dfr_regression import Grouped, Regression, averaged_head, balanced_rows, search
from ddb.rivals.head import Head, put_head, unscaled
from ddb.rivals.last_layer import features_of, head_figures
from ddb.rivals.training import known

TUNING_STEPS = 20
"""max_iter of dfr_train's search (dfr_train_subset_tune); elsewhere liblinear's 100."""


class DfrSettings(Settings):
    strengths: tuple[float, ...] = Field(
        (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01),
        min_length=1,
        description="values of C that are tried, first of equals wins (code: Waterbirds; CelebA 3 to 0.003)",
    )
    penalty: Literal["l1", "l2"] = Field("l1", description="norm of the penalty (paper: l1)")


class DfrValSettings(DfrSettings):
    draws: int = Field(20, ge=1, description="balanced subsets whose heads are averaged (code: 20)")
    scaler: Literal["train", "val"] = Field(
        "train", description="what the final fits are standardised by: train (code of the paper), val (later code)"
    )


class DfrTrainSettings(DfrSettings):
    draws: int = Field(10, ge=1, description="balanced subsets whose heads are averaged (code: 10)")
    class_weights: tuple[float, ...] = Field(
        (1.0,),
        min_length=1,
        description="weights tried for each class in turn (code: 1, or 1 to 1000 with --tune_class_weights_dfr_train)",
    )


def fit_val(problem: Problem, settings: DfrValSettings) -> Fitted:
    """DFR-Val: the ERM backbone with a last layer fitted to balanced validation images."""
    loaded, classes, groups = problem.erm(), len(problem.classes), known(problem.val_groups)
    features, labels = features_of(problem, loaded.classifier, "val"), problem.val.labels
    rng = np.random.default_rng(seed_of(problem.seed, "dfr_val"))
    order = rng.permutation(len(labels))
    other, half = np.split(order, [len(labels) // 2])
    rows = half[balanced_rows(_numbered(groups[half]), rng)]
    scaler = StandardScaler().fit(features[rows])

    def figures(head: Head) -> Figures:
        correct = head.logits(scaler.transform(features[other])).argmax(axis=1) == labels[other]
        return lowest_accuracy(correct, groups[other]), float(correct.mean())

    candidates = [Regression(strength, settings.penalty) for strength in settings.strengths]
    how, seen = search(scaler.transform(features[rows]), labels[rows], classes, candidates, figures)
    if settings.scaler == "train":
        scaler = StandardScaler().fit(features_of(problem, loaded.classifier, "train"))
    else:
        scaler = StandardScaler().fit(features)
    head = averaged_head(Grouped(features, labels, _numbered(groups), classes), how, settings.draws, scaler, rng)
    put_head(loaded.classifier, head)
    return Fitted(loaded, seen, {"C": how.strength})


def fit_train(problem: Problem, settings: DfrTrainSettings) -> Fitted:
    """DFR-Tr: the ERM backbone with a last layer fitted to balanced training images."""
    loaded, classes, groups = problem.erm(), len(problem.classes), known(problem.train_groups)
    features, labels, numbered = (
        features_of(problem, loaded.classifier, "train"),
        problem.train.labels,
        _numbered(groups),
    )
    rng = np.random.default_rng(seed_of(problem.seed, "dfr_train"))
    scaler = StandardScaler().fit(features)
    rows = balanced_rows(numbered, rng)
    held = head_figures(problem, loaded.classifier)
    how, seen = search(
        scaler.transform(features[rows]),
        labels[rows],
        classes,
        _weighted_candidates(settings, classes),
        lambda head: held(unscaled(head, scaler.mean_, scaler.scale_)),
    )
    final = replace(how, steps=Regression.steps)
    put_head(
        loaded.classifier,
        averaged_head(Grouped(features, labels, numbered, classes), final, settings.draws, scaler, rng),
    )
    weights = "equal" if how.weights is None else ", ".join(f"{weight:g}" for weight in how.weights)
    return Fitted(loaded, seen, {"C": how.strength, "class_weights": weights})


def _weighted_candidates(settings: DfrTrainSettings, classes: int) -> list[Regression]:
    """Every C combined with every weight of every class; the combination of equal weights occurs once."""
    weights: list[tuple[float, ...] | None] = [None] if 1.0 in settings.class_weights else []
    for weight in settings.class_weights:
        for label in range(classes) if weight != 1.0 else ():
            weights.append(tuple(weight if k == label else 1.0 for k in range(classes)))
    return [
        Regression(strength, settings.penalty, chosen, TUNING_STEPS)
        for strength in settings.strengths
        for chosen in weights
    ]


def _numbered(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Groups renumbered as 0, 1, ... without gaps: int64 [N]."""
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


VAL = Rival(
    name="dfr_val",
    title="DFR (val)",
    uses=frozenset({"val_groups", "val_groups_train"}),
    settings=DfrValSettings,
    grid=({}, {"scaler": "val"}, {"penalty": "l2"}, {"scaler": "val", "penalty": "l2"}),
    fit=fit_val,
)
TRAIN = Rival(
    name="dfr_train",
    title="DFR (train)",
    uses=frozenset({"train_groups", "val_groups"}),
    settings=DfrTrainSettings,
    grid=(
        {},
        {"penalty": "l2"},
        {"class_weights": (1.0, 2.0, 3.0, 10.0)},
        {"class_weights": (1.0, 2.0, 3.0, 10.0), "penalty": "l2"},
    ),
    fit=fit_train,
)
