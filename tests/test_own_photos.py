"""`ddb run photos` on two classes of real photographs, in miniature: copy-paste with given masks."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import ddb
from ddb.cli import app as cli

CLASSES = ("church", "tench")
PER_SPLIT = {"train": 16, "val": 6}
SMALL = [
    *("erm.backbone=resnet10t", "erm.weights=none", "erm.image_size=64", "erm.epochs=2", "erm.batch_size=8"),
    *("inpaint.backend=copy_paste", "segment.backend=given", "retrain.epochs=1"),
    *("retrain.batch_size=8", "retrain.generated_batch=4", "data.phrase=thing", "score.maps=2"),
]


@pytest.fixture(scope="module")
def photos(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the photographs in class folders; train and val, so that the test split is made by seed."""
    root = tmp_path_factory.mktemp("photos")
    for split, count in PER_SPLIT.items():
        for name in CLASSES:
            (root / "images" / split / name).mkdir(parents=True)
            for path in sorted((shared_data / "photos" / split / name).iterdir())[:count]:
                target = root / "images" / split / name / path.name
                shutil.copy(path, target)
                with Image.open(path) as image:
                    mask = Image.new("L", image.size)
                box = (mask.width // 4, mask.height // 4, 3 * mask.width // 4, 3 * mask.height // 4)
                ImageDraw.Draw(mask).ellipse(box, fill=255)
                place = root / "masks" / target.relative_to(root / "images").with_suffix(".png")
                place.parent.mkdir(parents=True, exist_ok=True)
                mask.save(place)
    return root


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ddb", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.mark.slow
def test_photos_run_from_folder_to_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    settings = [word for setting in [*SMALL, f"segment.masks={photos / 'masks'}"] for word in ("--set", setting)]
    arguments = ["photos", "--data", str(photos / "images"), "--device", "cpu", *settings]
    assert run(monkeypatch, "run", *arguments, "--out", str(out)) == 0

    metrics = json.loads((out / "metrics.json").read_text())
    for when in ("before", "after"):
        assert {"worst_group_accuracy", "mean_accuracy", "worst_class_accuracy", "ece", "auroc"} <= set(metrics[when])
        assert sum(group["n"] for group in metrics[when]["groups"]) == ddb.table(out, "evaluate").num_rows
    assert metrics["counts"]["generated"] > 0
    assert (out / "report.html").stat().st_size > 10_000
    candidates = ddb.table(out, "inpaint").to_pylist()
    assert {(row["from_label"], row["to_label"]) for row in candidates} == {(0, 1), (1, 0)}

    capsys.readouterr()
    assert run(monkeypatch, "status", str(out), "--json") == 0
    assert json.loads(capsys.readouterr().out)

    assert run(monkeypatch, "export", str(out), str(tmp_path / "product")) == 0
    classifier = ddb.load_classifier(tmp_path / "product" / "classifier")
    with Image.open(next((photos / "images" / "val" / "tench").iterdir())) as image:
        (answer,) = classifier.predict([image])
    assert set(answer) == set(CLASSES)
    assert sum(answer.values()) == pytest.approx(1, abs=1e-4)

    assert run(monkeypatch, "run", *arguments, "--out", str(out)) == 0  # nothing left to do
    assert json.loads((out / "metrics.json").read_text()) == metrics
