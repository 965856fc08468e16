"""ERM rows agree with the saved classifier, whatever the batches and however often it was interrupted."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ddb.backends.classifiers.timm_classifier import load_classifier
from ddb.data.images import read_image
from ddb.errors import ConfigError
from ddb.learn import fit
from ddb.stages import erm


def test_rows_agree_with_the_saved_classifier(run_folder, squares, tiny_erm):
    table = run_folder.run(erm.stage(squares, tiny_erm, 0, "cpu", "fp32"))
    assert table["split"].to_pylist() == ["train"] * 48 + ["val"] * 16
    loaded = load_classifier(run_folder.folder("erm") / "classifier")
    for row in table.to_pylist()[::9]:
        pixels = torch.from_numpy(read_image(squares.root, row["id"]).copy()).permute(2, 0, 1)[None] / 255
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (loaded.classifier.mean, loaded.classifier.std))
        with torch.inference_mode():
            outputs = loaded.classifier.model((pixels - mean) / std)
        np.testing.assert_allclose(row["probabilities"], outputs.softmax(1)[0], atol=1e-5)
        loss = torch.nn.functional.cross_entropy(outputs, torch.tensor([row["label"]]))
        assert row["loss"] == pytest.approx(float(loss), abs=1e-5)
        assert row["correct"] == (int(outputs.argmax()) == row["label"])


def test_batches_of_any_size_give_the_same_bytes(run_folder, squares, tiny_erm):
    stage = erm.stage(squares, tiny_erm, 0, "cpu", "fp32")
    assert run_folder.run(stage, 7).equals(run_folder.run(stage, 64))


def test_learns_the_squares(run_folder, squares, tiny_erm):
    settings = tiny_erm.model_copy(update={"epochs": 8})
    table = run_folder.run(erm.stage(squares, settings, 0, "cpu", "fp32"))
    assert np.mean(table["correct"].to_pylist()[:48]) > 0.85


def test_rank_epoch_changes_the_losses_alone(run_folder, squares, tiny_erm, tmp_path):
    plain = run_folder.run(erm.stage(squares, tiny_erm, 0, "cpu", "fp32"))
    run_folder.root = tmp_path / "early"
    early = run_folder.run(erm.stage(squares, tiny_erm.model_copy(update={"rank_epoch": 1}), 0, "cpu", "fp32"))
    assert early["probabilities"].equals(plain["probabilities"])
    one = tiny_erm.model_copy(update={"epochs": 1, "selection": "last"})
    run_folder.root = tmp_path / "one"
    assert early["loss"].equals(run_folder.run(erm.stage(squares, one, 0, "cpu", "fp32"))["loss"])


def test_rank_epoch_after_the_end_is_refused(run_folder, squares, tiny_erm):
    settings = tiny_erm.model_copy(update={"rank_epoch": 3})
    with pytest.raises(ConfigError, match="rank_epoch"):
        run_folder.run(erm.stage(squares, settings, 0, "cpu", "fp32"))


def test_worst_group_needs_group_labels_and_uses_them(run_folder, squares, tiny_erm):
    settings = tiny_erm.model_copy(update={"selection": "worst_group"})
    blind = squares.without_attributes()
    with pytest.raises(ConfigError, match="worst_group"):
        run_folder.run(erm.stage(blind, settings, 0, "cpu", "fp32"))
    groups = squares.split("val").select(["id", "attribute"])
    table = run_folder.run(erm.stage(blind, settings, 0, "cpu", "fp32", group_labels=groups)).to_pylist()
    attributes = dict(zip(*(groups[name].to_pylist() for name in ("id", "attribute")), strict=True))
    cells: dict[tuple[int, int], list[bool]] = {}
    for row in table[48:]:
        cells.setdefault((row["label"], attributes[row["id"]]), []).append(row["correct"])
    history = fit.read_history(run_folder.folder("erm"))
    assert len(cells) == 4
    assert history["epochs"][history["kept"] - 1]["figures"][0] == min(np.mean(v) for v in cells.values())


def test_attributes_change_nothing(run_folder, squares, tiny_erm, tmp_path):
    first = run_folder.run(erm.stage(squares.without_attributes(), tiny_erm, 0, "cpu", "fp32"))
    run_folder.root = tmp_path / "again"
    assert first.equals(run_folder.run(erm.stage(squares, tiny_erm, 0, "cpu", "fp32")))


def test_other_content_under_the_same_name_is_another_fingerprint(squares, tiny_erm, tmp_path):
    path = tmp_path / "backbone.safetensors"
    settings = tiny_erm.model_copy(update={"weights": str(path)})
    seen = []
    for second, value in enumerate((0.0, 1.0, 0.0)):
        save_file({"weight": torch.full((2,), value)}, path)
        os.utime(path, (second, second))  # a file system's clock may tick more slowly than this loop
        seen.append(erm.stage(squares, settings, 0, "cpu", "fp32").settings)
    assert seen[0] == seen[2] != seen[1]
