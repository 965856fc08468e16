"""Invert: representatives of a class, the training data of a token, and the columns of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ddb.backends import Failed, Found, Image, Learned, Lesson
from ddb.backends.registry import tokens_identity
from ddb.config import InvertConfig, inpaint_config, segment_config
from ddb.data.images import read_image, read_mask
from ddb.data.table import Dataset
from ddb.errors import ConfigError, DataError, StageFailed
from ddb.records import PREDICTIONS
from ddb.stage import Stage
from ddb.stages import invert

SEGMENT = segment_config(backend="given", masks="unused", shape="square", expand=1.25)
PAINT = inpaint_config(backend="latent_diffusion", weights="somebody/model")
LEARN = InvertConfig(representatives=6)


@dataclass
class Studio:
    """Segmenter and inverter in one, with a memory. Of `blind` images it finds no mask, in `failing` ones it fails."""

    blind: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    identity: str = "studio"
    lessons: list[Lesson] = field(default_factory=list)

    def segment(
        self, ids: Sequence[str], images: Sequence[Image | Failed], phrase: str, batch_size: int
    ) -> list[Found | Failed]:
        found: list[Found | Failed] = []
        for name in ids:
            mask = np.zeros((32, 32), np.bool_)
            mask[8:24, 8:24] = name not in self.blind
            found.append(Failed("no luck") if name in self.failing else Found(mask, 1.0))
        return found

    def learn(self, lesson: Lesson, folder: Path) -> Learned:
        self.lessons.append(lesson)
        file = folder / f"token-{lesson.label}.safetensors"
        file.write_bytes(b"vectors")
        return Learned(f"<ddb-{lesson.label}>", file, [2.0, 1.0])

    def adopt(self, label: int, file: Path, folder: Path) -> Learned:
        own = folder / f"token-{label}.safetensors"
        own.write_bytes(file.read_bytes())
        return Learned(f"<ddb-{label}>", own)


@pytest.fixture
def erm(squares: Dataset, run_folder: Any) -> Any:
    """Losses that rise with the row number."""
    rows = [
        {"id": row["id"], "label": row["label"], "split": row["split"], "loss": float(n), "probabilities": [0.5, 0.5],
         "correct": True, "status": "ok", "error": ""}
        for n, row in enumerate(squares.samples.to_pylist()) if row["split"] != "test"
    ]  # fmt: skip
    run_folder.tables["erm"] = pa.Table.from_pylist(rows, schema=PREDICTIONS)
    return run_folder


def use(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Studio:
    for name in ("open_inverter", "open_segmenter"):
        monkeypatch.setattr(invert, name, lambda *_: studio)
    return studio


def stage_of(folder: Any, dataset: Dataset, learn: InvertConfig = LEARN, paint: Any = PAINT) -> Stage:
    return invert.stage(folder.context(dataset), invert.Learning(learn, SEGMENT, paint), {})


def run(dataset: Dataset, folder: Any, learn: InvertConfig = LEARN) -> list[dict[str, Any]]:
    return folder.run(stage_of(folder, dataset, learn)).to_pylist()


def test_tokens_are_learned_from_the_hardest_images_inside_their_regions(
    squares: Dataset, erm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = use(Studio(), monkeypatch)
    rows = run(squares, erm)
    assert [row["representatives"] for row in rows] == [
        [f"train_{n:03d}.png" for n in range(46, 35, -2)],
        [f"train_{n:03d}.png" for n in range(47, 36, -2)],
    ]
    assert [(row["token"], row["file"], row["losses"]) for row in rows] == [
        ("<ddb-0>", "token-0.safetensors", [2.0, 1.0]),
        ("<ddb-1>", "token-1.safetensors", [2.0, 1.0]),
    ]
    assert np.array_equal(studio.lessons[1].images[0], read_image(squares.root, "train_047.png"))
    assert all(mask is not None and mask.sum() == 400 for mask in studio.lessons[0].masks)  # 16 * 1.25 squared
    assert all(read_mask(mask).sum() == 256 for mask in rows[0]["masks"])
    assert studio.lessons[0].seed != studio.lessons[1].seed


def test_representatives_without_a_mask_are_left_out_of_the_lesson(
    squares: Dataset, erm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = use(Studio(blind=("train_046.png",), failing=("train_042.png",)), monkeypatch)
    rows = run(squares, erm)
    assert len(rows[0]["representatives"]) == len(rows[0]["masks"]) == 6
    assert len(studio.lessons[0].images) == 4
    assert rows[0]["masks"][rows[0]["representatives"].index("train_042.png")] == b""
    every = tuple(squares.samples["image"].to_pylist())
    studio = use(Studio(blind=every), monkeypatch)
    run(squares, erm)
    assert studio.lessons[0].masks == [None] * 6  # no mask at all: whole images are better than nothing


def test_a_fault_of_learning_names_the_class(squares: Dataset, erm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def learn(lesson: Lesson, folder: Path) -> Learned:
        raise StageFailed(f"token <ddb-{lesson.label}>: the loss is not finite")

    studio = use(Studio(), monkeypatch)
    monkeypatch.setattr(studio, "learn", learn)
    assert squares.classes == ("dark", "red")
    with pytest.raises(StageFailed, match="^class dark: token <ddb-0>: the loss is not finite$"):
        run(squares, erm)
    assert stage_of(erm, squares).title("1") == "class red"


@pytest.mark.parametrize("how", ["copy_paste", "no representatives"])
def test_no_token_where_none_is_wanted(how: str, squares: Dataset, erm: Any) -> None:
    learn = LEARN if how == "copy_paste" else InvertConfig(representatives=0)
    paint = inpaint_config(backend="copy_paste") if how == "copy_paste" else PAINT
    rows = erm.run(stage_of(erm, squares, learn, paint)).to_pylist()
    assert [(row["token"], row["file"], row["status"]) for row in rows] == [("", "", "ok")] * 2
    assert [len(row["representatives"]) for row in rows] == [learn.representatives] * 2


def test_given_tokens_stand_in_for_learning(
    squares: Dataset, erm: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    studio, file = use(Studio(), monkeypatch), tmp_path / "elsewhere.safetensors"
    file.write_bytes(b"vectors from elsewhere")
    rows = run(squares, erm, LEARN.model_copy(update={"tokens": {"dark": str(file)}}))
    assert [(row["token"], row["file"], len(row["representatives"])) for row in rows] == [
        ("<ddb-0>", "token-0.safetensors", 0),
        ("<ddb-1>", "token-1.safetensors", 6),
    ]
    assert (erm.folder("invert") / "token-0.safetensors").read_bytes() == b"vectors from elsewhere"
    assert [lesson.label for lesson in studio.lessons] == [1]
    only = LEARN.model_copy(update={"tokens": {"dark": str(file)}, "representatives": 0})
    rows = run(squares, erm, only)
    assert [(row["token"], row["status"]) for row in rows] == [("<ddb-0>", "ok"), ("", "ok")]


def test_given_tokens_are_known_by_their_content(tmp_path: Path) -> None:
    def identity(**tokens: Path) -> str:
        learn = LEARN.model_copy(update={"tokens": {name: str(file) for name, file in tokens.items()}})
        return tokens_identity(learn, ("dark", "red"))

    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    a.write_bytes(b"vectors")
    b.write_bytes(b"vectors")
    assert identity(dark=a) == identity(dark=b) != identity()
    b.write_bytes(b"others")
    assert identity(dark=a) != identity(dark=b)
    before = identity(dark=a)
    (tmp_path / "a_2.safetensors").write_bytes(b"the second encoder's")
    assert identity(dark=a) != before
    with pytest.raises(ConfigError, match=r"invert.tokens: no class is called 'cat' \(classes: dark, "):
        identity(cat=a)
    with pytest.raises(ConfigError, match=r"invert.tokens: .*no.safetensors, the token of class dark, is no file"):
        identity(dark=tmp_path / "no.safetensors")


def test_a_class_of_unreadable_images_is_named(
    squares: Dataset, erm: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(Studio(), monkeypatch)
    with pytest.raises(DataError, match="class dark: no representative can be read"):
        run(replace(squares, root=tmp_path), erm)
