"""Mistakes as a person makes them on the command line: one or two lines on stderr, exit code 1, no traceback."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
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
    """Run the command line, expect exit code 1; the error message. Before it stand notes: what of a preset was left
    out, and that `run` reads the data."""
    monkeypatch.setattr(sys, "argv", ["ddb", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    captured = capsys.readouterr()
    assert caught.value.code == 1
    assert "Traceback" not in captured.err
    said, mark, message = captured.err.rpartition("ddb: ")
    assert mark
    assert all("left out what preset" in line or line.endswith(": reading the data") for line in said.splitlines())
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


def settings_file(folder: Path, content: bytes) -> Path:
    path = folder / "mine.yaml"
    path.write_bytes(content)
    return path


def run_folder(folder: Path, **files: str) -> Path:
    """A run folder in which no stage is finished, with these files at its top."""
    (folder / "run").mkdir()
    stages = ["erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate"]
    for name, text in {"current": json.dumps({"stages": stages, "results": {}}), **files}.items():
        (folder / "run" / f"{name}.json").write_text(text)
    return folder / "run"


def photographs(folder: Path) -> Path:
    draw(folder / "data" / "cat", 8, seed=1)
    draw(folder / "data" / "dog", 8, seed=2)
    return folder / "data"


def weights_file(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"no weights")
    return path


MISTAKES: dict[str, tuple[Callable[[Path], list[object]], tuple[str, ...]]] = {
    "an unknown preset": (lambda at: ["check", "photoss"], ("photoss", "did you mean photos?")),
    "a name that is far too long": (lambda at: ["check", "x" * 5000], ("File name too long",)),
    "a folder in place of settings": (lambda at: ["run", at], ("is a folder", "--data")),
    "binary settings": (lambda at: ["check", settings_file(at, b"\xff\xfe\x00")], ("mine.yaml", "UTF-8")),
    "control characters": (lambda at: ["check", settings_file(at, b"a: \x00")], ("mine.yaml", "not valid YAML")),
    "settings cut off": (lambda at: ["check", settings_file(at, b"erm: {lr: ")], ("mine.yaml, line", "not valid YAML")),
    "a key twice": (lambda at: ["check", settings_file(at, b"seed: 1\nseed: 2")], ("line 2", "seed is given twice")),
    "a list of settings": (lambda at: ["check", settings_file(at, b"- a")], ("key: value", "list")),
    "settings in settings in ...": (lambda at: ["check", settings_file(at, b"[" * 9000)], ("nested too deeply",)),
    "a number of 5000 digits": (lambda at: ["check", "photos", "--set", f"seed={'9' * 5000}"], ("not valid YAML",)),
    "--set without a value": (lambda at: ["config", "show", "photos", "--set", "erm.lr"], ("section.key=value",)),
    "a value out of range": (lambda at: ["config", "show", "photos", "--set", "erm.lr=-1"], ("erm.lr", "got -1")),
    "a misspelt key": (lambda at: ["config", "show", "photos", "--set", "erm.epoch=1"], ("did you mean erm.epochs?",)),
    "a key of another backend": (
        lambda at: ["config", "show", "photos", "--set", "inpaint.backend=copy_paste", "--set", "inpaint.steps=9"],
        ("inpaint.steps", "copy_paste has no such key"),
    ),
    "other braces in a template": (
        lambda at: ["config", "show", "photos", "--set", "inpaint.template=a {token} {noun}"],
        ("inpaint.template", "{token} and {phrase}"),
    ),
    "a table that is none": (
        lambda at: ["check", "photos", "--data", weights_file(at, "images.xlsx")],
        ("images.xlsx", "spreadsheet"),
    ),
    "a backbone that is none": (
        lambda at: [
            "check",
            "photos",
            "--data",
            photographs(at),
            "--set",
            f"erm.weights={weights_file(at, 'net.pth')}",
        ],
        ("erm.weights", "PyTorch checkpoint", "Convert it"),
    ),
    "a checkpoint in place of a folder": (
        lambda at: [
            *("check", "photos", "--data", photographs(at)),
            *("--set", f"inpaint.weights={weights_file(at, 'sd.ckpt')}"),
        ],
        ("inpaint.weights", "PyTorch checkpoint", "from_single_file"),
    ),
    "masks in no folder": (
        lambda at: [
            *("check", "photos", "--data", photographs(at), "--set", "segment.backend=given"),
            *("--set", f"segment.masks={at / 'masks'}"),
        ],
        ("segment.masks", "is no folder"),
    ),
    "a run folder below a file": (
        lambda at: ["run", "photos", "--data", photographs(at), "--out", weights_file(at, "file") / "run"],
        ("Choose another --out", "Not a directory"),
    ),
    "a run folder that is none": (lambda at: ["status", at], ("not a run folder",)),
    "a run folder that is not there": (lambda at: ["status", at / "gone"], ("not a run folder",)),
    "cleaning what is none": (lambda at: ["clean", at / "gone"], ("not a run folder",)),
    "current.json cut off": (lambda at: ["status", run_folder(at, current="{")], ("current.json", "cut off")),
    "current.json without its keys": (lambda at: ["clean", run_folder(at, current="{}")], ("stages, results",)),
    "current.json that is a list": (lambda at: ["report", run_folder(at, current="[]")], ("current.json", "object")),
    "dataset.json cut off": (lambda at: ["report", run_folder(at, dataset="{")], ("dataset.json", "cut off")),
    "a report in a folder that is none": (lambda at: ["report", at], ("not a run folder",)),
    "exporting a run that is not finished": (
        lambda at: ["export", run_folder(at), at / "new"],
        ("not finished", "ddb run"),
    ),
    "a world into a folder with files": (
        lambda at: ["pocket", "write", photographs(at)],
        ("already exists", "new folder"),
    ),
    "an unknown role": (lambda at: ["models", "where", "resnet49"], ("resnet49",)),
    "data that is not there": (lambda at: ["data", "inspect", at / "gone"], ("gone does not exist",)),
    "a source that is none": (lambda at: ["data", "inspect", at, "--source", "flickr"], ("source", "'pocket'")),
    "a method that is none": (
        lambda at: ["bench", "photos", "--data", at, "--methods", "magic", "--out", at / "bench"],
        ("magic",),
    ),
    "the preview of no folder": (
        lambda at: ["segment", "photos", "--preview", "2", "--data", at / "gone", "--out", at / "out"],
        ("gone",),
    ),
}
"""What is wrong -> the command line, made in an empty folder, and words of its message."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_words(monkeypatch, capsys, tmp_path, mistake: str) -> None:
    arguments, words = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    text = fails(monkeypatch, capsys, *map(str, arguments(tmp_path)))
    assert not [word for word in words if word not in text], text


@pytest.mark.parametrize("verb", [["check"], ["config", "show"], ["doctor"], ["score"], ["bench"]], ids="-".join)
def test_what_a_preset_lost_is_said_on_stderr(monkeypatch, capsys, tmp_path, verb: list[str]) -> None:
    """Whatever comes after it: here no data, so all verbs but `config show` fail."""
    monkeypatch.chdir(tmp_path)
    arguments = [*verb, "photos", "--set", "inpaint.backend=copy_paste"]
    monkeypatch.setattr(sys, "argv", ["ddb", *arguments])
    with pytest.raises(SystemExit):
        cli.main()
    captured = capsys.readouterr()
    assert captured.err.startswith("inpaint.backend=copy_paste: left out what preset photos sets for latent_diffusion")
    assert "left out" not in captured.out


def test_a_damaged_run_folder_is_not_written_over(monkeypatch, capsys, tmp_path) -> None:
    root = run_folder(tmp_path, dataset='{"name": ')
    text = fails(monkeypatch, capsys, "run", "photos", "--data", str(photographs(tmp_path)), "--out", str(root))
    assert text
    assert (root / "dataset.json").read_text() == '{"name": '


def test_json_for_machines_is_ascii(monkeypatch, capsys, tmp_path) -> None:
    for name in ("猫", "кот"):
        draw(tmp_path / "data" / name, 4, seed=len(name))
    monkeypatch.setattr(sys, "argv", ["ddb", "data", "inspect", str(tmp_path / "data"), "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    out = capsys.readouterr().out
    assert out.isascii()
    assert "猫" in json.dumps(json.loads(out), ensure_ascii=False)


class TestDiscover:
    def test_one_class(self, monkeypatch, capsys, tmp_path) -> None:
        monkeypatch.chdir(tmp_path)
        draw(tmp_path / "data" / "cat", 5)
        text = fails(monkeypatch, capsys, "discover", str(tmp_path / "data"))
        assert "one class ('cat')" in text

    def test_no_data(self, monkeypatch, capsys, tmp_path) -> None:
        monkeypatch.chdir(tmp_path)
        assert "nowhere" in fails(monkeypatch, capsys, "discover", str(tmp_path / "nowhere"))

    def test_no_such_preset(self, monkeypatch, capsys, tmp_path) -> None:
        monkeypatch.chdir(tmp_path)
        assert "no preset" in fails(monkeypatch, capsys, "discover", "pocket", "--preset", "nothing")

    def test_groups_of_nothing(self, monkeypatch, capsys, tmp_path) -> None:
        monkeypatch.chdir(tmp_path)
        draw(tmp_path / "data" / "cat", 8)
        draw(tmp_path / "data" / "dog", 8, seed=1)
        (tmp_path / "groups.csv").write_text("image,name\nelsewhere.png,snow\n")
        asked = ("check", "photos", "--data", str(tmp_path / "data"), "--set", "data.groups=groups.csv")
        assert "there is no image 'elsewhere.png'" in fails(monkeypatch, capsys, *asked)
