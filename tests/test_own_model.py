"""Whole runs from a trained model of the user's: what is trained, what checks say, and what is exported."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import transformers
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModelForImageClassification

import ddb
import miniature
from ddb import doctor, pipeline
from ddb.config.load import load_config
from ddb.errors import DDBError
from ddb.export import export_run
from ddb.pipeline import dry_run
from ddb.preflight import check

SIDE = 32
FACTS = {
    "input_size": [3, SIDE, SIDE],
    "crop_pct": 0.9,
    "interpolation": "bilinear",
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.25, 0.3],
}
NAMES = ("waterbird", "landbird")
LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: number for number, name in enumerate(NAMES)}}


def timm_folder(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    """A random two-class model, whose outputs are in another order than the data's classes."""
    torch.manual_seed(1)
    model = timm.create_model("test_resnet", num_classes=len(names))
    folder.mkdir(parents=True)
    save_file({f"module.{name}": value for name, value in model.state_dict().items()}, folder / "model.safetensors")
    config = {"architecture": "test_resnet", "label_names": list(names), "pretrained_cfg": FACTS}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def vit_folder(folder: Path) -> Path:
    torch.manual_seed(1)
    shape = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(**shape, image_size=SIDE, patch_size=16, **LABELS)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def runs(birds: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Library -> the model's folder and the run that started from it."""
    home, found = tmp_path_factory.mktemp("own"), {}
    for name, write in (("timm", timm_folder), ("transformers", vit_folder)):
        model = write(home / name / "model")
        config = miniature.configuration(birds, erm={"classifier": str(model), "weights": "none"})
        found[name] = model, miniature.run(config, home / name / "run")
    return found


def photographs(birds: Path) -> list[Image.Image]:
    """Six images of the data, stretched to other sizes."""
    files = [
        path for path in sorted(birds.rglob("*.*")) if path.suffix in (".jpg", ".png") and "masks" not in path.parts
    ]
    return [Image.open(path).convert("RGB").resize((70 + 9 * n, 100 - 8 * n)) for n, path in enumerate(files[:6])]


def own_logits(library: str, folder: Path, pictures: list[Image.Image]) -> np.ndarray:
    """Logits of a folder by the library alone, and with it only."""
    with torch.no_grad():
        if library == "transformers":
            processor = AutoImageProcessor.from_pretrained(folder)
            model = AutoModelForImageClassification.from_pretrained(folder).eval()
            return model(**processor(images=pictures, return_tensors="pt")).logits.numpy()
        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
        return model(torch.stack([transform(picture) for picture in pictures])).numpy()


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_the_model_is_scored_and_not_trained(runs: dict[str, tuple[Path, Path]], library: str) -> None:
    model, run = runs[library]
    (erm,) = (run / "1-erm").iterdir()
    assert not (erm / "fit.json").exists()
    assert json.loads((erm / "adopted.json").read_text())["weights"] == str(model)
    before, stored = load_file(model / "model.safetensors"), load_file(erm / "classifier" / "model.safetensors")
    head = {"timm": ("fc.weight", "fc.bias"), "transformers": ("classifier.weight", "classifier.bias")}[library]
    for name, value in stored.items():
        own = before[f"module.{name}" if library == "timm" else name]
        assert torch.equal(value, own.flip(0) if name in head else own)  # the data's order of classes
    after = load_file(run / "classifier" / "model.safetensors")
    assert not torch.equal(after[head[0]], stored[head[0]])


def test_figures_before_are_those_of_timm(runs: dict[str, tuple[Path, Path]], birds: Path) -> None:
    model, run = runs["timm"]
    plain = timm.create_model("test_resnet", num_classes=2).eval()
    state = load_file(model / "model.safetensors")
    plain.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=FACTS))
    dataset = ddb.load_dataset(load_config(str(run / "config.yaml")).data)
    rows = dataset.split("test").to_pylist()
    pictures = torch.stack([transform(Image.open(dataset.root / row["image"]).convert("RGB")) for row in rows])
    with torch.no_grad():
        found = [NAMES[number] for number in plain(pictures).argmax(1).tolist()]
    right = np.mean([name == dataset.classes[row["label"]] for name, row in zip(found, rows, strict=True)])
    assert json.loads((run / "metrics.json").read_text())["before"]["mean_accuracy"] == pytest.approx(right)


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_what_is_exported_is_what_the_libraries_load(
    runs: dict[str, tuple[Path, Path]], birds: Path, tmp_path: Path, library: str
) -> None:
    out = export_run(runs[library][1], tmp_path / "out") / "classifier"
    pictures = photographs(birds)
    ours = [list(row.values()) for row in ddb.load_classifier(out).predict(pictures)]
    found = torch.from_numpy(own_logits(library, out, pictures)).softmax(1)
    assert np.allclose(ours, found, atol=1e-4 if library == "timm" else 5e-3)  # their processors round otherwise
    model = AutoModelForImageClassification.from_pretrained(out)
    assert model.config.id2label == {0: "landbird", 1: "waterbird"}
    found = torch.from_numpy(own_logits("transformers", out, pictures)).softmax(1)
    assert np.allclose(ours, found, atol=5e-3)


def test_the_model_card_says_what_was_measured(runs: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    run = runs["timm"][1]
    text = (export_run(run, tmp_path / "out") / "classifier" / "README.md").read_text()
    facts = yaml.safe_load(text.split("---")[1])
    assert facts["library_name"] == "timm" and facts["pipeline_tag"] == "image-classification"
    metrics = json.loads((run / "metrics.json").read_text())
    rows = re.findall(r"^\| (\w+), (\w+) \| (\d+) \| ([\d.]+)% \([\d.–]+\) \| ([\d.]+)% ", text, re.M)
    shown = {(label, attribute): (int(n), before, after) for label, attribute, n, before, after in rows}
    assert shown == {
        (one["label_name"], one["attribute_name"]): (
            one["n"], f"{100 * one['accuracy']:.1f}", f"{100 * other['accuracy']:.1f}"
        )
        for one, other in zip(metrics["before"]["groups"], metrics["after"]["groups"], strict=True)
    }  # fmt: skip
    assert "The classifier before was given and not trained; base weights: `model`" in text
    assert "Unknown: the weights were trained from `model`, whose licence ddb does not know" in text
    assert str(runs["timm"][0]) not in text and f'"ddb": "{ddb.__version__}"' in text


def test_the_report_says_that_it_was_given(runs: dict[str, tuple[Path, Path]], finished: Path) -> None:
    model, run = runs["timm"]
    page = (run / "report.html").read_text()
    assert f"The plain classifier is a given one, {model}: it was not trained in this run." in page
    assert "score the given classifier" in page and "train the plain classifier" not in page
    assert "is a given one" not in (finished / "report.html").read_text()


def test_its_content_counts_and_not_its_place(runs: dict[str, tuple[Path, Path]], birds: Path, tmp_path: Path) -> None:
    model, run = runs["timm"]

    def outlook(folder: Path) -> str:
        config = miniature.configuration(birds, erm={"classifier": str(folder), "weights": "none"})
        return "\n".join(dry_run(config, run))

    copied = tmp_path / "copied"
    copied.mkdir()
    for path in model.iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    assert "kept: erm, invert, segment, inpaint, score, prune, retrain, evaluate" in outlook(copied)
    assert "kept: erm" in outlook(copied / "model.safetensors")
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "pretrained_cfg": {**FACTS, "crop_pct": 1.0}}))
    assert "kept: erm" not in outlook(copied)


def test_no_epochs_and_a_fresh_start(birds: Path, tmp_path: Path) -> None:
    """erm.weights with no epochs are adopted; retraining may start from the body of the same weights. Squares of both
    classifiers are cut alike, so that they are compared on the same pictures."""
    model = timm_folder(tmp_path / "model")
    state = load_file(model / "model.safetensors")
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    save_file(plain, model / "model.safetensors")
    changes = {"erm": {"weights": str(model), "epochs": 0}, "retrain": {"start": "pretrained", "epochs": 1}}
    run = miniature.run(miniature.configuration(birds, **changes), tmp_path / "run")
    cards = [json.loads((folder / "classifier.json").read_text()) for folder in (
        run / "classifier", next((run / "1-erm").iterdir()) / "classifier")]  # fmt: skip
    assert cards[0]["preprocessing"] == cards[1]["preprocessing"]
    assert cards[0]["preprocessing"]["crop"] == 0.9


def message(*overrides: str, data: Path) -> tuple[str, str]:
    """What `check` and `run` say of the same settings."""
    found = []
    settings = ("data.source=waterbirds", "data.phrase=bird", "inpaint.backend=copy_paste", *overrides)
    for call in (
        lambda: check("photos", settings, data=data, device="cpu"),
        lambda: pipeline.run(load_config("photos", settings, data=data, device="cpu"), data.parent / "refused"),
    ):
        with pytest.raises(DDBError) as caught:
            call()
        found.append(str(caught.value))
    return found[0], found[1]


def test_check_run_and_doctor_tell_what_cannot_be_adopted(birds: Path, tmp_path: Path) -> None:
    masks = ("segment.backend=given", f"segment.masks={birds / 'masks'}")
    other = timm_folder(tmp_path / "other", ("cat", "dog", "fish"))
    checked, ran = message(*masks, f"erm.classifier={other}", data=birds)
    assert checked == ran
    assert checked.startswith(f"erm.classifier: {other}: the model has no output for landbird, waterbird")
    pickle = tmp_path / "net.pth"
    torch.save({}, pickle)
    checked, ran = message(*masks, f"erm.classifier={pickle}", data=birds)
    assert checked == ran
    assert checked.startswith(f"erm.classifier: {pickle} is a PyTorch checkpoint")
    assert "Convert it once: python -c" in checked
    findings = doctor.examine("photos", (*masks, f"erm.classifier={pickle}", "inpaint.backend=copy_paste"), data=birds)
    faults = [one for one in findings if one.what == "erm.classifier" and "PyTorch checkpoint" in one.found]
    assert len(faults) == 1 and faults[0].remedy


def test_check_takes_a_model_that_fits_and_names_a_head_that_is_lost(birds: Path, tmp_path: Path) -> None:
    model = timm_folder(tmp_path / "model")
    settings = (
        "data.source=waterbirds", "data.phrase=bird", "inpaint.backend=copy_paste", "segment.backend=given",
        f"segment.masks={birds / 'masks'}",
    )  # fmt: skip
    lines = check("photos", (*settings, f"erm.classifier={model}"), data=birds, device="cpu")
    assert lines[-1] == "photos: nothing stands in the way of this run"
    assert not [line for line in lines if "erm.weights" in line]  # it opens no pretrained backbone
    plain = {name.removeprefix("module."): value for name, value in load_file(model / "model.safetensors").items()}
    save_file(plain, model / "model.safetensors")
    lines = check("photos", (*settings, f"erm.weights={model}", "erm.image_size=32"), data=birds, device="cpu")
    assert [line for line in lines if f"To keep it and train nothing, set erm.classifier={model}" in line]


def test_numbers_in_a_map_are_names_of_outputs(birds: Path) -> None:
    config = load_config("photos", ["erm.classifier=x", "erm.class_map={0: landbird, 1: waterbird}"], data=birds)
    assert config.erm.class_map == {"0": "landbird", "1": "waterbird"}
    with pytest.raises(DDBError, match="rank_epoch names an epoch of training"):
        load_config("photos", ["erm.classifier=x", "erm.rank_epoch=1"], data=birds)
