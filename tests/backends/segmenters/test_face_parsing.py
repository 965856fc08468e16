"""Parts of a face by a real SegFormer with tiny random weights, against its processor used one image at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

import tiny_segmenters as tiny
from ddb.backends.segmenters.face_parsing import FaceParsing, open_face_parsing, part_numbers
from ddb.config import FaceParsingConfig
from ddb.context import Models
from ddb.errors import ConfigError
from ddb.learn.device import Runtime

CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_segformer(tmp_path_factory.mktemp("weights") / "segformer")


def opened(folder: Path, labels: tuple[str, ...], runtime: Runtime = CPU) -> FaceParsing:
    return open_face_parsing(FaceParsingConfig(weights=str(folder), labels=labels), runtime, Models())


@torch.no_grad()
def parts_by_the_library(folder: Path, image: np.ndarray) -> np.ndarray:
    """The number of the likeliest part, HW."""
    processor = SegformerImageProcessor.from_pretrained(folder)
    outputs = SegformerForSemanticSegmentation.from_pretrained(folder)(
        **processor(Image.fromarray(image), return_tensors="pt")
    )
    return processor.post_process_semantic_segmentation(outputs, [image.shape[:2]])[0].numpy()


def test_masks_equal_the_processors_one_image_at_a_time(folder: Path) -> None:
    parts = [parts_by_the_library(folder, image) for image in tiny.pictures()]
    names = ("background", "skin", "nose", "hair", "hat")
    seen = {name: [int((part == number).sum()) for part in parts] for number, name in enumerate(names)}
    rare = min((name for name in seen if any(seen[name])), key=lambda name: sum(seen[name]))
    common = max(seen, key=lambda name: sum(seen[name]))
    assert 0 in seen[rare]
    for labels in ((common,), (rare,), (rare, common)):
        numbers = [names.index(label) for label in labels]
        found = opened(folder, labels).segment(["a"] * 4, tiny.pictures(), "person", 3)
        for one, part in zip(found, parts, strict=True):
            assert np.array_equal(one.mask, np.isin(part, numbers))
            assert 0 < one.score <= 1


def test_the_score_is_the_mean_probability_or_the_highest(folder: Path) -> None:
    everything = opened(folder, ("background", "skin", "nose", "hair", "hat")).segment(
        ["a"], tiny.pictures()[:1], "person", 3
    )
    assert everything[0].mask.all()
    assert everything[0].score == pytest.approx(1)


def test_a_batch_equals_single_images(folder: Path) -> None:
    segmenter = opened(folder, ("hair", "nose"))
    together = segmenter.segment(["a"] * 4, tiny.pictures(), "person", 3)
    for one, image in zip(together, tiny.pictures(), strict=True):
        (alone,) = segmenter.segment(["a"], [image], "person", 3)
        assert np.array_equal(alone.mask, one.mask)
        assert alone.score == pytest.approx(one.score, abs=1e-5)


def test_half_precision_changes_few_pixels(folder: Path) -> None:
    half = opened(folder, ("hair",), Runtime(CPU.device, torch.bfloat16)).segment(
        ["a"] * 4, tiny.pictures(), "person", 3
    )
    full = opened(folder, ("hair",)).segment(["a"] * 4, tiny.pictures(), "person", 3)
    assert np.mean([(a.mask == b.mask).mean() for a, b in zip(half, full, strict=True)]) > 0.9


def test_parts_are_named_in_any_case_or_numbered() -> None:
    known = {0: "background", 1: "Skin", 13: "hair"}
    assert part_numbers(("Hair", "1", "skin"), known) == (1, 13)


def test_an_unknown_part_is_named_with_those_there_are(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"segment\.labels: .* know no beard, 9; there are: 0 background, 1 skin"):
        opened(folder, ("beard", "hair", "9"))
