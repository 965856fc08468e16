"""Boxes for a phrase and masks in them, through the real classes with tiny random weights, against the libraries' own
processors used one image at a time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    Owlv2ForObjectDetection,
    Owlv2Processor,
    Sam2Model,
    Sam2Processor,
    SamModel,
    SamProcessor,
)

import tiny_segmenters as tiny
from ddb.backends import Detected, Found
from ddb.backends.registry import open_segmenter
from ddb.backends.segmenters.detect_and_segment import DetectAndSegment, open_detect_and_segment
from ddb.backends.segmenters.grounding_dino import open_grounding_dino
from ddb.backends.segmenters.owlv2 import open_owlv2
from ddb.config import SegmentConfig
from ddb.errors import ModelError
from ddb.learn.device import Runtime

CPU = Runtime(torch.device("cpu"), torch.float32)
PAIRS = [("grounded_sam", "sam"), ("grounded_sam", "sam2"), ("owlv2_sam", "sam"), ("owlv2_sam", "sam2")]
DETECTORS = {"grounded_sam": "grounding_dino", "owlv2_sam": "owlv2"}


def pictures() -> list[np.ndarray]:
    """Two of one size, a tall, a wide and a grey one, one that is 3 pixels high, and one that is 3 wide."""
    rng = np.random.default_rng(0)
    sizes = [(48, 64), (64, 48), (48, 64), (40, 120), (50, 50), (3, 90), (90, 3)]
    made = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    for number, image in enumerate(made):
        image[: image.shape[0] // 2, : image.shape[1] // 3, number % 3] = 255
    made[4][:] = made[4][..., :1]
    return made


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("weights")
    writers: dict[str, Callable[[Path], Path]] = {
        "grounding_dino": tiny.write_grounding_dino,
        "owlv2": tiny.write_owlv2,
        "sam": tiny.write_sam,
        "sam2": tiny.write_sam2,
    }
    return {name: write(root / name) for name, write in writers.items()}


def opened(
    folders: dict[str, Path],
    backend: str,
    masks: str,
    box: float,
    text: float = 0.25,
    runtime: Runtime = CPU,
    **more: Any,
) -> DetectAndSegment:
    settings = SegmentConfig(
        backend=backend, detector=str(folders[DETECTORS[backend]]), mask_model=str(folders[masks]),  # type: ignore[arg-type]
        box_threshold=box, text_threshold=text, **more,
    )  # fmt: skip
    return open_detect_and_segment(settings, runtime)


@cache
def scored(detector: Path, backend: str) -> list[Detected]:
    settings = SegmentConfig(backend=backend, detector=str(detector), box_threshold=0, text_threshold=0)  # type: ignore[arg-type]
    with torch.no_grad():
        if backend == "grounded_sam":
            return open_grounding_dino(settings, CPU.device).detect(pictures(), "bird")
        return open_owlv2(settings, CPU.device).detect(pictures(), "bird")


def threshold(folders: dict[str, Path], backend: str, of: str) -> float:
    """Random weights score at random: the median of the images' best boxes, or of all boxes."""
    found = scored(folders[DETECTORS[backend]], backend)
    if of == "images":
        return float(np.median([one.score for one in found]))
    return float(np.median([box.score for one in found for box in one.boxes]))


def segmented(segmenter: DetectAndSegment, images: list[np.ndarray] | None = None) -> list[Found]:
    images = images or pictures()
    return segmenter.segment([str(n) for n in range(len(images))], images, "bird")


@cache
def loaded(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder)


@torch.no_grad()
def boxes_by_the_library(folders: dict[str, Path], backend: str, image: np.ndarray, limit: float) -> torch.Tensor:
    picture, folder = Image.fromarray(image), folders[DETECTORS[backend]]
    sizes = [(picture.height, picture.width)]
    if backend == "grounded_sam":
        processor = loaded(GroundingDinoProcessor, folder)
        inputs = processor(images=picture, text="bird.", return_tensors="pt")
        outputs = loaded(GroundingDinoForObjectDetection, folder)(**inputs)
        return processor.post_process_grounded_object_detection(
            outputs, threshold=limit, text_threshold=0.25, target_sizes=sizes
        )[0]["boxes"]
    owl = loaded(Owlv2Processor, folder)
    outputs = loaded(Owlv2ForObjectDetection, folder)(
        **owl(images=picture, text=[["a photo of a bird"]], return_tensors="pt")
    )
    return owl.post_process_grounded_object_detection(outputs, threshold=limit, target_sizes=sizes)[0]["boxes"]


@torch.no_grad()
def mask_by_the_library(folder: Path, first: bool, image: np.ndarray, boxes: torch.Tensor) -> np.ndarray:
    if not len(boxes):
        return np.zeros(image.shape[:2], np.bool_)
    processor: Any = loaded(SamProcessor if first else Sam2Processor, folder)
    model: Any = loaded(SamModel if first else Sam2Model, folder)
    inputs = processor(images=Image.fromarray(image), input_boxes=[boxes.tolist()], return_tensors="pt")
    outputs = model(
        pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"].float(), multimask_output=False
    )
    sizes = [inputs["original_sizes"], inputs["reshaped_input_sizes"]] if first else [inputs["original_sizes"]]
    masks = processor.post_process_masks(outputs.pred_masks, *sizes)[0]
    return masks[:, 0].any(dim=0).numpy()


@pytest.mark.parametrize("of", ["images", "boxes"])
@pytest.mark.parametrize(("backend", "masks"), PAIRS)
def test_masks_and_boxes_equal_those_of_the_library_used_one_image_at_a_time(
    folders: dict[str, Path], backend: str, masks: str, of: str
) -> None:
    """of images: half of them have no box. of boxes: as many as eight and more, another number in each."""
    limit = threshold(folders, backend, of)
    found = segmented(opened(folders, backend, masks, limit))
    counts = [len(one.boxes) for one in found]
    assert (counts.count(0) in (3, 4)) if of == "images" else (len(set(counts)) > 2 and max(counts) > 8)
    for one, image in zip(found, pictures(), strict=True):
        boxes = boxes_by_the_library(folders, backend, image, limit)
        assert np.allclose([box.box for box in one.boxes], boxes.tolist(), atol=1e-3)
        expected = mask_by_the_library(folders[masks], masks == "sam", image, boxes)
        assert one.mask.shape == image.shape[:2]
        assert np.array_equal(one.mask, expected)
    assert any(0.05 < one.mask.mean() < 0.95 for one in found)


@pytest.mark.parametrize(("backend", "masks"), PAIRS)
def test_a_batch_equals_single_images(folders: dict[str, Path], backend: str, masks: str) -> None:
    segmenter = opened(folders, backend, masks, threshold(folders, backend, "images"))
    together = segmented(segmenter)
    for one, image in zip(together, pictures(), strict=True):
        (alone,) = segmented(segmenter, [image])
        assert np.array_equal(alone.mask, one.mask)
        assert alone.score == pytest.approx(one.score, abs=1e-5)
    assert segmenter.segment([], [], "bird") == []


def test_the_score_is_the_best_boxs_even_where_none_is_good_enough(folders: dict[str, Path]) -> None:
    limit = threshold(folders, "grounded_sam", "images")
    for one in segmented(opened(folders, "grounded_sam", "sam", limit)):
        assert one.boxes or not one.mask.any()
        assert one.score == (max(box.score for box in one.boxes) if one.boxes else one.score)
        assert (one.score > limit) == bool(one.boxes)


def test_a_box_needs_a_word_above_the_text_threshold(folders: dict[str, Path]) -> None:
    """Below the box threshold it changes nothing, as in LangSAM: a box is kept for its best token."""
    limit = threshold(folders, "grounded_sam", "boxes")
    usual = segmented(opened(folders, "grounded_sam", "sam", limit, 0.25))
    assert [one.boxes for one in segmented(opened(folders, "grounded_sam", "sam", limit, 0.0))] == [
        one.boxes for one in usual
    ]
    strict = segmented(opened(folders, "grounded_sam", "sam", limit, 1.0))
    assert any(one.boxes for one in usual)
    assert not any(one.boxes for one in strict)


def test_the_phrase_decides(folders: dict[str, Path]) -> None:
    for backend in DETECTORS:
        segmenter = opened(folders, backend, "sam", 0.5)
        bird, zebra = (segmenter.segment(["a"], pictures()[:1], phrase)[0].score for phrase in ("bird", "zebra"))
        assert bird != zebra


def test_half_precision_is_for_the_image_encoder_alone(folders: dict[str, Path]) -> None:
    for backend, masks in (PAIRS[0], PAIRS[3]):
        limit = threshold(folders, backend, "boxes")
        half = segmented(opened(folders, backend, masks, limit, runtime=Runtime(CPU.device, torch.bfloat16)))
        full = segmented(opened(folders, backend, masks, limit))
        assert [one.boxes for one in half] == [one.boxes for one in full]
        assert np.mean([(a.mask == b.mask).mean() for a, b in zip(half, full, strict=True)]) > 0.9


def test_a_batch_that_does_not_fit_is_halved_and_the_size_is_remembered(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = opened(folders, "grounded_sam", "sam", threshold(folders, "grounded_sam", "images"), batch_size=7)
    expected, sizes, detect = segmented(segmenter), [], type(segmenter.detector).detect

    def small(self: Any, images: Any, phrase: str) -> Any:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return detect(self, images, phrase)

    monkeypatch.setattr(type(segmenter.detector), "detect", small)
    for one, before in zip(segmented(segmenter), expected, strict=True):
        assert np.array_equal(one.mask, before.mask)
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]


def test_sam_2_in_its_published_form_a_video_model_is_the_same(
    folders: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    limit = threshold(folders, "grounded_sam", "images")
    video = folders | {"sam2": tiny.write_sam2_video(tmp_path / "video", folders["sam2"])}
    capfd.readouterr()
    found = segmented(opened(video, "grounded_sam", "sam2", limit))
    assert capfd.readouterr().err == ""
    for one, same in zip(found, segmented(opened(folders, "grounded_sam", "sam2", limit)), strict=True):
        assert np.array_equal(one.mask, same.mask)


def test_weights_of_another_architecture_are_named(folders: dict[str, Path]) -> None:
    swapped = folders | {"grounding_dino": folders["sam"]}
    with pytest.raises(ModelError, match=r"sam: holds a sam model; segment\.detector .* takes grounding-dino weights"):
        opened(swapped, "grounded_sam", "sam", 0.3)
    with pytest.raises(ModelError, match=r"holds a grounding-dino model; segment\.detector .* takes owlv2 weights"):
        opened(folders | {"owlv2": folders["grounding_dino"]}, "owlv2_sam", "sam", 0.3)
    with pytest.raises(ModelError, match=r"holds a owlv2 model; segment\.mask_model .* takes sam weights"):
        opened(folders | {"sam": folders["owlv2"]}, "grounded_sam", "sam", 0.3)


@pytest.mark.parametrize("part", ["grounding_dino", "sam", "sam2"])
def test_a_part_without_its_processor_is_named(folders: dict[str, Path], tmp_path: Path, part: str) -> None:
    broken = Path(shutil.copytree(folders[part], tmp_path / "broken"))
    for path in broken.glob("*processor*.json"):
        path.unlink()
    with pytest.raises(ModelError, match="broken: cannot be loaded"):
        opened(folders | {part: broken}, "grounded_sam", part if part != "grounding_dino" else "sam", 0.3)


def test_the_registry_opens_it_and_names_both_parts(folders: dict[str, Path]) -> None:
    settings = SegmentConfig(
        backend="grounded_sam", detector=str(folders["grounding_dino"]), mask_model=str(folders["sam2"])
    )
    identity = open_segmenter(settings, "cpu", "fp32").identity
    assert identity.startswith("grounded_sam:grounding_dino@")
    assert ":sam2@" in identity
