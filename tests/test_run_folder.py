"""The owner of a run folder, and the content of its addresses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ddb import run_folder
from ddb.config import RunConfig
from ddb.data.table import Dataset
from ddb.engine import files
from ddb.engine.identity import Current
from ddb.engine.workspace import Workspace
from ddb.errors import ConfigError
from ddb.records import SAMPLES

STAGES = ("segment", "inpaint", "score", "prune", "retrain", "evaluate")


def config(name: str = "photos", **data: Any) -> RunConfig:
    return RunConfig.model_validate({"name": name, "data": {"source": "folder", "phrase": "dog", **data}})


def dataset(root: Path, content: str = "c0") -> Dataset:
    """A data set without samples: whose it is follows from its root and content."""
    return Dataset(root, SAMPLES.empty_table(), ("cat", "dog"), (), "dog", (), f"fingerprint of {content}", content)


@pytest.fixture
def owned(tmp_path: Path) -> Workspace:
    """A run folder of the run "photos" on the data `a`."""
    (tmp_path / "run").mkdir()
    workspace = Workspace(tmp_path / "run", STAGES)
    data = dataset(tmp_path / "a")
    files.write_json(workspace.root / run_folder.DATASET, run_folder._facts(config(root=str(data.root)), data))
    return workspace


def test_the_default_folder_has_the_name_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cats.v2").mkdir()
    (tmp_path / "dogs.parquet").write_bytes(b"")
    for root, wanted in (
        (str(tmp_path / "cats.v2"), "runs/photos-cats.v2"),
        (str(tmp_path / "cats.v2") + "/", "runs/photos-cats.v2"),
        (str(tmp_path / "dogs.parquet"), "runs/photos-dogs"),
    ):
        assert run_folder.default_folder(config(root=root)) == Path(wanted)
    monkeypatch.chdir(tmp_path / "cats.v2")
    assert run_folder.default_folder(config(root=".")) == Path("runs/photos-cats.v2")
    pocket = RunConfig.model_validate({"name": "demo", "data": {"source": "pocket", "phrase": "bird"}})
    assert run_folder.default_folder(pocket) == Path("runs/demo")


@pytest.mark.parametrize(
    ("root", "content"),
    [pytest.param("a", "c0", id="same"), pytest.param("b", "c0", id="moved"), pytest.param("a", "c1", id="changed")],
)
def test_data_may_move_or_change(owned: Workspace, tmp_path: Path, root: str, content: str) -> None:
    run_folder.check_owner(owned, config(), dataset(tmp_path / root, content))


def test_other_data_in_another_place_is_refused(owned: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"belongs to the data in .*/a, and .*/b is another data set.*another --out"):
        run_folder.check_owner(owned, config(), dataset(tmp_path / "b", "c1"))


def test_another_name_is_refused(owned: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"belongs to the run 'photos', not to 'paintings'. Choose another --out"):
        run_folder.check_owner(owned, config("paintings"), dataset(tmp_path / "a"))


def test_a_new_folder_belongs_to_nobody(tmp_path: Path) -> None:
    run_folder.check_owner(Workspace(tmp_path, STAGES), config(), dataset(tmp_path / "a"))
    files.write_json(tmp_path / run_folder.DATASET, {"fingerprint": "of an older version"})
    run_folder.check_owner(Workspace(tmp_path, STAGES), config(), dataset(tmp_path / "a"))


def finish(workspace: Workspace, stage: str, fingerprint: str, digest: str) -> None:
    """Have the folder say that a result of the stage is finished and current."""
    folder = workspace.result(stage, fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "done.json", {"key": "k", "digest": digest, "rows": 1, "errors": 0})
    known = files.read_json(workspace.root / "current.json") or {"stages": list(STAGES), "results": {}}
    known["results"][stage] = vars(Current(fingerprint, "k"))
    files.write_json(workspace.root / "current.json", known)


def test_an_address_is_up_to_date_while_what_it_was_made_from_is_current(owned: Workspace) -> None:
    for stage in STAGES:
        finish(owned, stage, f"{stage}-a", "d0")
    made = {name: run_folder.made_from(owned, name) for name in run_folder.MADE_FROM}
    assert set(made["balanced"] or {}) == {"data", "segment", "inpaint", "score", "prune"}
    files.write_json(owned.root / run_folder.HANDED_OVER, made)
    assert not run_folder.is_up_to_date(owned, "balanced")  # nothing lies there
    for name in ("classifier", "balanced"):
        (owned.root / name).mkdir()
        assert run_folder.is_up_to_date(owned, name)
    finish(owned, "retrain", "retrain-b", "d0")
    assert not run_folder.is_up_to_date(owned, "classifier")
    assert run_folder.is_up_to_date(owned, "balanced")
    finish(owned, "retrain", "retrain-a", "d0")
    assert run_folder.is_up_to_date(owned, "classifier")
    finish(owned, "score", "score-a", "d1")
    assert not run_folder.is_up_to_date(owned, "balanced")


def test_balanced_is_written_again_when_its_images_changed(owned: Workspace, tmp_path: Path) -> None:
    """Validation and test images are in it too, on which none of its stages depends."""
    for stage in STAGES:
        finish(owned, stage, f"{stage}-a", "d0")
    (owned.root / "balanced").mkdir()
    files.write_json(owned.root / run_folder.HANDED_OVER, {"balanced": run_folder.made_from(owned, "balanced")})
    more = replace(dataset(tmp_path / "a"), fingerprint="with one more test image")
    files.write_json(owned.root / run_folder.DATASET, run_folder._facts(config(), more))
    assert not run_folder.is_up_to_date(owned, "balanced")
