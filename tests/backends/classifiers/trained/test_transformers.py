"""A trained classifier of transformers is adopted with its head: outputs and pictures are those of transformers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from ddb.backends.classifiers.adopted import adopt
from ddb.backends.classifiers.timm_classifier import load_classifier, save_classifier
from ddb.backends.classifiers.trained.files import trained_identity
from ddb.config import FitConfig
from ddb.errors import ModelError
from ddb.learn.attribution import Integral, integrated_gradients, output_change
from ddb.learn.halving import BatchSize
from ddb.learn.predict import features, logits
from ddb.learn.training.fit import Images, Material, fit

NAMES = ("cat", "dog", "fish")
LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: number for number, name in enumerate(NAMES)}}
SIDE = 48


def resnet():
    shape = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    return transformers.ResNetForImageClassification(transformers.ResNetConfig(**shape, **LABELS))


def vit():
    shape = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(**shape, image_size=SIDE, patch_size=16, **LABELS)
    return transformers.ViTForImageClassification(config)


def convnext():
    config = transformers.ConvNextConfig(hidden_sizes=[8, 8, 12, 16], depths=[1, 1, 1, 1], **LABELS)
    return transformers.ConvNextForImageClassification(config)


MODELS = {
    "resnet": (resnet, transformers.ConvNextImageProcessor(size={"shortest_edge": SIDE}, crop_pct=0.875)),
    "vit": (vit, transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE})),
    "convnext": (convnext, transformers.CLIPImageProcessor(
        size={"shortest_edge": 56}, crop_size={"height": SIDE, "width": SIDE})),
}  # fmt: skip


def written(folder, name="resnet", processor=None):
    torch.manual_seed(5)
    model = MODELS[name][0]().eval()
    model.save_pretrained(folder)
    (processor or MODELS[name][1]).save_pretrained(folder)
    return folder


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


def noise(count=4, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def theirs(folder, pictures):
    """Logits by transformers alone."""
    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**processor(images=pictures, return_tensors="pt")).logits.numpy(), model


def ours(loaded, pictures, cpu):
    squares = np.stack([loaded.card.preprocessing.square(np.asarray(picture)) for picture in pictures])
    return logits(loaded.classifier, squares, cpu, 4)


def test_logits_are_those_of_transformers(name, tmp_path, cpu):
    """The pictures have the processor's own size before its cut, so nothing is resized."""
    loaded = adopt(str(written(tmp_path, name)), None)
    short = {"resnet": int(SIDE / 0.875), "vit": SIDE, "convnext": 56}[name]
    rng = np.random.default_rng(1)
    pictures = [Image.fromarray(rng.integers(0, 256, (short, short, 3), dtype=np.uint8)) for _ in range(4)]
    assert np.allclose(ours(loaded, pictures, cpu), theirs(tmp_path, pictures)[0], atol=2e-5)
    assert loaded.card.classes == NAMES
    assert loaded.card.preprocessing.crop_mode == ("squash" if name == "vit" else "center")


def test_resized_pictures_differ_by_rounding_alone(name, tmp_path):
    """torchvision (their processors) and Pillow (ours) resize by the same rule and round differently: 2 grey levels at
    most in smooth pictures."""
    how = adopt(str(written(tmp_path, name)), None).card.preprocessing
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    for height, width in ((90, 150), (150, 90), (200, 201), (30, 40)):
        coarse = np.random.default_rng(height).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        pixels = processor(images=picture, return_tensors="pt")["pixel_values"][0].numpy()
        levels = 255 * (pixels.transpose(1, 2, 0) * np.array(how.std) + np.array(how.mean))
        assert np.abs(levels - how.square(np.asarray(picture))).max() < 2.1


def test_it_is_saved_and_comes_back_in_their_form(name, tmp_path, cpu):
    loaded = adopt(str(written(tmp_path / "own", name)), ["fish", "chien"], class_map={"dog": "chien"})
    save_classifier(loaded, tmp_path / "saved")
    again = load_classifier(tmp_path / "saved")
    assert again.card == loaded.card
    assert np.array_equal(logits(again.classifier, noise(), cpu, 4), logits(loaded.classifier, noise(), cpu, 4))
    pictures = [Image.fromarray(square) for square in noise()]
    by_them, model = theirs(tmp_path / "saved", pictures)
    assert model.config.id2label == {0: "fish", 1: "chien"}
    assert np.allclose(ours(again, pictures, cpu), by_them, atol=0.02 if name != "vit" else 1e-5)
    assert adopt(str(tmp_path / "saved"), ["chien", "fish"]).card.classes == ("chien", "fish")
    before = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    save_classifier(again, tmp_path / "twice")
    assert {path.name: path.read_bytes() for path in (tmp_path / "twice").iterdir()} == before


def test_features_are_what_the_last_layer_sees(name, tmp_path, cpu):
    loaded = adopt(str(written(tmp_path, name)), None)
    found, head = features(loaded.classifier, noise(), cpu, 4), loaded.classifier.head
    by_hand = found.reshape(4, -1) @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    assert np.allclose(by_hand, logits(loaded.classifier, noise(), cpu, 4), atol=1e-5)


def test_integrated_gradients_are_complete(name, tmp_path, cpu):
    loaded = adopt(str(written(tmp_path, name)), None)
    start, end, labels = noise(seed=1), noise(seed=2), np.array([0, 1, 2, 0])
    sums = integrated_gradients(
        loaded.classifier, start, end, labels, cpu, Integral(64, "logit", BatchSize(4, "a", "b"))
    ).sum(axis=(1, 2))
    outputs = [logits(loaded.classifier, pixels, cpu, 4) for pixels in (start, end)]
    assert np.allclose(sums, output_change(*outputs, labels, "logit"), atol=2e-3)


@pytest.mark.parametrize("last_layer_only", [True, False])
def test_it_is_trained_on(name, tmp_path, cpu, last_layer_only):
    loaded = adopt(str(written(tmp_path, name)), None)
    head = {f"network.{key}" for key in _head_names(loaded)}
    before = {key: value.clone() for key, value in loaded.classifier.model.state_dict().items()}
    material = Material(Images(noise(8), np.arange(8) % 3), last_layer_only=last_layer_only)
    settings = FitConfig(epochs=2, batch_size=4, lr=0.1, selection="last")
    fit(loaded.classifier, material, settings, cpu, 0, tmp_path / "fit")
    after = loaded.classifier.model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == head if last_layer_only else changed > head


def _head_names(loaded):
    network = loaded.classifier.model.network
    prefix = next(name for name, module in network.named_modules() if module is loaded.classifier.head)
    return [f"{prefix}.weight", f"{prefix}.bias"]


def test_pictures_that_ddb_cannot_make_are_refused(tmp_path):
    folder = written(tmp_path)
    settings = json.loads((folder / "preprocessor_config.json").read_text())

    def refused(words, **changed):
        (folder / "preprocessor_config.json").write_text(json.dumps({**settings, **changed}))
        with pytest.raises(ModelError, match=words):
            adopt(str(folder), None)

    clip = {"image_processor_type": "CLIPImageProcessor"}
    refused("CLIPImageProcessor gives pictures of .* squares of one size", **clip, do_center_crop=False)
    cut = {"do_resize": False, "crop_size": {"height": SIDE, "width": SIDE}}
    refused("makes pictures that ddb cannot make.* differ by .* grey levels", **clip, **cut, do_center_crop=True)
    refused("cannot be loaded", **clip, size={"shortest_edge": SIDE}, do_pad=True, pad_size={"height": 2, "width": 2})


def test_what_is_no_classifier_is_refused(tmp_path):
    folder = written(tmp_path / "own")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match="has no preprocessor_config.json.*processor.save_pretrained"):
        adopt(str(folder), None)
    body = transformers.ResNetModel(transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))
    body.save_pretrained(tmp_path / "body")
    MODELS["resnet"][1].save_pretrained(tmp_path / "body")
    with pytest.raises(ModelError, match="a backbone without a classifier"):
        adopt(str(tmp_path / "body"), None)
    small = written(tmp_path / "small", "vit", transformers.ViTImageProcessor(size={"height": 32, "width": 32}))
    with pytest.raises(ModelError, match="does not take the processor's images of 32 x 32"):
        adopt(str(small), None)


def test_two_heads_are_refused(tmp_path):
    shape = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.DeiTConfig(**shape, image_size=SIDE, patch_size=16, **LABELS)
    transformers.DeiTForImageClassificationWithTeacher(config).save_pretrained(tmp_path)
    MODELS["vit"][1].save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has no single last layer"):
        adopt(str(tmp_path), None)


def test_pickled_weights_alone_are_refused(tmp_path):
    folder = written(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pickled weights alone \(pytorch_model.bin\).*python -c"):
        adopt(str(folder), None)


def test_code_of_a_repository_is_never_run(tmp_path):
    folder = written(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForImageClassification": "evil.Evil", "AutoConfig": "evil.Config"}
    config["model_type"] = "evil"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(ModelError, match="cannot be loaded"):
        adopt(str(folder), None)


def test_identity_follows_weights_and_descriptions(tmp_path):
    folder = written(tmp_path / "a")
    first = trained_identity(str(folder))
    (tmp_path / "b").mkdir()
    for path in folder.iterdir():
        (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    assert trained_identity(str(tmp_path / "b")) == first
    (folder / "README.md").write_text("words")
    assert trained_identity(str(folder)) == first
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "crop_pct": 0.9}))
    assert trained_identity(str(folder)) != first
