"""Mistakes as a person makes them on the command line: one or two lines on stderr, exit code 1, no traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddb.cli import app as cli


def draw(folder: Path, count: int, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (32, 40, 3), dtype=np.uint8)).save(folder / f"{number}.png")


def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command line, expect exit code 1; the error message (`run` tells its progress before it)."""
    monkeypatch.setattr(sys, "argv", ["ddb", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    captured = capsys.readouterr()
    assert caught.value.code == 1
    assert "Traceback" not in captured.err
    said, mark, message = captured.err.rpartition("ddb: ")
    assert mark
    assert all(line.startswith("photos: reading the data") for line in said.splitlines())
    return mark + message


@pytest.mark.parametrize("verb", ["run", "check"])
class TestData:
    def test_no_folder_given(self, monkeypatch, capsys, tmp_path, verb) -> None:
        monkeypatch.chdir(tmp_path)
        assert "--data FOLDER" in fails(monkeypatch, capsys, verb, "photos")

    def test_missing_folder(self, monkeypatch, capsys, tmp_path, verb) -> None:
        monkeypatch.chdir(tmp_path)
        assert "nowhere" in fails(monkeypatch, capsys, verb, "photos", "--data", str(tmp_path / "nowhere"))

    def test_empty_folder(self, monkeypatch, capsys, tmp_path, verb) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "data").mkdir()
        assert "class" in fails(monkeypatch, capsys, verb, "photos", "--data", str(tmp_path / "data"))

    def test_one_class(self, monkeypatch, capsys, tmp_path, verb) -> None:
        monkeypatch.chdir(tmp_path)
        draw(tmp_path / "data" / "cat", 5)
        text = fails(monkeypatch, capsys, verb, "photos", "--data", str(tmp_path / "data"))
        assert "one class ('cat')" in text
        assert len(text.splitlines()) <= 2

    def test_class_with_one_image(self, monkeypatch, capsys, tmp_path, verb) -> None:
        monkeypatch.chdir(tmp_path)
        draw(tmp_path / "data" / "cat", 8)
        draw(tmp_path / "data" / "dog", 1)
        text = fails(monkeypatch, capsys, verb, "photos", "--data", str(tmp_path / "data"))
        assert "class 'dog' has too few usable images" in text


def test_check_reports_settings_and_data_together(monkeypatch, capsys, tmp_path) -> None:
    draw(tmp_path / "cat", 5)
    text = fails(
        monkeypatch,
        capsys,
        "check",
        "photos",
        "--data",
        str(tmp_path),
        "--set",
        "inpaint.steps=0",
        "--set",
        "erm.lrr=1",
    )
    assert "inpaint.steps" in text
    assert "did you mean erm.lr?" in text
    assert "one class" in text


def test_check_says_what_a_good_run_would_use(monkeypatch, capsys, tmp_path) -> None:
    draw(tmp_path / "cat", 8, seed=1)
    draw(tmp_path / "dog", 8, seed=2)
    (tmp_path / "dog" / "broken.png").write_bytes(b"\x89PNG\r\n")
    monkeypatch.setattr(sys, "argv", ["ddb", "check", "photos", "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    text = capsys.readouterr().out
    assert not caught.value.code
    assert "2 classes" in text
    assert "dog/broken.png" in text
    assert not (tmp_path / "runs").exists()


def test_cuda_where_there_is_none(monkeypatch, capsys, tmp_path) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    assert "CUDA" in fails(monkeypatch, capsys, "check", "pocket-waterbirds", "--device", "cuda")


@pytest.mark.parametrize("verb", ["status", "report", "export"])
def test_not_a_run_folder(monkeypatch, capsys, tmp_path, verb) -> None:
    rest = [str(tmp_path / "out")] if verb == "export" else []
    assert str(tmp_path) in fails(monkeypatch, capsys, verb, str(tmp_path), *rest)


def test_unknown_preset(monkeypatch, capsys) -> None:
    text = fails(monkeypatch, capsys, "run", "pocket-waterbird")
    assert text == "ddb: no preset and no file is called 'pocket-waterbird'; did you mean pocket-waterbirds?\n"


def test_run_folder_that_is_a_file(monkeypatch, capsys, tmp_path) -> None:
    (tmp_path / "out").write_text("")
    draw(tmp_path / "data" / "cat", 8, seed=1)
    draw(tmp_path / "data" / "dog", 8, seed=2)
    text = fails(monkeypatch, capsys, "run", "photos", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"))
    assert str(tmp_path / "out") in text


def test_check_finds_what_does_not_fit_the_data(monkeypatch, capsys, tmp_path) -> None:
    draw_three_classes(tmp_path)
    settings = ["--set", "erm.selection=worst_group", "--set", "retrain.gammas=[1, 2]"]
    masks = ["--set", "segment.backend=given", "--set", f"segment.masks={tmp_path / 'nowhere'}"]
    text = fails(monkeypatch, capsys, "check", "photos", "--data", str(tmp_path), *settings, *masks)
    assert "erm.selection" in text
    assert "2 weights for 3 classes" in text
    assert "segment.masks" in text


def test_a_run_tells_what_does_not_fit_the_data_before_it_trains(monkeypatch, capsys, tmp_path) -> None:
    draw_three_classes(tmp_path / "data")
    settings = ["--set", "inpaint.per_class=[5, 5]", "--set", "retrain.gammas=[1, 2]", "--out", str(tmp_path / "out")]
    text = fails(monkeypatch, capsys, "run", "photos", "--data", str(tmp_path / "data"), *settings)
    assert "inpaint.per_class: 2 numbers for 3 classes" in text
    assert "retrain.gammas: 2 weights for 3 classes" in text
    assert not list((tmp_path / "out").glob("1-erm/*"))


def draw_three_classes(root) -> None:
    for seed, name in enumerate(("cat", "dog", "fox")):
        draw(root / name, 8, seed=seed)


@pytest.mark.parametrize("verb", ["check", "run"])
def test_all_weights_that_are_missing_are_found_before_a_world_is_drawn(monkeypatch, capsys, tmp_path, verb) -> None:
    monkeypatch.chdir(tmp_path)
    missing = {"erm": "./backbone.safetensors", "segment": "./clipseg", "inpaint": "./diffusion"}
    settings = [part for name, path in missing.items() for part in ("--set", f"{name}.weights={path}")]
    text = fails(monkeypatch, capsys, verb, "pocket-waterbirds", *settings)
    assert all(f"{name}.weights: " in text and Path(path).name in text for name, path in missing.items())
    assert not list(tmp_path.iterdir() if verb == "check" else tmp_path.rglob("*.png"))
