"""Rows of steps, and images mixed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ddb.config import Augment, FitConfig
from ddb.learn.training.batches import Batch, drawn, losses, mixed, passes
from ddb.learn.training.fit import CHECKPOINT, Material, fit
from training_step import step_loss

PLAIN = Augment(scale=(1.0, 1.0), flip=False)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_whole_pass_leaves_no_row_out():
    batches = passes(np.arange(100, 123), 10, generator(), whole=True)
    assert [len(batch.rows) for batch in batches] == [8, 8, 7]
    assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(100, 123))
    assert [len(batch.rows) for batch in passes(np.arange(23), 10, generator())] == [10, 10]


def test_rows_are_drawn_in_proportion_to_their_weights():
    weights = np.array([1.0, 3.0, 0.0, 4.0] * 25)
    rows = np.concatenate([b.rows for seed in range(40) for b in drawn(weights, 10, generator(seed))])
    assert len(rows) == 40 * 100
    shares = np.bincount(rows % 4, minlength=4) / len(rows)
    assert shares == pytest.approx([1 / 8, 3 / 8, 0, 4 / 8], abs=0.03)  # 4 standard errors


def test_mixup_is_the_weighted_sum_of_pixels():
    images, partners = torch.full((2, 3, 4, 4), 100.0), torch.full((2, 3, 4, 4), 20.0)
    batch = Batch(np.array([0, 1]), partners=np.array([1, 0]), share=np.array([0.75, 0.0], np.float32))
    assert mixed(images, partners, batch)[:, 0, 0, 0].tolist() == [80.0, 20.0]


def test_cutmix_pastes_the_partners_box():
    images, partners = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    share, box = np.array([0.625], np.float32), np.array([[1, 0, 3, 3]])  # top, left, bottom, right
    out = mixed(images, partners, Batch(np.array([0]), partners=np.array([1]), share=share, boxes=box))
    assert out[0, 0].tolist() == [[0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    assert 1 - out[0, 0].mean() == share[0]


def test_a_mixed_labels_loss_is_cross_entropy_with_the_soft_label():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4), np.array([2, 0, 3, 1])
    share = np.array([0.9, 0.5, 0.0], np.float32)
    batch = Batch(np.array([0, 1, 2]), partners=np.array([3, 0, 0]), share=share)
    soft = torch.zeros(3, 4)
    for i, (own, other) in enumerate(((2, 1), (0, 2), (3, 2))):
        soft[i, own] += float(share[i])
        soft[i, other] += 1 - float(share[i])
    torch.testing.assert_close(losses(logits, batch, labels), F.cross_entropy(logits, soft, reduction="none"))
    hard = Batch(batch.rows, partners=batch.partners, share=share, own_labels=True)
    torch.testing.assert_close(
        losses(logits, hard, labels), F.cross_entropy(logits, torch.tensor([2, 0, 3]), reduction="none")
    )


def test_two_models_losses_are_each_ones():
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 2, 3), np.array([0, 1, 2, 0, 1])
    found = losses(logits, Batch(np.arange(5)), labels)
    target = torch.from_numpy(labels)
    for model in range(2):
        torch.testing.assert_close(found[:, model], F.cross_entropy(logits[:, model], target, reduction="none"))


class Halves:
    """Counts a loss by half its rank among the losses that it has seen before."""

    def __init__(self):
        self.state = {"seen": torch.zeros(1)}
        self.calls = []

    def weigh(self, rows, logits, losses):
        self.calls.append((rows.copy(), logits, losses))
        self.state["seen"] = self.state["seen"] + losses.sum()
        return torch.arange(len(rows), dtype=torch.float32) / 2


def test_an_objectives_weights_multiply_the_losses(make_classifier, colours, cpu):
    classifier = make_classifier()
    classifier.model.eval()
    objective, rows = Halves(), np.array([3, 8, 1, 0])
    settings = FitConfig(augment=PLAIN)
    loss = step_loss(classifier, Material(colours, objective=objective), [Batch(rows)], settings, cpu)
    seen, logits, values = objective.calls[0]
    assert seen.tolist() == rows.tolist()
    expected = F.cross_entropy(logits, torch.from_numpy(colours.labels[rows]), reduction="none")
    torch.testing.assert_close(values, expected)
    assert not values.requires_grad
    assert loss == pytest.approx(float((expected * torch.arange(4) / 2).mean()), rel=1e-6)


def test_an_objectives_state_survives_a_kill(make_classifier, colours, cpu, tmp_path):
    """Stopped after two of four epochs, the memory goes on where it was."""
    settings = FitConfig(epochs=4, batch_size=10, lr=0.05, augment=PLAIN)
    unbroken, first, second = Halves(), Halves(), Halves()
    fit(make_classifier(), Material(colours, objective=unbroken), settings, cpu, 0, tmp_path / "whole")
    half = settings.model_copy(update={"epochs": 2})
    fit(make_classifier(), Material(colours, objective=first), half, cpu, 0, tmp_path / "broken")
    fit(make_classifier(seed=9), Material(colours, objective=second), settings, cpu, 0, tmp_path / "broken")
    assert torch.equal(unbroken.state["seen"], second.state["seen"])
    assert (tmp_path / "whole" / CHECKPOINT).read_bytes() == (tmp_path / "broken" / CHECKPOINT).read_bytes()


def test_a_plan_sees_the_model_and_its_mixer_the_pairs(make_classifier, colours, cpu, tmp_path):
    seen = []

    def plan(generator, classifier):
        seen.append(classifier)
        return [Batch(np.array([0, 1, 2]), partners=np.array([3, 4, 5]), share=np.ones(3, np.float32))]

    def mixer(images, partners, batch):
        assert (images.shape, partners.shape, batch.partners.tolist()) == ((3, 3, 16, 16), (3, 3, 16, 16), [3, 4, 5])
        expected = torch.from_numpy(colours.pixels[[3, 4, 5]]).permute(0, 3, 1, 2).float()
        assert torch.equal(partners, expected)
        return images

    classifier = make_classifier()
    settings = FitConfig(epochs=2, augment=PLAIN)
    fit(classifier, Material(colours, plan=plan, mixer=mixer), settings, cpu, 0, tmp_path)
    assert seen == [classifier] * 2
