"""DISC on a world whose objects are sometimes unclear: concepts of its grounds help, others do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ddb.backends.classifiers.timm_classifier import Card, LoadedClassifier
from ddb.config import Augment, FitConfig
from ddb.data.preprocessing import Preprocessing
from ddb.errors import ConfigError
from ddb.learn.classifier import Classifier
from ddb.learn.predict import logits
from ddb.learn.training import fit as fitting
from ddb.learn.training.fit import Images
from ddb.rivals import RIVALS, Problem, fit_rival
from ddb.rivals.disc import Curer, DiscSettings
from rival_world import CPU

SIDE = 16
GROUNDS = {"olive": (160, 150, 60), "teal": (60, 150, 160)}
OBJECTS = np.array([[200, 60, 100], [100, 60, 200]])
UNCLEAR = 0.35
"""Standard deviation of an object's place between the two colours (0 and 1): it tells its label to 92 of 100."""
BUDGET = FitConfig(epochs=4, batch_size=25, lr=0.1, augment=Augment(scale=(1.0, 1.0), flip=False))


def draw(sizes, seed):
    """Patches on grounds: images, and groups 2 label + ground."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(4), sizes))
    pixels = np.array(list(GROUNDS.values()), float)[groups % 2][:, None, None].repeat(SIDE, 1).repeat(SIDE, 2)
    for image, label in zip(pixels, groups // 2, strict=True):
        (top, left), share = rng.integers(1, 9, 2), label + UNCLEAR * rng.normal()
        image[top : top + 6, left : left + 6] = (1 - share) * OBJECTS[0] + share * OBJECTS[1]
    return Images(noisy(pixels, rng), (groups // 2).astype(np.int64)), groups.astype(np.int64)


def noisy(pixels, rng):
    return (pixels + rng.normal(0, 25, pixels.shape)).clip(0, 255).astype(np.uint8)


def start() -> LoadedClassifier:
    torch.manual_seed(0)
    head = nn.Linear(64, 2)
    layers = [nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 64, 3, 2, 1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    classifier = Classifier(model, head, Preprocessing(SIDE, 1.0, "bicubic", (0.5,) * 3, (0.25,) * 3))
    return LoadedClassifier(classifier, Card("net", {}, ("red", "blue"), classifier.preprocessing))


def write(folder, colours):
    """A concept folder: 20 images of plain colour each."""
    rng = np.random.default_rng(9)
    for name, colour in colours.items():
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = noisy(np.broadcast_to(np.array(colour, float), (SIDE, SIDE, 3)), rng)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return str(folder)


@pytest.fixture
def problem(tmp_path) -> Problem:
    """Of 1000 training images 40 lie on the other class's ground. Nothing is learned yet: `erm` is the start."""
    train, _ = draw((480, 20, 20, 480), 1)
    val, val_groups = draw((30,) * 4, 2)
    return Problem(
        train, val, ("red", "blue"), tuple(GROUNDS), start, start, BUDGET, "worst_group", CPU, 0, tmp_path / "rival",
        val_groups=val_groups,
    )  # fmt: skip


def minority(loaded) -> float:
    """Accuracy on objects that lie on the other class's ground."""
    test, _ = draw((0, 100, 100, 0), 3)
    return float((logits(loaded.classifier, test.pixels, CPU, 200).argmax(axis=1) == test.labels).mean())


def test_concepts_of_the_grounds_help_the_minority_and_others_do_not(problem, tmp_path):
    same = {"lr_scale": 0.1}
    plain = fit_rival(RIVALS["erm"], problem, same)
    values = same | {"clusters": 2, "mass": 1.0}
    right = fit_rival(RIVALS["disc"], problem, values | {"concepts": write(tmp_path / "grounds", GROUNDS)})
    greys = {"white": (235,) * 3, "black": (20,) * 3}
    other = fit_rival(RIVALS["disc"], problem, values | {"concepts": write(tmp_path / "greys", greys)})
    assert minority(plain.classifier) < 0.1
    assert minority(other.classifier) < 0.3
    assert minority(right.classifier) > 0.4
    assert set(right.facts["concepts of red"].split(", ")) == set(GROUNDS)


@pytest.fixture
def curer(problem) -> Curer:
    images = [np.full((5, SIDE, SIDE, 3), value, np.uint8) for value in (0, 100, 200)]
    settings = DiscSettings(clusters=2)
    environment = np.arange(1000) % 2
    return Curer(problem.train, environment, images, [[0, 2], [1]], settings, 0.1, 25, CPU, 100)


def test_a_batch_is_followed_by_each_class_mixed_with_the_others_concepts(curer):
    """Images of class 1 are mixed with class 0's concepts, 0 and 2; those of class 0 with concept 1. Labels stay."""
    rows, labels = np.arange(25), curer.train.labels[:25]
    batch = curer.cure(rows, [np.array([0.25, 0.75]), np.array([1.0])], np.random.default_rng(0))
    blue, red = rows[labels == 1], rows[labels == 0]
    np.testing.assert_array_equal(batch.rows, np.concatenate([rows, blue, red]))
    concepts = (batch.partners - 1000) // 5
    assert (batch.share[:25] == 1).all() and batch.own_labels
    assert set(concepts[25 : 25 + len(blue)]) <= {0, 2}
    assert set(concepts[25 + len(blue) :]) == {1}
    assert ((batch.share[25:] > 0) & (batch.share[25:] < 1)).all()
    sums = [batch.weights[part].sum() / 50 for part in (slice(25), slice(25, 25 + len(blue)))]
    assert sums == pytest.approx([1, 1])  # each part counts by its mean


def test_concepts_are_drawn_by_their_sensitivity_and_mixed_by_beta_2_2(curer):
    rows = np.flatnonzero(curer.train.labels == 1)
    batch = curer.cure(rows, [np.array([0.25, 0.75]), np.array([1.0])], np.random.default_rng(0))
    concepts, share = (batch.partners[500:] - 1000) // 5, batch.share[500:]
    assert len(share) == 500
    assert (concepts == 2).mean() == pytest.approx(0.75, abs=0.06)
    assert (share.mean(), share.var()) == (pytest.approx(0.5, abs=0.03), pytest.approx(0.05, abs=0.01))


def test_environments_hold_one_cluster_of_each_class(curer):
    found = curer._environments(np.random.default_rng(0))
    assert sorted(np.concatenate(found).tolist()) == list(range(1000))
    for rows in found:
        for label in (0, 1):
            assert len(set(curer.environment[rows][curer.train.labels[rows] == label])) == 1


def test_discovery_gives_probabilities_and_leaves_normalisation_as_asked(curer):
    loaded = start()
    shares = curer.discover(loaded.classifier, np.random.default_rng(0))
    assert [len(part) for part in shares] == [2, 1]
    assert [part.sum() for part in shares] == pytest.approx([1, 1])
    for norm in ("frozen", "train"):
        changed = replace(curer, settings=DiscSettings(clusters=2, norm=norm))
        plan = changed.plan(torch.Generator().manual_seed(0), loaded.classifier)
        assert len(plan) == 40
        assert loaded.classifier.model.training == (norm == "train")


def test_without_a_folder_it_says_what_it_needs(problem):
    with pytest.raises(ConfigError, match="DISC: `concepts` is empty.*sub-folder"):
        fit_rival(RIVALS["disc"], problem)


def test_a_killed_fit_ends_with_the_weights_of_an_unbroken_one(problem, tmp_path, monkeypatch):
    """What an epoch discovers comes from the weights that it starts from, and these are in the checkpoint."""
    values = {"concepts": write(tmp_path / "grounds", GROUNDS), "clusters": 2, "lr_scale": 0.1}
    short = replace(problem, fit=BUDGET.model_copy(update={"epochs": 2}))
    whole = fit_rival(RIVALS["disc"], short, values).classifier.classifier.model.state_dict()
    real, broken = fitting._train_epoch, replace(short, folder=tmp_path / "broken")

    def die(*arguments):
        if arguments[-1] == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(fitting, "_train_epoch", die)
    with pytest.raises(KeyboardInterrupt):
        fit_rival(RIVALS["disc"], broken, values)
    monkeypatch.setattr(fitting, "_train_epoch", real)
    resumed = fit_rival(RIVALS["disc"], broken, values).classifier.classifier.model.state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
