"""A bench of a given classifier: all methods share it and its pictures, and rivals that train have epochs to do so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

import bench_runs
from ddb.backends.classifiers.timm_classifier import load_classifier
from ddb.errors import ConfigError

METHODS = ("erm", "dfr_val", "reweight", "ddb")


def test_all_methods_share_it(birds: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=2)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    facts = {"input_size": [3, 32, 32], "crop_pct": 0.8, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.2]}
    config = {"architecture": "test_resnet", "label_names": ["waterbird", "landbird"], "pretrained_cfg": facts}
    (tmp_path / "config.json").write_text(json.dumps(config))
    given = {"classifier": str(tmp_path / "model.safetensors"), "epochs": 1, "lr": 0.05}
    settings = bench_runs.config(birds, erm=given)
    bench_runs.run(settings, bench_runs.options(METHODS, seeds=1), tmp_path / "bench")
    fits = bench_runs.records(tmp_path / "bench", "fits")
    assert {one["method"] for one in fits} == set(METHODS) and not [one for one in fits if one["error"]]
    folders = [path.parent for path in (tmp_path / "bench").glob("seed-*/fits/*/classifier.json")]
    loaded = {folder.name.partition("-")[0]: load_classifier(folder) for folder in folders}
    crops = {name: one.card.preprocessing.crop for name, one in loaded.items()}
    assert crops == {"erm": 0.8, "dfr_val": 0.8, "reweight": 0.8}  # ddb's lies in its run folder
    own = loaded["erm"].classifier.model.state_dict()
    assert torch.equal(own["fc.weight"], model.fc.weight.flip(0))
    dfr = loaded["dfr_val"].classifier.model.state_dict()
    assert torch.equal(dfr["conv1.0.weight"], own["conv1.0.weight"])
    assert not torch.equal(loaded["reweight"].classifier.model.state_dict()["conv1.0.weight"], own["conv1.0.weight"])


def test_no_epochs_leave_rivals_none(birds: Path, tmp_path: Path) -> None:
    settings = bench_runs.config(birds, erm={"weights": "hub", "epochs": 0})
    with pytest.raises(ConfigError, match="erm.epochs: 0 leaves the rivals no epochs to train"):
        bench_runs.run(settings, bench_runs.options(seeds=1), tmp_path / "bench")
