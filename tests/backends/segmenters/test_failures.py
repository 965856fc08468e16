"""Every segmenter: an output that is not finite fails its image alone, results do not depend on other images of the
batch, any phrase is accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import tiny_segmenters as tiny
from ddb.backends import Failed, Found, Image, Segmenter
from ddb.backends.registry import open_segmenter
from ddb.backends.segmenters.grounding_dino import open_grounding_dino
from ddb.backends.segmenters.weights import words_of
from ddb.config import GroundedSamConfig, SegmentConfig, segment_config
from ddb.context import Context, Models
from ddb.data.table import Dataset
from ddb.errors import ConfigError

CONTEXT = Context(cast(Dataset, None), 0, "cpu", "fp32", Path())
BACKENDS = ("clipseg", "grounded_sam", "owlv2_sam", "sam3", "sam3_map", "face_parsing")


@pytest.fixture(scope="module")
def all_settings(segmenter_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SegmentConfig]:
    """Thresholds at which nearly everything counts."""
    root = tmp_path_factory.mktemp("weights")
    writers: list[Callable[[Path], Path]] = [
        tiny.write_grounding_dino, tiny.write_owlv2, tiny.write_sam, tiny.write_sam2, tiny.write_sam3,
        tiny.write_segformer,
    ]  # fmt: skip
    dino, owl, sam, sam2, sam3, faces = (str(write(root / write.__name__)) for write in writers)
    return {
        "clipseg": segment_config(weights=str(segmenter_folder)),
        "grounded_sam": segment_config(
            backend="grounded_sam", detector=dino, mask_model=sam, box_threshold=0.0, text_threshold=0.0
        ),
        "owlv2_sam": segment_config(backend="owlv2_sam", detector=owl, mask_model=sam2, box_threshold=0.0),
        "sam3": segment_config(backend="sam3", weights=sam3, box_threshold=0.0),
        "sam3_map": segment_config(backend="sam3", weights=sam3, concept="semantic"),
        "face_parsing": segment_config(backend="face_parsing", weights=faces),
    }


@pytest.fixture(params=BACKENDS)
def segmenter(request: pytest.FixtureRequest, all_settings: dict[str, SegmentConfig]) -> Segmenter:
    return open_segmenter(all_settings[request.param], CONTEXT, Models())


def pictures(count: int = 3) -> list[Image | Failed]:
    """Of different sizes."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (48 + 8 * n, 64 - 4 * n, 3), dtype=np.uint8) for n in range(count)]


def run(segmenter: Segmenter, images: list[Image | Failed], phrase: str = "bird", size: int = 3) -> list[Any]:
    return segmenter.segment(["x.png"] * len(images), images, phrase, size)


def same(one: Found, other: Found) -> bool:
    return one.score == other.score and one.boxes == other.boxes and np.array_equal(one.mask, other.mask)


def test_neighbours_and_their_number_change_nothing(segmenter: Segmenter) -> None:
    """To the bit: each image in its place of a batch of three, alone, with others, with failures."""
    images = pictures()
    whole = run(segmenter, images)
    assert all(isinstance(one, Found) for one in whole)
    assert same(run(segmenter, images[:1])[0], whole[0])
    failed, second, _ = run(segmenter, [Failed("unreadable"), images[1], images[0]])
    assert failed == Failed("unreadable")
    assert same(second, whole[1])
    assert same(run(segmenter, [*pictures(3), images[0]])[3], whole[0])


def test_damaged_weights_fail_every_image_and_say_so(segmenter: Segmenter) -> None:
    part = segmenter.detector if hasattr(segmenter, "detector") else segmenter
    with torch.no_grad():
        for parameter in part.model.parameters():  # type: ignore[attr-defined]
            parameter.fill_(float("nan"))
    found = run(segmenter, pictures(2), size=2)
    assert len(found) == 2
    for one in found:
        assert isinstance(one, Failed)
        assert "is not finite: the weights may be damaged" in one.reason


@pytest.mark.parametrize("backend", ["grounded_sam", "owlv2_sam"])
def test_a_damaged_mask_model_fails_the_images_with_boxes(backend: str, all_settings: dict[str, SegmentConfig]) -> None:
    segmenter: Any = open_segmenter(all_settings[backend], CONTEXT, Models())
    with torch.no_grad():
        for parameter in segmenter.masker.model.parameters():
            parameter.fill_(float("nan"))
    for one in run(segmenter, pictures(2), size=2):
        assert isinstance(one, Failed)
        assert "the mask model's output is not finite" in one.reason


@pytest.mark.parametrize("row", [0, 2])
def test_a_probability_map_that_is_not_finite_fails_its_image_alone(
    row: int, all_settings: dict[str, SegmentConfig]
) -> None:
    segmenter: Any = open_segmenter(all_settings["clipseg"], CONTEXT, Models())
    whole = run(segmenter, pictures())

    def spoil(module: object, inputs: object, output: Any) -> None:
        output.logits[row, 3, 3] = float("nan")

    handle = segmenter.model.register_forward_hook(spoil)
    found = run(segmenter, pictures())
    handle.remove()
    assert [isinstance(one, Failed) for one in found] == [number == row for number in range(3)]
    assert same(found[1], whole[1])


@pytest.mark.parametrize("phrase", ["bird", "Bird", "bird.", "bird .", " bird ", "bird?", ". bird"])
def test_the_phrase_is_one_noun_however_it_is_written(phrase: str, all_settings: dict[str, SegmentConfig]) -> None:
    settings = all_settings["grounded_sam"]
    assert isinstance(settings, GroundedSamConfig)
    detector, images = open_grounding_dino(settings, torch.device("cpu"), Models()), pictures(1)
    with torch.no_grad():
        (expected,), (found,) = (detector.detect(cast(list[Image], images), text) for text in ("bird", phrase))
    assert found == expected
    assert not isinstance(found, Failed) and found.boxes


def test_a_full_stop_inside_a_phrase_does_not_split_it() -> None:
    assert words_of("St. Bernard") == "st bernard"
    with pytest.raises(ConfigError, match="data.phrase: ' . ' holds no word"):
        words_of(" . ")


@pytest.mark.parametrize("phrase", ["鳥", "a_b <c> {d}", 'o\'clock "x"', "bird. cat. dog", "x"])
def test_any_phrase_is_taken(phrase: str, segmenter: Segmenter) -> None:
    assert all(isinstance(one, Found) for one in run(segmenter, pictures(1), phrase, 1))


def test_a_phrase_that_is_too_long_is_cut_or_named(segmenter: Segmenter) -> None:
    """Never an exception of a library."""
    said = ""
    try:
        (found,) = run(segmenter, pictures(1), "bird " * 300, 1)
    except ConfigError as error:
        said = str(error)
    assert isinstance(found, Found) if not said else "data.phrase" in said and "shorten it" in said
