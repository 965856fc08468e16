"""Sections with several backends: what each has, what a preset's choice leaves behind, and the faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from ddb import cli
from ddb.config import RunConfig, inpaint_config, segment_config
from ddb.config.load import config_text, load_config, read_tree
from ddb.errors import ConfigError

SEGMENTERS = {
    "clipseg": {"weights", "threshold"},
    "grounded_sam": {"detector", "mask_model", "box_threshold", "text_threshold"},
    "owlv2_sam": {"detector", "mask_model", "box_threshold"},
    "sam3": {"weights", "concept", "box_threshold", "threshold"},
    "face_parsing": {"weights", "labels"},
    "given": {"masks"},
}
REGION = {"backend", "shape", "expand", "min_side", "min_area", "max_area", "max_border", "batch_size"}
EVERY = [*(("segment", name) for name in SEGMENTERS), ("inpaint", "latent_diffusion"), ("inpaint", "copy_paste")]


def chosen(section: str, backend: str) -> list[str]:
    return [f"{section}.backend={backend}", *(["segment.masks=masks"] if backend == "given" else [])]


@pytest.mark.parametrize("backend", SEGMENTERS)
def test_a_segmenter_has_what_it_reads_and_nothing_else(backend: str) -> None:
    values: dict[str, Any] = {"masks": "m"} if backend == "given" else {}
    assert set(segment_config(backend=backend, **values).model_dump()) == REGION | SEGMENTERS[backend]


def test_copy_paste_has_no_model() -> None:
    fields = {"backend", "per_class", "template", "variety", "feather", "paste", "batch_size"}
    assert set(inpaint_config(backend="copy_paste").model_dump()) == fields


def test_clipseg_and_diffusion_where_no_backend_is_named(tmp_path: Path) -> None:
    assert segment_config(threshold=0.3).backend == RunConfig().segment.backend == "clipseg"
    assert inpaint_config(steps=3).backend == RunConfig().inpaint.backend == "latent_diffusion"
    (tmp_path / "own.yaml").write_text("segment: {threshold: 0.3}\ninpaint: {steps: 3}\n")
    config = load_config(tmp_path / "own.yaml")
    assert (config.segment.backend, config.inpaint.backend) == ("clipseg", "latent_diffusion")


def test_unknown_values_are_refused_when_built_from_keywords() -> None:
    with pytest.raises(ValidationError):
        inpaint_config(backend="copy_paste", steps=3)
    with pytest.raises(ValidationError):
        segment_config(backend="given")


@pytest.mark.parametrize(("section", "backend"), EVERY)
def test_every_backend_comes_back_from_its_text(section: str, backend: str, tmp_path: Path) -> None:
    config = load_config("photos", chosen(section, backend))
    assert getattr(config, section).backend == backend
    (tmp_path / "run.yaml").write_text(config_text(config))
    assert load_config(tmp_path / "run.yaml") == config
    assert RunConfig.model_validate(json.loads(config.model_dump_json())) == config


def test_every_backend_has_its_own_part_of_the_schema() -> None:
    schema = json.loads(json.dumps(RunConfig.model_json_schema()))
    kinds = {
        one["properties"]["backend"]["const"]: one
        for one in schema["$defs"].values()
        if "backend" in one.get("properties", {})
    }
    assert set(kinds) == {name for _, name in EVERY}
    for name, one in kinds.items():
        needs = [] if name in ("clipseg", "latent_diffusion") else ["backend"]
        assert one.get("required", []) == needs + (["masks"] if name == "given" else [])
        assert one["additionalProperties"] is False
    assert kinds["copy_paste"]["properties"]["feather"]["mark"] == "content"


@pytest.mark.parametrize(
    ("preset", "change", "note"),
    [
        (
            "photos",
            ["inpaint.backend=copy_paste"],
            "inpaint.backend=copy_paste: left out what preset photos sets for latent_diffusion: "
            "weights, image_size, crop",
        ),
        (
            "pocket-waterbirds",
            ["segment.backend=sam3"],
            "segment.backend=sam3: left out what preset pocket-waterbirds sets for clipseg: weights",
        ),
        (
            "waterbirds",
            ["segment.backend=owlv2_sam"],
            "segment.backend=owlv2_sam: left out what preset waterbirds sets for grounded_sam: "
            "detector, box_threshold, text_threshold",
        ),
    ],
)
def test_a_presets_keys_for_its_own_backend_are_left_out_and_named(preset: str, change: list[str], note: str) -> None:
    said: list[str] = []
    load_config(preset, change, say=said.append)
    assert said == [note] == read_tree(preset, change).notes


def test_what_both_backends_understand_is_kept() -> None:
    config = load_config("photos", ["inpaint.backend=copy_paste"])
    assert config.inpaint.feather == 4
    pair = load_config("waterbirds", ["segment.backend=owlv2_sam"]).segment.model_dump()
    assert pair["mask_model"] == "sam2.1-small"
    assert (pair["detector"], pair["box_threshold"]) == ("google/owlv2-base-patch16-ensemble", 0.1)
    assert load_config("pocket-waterbirds", ["segment.backend=sam3"]).segment.model_dump()["weights"] == "facebook/sam3"


def test_nothing_is_said_where_nothing_is_left_out() -> None:
    assert read_tree("photos", ["inpaint.backend=latent_diffusion", "inpaint.steps=3"]).notes == []
    assert read_tree("photos").notes == []


def test_what_the_user_gave_is_never_left_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("photos", ["inpaint.backend=copy_paste", "inpaint.steps=3", "inpaint.image_size=64"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[1] == (
        "  inpaint.image_size: backend copy_paste has no such key, which is for latent_diffusion; "
        "it has backend, per_class, template, variety, feather, paste, batch_size"
    )
    own = tmp_path / "own.yaml"
    own.write_text("segment: {backend: clipseg, threshold: 0.3}\n")
    with pytest.raises(ConfigError, match=r"segment\.threshold: backend given has no such key, which is for clipseg"):
        load_config(own, ["segment.backend=given", "segment.masks=m"])


def test_a_whole_section_in_one_override_is_the_users() -> None:
    config = load_config("photos", ["segment={backend: given, masks: m, expand: 2}"])
    assert config.segment.model_dump()["masks"] == "m" and config.segment.shape == "square"
    with pytest.raises(ConfigError, match="has no such key"):
        load_config("photos", ["segment={backend: given, masks: m, threshold: 0.2}"])


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("segment.backend=sam4", "segment.backend: should be 'clipseg', 'grounded_sam', 'owlv2_sam', 'sam3', "),
        ("segment.backend=[sam3]", "segment.backend: should be 'clipseg'"),
        ("inpaint.backend=3", "inpaint.backend: should be 'latent_diffusion' or 'copy_paste', got '3'"),
        ("inpaint=3", "inpaint: should hold settings, written inpaint.key=value, got 3"),
        ("segment.thresold=0.3", "segment.thresold: unknown key; did you mean segment.threshold?"),
        ("segment.threshold=2", "segment.threshold: should be less than or equal to 1, got 2"),
        ("inpaint.copy_paste=2", "inpaint.copy_paste: unknown key"),
    ],
)
def test_a_fault_of_a_backend_is_one_clear_line(override: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("photos", [override])
    assert str(caught.value).startswith(f"photos: {line}")
    assert "\n" not in str(caught.value)


def test_the_command_line_says_on_stderr_what_was_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["ddb", "config", "show", "photos", "--set", "inpaint.backend=copy_paste"])
    with pytest.raises(SystemExit):
        cli.main()
    told = capsys.readouterr()
    assert "left out what preset photos sets for latent_diffusion" in told.err
    assert yaml.safe_load(told.out)["inpaint"]["backend"] == "copy_paste"
