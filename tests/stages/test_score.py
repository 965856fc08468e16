"""Scores against plain PyTorch: the closed form, the integral, and the choice between them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from ddb.backends.classifiers.timm_classifier import create_classifier, load_classifier, save_classifier
from ddb.config import ScoreConfig
from ddb.data.images import mask_png, png_bytes, read_image, read_png
from ddb.data.table import Dataset
from ddb.records import CANDIDATES, SAMPLES
from ddb.stages import score


@pytest.fixture
def scored(run_folder, squares, tiny_erm, paint):
    """A run folder with a random classifier and four candidates, two in each direction."""
    save_classifier(create_classifier(tiny_erm, squares.classes, 3), run_folder.folder("erm") / "classifier")
    train = squares.split("train").to_pylist()[:4]
    paint(run_folder, squares, {row["id"]: 1 - row["label"] for row in train})
    return run_folder


def outputs(folder, image):
    loaded = load_classifier(folder.folder("erm") / "classifier")
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (loaded.classifier.mean, loaded.classifier.std))
    with torch.inference_mode():
        return loaded.classifier.model((torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 - mean) / std)[0]


def test_psi_and_rho_are_the_classifiers_own(scored, squares, tiny_erm):
    table = scored.run(score.stage(squares, ScoreConfig(maps=0), tiny_erm, "cpu", "fp32")).to_pylist()
    for row, candidate in zip(table, scored.table("inpaint").to_pylist(), strict=True):
        before = outputs(scored, read_image(squares.root, candidate["source_id"]))
        after = outputs(scored, read_png(candidate["image"]))
        i, j = candidate["from_label"], candidate["to_label"]
        assert row["rho"] == pytest.approx(float(after[j] - before[j]), abs=1e-5)
        assert row["psi_from"] == pytest.approx(float(after.softmax(0)[i]), abs=1e-6)
        assert row["psi_to"] == pytest.approx(float(after.softmax(0)[j]), abs=1e-6)
        assert row["psi_from_source"] == pytest.approx(float(before.softmax(0)[i]), abs=1e-6)
        assert row["exact"]
        assert row["area"] == pytest.approx(0.25)
        assert row["attribution"] is None


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_the_integral_comes_to_the_closed_form(scored, squares, tiny_erm, output):
    closed = scored.run(score.stage(squares, ScoreConfig(output=output, maps=0), tiny_erm, "cpu", "fp32"))
    settings = ScoreConfig(output=output, method="integral", ig_steps=256, maps=0)
    integral = scored.run(score.stage(squares, settings, tiny_erm, "cpu", "fp32"))
    assert integral["exact"].to_pylist() == [False] * 4
    scale = np.abs(closed["rho"].to_numpy()).max()
    np.testing.assert_allclose(integral["rho"].to_numpy(), closed["rho"].to_numpy(), atol=0.02 * scale)


def test_a_pixel_changed_outside_the_mask_calls_for_the_integral(scored, squares, tiny_erm, paint):
    sources = dict(zip(*(scored.table("inpaint")[c].to_pylist() for c in ("source_id", "to_label")), strict=True))
    paint(scored, squares, sources, leak_out=True)
    auto = scored.run(score.stage(squares, ScoreConfig(maps=0), tiny_erm, "cpu", "fp32"))
    integral = scored.run(score.stage(squares, ScoreConfig(method="integral", maps=0), tiny_erm, "cpu", "fp32"))
    forced = scored.run(score.stage(squares, ScoreConfig(method="exact", maps=0), tiny_erm, "cpu", "fp32"))
    assert auto["exact"].to_pylist() == [False] * 4
    assert auto["rho"].equals(integral["rho"])
    assert forced["exact"].to_pylist() == [False] * 4  # asked for, but not exact here
    assert not forced["rho"].equals(auto["rho"])


def test_attribution_maps_for_some_rows_of_each_direction(scored, squares, tiny_erm):
    table = scored.run(score.stage(squares, ScoreConfig(maps=1), tiny_erm, "cpu", "fp32")).to_pylist()
    directions = scored.table("inpaint")["to_label"].to_pylist()
    mapped = [to for row, to in zip(table, directions, strict=True) if row["attribution"] is not None]
    assert sorted(mapped) == [0, 1]
    size = read_png(next(row["attribution"] for row in table if row["attribution"]))[..., 0]
    assert size.shape == (32, 32)
    assert size.max() == 255
    outside = size.copy()
    outside[8:24, 8:24] = 0
    assert outside.max() == 0  # unchanged pixels have no attribution


def test_batches_of_any_size_give_the_same_bytes(scored, squares, tiny_erm):
    stage = score.stage(squares, ScoreConfig(batch_size=3), tiny_erm, "cpu", "fp32")
    assert scored.run(stage, 1).equals(scored.run(stage, 4))


def test_candidates_that_failed_are_not_scored(scored, squares, tiny_erm):
    rows = scored.table("inpaint").to_pylist()
    rows[1] = {**rows[1], "status": "error", "error": "no luck", "image": None}
    scored.tables["inpaint"] = pa.Table.from_pylist(rows, schema=scored.table("inpaint").schema)
    table = scored.run(score.stage(squares, ScoreConfig(), tiny_erm, "cpu", "fp32"))
    assert table["id"].to_pylist() == [row["id"] for row in rows if row["status"] == "ok"]


def test_larger_photographs_keep_the_closed_form(run_folder, tiny_erm, tmp_path):
    """Resizing mixes pixels at the mask's edge; the mask at the input covers all that a repainted pixel reaches."""
    rng = np.random.default_rng(0)
    rows, candidates, changed = [], [], np.zeros((90, 130), bool)
    changed[20:61, 50:83] = True
    for n, split in enumerate(("train", "train", "val", "val", "test", "test")):
        image = rng.integers(0, 256, (90, 130, 3), dtype=np.uint8)
        (tmp_path / f"{n}.png").write_bytes(png_bytes(image))
        rows.append({"id": f"{n}.png", "image": f"{n}.png", "label": n % 2, "attribute": None, "split": split})
        painted = np.where(changed[..., None], 255 - image, image)
        candidates.append(
            {
                "id": f"{n}.png>1#0", "source_id": f"{n}.png", "from_label": 0, "to_label": 1, "variant": 0, "seed": 0,
                "image": png_bytes(painted), "changed": mask_png(changed), "prompt": "", "model": "", "status": "ok",
                "error": "",
            }
        )  # fmt: skip
    dataset = Dataset(tmp_path, pa.Table.from_pylist(rows, schema=SAMPLES), ("a", "b"), (), "thing", (), "photos")
    save_classifier(create_classifier(tiny_erm, dataset.classes, 3), run_folder.folder("erm") / "classifier")
    run_folder.tables["inpaint"] = pa.Table.from_pylist(candidates, schema=CANDIDATES)
    table = run_folder.run(score.stage(dataset, ScoreConfig(), tiny_erm, "cpu", "fp32"))
    assert table["exact"].to_pylist() == [True] * 6
    assert table["area"].to_pylist() == pytest.approx([41 * 33 / (90 * 130)] * 6)
