"""Identities of segmenters in fingerprints, and messages on weights that cannot be used. Nothing is unpickled."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file

import tiny_segmenters as tiny
from ddb.backends.segmenters.face_parsing import open_face_parsing
from ddb.backends.segmenters.weights import KINDS, weights_identity
from ddb.config import SegmentConfig, segment_config
from ddb.config.run import BACKENDS
from ddb.context import Models
from ddb.errors import ConfigError, ModelError
from ddb.learn.device import Runtime
from ddb.preflight import check

CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write_segformer(tmp_path / "faces")


def settings(weights: Path | str, **more: Any) -> SegmentConfig:
    return segment_config(backend="face_parsing", weights=str(weights), **more)


def fault(weights: Path | str) -> str:
    with pytest.raises(ModelError) as caught:
        open_face_parsing(settings(weights), CPU, Models())
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_damaged_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert "faces: cannot be loaded, download it again" in fault(folder)
    (folder / "model.safetensors").write_bytes(b"no")
    assert "faces: cannot be loaded, download it again" in fault(folder)


def test_weights_that_lack_a_part_of_the_model(folder: Path) -> None:
    """A SegFormer that was only pretrained: transformers would make up its head."""
    tensors = {k: v for k, v in load_file(folder / "model.safetensors").items() if not k.startswith("decode_head")}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    words = fault(folder)
    assert "faces: the weights lack" in words
    assert "such as decode_head" in words


def test_weights_of_another_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"decoder_hidden_size": 16}))
    assert "faces: cannot be loaded" in fault(folder)


def test_pickled_weights_are_not_read(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    words = fault(folder)
    assert "faces: cannot be loaded, it holds pickled weights alone (pytorch_model.bin)" in words
    command = words[words.index("-c ") + 4 : words.index('" ')]
    source, target = folder / "pytorch_model.bin", folder / "model.safetensors"
    assert words.split('" ')[1].startswith(f"{source} {target}.")
    subprocess.run([sys.executable, "-c", command, str(source), str(target)], check=True)
    open_face_parsing(settings(folder), CPU, Models())


def test_a_folder_that_is_none_or_holds_no_model(folder: Path, tmp_path: Path) -> None:
    assert "no such folder" in fault(tmp_path / "nowhere")
    (folder / "config.json").write_text("{")
    assert "no readable config.json there; segment.weights of backend face_parsing takes segformer" in fault(folder)
    (folder / "config.json").write_text('{"model_type": "resnet"}')
    assert "holds a resnet model" in fault(folder)


def test_hub_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    response: Any = SimpleNamespace(headers={}, request=None)

    def refuse(error: Exception) -> None:
        def download(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)

    refuse(GatedRepoError("gated", response=response))
    assert "somebody/faces: gated on the hub. Accept its terms" in fault("somebody/faces")
    refuse(RepositoryNotFoundError("none", response=response))
    assert "somebody/faces: the hub has no such repository" in fault("somebody/faces")
    refuse(LocalEntryNotFoundError("offline"))
    assert "somebody/faces: not in the hub's cache here" in fault("somebody/faces")


def test_a_check_of_the_whole_run_tells_it(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds a segformer model; segment\.mask_model"):
        check("pocket-waterbirds", ["segment.backend=grounded_sam", f"segment.mask_model={folder}", "device=cpu"])


def test_the_identity_follows_content_and_backend(folder: Path, tmp_path: Path) -> None:
    first = weights_identity(settings(folder))
    assert first.startswith("face_parsing:sha256:")
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "other name"))
    assert weights_identity(settings(moved)) == first
    (moved / "config.json").write_text((moved / "config.json").read_text() + " ")
    assert weights_identity(settings(moved)) != first


def test_every_backend_has_its_weights() -> None:
    assert set(KINDS) == set(BACKENDS["segment"])
    for backend, parts in KINDS.items():
        assert set(parts) <= set(BACKENDS["segment"][backend].model_fields), backend
