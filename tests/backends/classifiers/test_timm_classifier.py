"""timm classifiers: made, filled, saved, and loaded by ddb and by plain timm alike."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save, save_file

from ddb.backends.classifiers import backbone
from ddb.backends.classifiers import timm_classifier as backend
from ddb.config import ErmConfig
from ddb.errors import ModelError
from ddb.models.roles import ROLES
from fake_hub import fill_cache

SETTINGS = ErmConfig(backbone="test_resnet", weights="none", image_size=48)
CLASSES = ("landbird", "waterbird")


@pytest.fixture
def saved(tmp_path):
    loaded = backend.create_classifier(SETTINGS, CLASSES, seed=5)
    backend.save_classifier(loaded, tmp_path / "classifier")
    return loaded, tmp_path / "classifier"


def images():
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8))
    return [photo, photo.convert("L"), photo.resize((48, 48)).convert("RGBA")]


def test_predicts_by_name_after_loading(saved):
    loaded, folder = saved
    first, second = loaded.predict(images()), backend.load_classifier(folder).predict(images())
    assert first == second
    for row in first:
        assert tuple(row) == CLASSES
        assert sum(row.values()) == pytest.approx(1)
    assert loaded.predict([]) == []


def test_plain_timm_loads_the_same_model(saved):
    loaded, folder = saved
    card = json.loads((folder / "classifier.json").read_text())
    model = timm.create_model(
        card["architecture"], num_classes=len(card["classes"]), checkpoint_path=str(folder / "model.safetensors")
    ).eval()
    image = images()[2].convert("RGB")
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(card["preprocessing"][name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        probabilities = model((tensor - mean) / std).softmax(1)[0]
    assert list(loaded.predict([image])[0].values()) == pytest.approx(probabilities.tolist(), abs=1e-5)


def test_normalisation_is_the_backbones_own():
    card = backend.create_classifier(SETTINGS, CLASSES, 0).card
    config = timm.create_model("test_resnet").pretrained_cfg
    assert (card.preprocessing.mean, card.preprocessing.std) == (tuple(config["mean"]), tuple(config["std"]))
    resnet = backend.create_classifier(SETTINGS.model_copy(update={"backbone": "resnet18"}), CLASSES, 0)
    assert resnet.card.preprocessing.mean == (0.485, 0.456, 0.406)


def test_same_seed_same_head():
    heads = [backend.create_classifier(SETTINGS, CLASSES, seed).classifier.head.weight for seed in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


@pytest.fixture
def shipped(tmp_path):
    """Weights as the pocket ships them: float16, other classes, a slimmer architecture, their own normalisation."""
    folder = tmp_path / "backbone"
    folder.mkdir()
    arguments = {"channels": [8, 8, 16, 16]}
    model = timm.create_model("resnet10t", num_classes=7, **arguments)
    save_file({name: v.half() if v.is_floating_point() else v for name, v in model.state_dict().items()},
              folder / "model.safetensors")  # fmt: skip
    config = {"architecture": "resnet10t", "model_args": arguments, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_body_of_shipped_weights_and_a_fresh_head(shipped, tmp_path):
    settings = SETTINGS.model_copy(update={"weights": str(shipped), "backbone": "named in config.json"})
    loaded = backend.create_classifier(settings, CLASSES, 0)
    stored, own = load_file(shipped / "model.safetensors"), loaded.classifier.model.state_dict()
    for name, value in own.items():
        if name.startswith("fc."):
            assert value.shape[0] == 2
        else:
            assert torch.equal(value, stored[name].to(value.dtype))
    assert (loaded.card.preprocessing.mean, loaded.card.architecture) == ((0.1, 0.2, 0.3), "resnet10t")
    backend.save_classifier(loaded, tmp_path / "again")
    assert backend.load_classifier(tmp_path / "again").predict(images()) == loaded.predict(images())


def test_weights_of_another_architecture_are_refused(shipped):
    (shipped / "config.json").unlink()
    settings = SETTINGS.model_copy(update={"weights": str(shipped / "model.safetensors"), "backbone": "test_resnet"})
    with pytest.raises(ModelError, match=r"does not fit test_resnet: tensor 'conv1.0.weight' is .* more"):
        backend.create_classifier(settings, CLASSES, 0)


def test_faults_are_said(tmp_path, saved):
    _, folder = saved
    with pytest.raises(ModelError, match="timm has no 'resnet999'"):
        backend.create_classifier(SETTINGS.model_copy(update={"backbone": "resnet999"}), CLASSES, 0)
    with pytest.raises(ModelError, match="neither a safetensors file nor a folder"):
        backend.create_classifier(SETTINGS.model_copy(update={"weights": str(tmp_path / "no")}), CLASSES, 0)
    with pytest.raises(ModelError, match="holds no classifier"):
        backend.load_classifier(tmp_path)
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        backend.load_classifier(folder)


def test_hub_weights_without_a_network_say_what_to_do(monkeypatch):
    def offline(*arguments, **keywords):
        raise OSError("no route to host")

    monkeypatch.setattr(backbone.timm, "create_model", offline)
    with pytest.raises(ModelError, match="Without a network use erm.weights=pocket"):
        backend.create_classifier(SETTINGS.model_copy(update={"weights": "hub"}), CLASSES, 0)


def test_a_role_is_read_from_the_hubs_cache_in_timms_layout(tmp_path, monkeypatch):
    """Architecture, preprocessing and body come from the files there; the last layer is fresh."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    torch.manual_seed(0)
    published = timm.create_model("test_resnet", num_classes=1000).state_dict()
    facts = {"architecture": "test_resnet", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}
    files = {"config.json": json.dumps(facts).encode(), "model.safetensors": save(published)}
    fill_cache(tmp_path, "timm/resnet50.tv_in1k", ROLES["resnet50"].sources[0].revision, files)
    settings = ErmConfig(backbone="resnet50.tv_in1k", weights="resnet50")
    for weights in ("resnet50", "timm/resnet50.tv_in1k"):
        made = backend.create_classifier(settings.model_copy(update={"weights": weights}), CLASSES, 0)
        own = made.classifier.model.state_dict()
        assert (made.card.architecture, made.card.preprocessing.mean) == ("test_resnet", (0.1, 0.2, 0.3))
        assert all(torch.equal(own[name], published[name]) for name in own if not name.startswith("fc."))
        assert own["fc.weight"].shape[0] == 2


def test_a_role_that_is_not_in_the_cache_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="ddb models pull resnet50"):
        backend.create_classifier(ErmConfig(weights="resnet50"), CLASSES, 0)
