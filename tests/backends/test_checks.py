"""`ddb check` opens the models of a run without reading weights: models that pass can be opened, others cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_segmenters as tiny
from ddb.backends.checks import META, fetch_unpinned, model_faults
from ddb.backends.generators.diffusion.network.loading import open_diffusion
from ddb.backends.weights import parse_weights
from ddb.config import RunConfig
from ddb.learn.device import Runtime

UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"


def faults(**sections: Any) -> list[str]:
    tree = {"data": {"source": "pocket"}, "erm": {"weights": "none"}, "segment": {"weights": "pocket"}, **sections}
    return model_faults(RunConfig.model_validate({"inpaint": {"backend": "copy_paste"}, **tree}))


def painting(folder: Path, **more: Any) -> list[str]:
    invert = {"tokens": more.pop("tokens", {})}
    return faults(inpaint={"weights": str(folder), "image_size": 32, "steps": 2, **more}, invert=invert)


@pytest.fixture
def own(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(folders[kind], tmp_path / kind))


def test_good_models_pass_and_take_no_memory(kind: str, folders: dict[str, Path]) -> None:
    assert painting(folders[kind]) == []
    opened = open_diffusion(parse_weights(str(folders[kind])), META)
    assert {one.device.type for one in (*opened.unet.parameters(), *opened.vae.parameters())} == {"meta"}


def test_the_pocket_models_pass() -> None:
    assert faults(erm={"weights": "pocket"}, inpaint={"weights": "pocket", "image_size": 64}) == []


def test_published_weights_are_not_looked_at() -> None:
    assert faults(segment={"backend": "grounded_sam"}, inpaint={}) == []


def drop(file: Path) -> None:
    tensors = load_file(file)
    del tensors[sorted(tensors)[-1]]
    save_file(tensors, file, {"format": "pt"})


def reshape(file: Path) -> None:
    tensors = load_file(file)
    tensors[sorted(tensors)[-1]] = torch.zeros(3, 3)
    save_file(tensors, file, {"format": "pt"})


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def pickled(file: Path) -> None:
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()


@pytest.mark.parametrize("part", [UNET, TEXT, "vae/diffusion_pytorch_model.safetensors"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [(drop, "its weights lack"), (reshape, "cannot be loaded"), (cut, "cannot be loaded"),
     (pickled, "cannot be loaded, it holds pickled weights alone")],
)  # fmt: skip
def test_a_damaged_part_of_a_generator_is_named(part: str, damage: Any, words: str, own: Callable[[str], Path]) -> None:
    folder = own("nine")
    damage(folder / part)
    (fault,) = painting(folder)
    assert fault.startswith(f"inpaint.weights: {folder / part.split('/')[0]}: {words}")
    assert len(fault.splitlines()) == 1


@pytest.mark.parametrize("part", ["scheduler/scheduler_config.json", "unet/config.json", "tokenizer/tokenizer.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"beta_schedule": "none", "block_out_channels": "x"}'])
def test_a_damaged_configuration_is_named(part: str, content: str, own: Callable[[str], Path]) -> None:
    folder = own("nine")
    (folder / part).write_text(content)
    (fault,) = painting(folder)
    assert fault.startswith(f"inpaint.weights: {folder / part.split('/')[0]}")


def test_settings_that_the_model_cannot_take_are_named(folders: dict[str, Path], tmp_path: Path) -> None:
    assert "no multiple of 4" in painting(folders["nine"], image_size=34)[0]
    assert "inpaint.steps: 1001 is more than" in painting(folders["nine"], steps=1001, scheduler="ddim")[0]
    save_file({"<t>": torch.zeros(1, 77)}, tmp_path / "wide.safetensors")
    (fault,) = painting(folders["nine"], tokens={"cat": str(tmp_path / "wide.safetensors")})
    assert "token <cat>: vectors are 1x77, this text encoder's are 32 wide" in fault


def test_weights_in_shards_with_an_index_pass_and_lacking_one_is_named(own: Callable[[str], Path]) -> None:
    folder = own("nine")
    shard(folder / UNET)
    shard(folder / TEXT)
    assert painting(folder) == []
    opened = open_diffusion(parse_weights(str(folder)), Runtime(torch.device("cpu"), torch.float32))
    assert opened.unet.conv_in.weight.abs().sum() > 0
    next(folder.glob("unet/*-00002-of-00002.safetensors")).unlink()
    assert painting(folder)[0].startswith(f"inpaint.weights: {folder / 'unet'}: cannot be loaded")


def shard(file: Path) -> None:
    """Two files and the index of the libraries' layout."""
    tensors = load_file(file)
    names = sorted(tensors)
    places = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        name = f"{file.stem}-0000{number}-of-00002.safetensors"
        save_file({one: tensors[one] for one in part}, file.with_name(name), {"format": "pt"})
        places |= dict.fromkeys(part, name)
    total = sum(tensor.numel() * 4 for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    file.with_name(f"{file.name}.index.json").write_text(json.dumps(index))
    file.unlink()


def test_segmenters_are_opened_part_by_part(tmp_path: Path) -> None:
    dino, sam = tiny.write_grounding_dino(tmp_path / "dino"), tiny.write_sam(tmp_path / "sam")
    grounded = {"backend": "grounded_sam", "detector": str(dino), "mask_model": str(sam)}
    assert faults(segment=grounded) == []
    drop(dino / "model.safetensors")
    reshape(sam / "model.safetensors")
    detector, masks = faults(segment=grounded)
    assert detector.startswith(f"segment.detector: {dino}: the weights lack 1 tensors of the model")
    assert masks.startswith(f"segment.mask_model: {sam}: cannot be loaded")
    for folder in (dino, sam):
        shutil.rmtree(folder)
    assert all("no such folder" in fault for fault in faults(segment=grounded))
    (fault,) = faults(segment={"backend": "owlv2_sam", "detector": "pocket"})
    assert "no pocket weights for segment.backend owlv2_sam" in fault


@pytest.mark.parametrize(
    ("backend", "write", "of"),
    [("sam3", tiny.write_sam3, "weights"), ("face_parsing", tiny.write_segformer, "weights"),
     ("owlv2_sam", tiny.write_owlv2, "detector")],
)  # fmt: skip
def test_other_segmenters(backend: str, write: Callable[[Path], Path], of: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    settings = {"backend": backend, of: str(folder)}
    assert faults(segment=settings) == []
    drop(folder / "model.safetensors")
    (fault,) = faults(segment=settings)
    assert fault.startswith(f"segment.{of}: {folder}: the weights lack 1 tensors")


def test_labels_that_a_face_parser_does_not_know_are_named(tmp_path: Path) -> None:
    folder = tiny.write_segformer(tmp_path / "faces")
    (fault,) = faults(segment={"backend": "face_parsing", "weights": str(folder), "labels": ["beard"]})
    assert fault.startswith("segment.labels") or "segment.labels: these weights know no beard" in fault


def test_what_names_no_commit_is_fetched_once_and_stays_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub moves on after the first download: the cached commit stays, and the identity with it."""
    cache, commits, asked = tmp_path / "cache", iter(("1" * 40, "2" * 40)), []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))

    def download(repository: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision))
        commit = revision or next(commits)
        root = cache / f"models--{repository.replace('/', '--')}"
        (root / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / "main").write_text(commit)
        return str(root / "snapshots" / commit)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    tree = {"data": {"source": "pocket"}, "inpaint": {"weights": "somebody/model"}}
    config = RunConfig.model_validate({**tree, "segment": {"weights": "clipseg"}, "erm": {"weights": "none"}})
    weights = parse_weights("somebody/model")
    assert weights.identity == "somebody/model"
    fetch_unpinned(config)
    fetch_unpinned(config)
    assert asked == [("somebody/model", None)], "the role is pinned, and the second time the commit is known"
    assert weights.identity == "somebody/model@111111111111"
    assert weights.folder(()).name == "1" * 40
    assert asked[1:] == [("somebody/model", "1" * 40)]


def test_what_cannot_be_fetched_is_left_to_its_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    fetch_unpinned(RunConfig.model_validate({"data": {"source": "pocket"}, "inpaint": {"weights": "somebody/model"}}))
