"""A `weights` setting: what kind of thing it names, its files, and what identifies them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ddb.backends.weights import Weights, parse_weights, read_json, readable
from ddb.errors import ConfigError, ModelError
from ddb.models import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "mine"
    path.mkdir()
    save_file({"a": torch.zeros(3)}, path / "model.safetensors")
    (path / "config.json").write_text("{}")
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with one commit of somebody/model."""
    path = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(path))
    repository = path / "models--somebody--model"
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    assert hub.cache_folder() == path
    return path


@pytest.mark.parametrize(
    ("text", "kind", "local"),
    [
        ("pocket", "pocket", True),
        ("sd2-inpainting", "role", False),
        ("somebody/model", "hub", False),
        (f"somebody/model@{COMMIT}", "hub", False),
        ("/not/there", "folder", True),
        ("./also/not", "folder", True),
        ("no role", "folder", True),
        ("a b/c", "folder", True),
        ("--x/y..z", "folder", True),
        ("ümlaut/x", "folder", True),
        ("a/b/c", "folder", True),
    ],
)
def test_the_kind_is_read_from_the_text(text: str, kind: str, local: bool) -> None:
    weights = parse_weights(text)
    assert (weights.kind, weights.text, weights.is_local) == (kind, text, local)
    assert (weights.published is None) == local


def test_a_path_that_exists_comes_before_a_hub_id(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent.parent)
    text = f"{folder.parent.name}/mine"
    assert parse_weights(text).kind == "folder"
    assert parse_weights(f"{text}/model.safetensors").kind == "file"
    assert parse_weights("elsewhere/mine").kind == "hub"


def test_the_folder_of_local_weights(folder: Path) -> None:
    assert parse_weights(str(folder)).folder(()) == folder == parse_weights(str(folder)).here()
    with pytest.raises(ModelError, match="a file; `weights` takes a folder"):
        parse_weights(str(folder / "config.json")).folder(())
    for weights in (parse_weights("/not/there"), parse_weights("no role")):
        for look in (lambda w=weights: w.folder(()), lambda w=weights: w.identity, lambda w=weights: w.here()):
            with pytest.raises(ModelError, match="no such folder. `weights` is a local folder, a role"):
                look()
    assert parse_weights("pocket", lambda: folder).folder(()) == folder
    with pytest.raises(ModelError, match="no pocket weights"):
        parse_weights("pocket").folder(())


def test_moving_or_renaming_is_no_change_and_other_content_is(folder: Path, tmp_path: Path) -> None:
    first = parse_weights(str(folder)).identity
    moved = Path(shutil.copytree(folder, tmp_path / "deep" / "other"))
    (moved / "README.md").write_text("notes are no weights")
    assert parse_weights(str(moved)).identity == first
    assert parse_weights("pocket", lambda: moved).identity == first
    file = parse_weights(str(folder / "model.safetensors")).identity
    save_file({"a": torch.ones(3)}, moved / "model.safetensors")
    assert parse_weights(str(moved)).identity != first
    assert parse_weights(str(moved / "model.safetensors")).identity != file
    (moved / "model.safetensors").rename(moved / "other.safetensors")
    assert parse_weights(str(moved)).identity != first, "a file's name below the folder counts"


def test_published_weights_are_their_repository_and_commit(cache: Path) -> None:
    assert parse_weights("somebody/model").identity == f"somebody/model@{COMMIT[:12]}"
    assert parse_weights("somebody/other").identity == "somebody/other", "not in the cache"
    assert parse_weights(f"somebody/other@{COMMIT}").identity == f"somebody/other@{COMMIT[:12]}"
    role, repository = parse_weights("sd2-inpainting"), parse_weights("sd2-community/stable-diffusion-2-inpainting")
    assert role.identity == repository.identity == "sd2-community/stable-diffusion-2-inpainting@5f74973cbb64"
    assert role.here() is None
    assert parse_weights("somebody/model").here() == cache / "models--somebody--model" / "snapshots" / COMMIT


def test_a_value_is_frozen_and_compares_by_what_it_says() -> None:
    assert parse_weights("somebody/model") == Weights("hub", "somebody/model")


@pytest.mark.parametrize(
    "error", [KeyError("x"), AttributeError("y"), ImportError("z"), AssertionError(), Exception("w")]
)
def test_no_foreign_exception_passes(error: Exception, folder: Path) -> None:
    def fails() -> None:
        raise error

    with pytest.raises(ModelError, match=rf"{folder}: cannot be loaded, download it again\. \(.+\)$"):
        readable(folder, fails)


def test_errors_of_ddb_pass_as_they_are(folder: Path) -> None:
    def fails() -> None:
        raise ConfigError("a setting")

    with pytest.raises(ConfigError, match="^a setting$"):
        readable(folder, fails)


@pytest.mark.parametrize(("content", "words"), [("{", "not JSON"), ("[1]", "holds no JSON object"), (None, "missing")])
def test_json_that_cannot_be_read_is_named(content: str | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(ModelError, match=rf"a\.json: {words}"):
        read_json(tmp_path / "a.json")
