"""What a changed setting costs: only rows that depend on it are computed, nothing is lost, going back costs nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import timm
from safetensors.torch import save_file

import ddb
import miniature
from ddb import pipeline
from ddb.engine import clean
from ddb.engine.workspace import Workspace
from ddb.errors import DataError, StageFailed
from ddb.learn import device
from ddb.records import candidate_title
from ddb.stages import inpaint
from miniature import run


def result(out: Path, stage: str) -> Path:
    """The folder of the result that the present settings use."""
    return Workspace(out, pipeline.STAGES).folder(stage)


def forget(out: Path, stage: str, keep: int) -> None:
    """Leave a stage with its first `keep` rows, as a run that was stopped there."""
    folder = result(out, stage)
    rows = pq.read_table(folder / "part-00000.parquet").slice(0, keep)
    pq.write_table(rows, folder / "part-00000.parquet")
    (folder / "done.json").unlink()


def stamps(out: Path) -> dict[Path, tuple[int, int]]:
    """When each file was changed, and its size; caches are left out."""
    files = (path for path in out.rglob("*") if path.is_file() and "cache" not in path.parts)
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def test_going_back_to_earlier_settings_costs_nothing(copy: Path, birds: Path) -> None:
    before = miniature.tree(copy)
    addresses = [name for name in before if name.split("/")[0] in ("classifier", "balanced", "metrics.json")]
    run(miniature.configuration(birds, prune={"psi": "off"}), copy)
    rows = {stage: ddb.table(copy, stage).num_rows for stage in ("prune", "evaluate")}
    assert miniature.computed(copy) == {**rows, "retrain": 1}
    others = miniature.tree(copy)
    assert any(others.get(name) != before[name] for name in addresses)
    run(miniature.configuration(birds), copy)
    assert miniature.computed(copy) == {}
    after = miniature.tree(copy)
    assert {name: after[name] for name in before} == before, "results and what is handed over are as they were"
    kept = [name for name in others if name.split("/")[0] in ("6-prune", "7-retrain", "8-evaluate")]
    assert len(kept) > len([name for name in before if name in kept])
    assert all(after[name] == others[name] for name in kept), "the other results are still there"


def test_another_threshold_costs_no_new_image_and_retries_that_are_not_called_for_are_kept_aside(
    copy: Path, birds: Path
) -> None:
    before, images = miniature.tree(copy), ddb.table(copy, "inpaint")["id"].to_pylist()
    run(miniature.configuration(birds, prune={"psi": "off", "rho": "off", "max_rounds": 1}), copy, until="prune")
    assert set(miniature.computed(copy)) == {"prune"}
    first = [name for name in images if name.endswith("#0")]
    assert ddb.table(copy, "inpaint")["id"].to_pylist() == first != images
    assert set(ddb.table(copy, "prune")["reason"].to_pylist()) <= {"kept", "over_budget"}
    run(miniature.configuration(birds), copy)
    assert miniature.computed(copy) == {}
    after = miniature.tree(copy)
    assert {name: after[name] for name in before} == before


def test_fewer_counterfactuals_lose_nothing(copy: Path, birds: Path) -> None:
    """Masks are kept aside. Copy-paste paints anew, beside what there is: its donors are the segmented images."""
    before, masks = miniature.tree(copy), ddb.table(copy, "segment")["id"].to_pylist()
    run(miniature.configuration(birds, inpaint={"per_class": 4}), copy, until="inpaint")
    left = ddb.table(copy, "segment")["id"].to_pylist()
    assert len(left) == 8 < len(masks)
    assert set(miniature.computed(copy)) == {"inpaint"}
    aside = pq.read_table(result(copy, "segment") / "aside.parquet", columns=["id"])["id"].to_pylist()
    assert sorted([*aside, *left]) == sorted(masks)
    run(miniature.configuration(birds), copy)
    assert miniature.computed(copy) == {}
    after = miniature.tree(copy)
    assert {name: after[name] for name in before} == before
    assert not (result(copy, "segment") / "aside.parquet").exists()


def test_settings_of_execution_make_no_row_stale(copy: Path, birds: Path) -> None:
    before = miniature.tree(copy)
    sizes: dict[str, Any] = {
        **{name: {"batch_size": 3} for name in ("segment", "inpaint", "score", "evaluate")},
        "max_error_rate": 0.5, "resume_elsewhere": "continue",
    }  # fmt: skip
    config = miniature.configuration(birds, **sizes)
    assert pipeline.dry_run(config, copy)[1:] == [f"kept: {', '.join(pipeline.STAGES)}"]
    run(config, copy)
    assert miniature.computed(copy) == {}
    after = miniature.tree(copy)
    assert {name: digest for name, digest in after.items() if name != "config.yaml"} == {
        name: digest for name, digest in before.items() if name != "config.yaml"
    }


@pytest.mark.parametrize("stage", ["segment", "inpaint", "score", "evaluate"])
def test_a_stage_that_is_continued_in_other_batches_keeps_its_bytes(copy: Path, birds: Path, stage: str) -> None:
    before, total = miniature.tree(copy), ddb.table(copy, stage).num_rows
    forget(copy, stage, 5)
    run(miniature.configuration(birds, **{stage: {"batch_size": 3}}), copy)
    assert miniature.computed(copy) == {stage: total - 5}
    after = miniature.tree(copy)
    assert {name for name in before if after[name] != before[name]} <= {"config.yaml"}


def test_another_rate_of_erm_leaves_masks_that_are_there(copy: Path, birds: Path) -> None:
    before = pq.read_table(result(copy, "segment") / "part-00000.parquet")
    folder, masks = result(copy, "segment"), {row["id"]: row for row in before.to_pylist()}
    run(miniature.configuration(birds, erm={"lr": 0.03}), copy, until="segment")
    assert result(copy, "segment") == folder
    now = pq.read_table(folder / "part-00000.parquet")
    new = set(now["id"].to_pylist()) - set(masks)
    assert 0 < len(new) < len(now)
    assert miniature.computed(copy)["segment"] == len(new), "of images whose mask is there, none"
    assert all(masks[row["id"]] == row for row in now.to_pylist() if row["id"] in masks)
    run(miniature.configuration(birds), copy, until="segment")
    assert miniature.computed(copy) == {}
    assert pq.read_table(folder / "part-00000.parquet").equals(before)


def test_an_image_that_cannot_be_used_costs_no_other_and_is_repeated_alone(
    copy: Path, birds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, images = miniature.tree(copy), ddb.table(copy, "inpaint")
    poison = images["source_id"][3].as_py()
    failing = [row["id"] for row in images.to_pylist() if row["source_id"] == poison and row["variant"] == 0]
    for stage in ("score", "inpaint"):  # without scores no second variant is called for
        shutil.rmtree(result(copy, stage))
    real = inpaint.read_image

    def read(root: Path, name: str) -> Any:
        if name == poison:
            raise DataError(f"{name}: cannot be read")
        return real(root, name)

    monkeypatch.setattr(inpaint, "read_image", read)
    monkeypatch.setattr(inpaint._Painter, "_donors", property(_donors_without(poison)))
    config = miniature.configuration(birds, max_error_rate=0.2)
    run(config, copy, until="inpaint")
    rows = {row["id"]: row for row in pq.read_table(result(copy, "inpaint") / "part-00000.parquet").to_pylist()}
    assert [name for name, row in rows.items() if row["status"] == "error"] == failing
    assert all(rows[name]["error"] == f"{poison}: cannot be read" for name in failing)
    title = candidate_title(failing[0], ("landbird", "waterbird"))
    assert f"row {title}\nTraceback" in (copy / "errors.log").read_text()
    first = [name for name in images["id"].to_pylist() if name.endswith("#0")]
    assert miniature.computed(copy)["inpaint"] == len(first), "none is computed twice"
    monkeypatch.undo()
    monkeypatch.setattr(inpaint._Painter, "_donors", property(_donors_without(poison)))
    run(config, copy, until="inpaint")
    assert miniature.computed(copy) == {"inpaint": len(failing)}
    again = {row["id"]: row for row in pq.read_table(result(copy, "inpaint") / "part-00000.parquet").to_pylist()}
    assert {name: row for name, row in again.items() if name not in failing} == {
        name: row for name, row in rows.items() if name not in failing
    }
    monkeypatch.undo()
    shutil.rmtree(result(copy, "inpaint"))
    run(miniature.configuration(birds), copy)
    after = miniature.tree(copy)
    assert {name for name in before if after[name] != before[name]} == set()


def _donors_without(name: str) -> Any:
    """Donors as they are, but for one image: else it would be copied from, too."""
    real = inpaint._Painter._donors.func

    def donors(painter: Any) -> dict[int, list[str]]:
        return {label: [one for one in ids if one != name] for label, ids in real(painter).items()}

    return donors


def test_what_auto_resolves_to_may_not_change_within_a_stage(
    copy: Path, birds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Precision auto is float32 where the run began, and bfloat16 on the machine that goes on with it."""
    monkeypatch.setattr(device, "_computes_bf16", lambda place: True)
    config = miniature.configuration(birds)
    assert pipeline.dry_run(config, copy)[1:] == [f"kept: {', '.join(pipeline.STAGES)}"]
    run(config, copy)  # nothing is left, so nothing is mixed
    forget(copy, "score", 5)
    with pytest.raises(StageFailed, match=r"stage score began elsewhere \(dtype float32 -> bfloat16\).*resume_elsewh"):
        run(config, copy)
    run(miniature.configuration(birds, resume_elsewhere="continue"), copy, until="score")
    assert Workspace(copy, pipeline.STAGES).done("score") is not None


def test_weights_that_moved_are_the_same_weights(birds: Path, tmp_path: Path) -> None:
    model = timm.create_model("test_resnet", num_classes=10)
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    config = miniature.configuration(birds, erm={"weights": str(tmp_path / "a.safetensors"), "epochs": 1})
    out = run(config, tmp_path / "run", until="erm")
    (tmp_path / "a.safetensors").rename(tmp_path / "b.safetensors")
    moved = miniature.configuration(birds, erm={"weights": str(tmp_path / "b.safetensors"), "epochs": 1})
    assert pipeline.dry_run(moved, out)[1] == "kept: erm"
    state = model.state_dict()
    state["fc.bias"] += 1
    save_file(state, tmp_path / "b.safetensors")
    lines = pipeline.dry_run(moved, out)
    assert lines[1].startswith("erm: 84 of 84 rows to compute, about 0:0")
    assert "(changed: erm.weights sha256:" in lines[1] and "the results before stay" in lines[1]


def test_dry_run_says_what_a_run_would_do_and_changes_nothing(copy: Path, birds: Path, tmp_path: Path) -> None:
    before = stamps(copy)
    lines = pipeline.dry_run(miniature.configuration(birds, retrain={"lr": 0.5}), copy)
    assert lines[0] == str(copy)
    assert lines[1] == "kept: erm, invert, segment, inpaint, score, prune"
    assert lines[2].startswith("retrain: 1 of 1 rows to compute, about 0:0")
    assert "retrain.lr 0.001 -> 0.5" in lines[2] and "the results before stay" in lines[2]
    assert lines[3].startswith("evaluate: after retrain")
    assert len(lines) == 4
    assert stamps(copy) == before
    new = tmp_path / "new"
    assert pipeline.dry_run(miniature.configuration(birds), new) == [f"{new}: a new run; all stages are to be computed"]
    assert not new.exists()


def test_clean_removes_what_the_present_settings_do_not_use(copy: Path, birds: Path) -> None:
    before = miniature.tree(copy)
    run(miniature.configuration(birds, prune={"psi": "off"}), copy)
    run(miniature.configuration(birds), copy)
    thumbnails = {name for name in miniature.tree(copy) if "/thumbnails/" in name}  # of the report, for any verdicts
    workspace = Workspace.at(copy)
    found = clean.unused(workspace)
    assert [one.stage for one in found] == ["prune", "retrain", "evaluate"]
    assert clean.in_words(workspace, found)[-1].endswith("MB are not used")
    clean.remove(found)
    after = miniature.tree(copy)
    assert {name: after[name] for name in after.keys() - thumbnails | before.keys()} == before
    assert clean.unused(workspace) == []
