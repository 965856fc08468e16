"""The encoder of images and texts against transformers' own calls, on tiny random models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer, SiglipImageProcessor, SiglipModel

from ddb.backends import Failed
from ddb.backends.encoders.text_image import TextImageEncoder, open_text_image
from ddb.backends.weights import parse_weights
from ddb.errors import ModelError
from ddb.learn.device import Runtime
from ddb.models.roles import ROLES
from ddb.pocket.models import encoder_folder, segmenter_folder
from tiny_encoders import LENGTH, write_clip, write_siglip

FP32 = Runtime(torch.device("cpu"), torch.float32)
TEXTS = ["a photo of forest", "a lake", "Snow"]


def opened(folder: Path) -> TextImageEncoder:
    return open_text_image(parse_weights(str(folder)), FP32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_siglip(tmp_path_factory.mktemp("siglip"))


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, size, dtype=np.uint8) for size in ((40, 60, 3), (32, 32, 3), (50, 33, 3))]


@torch.no_grad()
def test_clip_embeds_as_transformers_does(clip: Path) -> None:
    model, processor = CLIPModel.from_pretrained(clip), CLIPProcessor.from_pretrained(clip)
    inputs = processor(
        text=[text.lower() for text in TEXTS],
        images=[Image.fromarray(one) for one in pictures()],
        return_tensors="pt",
        padding=True,
    )
    answer = model(**inputs)
    encoder = opened(clip)
    np.testing.assert_allclose(encoder.texts(TEXTS, 2), answer.text_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(np.stack(encoder.images(pictures(), 2)), answer.image_embeds.numpy(), atol=2e-3)


@torch.no_grad()
def test_siglip_pools_padded_texts_as_transformers_does(siglip: Path) -> None:
    model, images = SiglipModel.from_pretrained(siglip), SiglipImageProcessor.from_pretrained(siglip)
    lower = [text.lower() for text in TEXTS]
    ids = CLIPTokenizer.from_pretrained(siglip)(lower, padding="max_length", max_length=LENGTH, return_tensors="pt")
    pixels = images([Image.fromarray(one) for one in pictures()], return_tensors="pt").pixel_values
    answer = model(input_ids=ids.input_ids, pixel_values=pixels)
    encoder = opened(siglip)
    np.testing.assert_allclose(encoder.texts(TEXTS, 2), answer.text_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(np.stack(encoder.images(pictures(), 2)), answer.image_embeds.numpy(), atol=2e-3)


@pytest.mark.parametrize("write", [write_clip, write_siglip])
def test_a_text_has_one_vector_whatever_stands_beside_it(write: Callable[[Path], Path], tmp_path: Path) -> None:
    encoder = opened(write(tmp_path))
    alone, beside = encoder.texts(["lake"], 1), encoder.texts(["lake", "a much longer text"], 2)
    np.testing.assert_allclose(alone[0], beside[0], atol=1e-5)


def test_vectors_have_unit_length_and_failed_images_stay_failed(clip: Path) -> None:
    encoder, broken = opened(clip), Failed("gone")
    one, two, three = encoder.images([pictures()[0], broken, pictures()[1]], 2)
    assert two is broken
    np.testing.assert_allclose([np.linalg.norm(one), np.linalg.norm(three)], 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(encoder.texts(["x" * 500], 1)), 1, atol=1e-5)  # cut at the end


def test_another_architecture_and_missing_weights_are_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="clipseg model; discover.encoder takes a CLIP or SigLIP"):
        opened(segmenter_folder())
    with pytest.raises(ModelError, match=r"no readable config\.json"):
        opened(tmp_path)


def test_the_pocket_encoder_is_small_and_knows_a_lake_from_a_forest() -> None:
    folder = encoder_folder()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6
    encoder = open_text_image(parse_weights("pocket", encoder_folder), FP32)
    from ddb.pocket.world import render, sample_scene

    rng = np.random.default_rng(5)
    shown = [render(sample_scene(rng, place=place, empty=True)).image for place in ("forest", "lake") * 4]
    words = encoder.texts(["a photo of forest", "a photo of lake"], 2)
    best = (np.stack(encoder.images(shown, 8)) @ words.T).argmax(axis=1)
    assert best.tolist() == [0, 1] * 4


def test_the_full_size_encoders_are_roles_with_a_commit() -> None:
    for name in ("clip-vit-b32", "siglip2-base"):
        assert ROLES[name].sources[0].revision
