"""Augmentation: what each part does to images whose result is known."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from ddb.config import Augment
from ddb.learn.training.augment import RandomNumbers, draw_distortion, draw_windows

OFF = Augment(scale=(1.0, 1.0), flip=False)


def augment(images: torch.Tensor, settings: Augment, numbers: RandomNumbers) -> torch.Tensor:
    """Crop, mirror and distort squares, as a training step does."""
    windows = draw_windows(settings, numbers)
    return draw_distortion(settings, numbers, images.shape[2:]).of(windows.of_squares(images))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch() -> torch.Tensor:
    return torch.rand(64, 3, 12, 16, generator=seeded(1)) * 255


def test_off_changes_nothing(batch):
    assert torch.equal(augment(batch, OFF, RandomNumbers(seeded(), len(batch))), batch)


@pytest.mark.parametrize(
    "settings", [Augment(), Augment(colour=0.4, blur=0.5, noise=8), OFF.model_copy(update={"flip": True})]
)
def test_same_seed_same_batch_in_shape_and_range(batch, settings):
    first, again, other = (augment(batch, settings, RandomNumbers(seeded(seed), len(batch))) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == batch.shape
    assert first.min() >= 0
    assert first.max() <= 255


def test_flip_mirrors_about_half(batch):
    flipped = augment(batch, OFF.model_copy(update={"flip": True}), RandomNumbers(seeded(), len(batch)))
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(flipped, batch, strict=True)]
    same = [torch.equal(a, b) for a, b in zip(flipped, batch, strict=True)]
    assert all(m or s for m, s in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48


def test_a_crop_is_a_window_of_the_image():
    """On a ramp, a window's values say where it lies: it must be inside, of the asked area, and keep the direction."""
    ramp_x = torch.arange(32.0).view(1, 1, 1, 32).expand(200, 1, 32, 32)
    ramp_y = ramp_x.transpose(2, 3)
    images = torch.cat([ramp_x, ramp_y, ramp_x], 1).contiguous()
    found = augment(images, Augment(scale=(0.5, 0.8), flip=False), RandomNumbers(seeded(), len(images)))
    width = (found[:, 0, 5, 20] - found[:, 0, 5, 10]) / 10  # input pixels for an output pixel
    height = (found[:, 1, 20, 5] - found[:, 1, 10, 5]) / 10
    area, aspect = width * height, width / height
    assert area.min() > 0.49
    assert area.max() < 0.81
    assert area.max() - area.min() > 0.25
    assert aspect.min() > 0.74
    assert aspect.max() < 1.34
    assert (width > 0).all()


def test_colour_strength_zero_factor_cases(batch):
    """With all factors at 1 nothing changes; grey images stay grey."""
    grey = batch.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    found = augment(grey, OFF.model_copy(update={"colour": 0.5}), RandomNumbers(seeded(), len(grey)))
    torch.testing.assert_close(found[:, 0], found[:, 2], atol=1e-3, rtol=0)
    assert not torch.allclose(found, grey, atol=1)
    torch.testing.assert_close(
        augment(batch, OFF.model_copy(update={"colour": 1e-6}), RandomNumbers(seeded(), len(batch))),
        batch,
        atol=1e-2,
        rtol=0,
    )


def test_blur_is_a_blend_with_torchvisions_gaussian(batch):
    found = augment(batch, OFF.model_copy(update={"blur": 1.0}), RandomNumbers(seeded(), len(batch)))
    inner = (..., slice(2, -2), slice(2, -2))  # away from the border's padding
    blurred = v2.functional.gaussian_blur(batch, [5, 5], [1.0, 1.0])
    share = (found - batch)[inner] / (blurred - batch)[inner]
    per_image = share.flatten(1).median(dim=1).values
    assert per_image.min() >= -1e-3
    assert per_image.max() <= 1 + 1e-3
    expected = torch.lerp(batch, blurred, per_image.view(-1, 1, 1, 1))
    torch.testing.assert_close(found[inner], expected[inner], atol=0.05, rtol=0)


def test_noise_has_a_level_for_every_image():
    flat = torch.full((200, 3, 16, 16), 128.0)
    deviation = (
        augment(flat, OFF.model_copy(update={"noise": 10.0}), RandomNumbers(seeded(), len(flat)))
        .sub(128)
        .flatten(1)
        .std(dim=1)
    )
    assert deviation.max() < 11
    assert deviation.min() < 1
    assert deviation.mean() == pytest.approx(5, abs=0.6)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_share_of_a_batch_is_augmented_as_in_the_whole(batch, number):
    settings, own = Augment(colour=0.4, blur=0.5, noise=8), slice(number, None, 3)
    whole = augment(batch, settings, RandomNumbers(seeded(), 64))
    share = augment(batch[own], settings, RandomNumbers(seeded(), 64, own))
    torch.testing.assert_close(share, whole[own])
