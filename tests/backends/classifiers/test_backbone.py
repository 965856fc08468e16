"""Special backbones: a fixed input size, two heads, other channels, weights of another kind. Each works, or an error
names its setting."""

from __future__ import annotations

import json
import shlex
import sys

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ddb.backends.classifiers import backbone
from ddb.backends.classifiers.timm_classifier import (
    check_backbone,
    create_classifier,
    load_classifier,
    save_classifier,
)
from ddb.config import ErmConfig
from ddb.errors import ModelError
from ddb.learn.training.fit import Images, Material, fit

CLASSES = ("a", "b")


def settings(name, size=64, weights="none"):
    return ErmConfig(backbone=name, weights=weights, image_size=size, epochs=1, batch_size=4)


@pytest.mark.parametrize(("name", "size"), [("test_vit", 64), ("vit_tiny_patch16_224", 64), ("test_resnet", 40)])
def test_it_takes_the_asked_size_and_comes_back_from_disk(name, size, tmp_path, cpu):
    loaded = create_classifier(settings(name, size), CLASSES, 0)
    check_backbone(settings(name, size))
    pixels = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
    fit(loaded.classifier, Material(Images(pixels, np.arange(8) % 2)), settings(name, size), cpu, 0, tmp_path)
    save_classifier(loaded, tmp_path / "classifier")
    again = load_classifier(tmp_path / "classifier")
    assert again.card == loaded.card
    assert again.predict(pixels) == loaded.predict(pixels)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("deit_tiny_distilled_patch16_224", 224, "erm.backbone: deit_tiny_distilled_patch16_224 has 2 last layers"),
        ("levit_128s", 224, "erm.backbone: levit_128s has 2 last layers"),
        ("coat_tiny", 50, "erm.image_size: coat_tiny does not take images of 50 x 50 .* Set it to 224"),
        ("xcit_nano_12_p16_224", 40, "erm.backbone: xcit_nano_12_p16_224 cannot be made with erm.image_size 40"),
        ("resnet999", 64, "erm.backbone: timm has no 'resnet999'; near it: "),
    ],
)
def test_what_cannot_work_is_refused_before_training(name, size, words):
    for use in (
        lambda: create_classifier(settings(name, size), CLASSES, 0),
        lambda: check_backbone(settings(name, size)),
    ):
        with pytest.raises(ModelError, match=words):
            use()


@pytest.mark.parametrize("output", [dict, tuple])
def test_outputs_that_are_no_logits_are_refused(output, monkeypatch):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def get_classifier(self):
            return self.fc

        def forward(self, x):
            logits = self.fc(x.mean((2, 3)))
            return {"logits": logits} if output is dict else (logits, logits)

    monkeypatch.setattr(backbone.timm, "create_model", lambda *_, **__: Odd())
    with pytest.raises(ModelError, match=rf"erm.backbone: test_resnet gives a {output.__name__} where logits \[1, 2\]"):
        create_classifier(settings("test_resnet"), CLASSES, 0)


def test_other_channels_are_refused(monkeypatch):
    real = timm.get_pretrained_cfg

    def grey(*arguments, **keywords):
        return real(*arguments, **keywords).__class__(input_size=(1, 64, 64))

    monkeypatch.setattr(backbone.timm, "get_pretrained_cfg", grey)
    with pytest.raises(ModelError, match=r"erm.backbone: test_resnet takes 1 channels; pictures have 3"):
        create_classifier(settings("test_resnet"), CLASSES, 0)


def stored(folder, name, **arguments):
    torch.manual_seed(1)
    model = timm.create_model(name, num_classes=5, **arguments)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "w.safetensors")
    return folder / "w.safetensors"


def test_local_weights_of_another_input_size_are_resampled(tmp_path):
    path = stored(tmp_path, "test_vit")
    own = create_classifier(settings("test_vit", 64, str(path)), CLASSES, 0).classifier.model.state_dict()
    check_backbone(settings("test_vit", 64, str(path)))
    for name, value in load_file(path).items():
        if not name.startswith(("head.", "pos_embed")):
            assert torch.equal(own[name], value)
    theirs = timm.create_model(
        "test_vit", img_size=64, num_classes=2, pretrained=True, pretrained_cfg_overlay={"file": str(path)}
    )
    assert torch.equal(own["pos_embed"], theirs.state_dict()["pos_embed"])


def test_weights_that_do_not_fit_are_named_from_the_header(tmp_path):
    path = stored(tmp_path, "resnet10t")
    words = r"w.safetensors does not fit test_resnet: tensor '.*' is .* in the file, \[.*\] in the model \(\d+ more"
    for use in (check_backbone, lambda wanted: create_classifier(wanted, CLASSES, 0)):
        with pytest.raises(ModelError, match=words):
            use(settings("test_resnet", 64, str(path)))
    wide = stored(tmp_path, "resnet10t", channels=[8, 8, 16, 16])
    with pytest.raises(ModelError, match=r"does not fit resnet10t: tensor 'layer1.0.conv1.weight' is \[8, "):
        check_backbone(settings("resnet10t", 64, str(wide)))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".PTH"])
def test_pickles_are_named_and_their_conversion_works(tmp_path, monkeypatch, suffix):
    model = timm.create_model("test_resnet", num_classes=5)
    path = tmp_path / f"w{suffix}"
    torch.save({"state_dict": model.state_dict()}, path)
    for weights in (path, tmp_path):
        with pytest.raises(
            ModelError, match="is a PyTorch checkpoint .* ddb reads safetensors. Convert it once"
        ) as told:
            create_classifier(settings("test_resnet", 64, str(weights)), CLASSES, 0)
    _, _, code, *files = shlex.split(str(told.value).split("Convert it once: ")[1])
    monkeypatch.setattr(sys, "argv", ["-c", *files])
    exec(code, {})
    made = create_classifier(settings("test_resnet", 64, str(path.with_suffix(".safetensors"))), CLASSES, 0)
    assert torch.equal(made.classifier.model.state_dict()["conv1.0.weight"], model.state_dict()["conv1.0.weight"])


def test_a_classifier_of_an_older_version_or_a_damaged_card_is_named(tmp_path):
    save_classifier(create_classifier(settings("test_resnet"), CLASSES, 0), tmp_path)
    card = json.loads((tmp_path / "classifier.json").read_text())
    assert card["preprocessing"] == {
        "size": 64, "crop": 1.0, "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_mode": "center",
    }  # fmt: skip
    del card["preprocessing"]
    (tmp_path / "classifier.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="older version of ddb"):
        load_classifier(tmp_path)
    (tmp_path / "classifier.json").write_text("{")
    with pytest.raises(ModelError, match="classifier.json: not JSON"):
        load_classifier(tmp_path)
