"""Discover and Cure (Wu et al., ICML 2023; code: Wuyxin/DISC).

A concept bank is given as images (setting `concepts`; the authors generate theirs with Stable Diffusion).

1. For each class the concepts that are relevant to the ERM model's predictions are kept (`disc_concepts.relevance`).
2. The training images of each class are clustered by the ERM model's features and the correctness of its prediction; an
   environment is the union of one cluster of every class.
3. A pretrained model is trained. Every epoch: *discover* computes, on the current model, how much each concept's
   tendency to each class varies over the environments (its sensitivity); *cure* minimises L = CE(batch) + sum_c
   CE(mixed_c), where the images of other classes are mixed (share from Beta(2, 2)) with images of class c's concepts,
   drawn in proportion to their sensitivity, and keep their labels.

Where this differs from the code: images are clustered in two principal components instead of UMAP's plane; clusters are
paired again every epoch instead of every second; relevance is computed on a fixed number of images instead of for 300
seconds; at least one concept is kept. Batches are not balanced by groups. The code's Waterbirds script does so
(--reweight_groups), which needs the training groups that the paper says are not used. Normalisation layers stay as
pretrained (`norm: frozen`), as in the code, where learning the concepts leaves the model in eval mode.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from ddb.backends.classifiers.timm_classifier import LoadedClassifier
from ddb.errors import ConfigError
from ddb.learn.classifier import Classifier, Pixels
from ddb.learn.device import Runtime
from ddb.learn.predict import Floats, features
from ddb.learn.seeds import seed_of
from ddb.learn.training.batches import Batch, numpy_generator, passes
from ddb.learn.training.fit import Images, Material
from ddb.learn.training.joined import joined_images
from ddb.rivals import Fitted, Problem, Rival, TrainingSettings
from ddb.rivals.concept_images import read_concepts
from ddb.rivals.disc_concepts import (
    chosen_concepts,
    environments,
    learn_concepts,
    relevance,
    sensitivity,
    tendencies,
)
from ddb.rivals.head import Doubles, head_of
from ddb.rivals.last_layer import features_of, key
from ddb.rivals.training import train

Rows = npt.NDArray[np.int64]


class DiscSettings(TrainingSettings):
    lr_scale: float = Field(
        0.5,
        gt=0,
        description="multiplies the shared learning rate (scripts against ERM's: MetaShift 0.5, Waterbirds 0.1)",
    )
    concepts: str = Field("", description="folder of concept images, a sub-folder each (code: --concept_img_folder)")
    images_per_concept: int = Field(200, ge=5, description="images used of each concept (code: 200)")
    clusters: int = Field(3, ge=2, description="environments (code: Waterbirds 3, MetaShift 2)")
    svm_strength: float = Field(0.1, gt=0, description="C of the concepts' linear SVMs (code: 0.1)")
    mass: float = Field(
        0.5, gt=0, le=1, description="relevance that the kept concepts of a class add up to (code: 0.5)"
    )
    most: int = Field(20, ge=1, description="concepts kept of each class at most (code: 20)")
    explained: int = Field(300, ge=1, description="training images that relevance is found on; ours (code: for 300 s)")
    mix_alpha: float = Field(2.0, gt=0, description="alpha of the Beta(alpha, alpha) that mixes (code: 2)")
    norm: Literal["frozen", "train"] = Field("frozen", description="normalisation layers; frozen: as the code does")


def fit_disc(problem: Problem, settings: DiscSettings) -> Fitted:
    """Fit DISC. ConfigError without `concepts`; DataError as `read_concepts`."""
    if not settings.concepts:
        raise ConfigError(
            "DISC: `concepts` is empty; it needs a folder of concept images, one sub-folder each (docs/rivals.md)."
        )
    erm = problem.erm()
    bank = read_concepts(Path(settings.concepts).expanduser(), erm.card.preprocessing, settings.images_per_concept)
    kept, environment = _seen_by_erm(problem, settings, erm, list(bank.values()))
    names = list(bank)
    used = sorted({concept for concepts in kept for concept in concepts})
    budget = settings.budget(problem.fit)
    curer = Curer(
        problem.train,
        environment,
        [bank[names[concept]] for concept in used],
        [[used.index(concept) for concept in concepts] for concepts in kept],
        settings,
        budget.lr,
        budget.batch_size,
        problem.runtime.exact(),
        problem.batch,
    )
    loaded = problem.start()
    concepts = [Images(pixels, np.empty(len(pixels), np.int64)) for pixels in curer.images]  # their labels are not used
    material = Material(
        replace(joined_images(problem.train, *concepts), labels=problem.train.labels),
        validate=problem.validate(),
        plan=curer.plan,
    )
    own = replace(problem, folder=problem.folder / key(settings, budget))
    facts = {f"concepts of {problem.classes[k]}": ", ".join(names[c] for c in kept[k]) for k in range(len(kept))}
    return train(own, loaded, material, budget, "disc", facts)


def _seen_by_erm(
    problem: Problem, settings: DiscSettings, erm: LoadedClassifier, images: list[Pixels]
) -> tuple[list[list[int]], Rows]:
    """The concepts kept for each class, and the cluster of every training image, int64 [N], by the ERM model."""
    seen = [features(erm.classifier, pixels, problem.runtime.exact(), problem.batch) for pixels in images]
    rng = np.random.default_rng(seed_of(problem.seed, "disc", "relevance"))
    concepts, head = learn_concepts(seen, settings.svm_strength, rng), head_of(erm.classifier)
    train, labels = features_of(problem, erm.classifier, "train"), problem.train.labels
    sample = rng.permutation(len(labels))[: settings.explained]
    shares = relevance(train[sample], labels[sample], head, concepts, rng)
    correct = head.logits(train).argmax(axis=1) == labels
    seed = seed_of(problem.seed, "disc", "clusters") % 2**32
    clusters = environments(train, correct, labels, settings.clusters, seed)
    return [chosen_concepts(row, settings.mass, settings.most) for row in shares], clusters


@dataclass(frozen=True)
class Curer:
    """Discovers and cures in every epoch. `images`: for each concept in use its images; `kept`: for each class the
    concepts (indices in `images`) that images of other classes are mixed with. Row N + i of the joined images is the
    i-th concept image."""

    train: Images
    environment: Rows
    images: list[Pixels]
    kept: list[list[int]]
    settings: DiscSettings
    lr: float
    batch_size: int
    runtime: Runtime
    prediction_batch: int

    def plan(self, generator: torch.Generator, classifier: Classifier) -> list[Batch]:
        """The steps of an epoch, with the sensitivities of the current model."""
        rng = numpy_generator(generator)
        shares = self.discover(classifier, rng)
        classifier.model.train(self.settings.norm == "train")
        everything = np.arange(len(self.train.labels))
        return [self.cure(batch.rows, shares, rng) for batch in passes(everything, self.batch_size, generator)]

    def discover(self, classifier: Classifier, rng: np.random.Generator) -> list[Doubles]:
        """For each class the probabilities of its concepts, proportional to their sensitivity over the environments."""
        concepts = learn_concepts(
            [self._features(classifier, pixels) for pixels in self.images], self.settings.svm_strength, rng
        )
        scores = []
        for rows in self._environments(rng):
            batch = rng.permutation(rows)[: self.batch_size]
            seen = self._features(classifier, self.train.pixels[batch])
            rate = self.lr * min(10, -(-len(rows) // self.batch_size))
            scores.append(tendencies(seen, self.train.labels[batch], head_of(classifier), concepts.vectors, rate))
        spread = sensitivity(scores)
        return [_normalised(spread[label, concepts_of]) for label, concepts_of in enumerate(self.kept)]

    def cure(self, rows: Rows, shares: list[Doubles], rng: np.random.Generator) -> Batch:
        """The batch's images, then for every class c those of other classes with images of c's concepts as partners."""
        labels = self.train.labels[rows]
        parts = [(rows, rows, np.ones(len(rows)))]
        for label, concepts in enumerate(self.kept):
            others = rows[labels != label]
            if len(others) >= 2:
                chosen = rng.choice(concepts, size=len(others), p=shares[label])
                alpha = self.settings.mix_alpha
                parts.append((others, self._image_rows(chosen, rng), rng.beta(alpha, alpha, len(others))))
        total = sum(len(part[0]) for part in parts)
        scale = np.concatenate([np.full(len(part[0]), total / len(part[0]), np.float32) for part in parts])
        everyone, partners, share = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Batch(everyone, scale, partners, share.astype(np.float32), own_labels=True)

    def _environments(self, rng: np.random.Generator) -> list[Rows]:
        """Rows of each environment: one cluster of every class, paired at random."""
        labels = self.train.labels
        orders = [rng.permutation(self.settings.clusters) for _ in self.kept]
        groups = [
            np.flatnonzero(self.environment == np.array([order[i] for order in orders])[labels])
            for i in range(self.settings.clusters)
        ]
        return [rows for rows in groups if len(rows)]

    def _image_rows(self, concepts: npt.NDArray[np.integer], rng: np.random.Generator) -> Rows:
        sizes = np.array([len(pixels) for pixels in self.images])
        starts = len(self.train.labels) + np.cumsum(sizes) - sizes
        within = (rng.random(len(concepts)) * sizes[concepts]).astype(np.int64)
        return np.asarray(starts[concepts] + within, np.int64)

    def _features(self, classifier: Classifier, pixels: Pixels) -> Floats:
        return features(classifier, pixels, self.runtime, self.prediction_batch)


def _normalised(values: Doubles) -> Doubles:
    """Probabilities proportional to the values; equal ones where all values are 0."""
    total = float(values.sum())
    return values / total if total > 0 else np.full(len(values), 1 / len(values))


RIVAL = Rival(
    name="disc",
    title="DISC",
    uses=frozenset({"val_groups"}),
    settings=DiscSettings,
    grid=({}, {"clusters": 2}, {"lr_scale": 0.1}, {"clusters": 2, "lr_scale": 0.1}),
    fit=fit_disc,
)
