"""`ddb export`: what is copied out of a run folder, whole or not at all, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb.engine.workspace import Workspace
from ddb.errors import DDBError
from ddb.export import export_run
from ddb.run_folder import HANDED_OVER, MADE_FROM, made_from

STAGES = ("erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate")
RESULT = "f" * 16


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The files of a finished run that say so; each stage has one row."""
    run = tmp_path / "run"
    for number, stage in enumerate(STAGES, 1):
        folder = run / f"{number}-{stage}" / RESULT
        folder.mkdir(parents=True)
        (folder / "plan.json").write_text('{"key": "k", "planned": 1}')
        (folder / "done.json").write_text('{"key": "k", "digest": "d", "rows": 1, "errors": 0}')
        for name in ("planned.parquet", "part-00000.parquet"):
            pq.write_table(pa.table({"id": ["a"], "status": ["ok"]}), folder / name)
    current = {"stages": STAGES, "results": {stage: {"fingerprint": RESULT, "key": "k"} for stage in STAGES}}
    (run / "current.json").write_text(json.dumps(current))
    (run / "balanced" / "train").mkdir(parents=True)
    (run / "balanced" / "train" / "a.png").write_bytes(b"pixels")
    (run / "classifier").mkdir()
    (run / "classifier" / "model.safetensors").write_bytes(b"weights")
    (run / "metrics.json").write_text("{}")
    handed = {address: made_from(Workspace(run, STAGES), address) for address in MADE_FROM}
    (run / HANDED_OVER).write_text(json.dumps(handed))
    return run


def test_product_is_data_classifier_and_figures(finished: Path, tmp_path: Path) -> None:
    out = export_run(finished, tmp_path / "out")
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert b"\n## Accuracy before and after\n" in files.pop("classifier/README.md")
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


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (f"5-score/{RESULT}/done.json", "score is unfinished"),
        ("metrics.json", "metrics.json is not written yet"),
        (HANDED_OVER, "balanced is not written yet"),
    ],
)
def test_unfinished_run_is_refused(finished: Path, tmp_path: Path, missing: str, words: str) -> None:
    (finished / missing).unlink()
    with pytest.raises(DDBError, match=rf"not finished \({words}\)"):
        export_run(finished, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_was_made_of_other_results_is_not_exported(finished: Path, tmp_path: Path) -> None:
    """Stage prune has other verdicts since balanced/ was written: they would not belong together."""
    done = finished / "6-prune" / RESULT / "done.json"
    done.write_text(done.read_text().replace('"d"', '"another digest"'))
    with pytest.raises(DDBError, match=r"balanced is not written yet"):
        export_run(finished, tmp_path / "out")


def test_out_that_cannot_be_written_is_an_error_for_people(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DDBError, match="cannot be written"):
        export_run(finished, tmp_path / "file" / "out")
