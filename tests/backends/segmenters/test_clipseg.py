"""CLIPSeg through the real classes, with tiny random weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

from ddb.backends.segmenters.clipseg import ClipSeg, open_clipseg
from ddb.config import ClipsegConfig
from ddb.context import Models
from ddb.errors import ModelError
from ddb.learn.device import Runtime

CPU = Runtime(torch.device("cpu"), torch.float32)


def images(count: int) -> list[np.ndarray]:
    """Different sizes in one batch."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (30 + 7 * i, 50 - 5 * i, 3), dtype=np.uint8) for i in range(count)]


def opened(folder: Path, threshold: float = 0.5) -> ClipSeg:
    return open_clipseg(ClipsegConfig(weights=str(folder), threshold=threshold), CPU, Models())


def test_masks_equal_those_of_the_library_used_one_image_at_a_time(segmenter_folder: Path) -> None:
    model = CLIPSegForImageSegmentation.from_pretrained(segmenter_folder).eval()
    processor = CLIPSegProcessor.from_pretrained(segmenter_folder)
    pictures = images(3)
    with torch.no_grad():
        logits = [
            model(**processor(text=["a bird"], images=[picture], return_tensors="pt")).logits for picture in pictures
        ]
    threshold = float(torch.cat(logits).sigmoid().median())  # random weights: half of the pixels above
    found = opened(segmenter_folder, threshold).segment(["a", "b", "c"], pictures, "a bird", 2)
    for one, picture, logit in zip(found, pictures, logits, strict=True):
        height, width = picture.shape[:2]
        scaled = Image.fromarray(logit[0].numpy()).resize((width, height), Image.Resampling.BILINEAR)
        expected = torch.from_numpy(np.asarray(scaled)).sigmoid().numpy() > threshold
        assert one.mask.shape == (height, width)
        assert 0.1 < one.mask.mean() < 0.9
        assert (one.mask == expected).mean() > 0.9  # Pillow's bilinear differs where the image is scaled down
        assert threshold < one.score < 1


def test_nothing_above_the_threshold_is_an_empty_mask_with_a_score(segmenter_folder: Path) -> None:
    (found,) = opened(segmenter_folder, threshold=1.0).segment(["a"], images(1), "a bird", 1)
    assert not found.mask.any()
    assert 0 < found.score < 1


def test_the_phrase_decides(segmenter_folder: Path) -> None:
    segmenter = opened(segmenter_folder)
    scores = {
        phrase: segmenter.segment(["a"], images(1), phrase, 1)[0].score for phrase in ("a bird", "zebra", "a bird")
    }
    assert scores["a bird"] != scores["zebra"]


def test_unusable_weights_are_named(segmenter_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(segmenter_folder, broken)
    (broken / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="broken"):
        opened(broken)
    with pytest.raises(ModelError, match="no such folder"):
        opened(tmp_path / "nowhere")


def test_the_identity_follows_the_weights(segmenter_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(segmenter_folder, other)
    CLIPSegForImageSegmentation(CLIPSegForImageSegmentation.from_pretrained(other).config).save_pretrained(other)
    first, second = opened(segmenter_folder).identity, opened(other).identity
    assert first.startswith("clipseg:sha256:")
    assert first != second
