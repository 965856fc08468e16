"""What decides the rows of each stage: which stages' content and extent a setting changes, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ddb.config import RunConfig
from ddb.config.load import load_config
from ddb.data.images import mask_png
from ddb.data.table import Dataset
from ddb.engine.workspace import Workspace
from ddb.pipeline import STAGES, build_stages

BASE = ["erm.backbone=test_resnet", "erm.weights=none", "data.phrase=square"]


@pytest.fixture
def facts(squares: Dataset, tmp_path: Path) -> Any:
    """Content and extent of all stages under changed settings: stage -> (content, extent)."""

    def found(*changes: str) -> dict[str, tuple[dict[str, object], dict[str, object]]]:
        config: RunConfig = load_config("pocket-waterbirds", [*BASE, *changes])
        stages = build_stages(config, squares, Workspace(tmp_path, STAGES))
        return {stage.name: (dict(stage.content), dict(stage.extent)) for stage in stages}

    return found


@pytest.mark.parametrize(
    ("change", "rows", "plans"),
    [
        ("erm.lr=0.03", {"erm"}, set()),
        ("erm.batch_size=8", {"erm"}, set()),
        ("invert.steps=7", {"invert"}, set()),
        ("segment.threshold=0.7", {"segment", "invert"}, set()),
        ("segment.expand=1.3", {"segment", "invert"}, set()),
        ("segment.batch_size=3", set(), set()),
        ("inpaint.steps=3", {"inpaint"}, set()),
        ("inpaint.guidance=2", {"inpaint"}, set()),
        ("inpaint.scheduler=ddim", {"inpaint"}, set()),
        ("inpaint.batch_size=3", set(), set()),
        ("inpaint.image_size=96", {"inpaint", "invert"}, set()),
        ("inpaint.template=my {token} {phrase}", {"inpaint", "invert"}, set()),
        ("inpaint.per_class=5", {"prune"}, {"segment", "inpaint"}),
        ("score.ig_steps=3", {"score"}, set()),
        ("score.batch_size=3", set(), set()),
        ("prune.psi=off", {"prune"}, set()),
        ("prune.max_rounds=3", set(), {"inpaint"}),
        ("retrain.lr=0.03", {"retrain"}, set()),
        ("retrain.generated_batch=3", {"retrain"}, set()),
        ("evaluate.batch_size=3", set(), set()),
        ("seed=5", {"erm", "invert", "inpaint", "retrain"}, set()),
        ("precision=bf16", {"erm", "invert", "segment", "inpaint", "retrain"}, set()),
        ("device=cpu", set(), set()),
        ("name=other", set(), set()),
        ("max_error_rate=0.5", set(), set()),
        ("data.decode_once=false", set(), set()),
        ("data.phrase=shape", {"invert", "segment", "inpaint"}, set()),
    ],
)
def test_a_setting_changes_the_stages_that_read_it(facts: Any, change: str, rows: set[str], plans: set[str]) -> None:
    before, after = facts(), facts(change)
    assert {name for name in STAGES if before[name][0] != after[name][0]} == rows
    assert {name for name in STAGES if before[name][1] != after[name][1]} == plans


def test_masks_are_read_by_painting_where_it_pastes_objects_alone(facts: Any) -> None:
    for change, expected in (("segment.threshold=0.7", True), ("segment.expand=1.3", False)):
        before, after = facts("inpaint.paste=objects"), facts("inpaint.paste=objects", change)
        assert (before["inpaint"] != after["inpaint"]) is expected


def test_given_masks_are_known_by_their_content(facts: Any, squares: Dataset, tmp_path: Path) -> None:
    import numpy as np

    def masks(name: str, value: bool) -> str:
        for image in squares.samples["image"].to_pylist():
            path = tmp_path / name / image
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(mask_png(np.full((32, 32), value)))
        return f"segment.masks={tmp_path / name}"

    a, b, c = (
        facts("segment.backend=given", masks(name, value))["segment"][0]
        for name, value in (("a", True), ("b", True), ("c", False))
    )
    assert a == b != c
