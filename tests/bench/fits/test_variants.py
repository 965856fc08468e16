"""Taking finished stages over from another run folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ddb.bench.fits.variants import take_over, upto
from ddb.errors import StageFailed

FIRST, SECOND = "1" * 16, "2" * 16


def finish(run: Path, stage: str, text: str, result: str = FIRST) -> Path:
    """A finished stage as the workspace leaves it: its files are replaced, never written into. The result's folder."""
    folder = run / stage / result
    folder.mkdir(parents=True, exist_ok=True)
    done = {"key": "k", "digest": text, "rows": 1, "errors": 0}
    for name, content in (("part-00000.parquet", text), ("plan.json", "{}"), ("done.json", json.dumps(done))):
        (folder / "new").write_text(content)
        os.replace(folder / "new", folder / name)
    path = run / "current.json"
    current = json.loads(path.read_text()) if path.exists() else {"stages": ["erm", "invert", "segment"], "results": {}}
    current["results"][stage.partition("-")[2]] = {"fingerprint": result, "key": "k"}
    path.write_text(json.dumps(current))
    return folder


def read(folder: Path) -> str:
    return (folder / "part-00000.parquet").read_text()


def test_only_the_stages_asked_for_are_taken(tmp_path: Path) -> None:
    base, out = tmp_path / "run", tmp_path / "variants" / "a"
    for stage in ("1-erm", "2-invert", "3-segment"):
        finish(base, stage, "first")
    finish(base, "1-erm", "of other settings", SECOND)
    finish(base, "1-erm", "first")  # the present settings' again
    take_over(base, out, upto("invert"))
    found = sorted(path.relative_to(out).as_posix() for path in out.glob("*-*/*"))
    assert found == [f"1-erm/{FIRST}", f"2-invert/{FIRST}"]
    assert read(out / "2-invert" / FIRST) == "first"
    own, copy = (root / "1-erm" / FIRST / "done.json" for root in (base, out))
    assert os.path.samefile(own, copy), "linked, not copied"


def test_a_stage_made_again_is_taken_again(tmp_path: Path) -> None:
    base, out = tmp_path / "run", tmp_path / "variants" / "a"
    for stage in ("1-erm", "2-invert"):
        finish(base, stage, "first")
    take_over(base, out, upto("invert"))
    finish(base, "2-invert", "again")
    assert read(out / "2-invert" / FIRST) == "first", "the base's new files do not reach into the other folder"
    kept = (out / "1-erm" / FIRST / "done.json").stat().st_ino
    take_over(base, out, upto("invert"))
    assert read(out / "2-invert" / FIRST) == "again"
    assert (out / "1-erm" / FIRST / "done.json").stat().st_ino == kept


def test_results_of_other_settings_stay_beside_what_is_taken(tmp_path: Path) -> None:
    base, out = tmp_path / "run", tmp_path / "variants" / "a"
    finish(base, "1-erm", "first")
    take_over(base, out, ("erm",))
    finish(base, "1-erm", "second", SECOND)
    take_over(base, out, ("erm",))
    assert [read(out / "1-erm" / result) for result in (FIRST, SECOND)] == ["first", "second"]


def test_a_stage_without_a_result_is_named(tmp_path: Path) -> None:
    finish(tmp_path / "run", "1-erm", "first")
    with pytest.raises(StageFailed, match="stage invert is not finished"):
        take_over(tmp_path / "run", tmp_path / "a", upto("invert"))
