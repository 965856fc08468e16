"""Marks of settings: what each decides, and the stages whose rows depend on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ddb.config import RunConfig
from ddb.config.load import load_config
from ddb.config.marks import content_of, leaves, references_of
from ddb.config.run import BACKENDS
from ddb.config.section import STAGE_NAMES, Mark, Section, mark_of, sections_of

ALL = {"erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate"}
OBJECTS = "inpaint.paste=objects"


def fields(model: type[Section], name: str) -> Iterator[tuple[str, Mark | None, str | None]]:
    """Dotted name, mark and description of every setting, of every backend."""
    for key, field in model.model_fields.items():
        inner = sections_of(field)
        for one in inner:
            yield from fields(one, f"{name}{key}.")
        if not inner:
            yield f"{name}{key}", mark_of(field), field.description


def test_every_setting_bears_one_mark_and_says_what_it_means() -> None:
    found = list(fields(RunConfig, ""))
    assert len(found) > 100
    for name, mark, description in found:
        assert mark is not None, name
        assert description, name
        assert mark.kind in ("content", "extent", "execution")
        assert set(mark.reads) <= ALL, name
        if mark.kind == "content":
            assert mark.reads or name.partition(".")[0] in ALL, f"{name}: read by no stage"
        else:
            assert not mark.reads and not mark.reference, name
    assert set(STAGE_NAMES) == ALL


def test_sections_are_not_marked() -> None:
    assert mark_of(RunConfig.model_fields["erm"]) is None


def test_every_backend_is_walked() -> None:
    names = {name for name, _, _ in fields(RunConfig, "")}
    assert {
        "segment.masks",
        "segment.labels",
        "segment.text_threshold",
        "inpaint.guidance",
        "erm.augment.blur",
    } <= names
    assert set(BACKENDS) == {"segment", "inpaint"}


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ("name=other", set()),
        ("device=cpu", set()),
        ("max_error_rate=0.5", set()),
        ("resume_elsewhere=continue", set()),
        ("seed=3", {"erm", "invert", "inpaint", "retrain"}),
        ("precision=fp32", {"erm", "invert", "segment", "inpaint", "retrain"}),
        ("data.phrase=fish", {"invert", "segment", "inpaint"}),
        ("data.root=elsewhere", set()),
        ("data.decode_once=false", set()),
        ("data.pocket.train=90", set()),
        ("erm.lr=0.5", {"erm"}),
        ("erm.batch_size=7", {"erm"}),
        ("erm.augment.blur=0.5", {"erm"}),
        ("erm.image_size=64", {"erm"}),
        ("invert.steps=7", {"invert"}),
        ("invert.batch_size=7", {"invert"}),
        ("segment.threshold=0.9", {"segment", "invert"}),
        ("segment.shape=hull", {"segment", "invert"}),
        ("segment.max_border=0.3", {"segment", "invert"}),
        ("segment.batch_size=3", set()),
        ("inpaint.template='one {token} {phrase}'", {"inpaint", "invert"}),
        ("inpaint.image_size=256", {"inpaint", "invert"}),
        ("inpaint.crop=false", {"inpaint", "invert"}),
        ("inpaint.steps=7", {"inpaint"}),
        ("inpaint.guidance=3", {"inpaint"}),
        ("inpaint.variety=[red]", {"inpaint"}),
        ("inpaint.feather=9", {"inpaint"}),
        ("inpaint.paste=objects", {"inpaint"}),
        ("inpaint.per_class=5", set()),
        ("inpaint.batch_size=3", set()),
        ("score.ig_steps=7", {"score"}),
        ("score.batch_size=3", set()),
        ("prune.psi_ratio=0.3", {"prune"}),
        ("prune.max_rounds=3", set()),
        ("retrain.batch_size=7", {"retrain"}),
        ("retrain.generated_batch=7", {"retrain"}),
        ("retrain.augment.noise=7", {"retrain"}),
        ("evaluate.batch_size=7", set()),
    ],
)
def test_a_setting_changes_the_content_of_the_stages_that_read_it(change: str, stages: set[str]) -> None:
    before, after = load_config("photos"), load_config("photos", [change])
    assert before != after
    assert {stage for stage in STAGE_NAMES if content_of(before, stage) != content_of(after, stage)} == stages


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ("segment.threshold=0.9", {"segment", "invert", "inpaint"}),  # it finds the new object
        ("segment.shape=hull", {"segment", "invert"}),
    ],
)
def test_painting_reads_the_segmenter_where_it_looks_for_new_objects(change: str, stages: set[str]) -> None:
    before, after = load_config("photos", [OBJECTS]), load_config("photos", [OBJECTS, change])
    assert {stage for stage in STAGE_NAMES if content_of(before, stage) != content_of(after, stage)} == stages


def test_names_of_files_and_weights_are_references_not_content() -> None:
    config = load_config("photos", ["invert.tokens={cat: cat.safetensors}", "erm.weights=none"])
    assert references_of(config, "erm") == {"erm.weights": "none"}
    given = load_config("photos", ["erm.classifier=mine.safetensors"])
    assert references_of(given, "erm") == {"erm.weights": "resnet50", "erm.classifier": "mine.safetensors"}
    assert references_of(config, "segment") == {"segment.weights": "clipseg"}
    assert references_of(config, "inpaint") == {"inpaint.weights": "sd2-inpainting"}
    assert references_of(config, "invert") == {
        "invert.tokens.cat": "cat.safetensors",
        "segment.weights": "clipseg",
        "inpaint.weights": "sd2-inpainting",
    }
    assert references_of(config, "retrain") == {}
    for stage in STAGE_NAMES:
        assert not {"erm.weights", "segment.weights", "inpaint.weights", "invert.tokens"} & set(
            content_of(config, stage)
        )


def test_a_backend_has_its_own_content() -> None:
    given = load_config("photos", ["segment.backend=given", "segment.masks=m", "inpaint.backend=copy_paste"])
    assert references_of(given, "segment") == {"segment.masks": "m"}
    assert not any(name.startswith("segment.thresh") for name in content_of(given, "segment"))
    assert content_of(given, "inpaint")["inpaint.backend"] == "copy_paste"
    pair = load_config("waterbirds")
    assert set(references_of(pair, "segment")) == {"segment.detector", "segment.mask_model"}


def test_values_are_json() -> None:
    def plain(value: Any) -> bool:
        if isinstance(value, list):
            return all(map(plain, value))
        return value is None or type(value) in (str, int, float, bool, dict)

    config = load_config("pocket-waterbirds")
    assert all(plain(leaf.value) for leaf in leaves(config))
    assert content_of(config, "inpaint")["inpaint.variety"][:2] == ["white", "black"]  # type: ignore[index]
