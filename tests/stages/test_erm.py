"""ERM rows agree with the saved classifier, whichever of them are asked for and however often it was interrupted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ddb.backends.classifiers.timm_classifier import load_classifier, save_classifier
from ddb.data.images import read_image
from ddb.errors import ConfigError
from ddb.learn.training import fit
from ddb.stages import erm


def stage_of(run_folder, squares, settings, groups=None):
    return erm.stage(run_folder.context(squares), settings, {}, groups)


def test_rows_agree_with_the_saved_classifier(run_folder, squares, tiny_erm):
    table = run_folder.run(stage_of(run_folder, squares, tiny_erm))
    assert table["split"].to_pylist() == ["train"] * 48 + ["val"] * 16
    loaded = load_classifier(run_folder.folder("erm") / "classifier")
    for row in table.to_pylist()[::9]:
        pixels = torch.from_numpy(read_image(squares.root, row["id"]).copy()).permute(2, 0, 1)[None] / 255
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (loaded.classifier.mean, loaded.classifier.std))
        with torch.inference_mode():
            outputs = loaded.classifier.model((pixels - mean) / std)
        np.testing.assert_allclose(row["probabilities"], outputs.softmax(1)[0], atol=1e-5)
        np.testing.assert_allclose(row["logits"], outputs[0], atol=1e-5)
        loss = torch.nn.functional.cross_entropy(outputs, torch.tensor([row["label"]]))
        assert row["loss"] == pytest.approx(float(loss), abs=1e-5)
        assert row["correct"] == (int(outputs.argmax()) == row["label"])


def test_a_row_does_not_depend_on_which_others_are_asked_for(run_folder, squares, tiny_erm):
    stage = stage_of(run_folder, squares, tiny_erm)
    rows = {row["id"]: row for row in run_folder.rows(stage)}
    some = list(rows)[3:50:7]
    assert run_folder.rows(stage, left=some) == [rows[name] for name in some]


def test_a_classifier_that_gives_no_number_gives_error_rows(run_folder, squares, tiny_erm):
    stage = stage_of(run_folder, squares, tiny_erm)
    run_folder.rows(stage)
    loaded = load_classifier(run_folder.folder("erm") / "classifier")
    with torch.no_grad():
        loaded.classifier.model.fc.bias.fill_(float("nan"))
    save_classifier(loaded, run_folder.folder("erm") / "classifier")
    rows = run_folder.rows(stage)
    assert {row["status"] for row in rows} == {"error"}
    assert all("not finite" in row["error"] for row in rows)


def test_learns_the_squares(run_folder, squares, tiny_erm):
    settings = tiny_erm.model_copy(update={"epochs": 8})
    table = run_folder.run(stage_of(run_folder, squares, settings))
    assert np.mean(table["correct"].to_pylist()[:48]) > 0.85


def test_rank_epoch_changes_the_losses_alone(run_folder, squares, tiny_erm, tmp_path):
    plain = run_folder.run(stage_of(run_folder, squares, tiny_erm))
    run_folder.root = tmp_path / "early"
    early = run_folder.run(stage_of(run_folder, squares, tiny_erm.model_copy(update={"rank_epoch": 1})))
    assert early["probabilities"].equals(plain["probabilities"])
    one = tiny_erm.model_copy(update={"epochs": 1, "selection": "last"})
    run_folder.root = tmp_path / "one"
    assert early["loss"].equals(run_folder.run(stage_of(run_folder, squares, one))["loss"])


def test_worst_group_needs_group_labels_and_uses_them(run_folder, squares, tiny_erm):
    settings = tiny_erm.model_copy(update={"selection": "worst_group"})
    with pytest.raises(ConfigError, match="worst_group"):
        run_folder.run(stage_of(run_folder, squares, settings))
    groups = squares.split("val").select(["id", "attribute"])
    table = run_folder.run(stage_of(run_folder, squares, settings, groups)).to_pylist()
    attributes = dict(zip(*(groups[name].to_pylist() for name in ("id", "attribute")), strict=True))
    cells: dict[tuple[int, int], list[bool]] = {}
    for row in table[48:]:
        cells.setdefault((row["label"], attributes[row["id"]]), []).append(row["correct"])
    history = fit.read_history(run_folder.folder("erm"))
    assert len(cells) == 4
    assert history["epochs"][history["kept"] - 1]["figures"][0] == min(np.mean(v) for v in cells.values())


def test_attributes_change_nothing(run_folder, squares, tiny_erm, tmp_path):
    first = run_folder.run(stage_of(run_folder, squares, tiny_erm))
    run_folder.root = tmp_path / "again"
    seeing = replace(run_folder.context(squares), dataset=squares)
    assert first.equals(run_folder.run(erm.stage(seeing, tiny_erm, {})))


def test_group_labels_that_choose_the_epoch_are_part_of_what_decides_the_rows(run_folder, squares, tiny_erm):
    groups = squares.split("val").select(["id", "attribute"])
    contents = [stage_of(run_folder, squares, tiny_erm, one).content for one in (None, groups, groups.slice(0, 8))]
    assert contents[0] != contents[1] != contents[2]
