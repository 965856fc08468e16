"""SAM 3 through the real classes, shrunk, with random weights, against its processor used one image at a time."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Sam3Model, Sam3Processor

import tiny_segmenters as tiny
from ddb.backends.segmenters.sam3 import Sam3, open_sam3
from ddb.config import Sam3Config
from ddb.context import Models
from ddb.learn.device import Runtime

CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_sam3(tmp_path_factory.mktemp("weights") / "sam3")


def opened(folder: Path, runtime: Runtime = CPU, **more: Any) -> Sam3:
    return open_sam3(Sam3Config(weights=str(folder), **more), runtime, Models())


@cache
def outputs_by_the_library(folder: Path) -> list[tuple[Any, list[tuple[int, int]]]]:
    model, processor = Sam3Model.from_pretrained(folder), Sam3Processor.from_pretrained(folder)
    with torch.no_grad():
        return [
            (model(**processor(images=Image.fromarray(image), text="bird", return_tensors="pt")), [image.shape[:2]])
            for image in tiny.pictures()
        ]


def best_scores(folder: Path) -> list[float]:
    return [
        float((o.pred_logits.sigmoid() * o.presence_logits.sigmoid()).max()) for o, _ in outputs_by_the_library(folder)
    ]


@pytest.mark.parametrize("quantile", [0.0, 0.5])
def test_the_union_of_objects_equals_the_processors(folder: Path, quantile: float) -> None:
    """Quantile 0: every image but the poorest has objects; 0.5: half of the images have none."""
    limit = float(np.quantile(best_scores(folder), quantile))
    processor = Sam3Processor.from_pretrained(folder)
    found = opened(folder, box_threshold=limit).segment(["a"] * 4, tiny.pictures(), "bird", 3)
    for one, (outputs, size), best in zip(found, outputs_by_the_library(folder), best_scores(folder), strict=True):
        (expected,) = processor.post_process_instance_segmentation(outputs, threshold=limit, target_sizes=size)
        assert len(one.boxes) == len(expected["boxes"])
        assert np.allclose([box.box for box in one.boxes], expected["boxes"].tolist(), atol=1e-3)
        assert np.allclose([box.score for box in one.boxes], expected["scores"].tolist(), atol=1e-5)
        mask = expected["masks"].bool().any(0).numpy() if len(expected["boxes"]) else np.zeros(size[0], np.bool_)
        assert np.array_equal(one.mask, mask)
        assert one.score == pytest.approx(best, abs=1e-5)
    nothing = [len(one.boxes) for one in found].count(0)
    assert nothing == (1 if quantile == 0 else 2)


def test_the_semantic_map_equals_the_processors(folder: Path) -> None:
    processor = Sam3Processor.from_pretrained(folder)
    found = opened(folder, concept="semantic", threshold=0.52).segment(["a"] * 4, tiny.pictures(), "bird", 3)
    for one, (outputs, size) in zip(found, outputs_by_the_library(folder), strict=True):
        (expected,) = processor.post_process_semantic_segmentation(outputs, threshold=0.52, target_sizes=size)
        assert np.array_equal(one.mask, expected.bool().numpy())
        assert 0 < one.mask.mean() < 1
        assert 0.52 < one.score < 1
        assert one.boxes == ()
    (nothing,) = opened(folder, concept="semantic", threshold=0.99).segment(["a"], tiny.pictures()[:1], "bird", 3)
    assert not nothing.mask.any()
    assert 0 < nothing.score < 0.99


@pytest.mark.parametrize("concept", ["instances", "semantic"])
def test_a_batch_equals_single_images(folder: Path, concept: str) -> None:
    segmenter = opened(folder, concept=concept, box_threshold=float(np.median(best_scores(folder))))
    together = segmenter.segment(["a"] * 4, tiny.pictures(), "bird", 3)
    for one, image in zip(together, tiny.pictures(), strict=True):
        (alone,) = segmenter.segment(["a"], [image], "bird", 3)
        assert np.array_equal(alone.mask, one.mask)
        assert alone.score == pytest.approx(one.score, abs=1e-5)


def test_the_phrase_decides_and_is_encoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, encoded = opened(folder), []
    inner = segmenter.model.get_text_features
    monkeypatch.setattr(segmenter.model, "get_text_features", lambda **text: encoded.append(1) or inner(**text))
    scores = [segmenter.segment(["a"], tiny.pictures()[:1], phrase, 1)[0].score for phrase in ("bird", "zebra", "bird")]
    assert scores[0] == scores[2] != scores[1]
    assert len(encoded) == 2


def test_half_precision_is_for_the_image_encoder(folder: Path) -> None:
    more: dict[str, Any] = {"concept": "semantic", "threshold": 0.52}
    half = opened(folder, Runtime(CPU.device, torch.bfloat16), **more).segment(["a"] * 4, tiny.pictures(), "bird", 3)
    full = opened(folder, **more).segment(["a"] * 4, tiny.pictures(), "bird", 3)
    assert np.mean([(a.mask == b.mask).mean() for a, b in zip(half, full, strict=True)]) > 0.9


def test_the_published_form_a_video_model_is_the_same(folder: Path, tmp_path: Path) -> None:
    video = tiny.write_sam3_video(tmp_path / "video", folder)
    segmenters = [opened(place) for place in (folder, video)]
    for one in segmenters:  # the files' headers differ, and how mapped weights are aligned moves a last bit
        for tensor in (*one.model.parameters(), *one.model.buffers()):
            tensor.data = tensor.data.clone()
    pairs = [one.segment(["a"], tiny.pictures()[:1], "bird", 3)[0] for one in segmenters]
    assert pairs[0].score == pairs[1].score
    assert np.array_equal(pairs[0].mask, pairs[1].mask)
