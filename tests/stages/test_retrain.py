"""Retraining: what it learns from, what it holds out, and where it starts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from ddb.backends.classifiers.timm_classifier import load_classifier
from ddb.config import Augment, RetrainConfig
from ddb.data.counterfactuals import held_out
from ddb.errors import ConfigError
from ddb.learn.training import fit
from ddb.stages import erm, retrain
from ddb.stages.retrain import worker

SHORT = RetrainConfig(epochs=2, batch_size=16, lr=0.02, generated_batch=4)


@pytest.fixture
def ready(painted, squares, tiny_erm):
    painted.run(erm.stage(painted.context(squares), tiny_erm, {}))
    return painted


def weights(folder, stage):
    return load_classifier(folder.folder(stage) / "classifier").classifier.model.state_dict()


def run(folder, squares, settings, tiny_erm):
    return folder.run(retrain.stage(folder.context(squares), settings, tiny_erm, {})).to_pylist()[0]


def test_row_says_which_epoch_and_why(ready, squares, tiny_erm):
    row = run(ready, squares, SHORT, tiny_erm)
    history = fit.read_history(ready.folder("retrain"))
    values = [epoch["figures"][0] for epoch in history["epochs"]]
    assert (row["selection"], row["status"]) == ("worst_class", "ok")
    assert row["value"] == pytest.approx(max(values))
    assert values[row["epoch"] - 1] == max(values)
    assert not (ready.folder("retrain") / fit.CHECKPOINT).exists()


def test_the_last_layer_alone_leaves_the_body(ready, squares, tiny_erm):
    run(ready, squares, SHORT.model_copy(update={"method": "last_layer", "selection": "last"}), tiny_erm)
    before, after = weights(ready, "erm"), weights(ready, "retrain")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("method", ["group_dro", "last_layer"])
def test_cells_are_drawn_alike(ready, squares, tiny_erm, method, monkeypatch):
    """Every (class, class of the source) has the same share of the images, whatever its size; real ones are (c, c)."""
    seen = {}

    def spy(classifier, material, *rest):
        seen["material"] = material
        return real(classifier, material, *rest)

    real = worker.fit
    monkeypatch.setattr(worker, "fit", spy)
    run(ready, squares, SHORT.model_copy(update={"method": method, "epochs": 1, "selection": "last"}), tiny_erm)
    material = seen["material"]
    made = ready.table("inpaint").filter(ready.table("prune")["keep"]).to_pylist()
    train = squares.split("train")["label"].to_numpy()
    assert material.train.labels.tolist() == train.tolist() + sorted(row["to_label"] for row in made)
    assert not material.terms
    steps = [batch.rows for seed in range(40) for batch in material.plan(torch.Generator().manual_seed(seed), None)]
    drawn = np.concatenate(steps)
    real_share = [np.mean((drawn < len(train)) & (material.train.labels[drawn] == label)) for label in (0, 1)]
    made_share = [np.mean((drawn >= len(train)) & (material.train.labels[drawn] == label)) for label in (0, 1)]
    np.testing.assert_allclose([*real_share, *made_share], 0.25, atol=0.03)
    assert material.last_layer_only == (method == "last_layer")
    assert (material.objective is not None) == (method == "group_dro")
    changed = [
        name for name, value in weights(ready, "erm").items() if not torch.equal(value, weights(ready, "retrain")[name])
    ]
    assert set(changed) == {"fc.weight", "fc.bias"} if method == "last_layer" else len(changed) > 2


def test_starts_differ(ready, squares, tiny_erm, tmp_path):
    frozen = SHORT.model_copy(update={"epochs": 1, "lr": 1e-12, "weight_decay": 0.0, "selection": "last"})
    run(ready, squares, frozen, tiny_erm)
    name = "layer1.0.conv1.weight"
    torch.testing.assert_close(weights(ready, "retrain")[name], weights(ready, "erm")[name])
    (ready.folder("retrain") / "classifier" / "classifier.json").unlink()
    run(ready, squares, frozen.model_copy(update={"start": "pretrained"}), tiny_erm)
    assert not torch.allclose(weights(ready, "retrain")[name], weights(ready, "erm")[name])


def test_counterfactual_selection_holds_pairs_out(ready, squares, tiny_erm, monkeypatch):
    seen = {}

    def spy(classifier, material, *rest):
        seen["material"], seen["figures"] = material, material.validate(classifier)
        return real(classifier, material, *rest)

    real = worker.fit
    monkeypatch.setattr(worker, "fit", spy)
    run(ready, squares, SHORT.model_copy(update={"selection": "counterfactual"}), tiny_erm)
    sources = ready.table("inpaint")["source_id"].to_pylist()
    apart = [held_out(source) for source in sources]
    assert 0 < sum(apart) < len(apart) / 2
    assert sum(len(term.images.labels) for term in seen["material"].terms) == len(apart) - sum(apart)
    assert 0 <= seen["figures"][0] <= seen["figures"][1] <= 1


def test_a_class_without_counterfactuals_is_said_and_left_out(ready, squares, tiny_erm, caplog):
    rows = ready.table("prune").to_pylist()
    targets = ready.table("inpaint")["to_label"].to_pylist()
    kept = [{**row, "keep": to == 1} for row, to in zip(rows, targets, strict=True)]
    ready.tables["prune"] = pa.Table.from_pylist(kept, schema=ready.table("prune").schema)
    row = run(ready, squares, SHORT, tiny_erm)
    assert row["status"] == "ok"
    assert "class dark" in caplog.text


def test_gammas_must_fit_the_classes(run_folder, squares, tiny_erm):
    with pytest.raises(ConfigError, match="3 weights for 2 classes"):
        retrain.stage(run_folder.context(squares), RetrainConfig(gammas=(1.0, 2.0, 3.0)), tiny_erm, {})


def test_only_kept_counterfactuals_are_learned_from_and_each_with_its_own_pixels(
    ready, squares, tiny_erm, monkeypatch, rebuilt
):
    """The verdict of every third candidate is "prune"; terms hold the others of their class, in the table's order."""
    rows = [{**row, "keep": n % 3 != 0} for n, row in enumerate(ready.table("prune").to_pylist())]
    ready.tables["prune"] = pa.Table.from_pylist(rows, schema=ready.table("prune").schema)
    seen = {}
    real = worker.fit

    def spy(classifier, material, *rest):
        seen["terms"] = material.terms
        return real(classifier, material, *rest)

    monkeypatch.setattr(worker, "fit", spy)
    uncropped = Augment(scale=(1.0, 1.0))  # the squares that the classifier sees; crops have tests of their own
    run(ready, squares, SHORT.model_copy(update={"epochs": 1, "augment": uncropped}), tiny_erm)
    images, candidates = rebuilt(ready, squares), ready.table("inpaint").to_pylist()
    kept = [row for n, row in enumerate(candidates) if n % 3]
    for label, term in enumerate(seen["terms"]):
        own = [images[row["id"]][0] for row in kept if row["to_label"] == label]
        assert term.images.labels.tolist() == [label] * len(own)
        assert np.array_equal(term.images.pixels, np.stack(own))


@pytest.mark.slow
def test_counterfactuals_turn_the_classifier_to_the_object(ready, squares, tiny_erm):
    settings = SHORT.model_copy(update={"epochs": 12, "lr": 0.05})
    row = run(ready, squares, settings, tiny_erm)
    assert row["value"] == 1.0
