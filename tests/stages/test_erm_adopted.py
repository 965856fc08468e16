"""A trained model that stage erm adopts: its figures are those that timm computes, and nothing of it is trained."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ddb.config import ErmConfig
from ddb.errors import ModelError
from ddb.stages import erm
from squares import SIDE

FACTS = {
    "input_size": [3, SIDE, SIDE],
    "crop_pct": 0.9,
    "interpolation": "bilinear",
    "mean": [0.3, 0.3, 0.3],
    "std": [0.2, 0.2, 0.2],
}


def inputs(squares, split):
    """Pictures by timm's own transform, and labels."""
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=FACTS))
    rows = squares.split(split).to_pylist()
    pixels = torch.stack([transform(Image.open(squares.root / row["image"]).convert("RGB")) for row in rows])
    return pixels, torch.tensor([row["label"] for row in rows])


@pytest.fixture(scope="module")
def trained(squares):
    """A two-class model that was trained without ddb on balanced images, and its accuracy on the validation images by
    timm."""
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=2)
    pixels, labels = inputs(squares, "test")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for _ in range(20):
        for rows in torch.randperm(len(labels)).split(8):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(pixels[rows]), labels[rows]).backward()
            optimiser.step()
    model.eval()
    pixels, labels = inputs(squares, "val")
    with torch.no_grad():
        accuracy = float((model(pixels).argmax(1) == labels).float().mean())
    assert accuracy > 0.85
    return model, accuracy


def written(folder, model, prefix="", names=("dark", "red")):
    folder.mkdir(exist_ok=True)
    save_file({f"{prefix}{name}": value for name, value in model.state_dict().items()}, folder / "model.safetensors")
    config = {"architecture": "test_resnet", "num_classes": 2, "pretrained_cfg": FACTS, "label_names": list(names)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def stage_of(run_folder, squares, settings):
    return erm.stage(run_folder.context(squares), settings, {})


@pytest.mark.parametrize("how", ["classifier", "no epochs"])
def test_its_accuracy_is_its_own(run_folder, squares, trained, tmp_path, how):
    model, accuracy = trained
    folder = str(written(tmp_path / "mine", model, "module.", ("A", "B")))
    named = {"class_map": {"B": "red", "A": "dark"}}
    settings = ErmConfig(
        **named, **({"classifier": folder} if how == "classifier" else {"weights": folder, "epochs": 0})
    )
    table = run_folder.run(stage_of(run_folder, squares, settings))
    assert np.mean(table["correct"].to_pylist()[48:]) == accuracy
    with torch.no_grad():
        expected = torch.cat([model(inputs(squares, split)[0]) for split in ("train", "val")])
    assert np.allclose(table["logits"].to_pylist(), expected, atol=1e-4)
    losses = torch.nn.functional.cross_entropy(expected, torch.tensor(table["label"].to_pylist()), reduction="none")
    assert np.allclose(table["loss"].to_pylist(), losses, atol=1e-4)
    stored = load_file(run_folder.folder("erm") / "classifier" / "model.safetensors")
    assert all(torch.equal(stored[name], value) for name, value in model.state_dict().items())
    assert not (run_folder.folder("erm") / "fit.json").exists()
    facts = json.loads((run_folder.folder("erm") / "adopted.json").read_text())
    assert facts["weights"] == folder and facts["identity"].startswith("sha256:")


def test_swapped_names_swap_the_outputs(run_folder, squares, trained, tmp_path):
    model, accuracy = trained
    settings = ErmConfig(classifier=str(written(tmp_path / "mine", model, names=("red", "dark"))))
    table = run_folder.run(stage_of(run_folder, squares, settings))
    assert np.mean(table["correct"].to_pylist()[48:]) == pytest.approx(1 - accuracy)


def test_a_head_that_fits_is_not_dropped_in_silence(run_folder, squares, trained, tmp_path, tiny_erm, caplog):
    folder = written(tmp_path / "mine", trained[0])
    settings = tiny_erm.model_copy(update={"weights": str(folder), "epochs": 1})
    with caplog.at_level(logging.WARNING, "ddb"):
        run_folder.run(stage_of(run_folder, squares, settings))
    assert (
        f"erm.weights: {folder} carries a last layer for dark, red. It is not used: a new one is trained" in caplog.text
    )
    assert f"set erm.classifier={folder}" in caplog.text
    caplog.clear()
    other = written(tmp_path / "other", timm.create_model("test_resnet", num_classes=5), names="abcde")
    run_folder.root = tmp_path / "again"
    run_folder.run(stage_of(run_folder, squares, settings.model_copy(update={"weights": str(other)})))
    assert not caplog.text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"weights": "none", "epochs": 0}, 'erm.epochs: 0 keeps the head of erm.weights, and "none" has no weights'),
        ({"weights": "pocket", "epochs": 0}, "erm.epochs: 0 keeps the head of erm.weights: .* With epochs above 0"),
        ({"weights": "other", "epochs": 0}, "erm.epochs: 0 keeps .*no output for dark, red.* With epochs above 0"),
        ({"classifier": "other"}, "erm.classifier: .*no output for dark, red"),
    ],
)
def test_heads_that_do_not_fit_are_errors(run_folder, squares, tmp_path, given, words):
    other = written(tmp_path / "other", timm.create_model("test_resnet", num_classes=2), names=("cat", "dog"))
    given = {key: str(other) if value == "other" else value for key, value in given.items()}
    with pytest.raises(ModelError, match=words):
        run_folder.run(stage_of(run_folder, squares, ErmConfig(**given)))


def test_numbers_nan_are_error_rows(run_folder, squares, tmp_path):
    model = timm.create_model("test_resnet", num_classes=2)
    with torch.no_grad():
        model.fc.bias.fill_(float("nan"))
    settings = ErmConfig(classifier=str(written(tmp_path / "mine", model)))
    rows = run_folder.rows(stage_of(run_folder, squares, settings))
    assert {row["status"] for row in rows} == {"error"}
    assert all("not finite" in row["error"] for row in rows)
