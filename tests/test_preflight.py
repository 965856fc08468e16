"""`ddb check` and a run check the same faults, before anything is computed, and report all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ddb import pipeline
from ddb.config import RunConfig
from ddb.config.load import load_config
from ddb.errors import ConfigError, DDBError
from ddb.models import hub
from ddb.preflight import check

LOCAL = ("erm.weights=none", "erm.backbone=test_resnet", "erm.image_size=32", "inpaint.backend=copy_paste")


def draw(root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 8) -> Path:
    for seed, name in enumerate(classes):
        rng = np.random.default_rng(seed)
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(root / name / f"{number}.png")
    return root


def masks_of(root: Path, folder: Path, size: int = 24) -> Path:
    """A square in the middle as the mask of every image."""
    mask = np.zeros((size, size), np.uint8)
    mask[6:18, 6:18] = 255
    for path in root.rglob("*.png"):
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(target)
    return folder


def message(call: Callable[[], object]) -> str:
    with pytest.raises(DDBError) as caught:
        call()
    return str(caught.value)


def both(data: Path, out: Path, *overrides: str) -> tuple[str, str]:
    """What `check` and `run` say of the same settings."""
    config: RunConfig = load_config("photos", overrides, data=data, device="cpu")
    checked = message(lambda: check("photos", overrides, data=data, device="cpu"))
    ran = message(lambda: pipeline.run(config, out))
    assert not list(out.glob("1-erm/*"))
    return checked, ran


def test_check_and_run_tell_the_same_faults_all_at_once(tmp_path: Path) -> None:
    data = draw(tmp_path / "data")
    masks = masks_of(data, tmp_path / "masks")
    Image.new("L", (5, 5), 255).save(masks / "cat" / "0.png")
    (tmp_path / "net.pth").write_bytes(b"PK")
    faults = (f"erm.weights={tmp_path / 'net.pth'}", "retrain.gammas=[1,2,3]", "inpaint.per_class=[1,2,3]")
    settings = ("inpaint.backend=copy_paste", "segment.backend=given", f"segment.masks={masks}")
    checked, ran = both(data, tmp_path / "out", *settings, *faults)
    assert checked == ran
    first, *others = checked.splitlines()
    assert first.startswith(f"erm.weights: {tmp_path / 'net.pth'} is a PyTorch checkpoint")
    assert "Convert it once: python -c" in first
    assert [line.partition(":")[0] for line in others] == ["retrain.gammas", "inpaint.per_class", "segment.masks"]
    assert "1 mask(s) unusable" in others[-1] and "5x5" in others[-1]


def test_faults_of_models_and_of_data_stand_together(tmp_path: Path) -> None:
    data = draw(tmp_path / "data", ("cat",))
    checked, ran = both(data, tmp_path / "out", *LOCAL, f"segment.weights={tmp_path / 'nowhere'}")
    assert checked == ran
    assert "segment.weights: " in checked and "nowhere: no such folder" in checked
    assert "only one class ('cat')" in checked


def test_a_class_with_too_few_images_names_what_to_change(tmp_path: Path) -> None:
    data = draw(tmp_path / "data", count=8)
    draw(tmp_path / "data", ("fox",), count=1)
    checked, ran = both(data, tmp_path / "out", *LOCAL, "segment.weights=pocket")
    assert checked == ran
    assert "class 'fox' has too few usable images" in checked
    assert "data.val_share" in checked


def test_given_masks_are_opened_and_counted(tmp_path: Path) -> None:
    data = draw(tmp_path / "data")
    masks = masks_of(data, tmp_path / "masks")
    settings = (*LOCAL, "segment.backend=given", f"segment.masks={masks}")
    lines = check("photos", settings, data=data, device="cpu")
    train = len(list(data.rglob("*.png"))) - 6  # 15 % and 20 % of 8 a class, at least one
    assert f"masks: {train} of {train} training images have one" in lines


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.ckpt", "a PyTorch checkpoint (a pickle"),
        ("model.pt", "a PyTorch checkpoint (a pickle"),
        ("model.bin", "a PyTorch checkpoint (a pickle"),
        ("model.onnx", "ONNX"),
        ("model.safetensors", "takes a folder here, with config.json beside the weights"),
    ],
)
@pytest.mark.parametrize("setting", ["segment.weights", "inpaint.weights"])
def test_weights_of_another_format_are_named_for_what_they_are(
    tmp_path: Path, name: str, words: str, setting: str
) -> None:
    data = draw(tmp_path / "data")
    (tmp_path / name).write_bytes(b"x")
    told = ("erm.weights=none", "segment.weights=pocket", "inpaint.weights=pocket", f"{setting}={tmp_path / name}")
    text = message(lambda: check("photos", told, data=data, device="cpu"))
    assert setting in text and words in text


def test_what_a_preset_lost_is_said_even_where_there_are_faults(tmp_path: Path) -> None:
    said: list[str] = []
    told = ("inpaint.backend=copy_paste", "erm.lrr=1")
    message(lambda: check("photos", told, data=tmp_path, device="cpu", say=said.append))
    (line,) = said
    assert line.startswith("inpaint.backend=copy_paste: left out what preset photos sets for latent_diffusion: ")
    assert "weights" in line and "image_size" in line


@pytest.mark.parametrize(("offline", "then"), [(True, "so the run cannot open it"), (False, "the run downloads it")])
def test_published_weights_that_are_not_here_are_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool, then: str
) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    lines = check("photos", ("segment.weights=pocket",), data=draw(tmp_path / "data"), device="cpu")
    notes = [line for line in lines if line.startswith("note: ")]
    assert [note.split(": ")[1] for note in notes] == ["erm.weights", "inpaint.weights"]
    assert all(then in note for note in notes)


def test_a_built_in_world_is_checked_by_a_small_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    lines = check("pocket-celeba", device="cpu")
    assert lines[0].startswith("data: the built-in world celeba (")
    assert not list(tmp_path.iterdir())
    text = message(lambda: check("pocket-waterbirds", ("retrain.gammas=[1,2,3]", "data.classes=[landbird, cow]")))
    assert "class 'cow' is unknown" in text
    text = message(lambda: check("pocket-waterbirds", ("retrain.gammas=[1,2,3]",)))
    assert "3 weights for 2 classes" in text


def test_what_a_launch_left_over_is_a_fault_on_any_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("RANK", raising=False)
    data = draw(tmp_path / "data")
    told = (*LOCAL, "segment.weights=pocket")
    for device in ("cpu", "auto"):
        text = message(lambda: check("photos", told, data=data, device=device))  # noqa: B023 (called at once)
        assert text.count("WORLD_SIZE=4") == 1
    with pytest.raises(ConfigError, match="WORLD_SIZE=4"):
        pipeline.run(load_config("photos", told, data=data, device="cpu"), tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("erm.backbone=resnet49",), "timm has no 'resnet49'"),
        (("erm.backbone=deit_tiny_distilled_patch16_224",), "2 last layers"),
        (("erm.backbone=convnext_atto", "erm.weights=pocket", "erm.image_size=32"), ""),
    ],
    ids=["unknown", "two heads", "pocket weights bring their own"],
)
def test_backbones_are_built_without_memory(tmp_path: Path, settings: tuple[str, ...], words: str) -> None:
    data = draw(tmp_path / "data")
    told = (*LOCAL, "segment.weights=pocket", *settings)
    if not words:
        assert check("photos", told, data=data, device="cpu")[-1].endswith("nothing stands in the way of this run")
        return
    checked, ran = both(data, tmp_path / "out", *told)
    assert checked == ran
    assert words in checked and checked.startswith("erm.backbone: ")


def test_weights_of_another_architecture_are_seen_in_the_header(tmp_path: Path) -> None:
    save_file({"fc.weight": torch.zeros(2, 3)}, tmp_path / "net.safetensors")
    told = (*LOCAL, "segment.weights=pocket", f"erm.weights={tmp_path / 'net.safetensors'}")
    checked, ran = both(draw(tmp_path / "data"), tmp_path / "out", *told)
    assert checked == ran
    assert "net.safetensors does not fit test_resnet" in checked
