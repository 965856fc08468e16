"""What names a segmenter in fingerprints, and what is said of weights that cannot be used. Nothing is unpickled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file

import tiny_segmenters as tiny
from ddb.backends.registry import segmentation_facts, segmenter_identity
from ddb.backends.segmenters.face_parsing import open_face_parsing
from ddb.backends.segmenters.weights import KINDS, check_local
from ddb.config import SegmentConfig, segment_config
from ddb.config.run import BACKENDS
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
        open_face_parsing(settings(weights), CPU)
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
    assert "faces: cannot be loaded" in fault(folder)


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


def test_local_weights_are_checked_without_loading_them(folder: Path, tmp_path: Path) -> None:
    check_local(settings(folder), "weights")
    check_local(settings("somebody/faces"), "weights")
    check_local(segment_config(weights="pocket"), "weights")
    with pytest.raises(ModelError, match="no such folder"):
        check_local(settings(tmp_path / "nowhere"), "weights")
    with pytest.raises(ModelError, match=r"holds a segformer model; segment\.detector"):
        check_local(segment_config(backend="grounded_sam", detector=str(folder)), "detector")
    with pytest.raises(ModelError, match="no pocket weights for segment.backend owlv2_sam"):
        check_local(segment_config(backend="owlv2_sam", detector="pocket"), "detector")


def test_a_check_of_the_whole_run_tells_it(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds a segformer model; segment\.mask_model"):
        check("pocket-waterbirds", ["segment.backend=grounded_sam", f"segment.mask_model={folder}", "device=cpu"])


def test_the_identity_follows_content_and_backend(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "faces2"))
    first = segmenter_identity(settings(folder), [])
    assert first.startswith("face_parsing:faces@")
    assert segmenter_identity(settings(other), []).split("@")[1] == first.split("@")[1]
    both = segment_config(backend="grounded_sam")
    assert segmenter_identity(both, []) == "grounded_sam:IDEA-Research/grounding-dino-base:facebook/sam-vit-huge"


def test_masks_depend_on_what_their_backend_reads() -> None:
    every = {"backend", "shape", "expand", "min_side", "min_area", "max_area"}
    assert set(segmentation_facts(segment_config())) == every | {"threshold"}
    assert set(segmentation_facts(segment_config(max_border=0.2))) == every | {"threshold", "max_border"}
    grounded = segment_config(backend="grounded_sam")
    assert set(segmentation_facts(grounded)) == every | {"box_threshold", "text_threshold"}
    given = segment_config(backend="given", masks="masks")
    assert set(segmentation_facts(given)) == every  # the masks count by their content


def test_every_backend_has_its_weights() -> None:
    assert set(KINDS) == set(BACKENDS["segment"])
    for backend, parts in KINDS.items():
        assert set(parts) <= set(BACKENDS["segment"][backend].model_fields), backend
