"""Taking finished stages over from another run folder."""

from __future__ import annotations

import os
from pathlib import Path

from ddb.bench.fits.variants import take_over, upto


def finish(run: Path, folder: str, text: str) -> None:
    """A finished stage as the workspace leaves it: its files are replaced, never written into."""
    (run / folder).mkdir(parents=True, exist_ok=True)
    for name in ("part-00000.parquet", "done.json"):
        (run / folder / "new").write_text(f"{name} {text}")
        os.replace(run / folder / "new", run / folder / name)


def read(run: Path, folder: str) -> str:
    return (run / folder / "part-00000.parquet").read_text()


def test_only_the_stages_asked_for_are_taken(tmp_path: Path) -> None:
    base, out = tmp_path / "run", tmp_path / "variants" / "a"
    for folder in ("1-erm", "2-invert", "3-segment"):
        finish(base, folder, "first")
    take_over(base, out, upto("invert"))
    assert sorted(path.name for path in out.iterdir() if path.is_dir() and not path.is_symlink()) == [
        "1-erm",
        "2-invert",
    ]
    assert read(out, "2-invert") == read(base, "2-invert")
    assert os.path.samefile(base / "1-erm" / "done.json", out / "1-erm" / "done.json"), "linked, not copied"


def test_a_stage_made_again_is_taken_again(tmp_path: Path) -> None:
    base, out = tmp_path / "run", tmp_path / "variants" / "a"
    for folder in ("1-erm", "2-invert"):
        finish(base, folder, "first")
    take_over(base, out, upto("invert"))
    finish(base, "2-invert", "again")
    assert read(out, "2-invert").endswith("first"), "the base's new files do not reach into the other folder"
    kept = (out / "1-erm" / "done.json").stat().st_ino
    take_over(base, out, upto("invert"))
    assert read(out, "2-invert").endswith("again")
    assert (out / "1-erm" / "done.json").stat().st_ino == kept
