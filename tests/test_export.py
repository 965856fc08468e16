from __future__ import annotations

import json
from pathlib import Path

import pytest

from ddb.errors import DDBError
from ddb.export import export_run

STAGES = ("erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    for number, stage in enumerate(STAGES, 1):
        folder = run / f"{number}-{stage}"
        folder.mkdir(parents=True)
        plan = {"fingerprint": "f", "planned": 0, "settings": {}, "needs": {}}
        (folder / "plan.json").write_text(json.dumps(plan))
        (folder / "done.json").write_text('{"fingerprint": "f", "digest": "d", "rows": 1, "errors": 0}')
    (run / "balanced" / "train").mkdir(parents=True)
    (run / "balanced" / "train" / "a.png").write_bytes(b"pixels")
    (run / "7-retrain" / "classifier").mkdir()
    (run / "7-retrain" / "classifier" / "model.safetensors").write_bytes(b"weights")
    (run / "metrics.json").write_text("{}")
    return run


def test_product_is_data_classifier_and_figures(finished: Path, tmp_path: Path) -> None:
    out = export_run(finished, tmp_path / "out")
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert files == {
        "balanced/train/a.png": b"pixels",
        "classifier/model.safetensors": b"weights",
        "metrics.json": b"{}",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_empty_folder_is_filled(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert (export_run(finished, tmp_path / "out") / "metrics.json").exists()


def test_folder_with_something_in_it_is_left_alone(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DDBError, match="name a new folder"):
        export_run(finished, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("missing", ["5-score/done.json", "metrics.json"])
def test_unfinished_run_is_refused(finished: Path, tmp_path: Path, missing: str) -> None:
    (finished / missing).unlink()
    with pytest.raises(DDBError, match="not finished"):
        export_run(finished, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_out_that_cannot_be_written_is_an_error_for_people(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DDBError, match="cannot be written"):
        export_run(finished, tmp_path / "file" / "out")
