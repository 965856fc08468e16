"""A trained timm state dict is adopted with its head: outputs, pictures and figures are those of timm itself."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from ddb.backends.classifiers.adopted import adopt
from ddb.backends.classifiers.timm_classifier import load_classifier, save_classifier
from ddb.errors import ModelError
from ddb.learn.predict import features, logits, softmax

CONFIG = {
    "architecture": "test_resnet",
    "num_classes": 3,
    "label_names": ["cat", "dog", "fish"],
    "pretrained_cfg": {
        "input_size": [3, 40, 40],
        "crop_pct": 0.8,
        "interpolation": "bilinear",
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.25, 0.3],
    },
}


@pytest.fixture
def model():
    torch.manual_seed(3)
    return timm.create_model("test_resnet", num_classes=3).eval()


def written(folder, model, prefix="", config=CONFIG, **extra):
    folder.mkdir(parents=True, exist_ok=True)
    state = {f"{prefix}{name}": value.contiguous() for name, value in model.state_dict().items()}
    save_file({**state, **extra}, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def own_outputs(model, pictures, config=CONFIG):
    """Logits by timm alone: its transform of evaluation, its model."""
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config["pretrained_cfg"]))
    with torch.no_grad():
        return model(torch.stack([transform(picture) for picture in pictures])).numpy()


def photographs(count=5, seed=0):
    rng = np.random.default_rng(seed)
    sizes = [(60, 90), (90, 60), (50, 50), (40, 200), (301, 77)]
    return [Image.fromarray(rng.integers(0, 256, (*sizes[i % 5], 3), dtype=np.uint8)) for i in range(count)]


def test_outputs_and_pictures_are_those_of_timm(tmp_path, model, cpu):
    loaded = adopt(str(written(tmp_path, model)), None)
    assert loaded.card.classes == ("cat", "dog", "fish")
    expected = own_outputs(model, photographs())
    squares = np.stack([loaded.card.preprocessing.square(np.asarray(picture)) for picture in photographs()])
    assert np.allclose(logits(loaded.classifier, squares, cpu, 8), expected, atol=1e-4)
    shares = [[row[name] for name in ("cat", "dog", "fish")] for row in loaded.predict(photographs())]
    assert np.allclose(shares, softmax(expected), atol=1e-5)


@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.7])
def test_pictures_are_timms_at_every_crop(tmp_path, model, mode, crop):
    config = {**CONFIG, "pretrained_cfg": {**CONFIG["pretrained_cfg"], "crop_pct": crop, "crop_mode": mode}}
    how = adopt(str(written(tmp_path, model, config=config)), None).card.preprocessing
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config["pretrained_cfg"]))
    for picture in photographs():
        ours = (how.square(np.asarray(picture)) / 255 - np.array(how.mean)) / np.array(how.std)
        assert np.allclose(ours.transpose(2, 0, 1), transform(picture).numpy(), atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module."])
def test_prefixes_are_taken_off_and_named(tmp_path, model, prefix, caplog, cpu):
    folder = written(tmp_path, model, prefix)
    with caplog.at_level(logging.INFO, "ddb"):
        loaded = adopt(str(folder), ["dog", "cat"])
    pixels = np.random.default_rng(1).integers(0, 256, (4, 40, 40, 3), dtype=np.uint8)
    whole = adopt(str(written(tmp_path / "plain", model)), None)
    assert np.array_equal(
        logits(loaded.classifier, pixels, cpu, 4), logits(whole.classifier, pixels, cpu, 4)[:, [1, 0]]
    )
    assert (f"the prefix {prefix} was taken off" in caplog.text) == bool(prefix)


def test_other_tensors_of_a_checkpoint_are_named(tmp_path, model, caplog):
    folder = written(tmp_path, model, "model.", **{"criterion.weight": torch.ones(3)}, spare=torch.ones(1))
    with caplog.at_level(logging.INFO, "ddb"):
        adopt(str(folder), None)
    assert "the prefix model. was taken off" in caplog.text
    with caplog.at_level(logging.INFO, "ddb"):
        adopt(str(written(tmp_path / "plain", model, spare=torch.ones(1))), None)
    assert "1 of its tensors have no place in the model and are not used (first: spare)" in caplog.text


def test_a_wanted_class_keeps_its_row_of_the_head(tmp_path, model, cpu):
    """Of a model with more outputs those of the data are picked, in the data's order, also by other names."""
    loaded = adopt(str(written(tmp_path, model)), ["poisson", "cat"], class_map={"fish": "poisson"})
    assert torch.equal(loaded.classifier.head.weight, model.fc.weight[[2, 0]])
    assert torch.equal(loaded.classifier.head.bias, model.fc.bias[[2, 0]])
    save_classifier(loaded, tmp_path / "saved")
    again = load_classifier(tmp_path / "saved")
    assert again.card == loaded.card
    assert again.predict(photographs()) == loaded.predict(photographs())
    pixels = np.random.default_rng(1).integers(0, 256, (4, 40, 40, 3), dtype=np.uint8)
    assert features(again.classifier, pixels, cpu, 4).shape == (4, model.num_features)


def test_saved_folders_and_run_folders_are_adopted(tmp_path, model):
    first = adopt(str(written(tmp_path / "timm", model)), ["dog", "fish"])
    save_classifier(first, tmp_path / "run" / "classifier")
    for place in ("run", "run/classifier", "run/classifier/model.safetensors"):
        again = adopt(str(tmp_path / place), ["fish", "dog"])
        assert again.card.classes == ("fish", "dog")
        assert again.predict(photographs())[0] == pytest.approx(first.predict(photographs())[0])


def test_a_vision_transformer_keeps_its_input_size(tmp_path, cpu):
    model = timm.create_model("test_vit", num_classes=2, img_size=64).eval()
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    named = {"0": "a", "1": "b"}
    loaded = adopt(str(tmp_path / "vit.safetensors"), ["a", "b"], backbone="test_vit", image_size=64, class_map=named)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = model(loaded.classifier.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float()))
    assert np.allclose(logits(loaded.classifier, pixels, cpu, 2), expected.numpy(), atol=1e-5)
    with pytest.raises(ModelError, match="tensor 'pos_embed' is .* in the file"):
        adopt(str(tmp_path / "vit.safetensors"), ["a", "b"], backbone="test_vit", image_size=96, class_map=named)


def test_a_bare_state_dict_is_seen_as_timm_evaluates_its_architecture(tmp_path, model, caplog):
    file = written(tmp_path, model, config=None) / "model.safetensors"
    named = {"0": "a", "1": "b", "2": "c"}
    with caplog.at_level(logging.INFO, "ddb"):
        loaded = adopt(str(file), ["a", "b", "c"], backbone="test_resnet.r160_in1k", class_map=named)
    facts = timm.get_pretrained_cfg("test_resnet.r160_in1k")
    how = loaded.card.preprocessing
    assert (how.size, how.crop, how.mean) == (facts.input_size[1], facts.crop_pct, facts.mean)
    assert "no config.json beside it: test_resnet.r160_in1k, preprocessing as timm evaluates that" in caplog.text


def test_names_of_imagenet_are_known(tmp_path):
    config = {**CONFIG, "num_classes": 1000}
    del config["label_names"]
    model = timm.create_model("test_resnet", num_classes=1000)
    wanted = {"tench, Tinca tinca": "tench", "goldfish, Carassius auratus": "goldfish"}
    loaded = adopt(str(written(tmp_path, model, config=config)), ["goldfish", "tench"], class_map=wanted)
    assert torch.equal(loaded.classifier.head.weight, model.fc.weight[[1, 0]])


@pytest.mark.parametrize(
    ("classes", "mapped", "words"),
    [
        (["Cat", "dog"], {}, r"no output for Cat\. Its outputs: cat, dog, fish; .*erm\.class_map=\{\"cat\": \"Cat\"\}"),
        (["lion", "tiger"], {}, "no output for lion, tiger"),
        (["cat", "dog"], {"bird": "dog"}, "erm.class_map: the model has no output 'bird'; it has cat, dog, fish"),
        (["cat", "dog"], {"fish": "dog"}, "'dog' is the name of 2 of the model's outputs"),
    ],
)
def test_classes_that_do_not_match_are_refused(tmp_path, model, classes, mapped, words):
    with pytest.raises(ModelError, match=words):
        adopt(str(written(tmp_path, model)), classes, class_map=mapped)


def test_outputs_without_names_need_a_map(tmp_path, model):
    file = str(written(tmp_path, model, config=None) / "model.safetensors")
    with pytest.raises(ModelError, match=r'3 outputs mean.*class_map=\{"0": "a", "1": "b", "2": "c"\}'):
        adopt(file, ["a", "b", "c"], backbone="test_resnet")


def test_what_is_no_classifier_is_refused(tmp_path, model):
    def refused(words, weights, **options):
        with pytest.raises(ModelError, match=words):
            adopt(str(weights), None, **options)

    refused("erm.classifier: .*no such folder", tmp_path / "gone")
    body = timm.create_model("test_resnet", num_classes=0)
    refused("has no last layer .* Give it as erm.weights", written(tmp_path / "body", body))
    refused("erm.backbone", written(tmp_path / "other", model, config=None), backbone="resnet18")
    refused("bare state dict: set erm.backbone", tmp_path / "other")
    single = timm.create_model("test_resnet", num_classes=1)
    refused("it has one output; ddb needs one for each class", written(tmp_path / "single", single, config=None),
            backbone="test_resnet", class_map={"0": "a"})  # fmt: skip
    wide = {**CONFIG, "pretrained_cfg": {**CONFIG["pretrained_cfg"], "input_size": [3, 40, 60]}}
    refused("a square", written(tmp_path / "wide", model, config=wide))
    border = {**CONFIG, "pretrained_cfg": {**CONFIG["pretrained_cfg"], "crop_mode": "border"}}
    refused("crop_mode 'border' is not known", written(tmp_path / "border", model, config=border))
    refused("`label_names` .* has 1 names, and the model has 3", written(tmp_path / "n", model, config={
        **CONFIG, "label_names": ["cat"]}))  # fmt: skip
    (tmp_path / "empty").mkdir()
    refused("holds no weights; a classifier is a folder of ddb", tmp_path / "empty")


@pytest.mark.parametrize("kind", ["plain", "state_dict", "model"])
def test_a_pickle_is_refused_with_the_command_that_converts_it(tmp_path, model, kind):
    path = tmp_path / "mine.pth"
    state = model.state_dict()
    torch.save(state if kind == "plain" else {kind: state, "epoch": 3}, path)
    for named in (path, tmp_path):
        with pytest.raises(ModelError, match="a pickle, which can run code.* Convert it once: python -c") as refused:
            adopt(str(named), None)
    words = shlex.split(str(refused.value).partition("Convert it once: ")[2])
    subprocess.run([sys.executable, *words[1:]], check=True)
    named = {"0": "a", "1": "b", "2": "c"}
    loaded = adopt(str(path.with_suffix(".safetensors")), None, backbone="test_resnet", class_map=named)
    assert torch.equal(loaded.classifier.head.weight, model.fc.weight)
