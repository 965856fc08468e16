"""The registry: stages share models, tokens do not leak between generators, references have identities."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from ddb.backends import Painted, Task, paint_all
from ddb.backends.registry import model_names, open_generator, open_inverter, open_segmenter, reference_identities
from ddb.config import CopyPasteConfig, InvertConfig, LatentDiffusionConfig, RunConfig, SegmentConfig, segment_config
from ddb.context import Context, Models
from ddb.data.images import mask_png
from ddb.data.table import Dataset
from ddb.errors import ConfigError, ModelError
from ddb.records import SAMPLES

Tasks = Callable[..., list[Task]]
CONTEXT = Context(cast(Dataset, None), 0, "cpu", "fp32", Path())
TOKEN = "<ddb-0>"


@pytest.fixture
def painting(inpainting_folder: Path) -> LatentDiffusionConfig:
    return LatentDiffusionConfig(weights=str(inpainting_folder), image_size=32, steps=1)


def token(folder: Path, value: float) -> Path:
    draw = torch.Generator().manual_seed(int(10 * value))
    save_file({TOKEN: torch.randn(2, 32, generator=draw)}, folder / f"{value}.safetensors")
    return folder / f"{value}.safetensors"


def test_invert_and_inpaint_share_one_model(painting: LatentDiffusionConfig, tmp_path: Path) -> None:
    models = Models()
    inverter: Any = open_inverter(InvertConfig(), painting, CONTEXT, models)
    first: Any = open_generator(painting, CONTEXT, models, {})
    second: Any = open_generator(painting, CONTEXT, models, {TOKEN: token(tmp_path, 0.5)})
    assert inverter.model is first.model is second.model
    gone = weakref.ref(first.model.unet)
    del inverter, first, second
    models.keep(model_names(painting))
    assert gone() is not None
    models.keep([])
    assert gone() is None


def test_generators_with_other_tokens_do_not_disturb_each_other(
    painting: LatentDiffusionConfig, tasks: Tasks, tmp_path: Path
) -> None:
    models, items = Models(), tasks(1, prompt=f"a {TOKEN} bird")
    one = open_generator(painting, CONTEXT, models, {TOKEN: token(tmp_path, 0.5)})
    (before,) = paint_all(one, items, 1)
    other = open_generator(painting, CONTEXT, models, {TOKEN: token(tmp_path, 0.7)})
    (changed,), (after,) = paint_all(other, items, 1), paint_all(one, items, 1)
    assert isinstance(before, Painted) and isinstance(after, Painted) and isinstance(changed, Painted)
    assert np.array_equal(before.image, after.image)
    assert not np.array_equal(before.image, changed.image)


def test_segmenters_share_the_model_and_not_the_threshold(segmenter_folder: Path) -> None:
    models, settings = Models(), segment_config(weights=str(segmenter_folder))
    one: Any = open_segmenter(settings, CONTEXT, models)
    other: Any = open_segmenter(settings.model_copy(update={"threshold": 0.9}), CONTEXT, models)
    assert one.model is other.model
    assert (one.threshold, other.threshold) == (0.5, 0.9)


def test_names_are_those_that_models_are_opened_under(painting: LatentDiffusionConfig) -> None:
    class Names(Models):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def open(self, name: str, load: Any) -> Any:
            self.names.append(name)
            raise ModelError("enough")

    for settings in (painting, segment_config(), segment_config(backend="sam3")):
        names = Names()
        with pytest.raises(ModelError, match="enough"):
            opened(settings, names)
        assert tuple(names.names) == model_names(settings)
    assert model_names(CopyPasteConfig()) == () == model_names(segment_config(backend="given", masks="m"))
    owl, dino = segment_config(backend="owlv2_sam"), segment_config(backend="grounded_sam")
    assert len({*model_names(owl), *model_names(dino)}) == 3, "they share SAM"


def opened(settings: LatentDiffusionConfig | SegmentConfig, models: Models) -> object:
    if isinstance(settings, LatentDiffusionConfig):
        return open_generator(settings, CONTEXT, models, {})
    return open_segmenter(settings, CONTEXT, models)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rows = [{"id": f"{n}.png", "image": f"{n}.png", "label": n % 2, "split": "train"} for n in range(4)]
    return Dataset(tmp_path, pa.Table.from_pylist(rows, schema=SAMPLES), ("cat", "dog"), (), "animal", (), "f")


def config(**sections: Any) -> RunConfig:
    return RunConfig.model_validate({"data": {"source": "pocket"}, **sections})


def test_references_are_what_they_hold(inpainting_folder: Path, segmenter_folder: Path, dataset: Dataset) -> None:
    names = ["erm.weights", "segment.weights", "inpaint.weights", "invert.tokens"]

    def identities(painting: Path, weights: str = "pocket") -> dict[str, str]:
        settings = config(
            erm={"weights": "hub"}, segment={"weights": weights},
            inpaint={"weights": str(painting)},
        )  # fmt: skip
        return reference_identities(settings, names, dataset)

    first = identities(inpainting_folder)
    assert sorted(first) == sorted(names)
    assert all("/" not in value or value.startswith("hub") for value in first.values()), "no paths"
    assert first["invert.tokens"] == "none"
    moved = Path(shutil.copytree(inpainting_folder, dataset.root / "moved"))
    assert identities(moved) == first
    (moved / "unet" / "config.json").write_text((moved / "unet" / "config.json").read_text() + "\n")
    changed = identities(moved)
    assert [name for name in names if changed[name] != first[name]] == ["inpaint.weights"]
    other = identities(inpainting_folder, str(segmenter_folder))
    assert [name for name in names if other[name] != first[name]] == ["segment.weights"]


def test_given_masks_and_tokens_count_by_their_content(dataset: Dataset, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.png").write_bytes(mask_png(np.ones((2, 2), np.bool_)))

    def identities(folder: str, tokens: dict[str, Path]) -> list[str]:
        settings = config(
            segment={"backend": "given", "masks": str(tmp_path / folder)},
            invert={"tokens": {name: str(file) for name, file in tokens.items()}},
        )
        return list(reference_identities(settings, ["segment.masks", "invert.tokens"], dataset).values())

    one, two = token(tmp_path, 1.0), token(tmp_path, 2.0)
    first = identities("a", {"cat": one})
    assert identities("b", {"cat": Path(shutil.copy(one, tmp_path / "elsewhere"))}) == first
    assert identities("a", {"cat": two})[0] != first[0]
    assert identities("a", {"dog": one})[0] != first[0]
    shutil.copy(two, tmp_path / "elsewhere_2")
    assert identities("a", {"cat": tmp_path / "elsewhere"})[0] != first[0], "the second encoder's file counts"
    (tmp_path / "b" / "0.png").write_bytes(mask_png(np.zeros((2, 2), np.bool_)))
    assert identities("b", {"cat": one})[1] != first[1]
    with pytest.raises(ConfigError, match="no class is called 'bird'"):
        identities("a", {"bird": one})
    with pytest.raises(ConfigError, match=r"invert.tokens: .*gone, the token of class cat, is no file"):
        identities("a", {"cat": tmp_path / "gone"})


def test_the_published_backbone_is_named_by_its_architecture(dataset: Dataset) -> None:
    found = reference_identities(config(erm={"backbone": "resnet18", "weights": "none"}), ["erm.weights"], dataset)
    assert found == {"erm.weights": "resnet18@none"}


def test_a_setting_that_names_nothing_is_no_reference(dataset: Dataset) -> None:
    with pytest.raises(KeyError):
        reference_identities(config(inpaint={"backend": "copy_paste"}), ["inpaint.weights"], dataset)
