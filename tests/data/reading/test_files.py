"""Checking files: each is read once, and again only when it changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ddb.data.reading import files
from ddb.data.reading.files import check_files


def test_hash_and_reason(folder: Path) -> None:
    good, bad, gone = folder / "cat" / "0.png", folder / "cat" / "bad.png", folder / "gone.png"
    bad.write_bytes(b"no image")
    found = check_files([good, bad, gone, folder / "cat"], 50, None)
    assert found[good].sha256 == hashlib.sha256(good.read_bytes()).hexdigest() and not found[good].reason
    assert "not a JPEG" in found[bad].reason
    assert found[gone].reason == "the file does not exist"
    assert found[folder / "cat"].reason == "cannot be read: Is a directory"


def test_files_are_opened_again_only_when_they_change(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(folder.rglob("*.png"))
    first = check_files(paths, 50, tmp_path / "cache")
    opened: list[int] = []
    real = files.check
    monkeypatch.setattr(files, "check", lambda data, limit: opened.append(len(data)) or real(data, limit))
    assert check_files(paths, 50, tmp_path / "cache") == first and not opened
    paths[3].write_bytes(b"changed")
    again = check_files(paths, 50, tmp_path / "cache")
    assert opened == [7] and again[paths[3]].reason and again[paths[4]] == first[paths[4]]
    check_files(paths, 0.0001, tmp_path / "cache")
    assert len(opened) == 1 + len(paths), "another limit is another question"


def test_a_damaged_cache_is_made_anew(folder: Path, tmp_path: Path) -> None:
    paths = sorted(folder.rglob("*.png"))
    first = check_files(paths, 50, tmp_path)
    (tmp_path / "files.parquet").write_bytes(b"half a file")
    assert check_files(paths, 50, tmp_path) == first
    assert [path.name for path in tmp_path.glob("files*")] == ["files.parquet"]


def test_files_too_large_for_their_pixels_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file of 200 MB: at 1 megapixel an image needs no more than 8 MB and its metadata."""
    path = folder / "cat" / "0.png"
    with path.open("r+b") as file:
        file.truncate(200_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read"))
    assert check_files([path], 1, None)[path].reason == "200 MB, more than data.max_megapixels = 1 can need"


def test_what_an_older_version_found_out_is_asked_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "cat" / "0.png"
    monkeypatch.setattr(files, "check", lambda data, limit: None)
    monkeypatch.setattr(files, "RULES", files.RULES - 1)
    check_files([path], 0.0001, tmp_path)
    monkeypatch.undo()
    assert "more than data.max_megapixels" in check_files([path], 0.0001, tmp_path)[path].reason
