"""DaC's composed images by its formula, its loss by hand, and what it learns when the masks are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ddb.config import FitConfig
from ddb.data.preprocessing import Preprocessing
from ddb.learn.classifier import to_tensor
from ddb.learn.training import fit as fitting
from ddb.learn.training.batches import Batch
from ddb.learn.training.fit import Images, Material
from ddb.learn.training.joined import joined
from ddb.rivals import RIVALS, dac, fit_rival
from ddb.rivals.dac import Composer, DacSettings
from rival_world import CPU
from squares import BOX
from training_step import step_loss

COLOUR = np.array([10, 20, 30], np.uint8)


@pytest.fixture
def made():
    """12 random images with random masks; all but two are easy."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 10, 10, 3), dtype=np.uint8)
    masks, labels = rng.random((12, 10, 10)) < 0.4, np.arange(12) % 2
    easy = np.arange(12) < 10
    composer = Composer(labels, easy, np.packbits(masks, axis=2), COLOUR, DacSettings(alpha=3.0), 8)
    return pixels, masks, labels, composer


def compose(made, rows, partners):
    pixels, _, _, composer = made
    every = joined(pixels, np.broadcast_to(COLOUR, (1, 10, 10, 3)))
    images, others = (to_tensor(every[np.array(part)], CPU.device) for part in (rows, partners))
    mixed = composer.compose(images, others, Batch(np.array(rows), partners=np.array(partners), own_labels=True))
    return mixed.permute(0, 2, 3, 1).numpy()


def test_fused_images_are_the_papers_formula(made):
    pixels, masks, _, _ = made
    found = compose(made, [0, 1], [3, 4])
    for place, (i, j) in enumerate(((0, 3), (1, 4))):
        own, other = masks[i][..., None], masks[j][..., None]
        expected = pixels[i] * own + (1 - own) * (1 - other) * pixels[j] + (1 - own) * other * COLOUR
        np.testing.assert_array_equal(found[place], expected)


def test_with_itself_an_image_stays_and_with_the_blank_one_it_is_masked(made):
    pixels, masks, _, _ = made
    own, masked = compose(made, [5, 5], [5, 12])
    np.testing.assert_array_equal(own, pixels[5])
    np.testing.assert_array_equal(masked, np.where(masks[5][..., None], pixels[5], COLOUR))


def test_inverted_masks_swap_the_parts(made):
    pixels, masks, labels, composer = made
    inverted = replace(composer, settings=DacSettings(invert_mask=True))
    opposite = replace(composer, masks=np.packbits(~masks, axis=2))
    one, other = (compose((pixels, masks, labels, each), [0, 1, 2], [3, 12, 2]) for each in (inverted, opposite))
    np.testing.assert_array_equal(one, other)


class Plain(torch.nn.Module):
    """Logits from the mean colour; stands where the plan asks for a model."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = torch.nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(images.mean((2, 3)))


def test_a_steps_loss_is_the_sum_of_three_means(made):
    """CE(batch) + alpha CE(masked) + alpha CE(fused), the composed ones of the easy images of the batch."""
    pixels, masks, labels, composer = made
    model = Plain()
    classifier = fitting.Classifier(model, model.fc, Preprocessing(10, 1.0, "bicubic", (0.5,) * 3, (0.25,) * 3))
    (batch,) = composer.plan(torch.Generator().manual_seed(0), classifier)
    rows = batch.rows[:8]
    chosen = rows[rows < 10]
    assert len(batch.rows) == 8 + 2 * len(chosen)
    partners = batch.partners[-len(chosen) :]
    assert (labels[partners] != labels[chosen]).all() and set(partners) <= set(chosen)

    def mean_loss(images, own):
        outputs = model(classifier.normalise(to_tensor(images.astype(np.uint8), CPU.device)))
        return F.cross_entropy(outputs, torch.from_numpy(own)).item()

    masked = np.where(masks[chosen][..., None], pixels[chosen], COLOUR)
    fused = compose(made, chosen, partners)
    parts = [mean_loss(pixels[rows], labels[rows]), mean_loss(masked, labels[chosen]), mean_loss(fused, labels[chosen])]
    every = Images(joined(pixels, np.broadcast_to(COLOUR, (1, 10, 10, 3))), labels)
    material = Material(every, plan=composer.plan, mixer=composer.compose)
    settings = FitConfig(augment={"scale": (1.0, 1.0), "flip": False})
    loss = step_loss(classifier, material, [batch], settings, CPU)
    assert loss == pytest.approx(parts[0] + 3 * parts[1] + 3 * parts[2], rel=1e-5)


def test_a_batch_of_one_easy_class_is_permuted_and_one_without_easy_images_is_left_alone(made):
    composer = made[3]
    generator = torch.Generator().manual_seed(0)
    assert sorted(composer.strangers(np.array([0, 2, 4]), generator)) == [0, 2, 4]
    model = Plain()
    classifier = fitting.Classifier(model, model.fc, Preprocessing(10, 1.0, "bicubic", (0.5,) * 3, (0.25,) * 3))
    (batch,) = replace(composer, easy=np.zeros(12, bool)).plan(generator, classifier)
    assert len(batch.rows) == 8 and (batch.weights == 1).all()


def test_with_right_masks_the_minority_is_right_where_erm_has_it_wrong(world, monkeypatch):
    def squares(classifier, pixels, labels, runtime, batch):
        masks = np.zeros(pixels.shape[:3], bool)
        masks[(slice(None), *BOX)] = True
        return masks

    monkeypatch.setattr(dac, "adaptive_masks", squares)
    longer = replace(world.problem, fit=world.problem.fit.model_copy(update={"epochs": 20}))
    fitted = fit_rival(RIVALS["dac"], longer, {"lr": 0.02})
    assert world.accuracies(world.problem.erm()).min() == 0
    assert world.accuracies(fitted.classifier).min() > 0.9
    assert fitted.facts["mean_mask"] == pytest.approx(0.25)


def test_its_own_masks_are_kept_and_only_the_last_layer_changes(world, monkeypatch):
    fitted = fit_rival(RIVALS["dac"], world.problem)
    assert 0.2 <= fitted.facts["mean_mask"] <= 0.7  # between the highest and the lowest quantile
    shared = world.problem.erm().classifier.model.state_dict()
    own = fitted.classifier.classifier.model.state_dict()
    assert {key for key in shared if not torch.equal(shared[key], own[key])} == {"fc.weight", "fc.bias"}

    def never(*arguments):
        raise AssertionError("masks were computed again")

    monkeypatch.setattr(dac, "adaptive_masks", never)
    again = fit_rival(RIVALS["dac"], world.problem, {"alpha": 0.0})
    assert again.facts["mean_mask"] == fitted.facts["mean_mask"]
