"""Scores against plain PyTorch: the closed form, the integral, and the choice between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pyarrow as pa
import pytest
import torch
from captum.attr import IntegratedGradients

from ddb.backends.classifiers.timm_classifier import create_classifier, load_classifier, save_classifier
from ddb.config import ScoreConfig
from ddb.data.images import png_bytes, read_image, read_png
from ddb.records import CANDIDATES, PREDICTIONS
from ddb.stages import erm, score
from ddb.stages.score import worker
from stage_folder import candidate_row, dataset_of


@pytest.fixture
def scored(run_folder, squares, tiny_erm, paint):
    """A run folder with a random classifier and four candidates, two in each direction."""
    predicted(run_folder, squares, tiny_erm)
    train = squares.split("train").to_pylist()[:4]
    paint(run_folder, squares, {row["id"]: 1 - row["label"] for row in train})
    return run_folder


def predicted(folder, dataset, settings):
    """Stage erm with an untrained classifier in the trained one's place."""
    save_classifier(create_classifier(settings, dataset.classes, 3), folder.folder("erm") / "classifier")
    folder.run(erm.stage(folder.context(dataset), settings, {}))


def stage_of(folder, dataset, **settings):
    return score.stage(folder.context(dataset), ScoreConfig(**settings), {})


def outputs(folder, image):
    loaded = load_classifier(folder.folder("erm") / "classifier")
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (loaded.classifier.mean, loaded.classifier.std))
    with torch.inference_mode():
        return loaded.classifier.model((torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 - mean) / std)[0]


def test_psi_and_rho_are_the_classifiers_own(scored, squares, rebuilt):
    table, images = scored.run(stage_of(scored, squares, maps=0)).to_pylist(), rebuilt(scored, squares)
    for row, candidate in zip(table, scored.table("inpaint").to_pylist(), strict=True):
        before = outputs(scored, read_image(squares.root, candidate["source_id"]))
        after = outputs(scored, images[row["id"]][0])
        i, j = candidate["from_label"], candidate["to_label"]
        assert row["rho"] == pytest.approx(float(after[j] - before[j]), abs=1e-5)
        assert row["psi_from"] == pytest.approx(float(after.softmax(0)[i]), abs=1e-6)
        assert row["psi_to"] == pytest.approx(float(after.softmax(0)[j]), abs=1e-6)
        assert row["psi_from_source"] == pytest.approx(float(before.softmax(0)[i]), abs=1e-6)
        assert row["exact"]
        assert row["area"] == pytest.approx(0.25)
        assert row["attribution"] is None


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_the_integral_comes_to_the_closed_form(scored, squares, output):
    closed = scored.run(stage_of(scored, squares, output=output, maps=0))
    integral = scored.run(stage_of(scored, squares, output=output, method="integral", ig_steps=256, maps=0))
    assert integral["exact"].to_pylist() == [False] * 4
    scale = np.abs(closed["rho"].to_numpy()).max()
    np.testing.assert_allclose(integral["rho"].to_numpy(), closed["rho"].to_numpy(), atol=0.02 * scale)


def test_a_pixel_that_differs_outside_the_mask_calls_for_the_integral(scored, squares, monkeypatch):
    whole = worker._pair

    def narrow(*given):
        pair = whole(*given)
        mask = pair.mask.copy()
        mask[8:12] = False
        return replace(pair, mask=mask)

    monkeypatch.setattr(worker, "_pair", narrow)
    auto = scored.run(stage_of(scored, squares, maps=0))
    integral = scored.run(stage_of(scored, squares, method="integral", maps=0))
    forced = scored.run(stage_of(scored, squares, method="exact", maps=0))
    assert auto["exact"].to_pylist() == [False] * 4
    assert auto["rho"].equals(integral["rho"])
    assert forced["exact"].to_pylist() == [False] * 4  # asked for, but not exact here
    assert not forced["rho"].equals(auto["rho"])


def test_attribution_maps_for_some_rows_of_each_direction(scored, squares):
    table = scored.run(stage_of(scored, squares, maps=1)).to_pylist()
    directions = scored.table("inpaint")["to_label"].to_pylist()
    mapped = [to for row, to in zip(table, directions, strict=True) if row["attribution"] is not None]
    assert sorted(mapped) == [0, 1]
    size = read_png(next(row["attribution"] for row in table if row["attribution"]))[..., 0]
    assert size.shape == (32, 32)
    assert size.max() == 255
    outside = size.copy()
    outside[8:24, 8:24] = 0
    assert outside.max() == 0  # unchanged pixels have no attribution


@pytest.mark.parametrize("method", ["auto", "integral"])
def test_a_row_does_not_depend_on_which_others_are_asked_for(scored, squares, method):
    stage = stage_of(scored, squares, batch_size=3, method=method, ig_steps=4)
    whole = scored.rows(stage)
    for n, row in enumerate(whole):
        assert scored.rows(stage, left=[row["id"]]) == [row], n


def test_candidates_that_failed_are_not_scored(scored, squares):
    rows = scored.tables["inpaint"].to_pylist()
    rows[1] = {"id": rows[1]["id"], "status": "error", "error": "no luck"}
    scored.tables["inpaint"] = pa.Table.from_pylist(rows, schema=CANDIDATES)
    table = scored.run(stage_of(scored, squares))
    assert table["id"].to_pylist() == [row["id"] for row in rows if row["status"] == "ok"]


def test_a_changed_source_and_scores_that_are_no_number_are_error_rows_of_their_own(
    scored, squares, tmp_path, monkeypatch
):
    moved = replace(squares, root=Path(copytree(squares.root, tmp_path / "images")))
    stage = stage_of(scored, moved, batch_size=4, maps=0)
    whole, ids = scored.rows(stage), scored.table("inpaint")["id"].to_pylist()
    source = moved.root / scored.table("inpaint")["source_id"][1].as_py()
    content = source.read_bytes()
    source.write_bytes((moved.root / "train_040.png").read_bytes())
    real, calls = worker.predict.logits, []

    def logits(classifier, pixels, *rest):
        calls.append(len(pixels))
        found = real(classifier, pixels, *rest)
        found[2] = float("nan")
        return found

    monkeypatch.setattr(worker.predict, "logits", logits)
    rows = scored.rows(stage)
    assert [row["status"] for row in rows] == ["ok", "error", "error", "ok"]
    assert "has changed since counterfactuals were painted on it" in rows[1]["error"]
    assert "not finite" in rows[2]["error"]
    assert [rows[0], rows[3]] == [whole[0], whole[3]]
    assert calls == [4], "sources are not computed again, and nothing is computed again for its neighbours"
    assert len(scored.log) == 2
    monkeypatch.undo()
    source.write_bytes(content)
    assert scored.rows(stage, left=ids[1:3]) == whole[1:3]


def test_larger_photographs_keep_the_closed_form(run_folder, tiny_erm, tmp_path):
    """Resizing mixes pixels at the mask's edge; the mask at the input covers all that a repainted pixel reaches."""
    rng = np.random.default_rng(0)
    rows, changed, images = [], np.zeros((90, 130), bool), {}
    changed[20:61, 50:83] = True
    for n, split in enumerate(("train", "train", "train", "val", "val", "val", "test", "test")):
        name = f"{n}.png"
        images[name] = rng.integers(0, 256, (90, 130, 3), dtype=np.uint8)
        (tmp_path / name).write_bytes(png_bytes(images[name]))
        rows.append({"id": name, "image": name, "label": n % 2, "attribute": None, "split": split})
    dataset = dataset_of(tmp_path, rows, ("a", "b"), (), "thing")
    candidates = [
        candidate_row(dataset, name, 1, np.where(changed[..., None], 255 - image, image), changed)
        for name, image in list(images.items())[:6]  # stage erm has no row for test images
    ]
    predicted(run_folder, dataset, tiny_erm)
    run_folder.tables["inpaint"] = pa.Table.from_pylist(candidates, schema=CANDIDATES)
    table = run_folder.run(stage_of(run_folder, dataset))
    assert table["exact"].to_pylist() == [True] * 6
    assert table["area"].to_pylist() == pytest.approx([41 * 33 / (90 * 130)] * 6)


def test_a_candidate_that_equals_its_source_has_rho_0_whatever_erm_stored(run_folder, squares, tiny_erm):
    """Its logits in ERM's batch may differ in the last bits, here by far more; rho > 0 would keep it."""
    predicted(run_folder, squares, tiny_erm)
    rows = run_folder.tables["erm"].to_pylist()
    for row in rows:
        row["logits"] = [value - 1e-3 for value in row["logits"]]
    run_folder.tables["erm"] = pa.Table.from_pylist(rows, schema=PREDICTIONS)
    names = [row["id"] for row in squares.split("train").to_pylist()[:2]]
    changed = np.zeros((32, 32), bool)
    changed[10:20, 10:20] = True
    image = read_image(squares.root, names[0])
    other = np.where(changed[..., None], 255 - read_image(squares.root, names[1]), read_image(squares.root, names[1]))
    candidates = [
        candidate_row(squares, names[0], 1, image, changed),
        candidate_row(squares, names[1], 0, other, changed),
    ]
    run_folder.tables["inpaint"] = pa.Table.from_pylist(candidates, schema=CANDIDATES)
    table = run_folder.run(stage_of(run_folder, squares, maps=0))
    assert table["rho"][0].as_py() == 0
    before = outputs(run_folder, read_image(squares.root, names[1])) - 1e-3
    after = outputs(run_folder, other.astype(np.uint8))
    assert table["rho"][1].as_py() == pytest.approx(float(after[0] - before[0]), abs=2e-5)


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_rho_is_captums_sum_over_the_mask(scored, squares, rebuilt, output):
    """Scores with the sources' logits of stage erm against integrated gradients of both images."""
    table = scored.run(stage_of(scored, squares, output=output, maps=0)).to_pylist()
    images, loaded = rebuilt(scored, squares), load_classifier(scored.folder("erm") / "classifier")
    classifier = loaded.classifier
    classifier.model.eval()

    def forward(x):
        found = classifier.model(x)
        return found if output == "logit" else found.softmax(1)

    def tensor(pixels):
        return classifier.normalise(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float())

    for row, candidate in zip(table, scored.table("inpaint").to_pylist(), strict=True):
        image, mask = images[row["id"]]
        source = read_image(squares.root, candidate["source_id"])
        maps = IntegratedGradients(forward).attribute(
            tensor(image), tensor(source), target=candidate["to_label"], n_steps=256
        )
        expected = maps.sum(1)[0].detach().numpy()[mask].sum()
        assert row["rho"] == pytest.approx(float(expected), abs=0.02 * max(abs(expected), 0.1))
