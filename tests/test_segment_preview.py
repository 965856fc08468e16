"""`ddb segment --preview`: which images, what is written, and that the run is left alone."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import miniature
from ddb import pipeline
from ddb.cli import app as cli
from ddb.config import RunConfig
from ddb.data.images import mask_png
from ddb.engine.workspace import Workspace
from ddb.errors import DataError, ModelError
from ddb.segment_preview import SHEET, preview
from ddb.stages.segment import sources


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.draw(tmp_path_factory.mktemp("data") / "birds")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names on the sheets that are drawn, in order."""
    import ddb.segment_preview as module

    names: list[str] = []
    draw = module.contact_sheet

    def spy(looks: list[module.Look], heading: str) -> Image.Image:
        names.extend(look.name for look in looks)
        return draw(looks, heading)

    monkeypatch.setattr(module, "contact_sheet", spy)
    return names


def configuration(birds: Path, **more: object) -> RunConfig:
    return miniature.configuration(birds, **more)


def test_without_a_run_training_images_are_drawn_by_seed_with_classes_balanced(
    birds: Path, tmp_path: Path, seen: list[str]
) -> None:
    lines = preview(configuration(birds), tmp_path / "a", 7)
    first = list(seen)
    assert lines == [str(tmp_path / "a" / SHEET), "7 ok"]
    assert Image.open(tmp_path / "a" / SHEET).format == "PNG"
    assert [name.split("/")[0].split(".")[1] for name in first] == ["landbird"] * 4 + ["waterbird"] * 3
    assert all("train" in name for name in first)
    preview(configuration(birds), tmp_path / "b", 7)
    assert seen[7:] == first
    preview(configuration(birds, seed=1), tmp_path / "c", 7)
    assert seen[14:] != first
    assert (tmp_path / "a" / SHEET).read_bytes() == (tmp_path / "b" / SHEET).read_bytes()


def test_no_stage_rows_are_written(birds: Path, tmp_path: Path) -> None:
    preview(configuration(birds), tmp_path / "run", 4)
    assert not [path for path in (tmp_path / "run").iterdir() if path.name[0].isdigit()]
    pipeline.run(configuration(birds), tmp_path / "run", only="erm")
    before = miniature.tree(tmp_path / "run")
    preview(configuration(birds), tmp_path / "run", 6)
    after = miniature.tree(tmp_path / "run")
    assert {name: digest for name, digest in after.items() if name != SHEET} == {
        name: digest for name, digest in before.items() if name != SHEET
    }


def test_with_a_finished_erm_the_sources_of_the_run_are_shown(birds: Path, tmp_path: Path, seen: list[str]) -> None:
    config, out = configuration(birds), tmp_path / "run"
    pipeline.run(config, out, only="erm")
    preview(config, out, 6)
    planned = sources(Workspace.at(out), 2, config.inpaint.per_class)
    for kind in ("landbird", "waterbird"):
        own, shown = ([name for name in names if f".{kind}/" in name] for names in (planned, seen))
        assert len(shown) == 3
        assert shown[0] == own[0]
        assert shown[-1] == own[-1]
        assert shown == sorted(shown, key=own.index)


def test_reasons_are_printed(birds: Path, tmp_path: Path, seen: list[str]) -> None:
    lines = preview(configuration(birds, segment={"min_area": 0.99, "max_area": 1}), tmp_path / "run", 4)
    assert lines[1] == "4 too_small"
    assert lines[2].startswith(f"  {seen[0]}: the bird covers")
    assert len(lines) == 6


def test_more_images_than_there_are_shows_all(birds: Path, tmp_path: Path, seen: list[str]) -> None:
    preview(configuration(birds), tmp_path / "run", 200)
    assert len(seen) == len(set(seen)) == miniature.SIZES.train


def test_the_command_prints_the_path_or_one_line_of_error(
    birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    arguments = ["ddb", "segment", "photos", f"--data={birds}", f"--out={run}", "--preview=2", "--device=cpu"]
    arguments += ["--set=data.source=waterbirds", "--set=data.phrase=bird"]
    given = ["--set=segment.backend=given", f"--set=segment.masks={birds}/masks"]
    monkeypatch.setattr(sys, "argv", [*arguments, *given])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    assert capsys.readouterr().out.splitlines() == [str(run / SHEET), "2 ok"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--set=segment.backend=sam3", f"--set=segment.weights={tmp_path}/no"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ddb: {tmp_path}/no: no such folder")


def test_weights_and_folders_that_cannot_be_used_are_named(birds: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere: no such folder"):
        preview(configuration(birds, segment={"backend": "clipseg", "weights": str(birds / "nowhere")}), tmp_path, 2)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / SHEET).mkdir()
    with pytest.raises(DataError, match="segment-preview.png: cannot be written"):
        preview(configuration(birds), tmp_path / "run", 2)


def test_an_empty_mask_is_shown_as_such(birds: Path, tmp_path: Path, seen: list[str]) -> None:
    masks = tmp_path / "masks"
    for path in (birds / "masks").rglob("*.png"):
        copy = masks / path.relative_to(birds / "masks")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(mask_png(np.zeros((64, 64), np.bool_)))
    lines = preview(configuration(birds, segment={"masks": str(masks)}), tmp_path / "run", 2)
    assert lines[1:] == ["2 no_mask", *(f"  {name}: no bird found" for name in seen)]


def test_an_image_that_fails_is_shown_with_its_reason_beside_the_others(
    birds: Path, tmp_path: Path, seen: list[str]
) -> None:
    """Of two images, one has a mask of another size: an error of its own, as in the stage."""
    preview(configuration(birds), tmp_path / "before", 2)
    masks = tmp_path / "masks"
    shutil.copytree(birds / "masks", masks)
    Image.new("L", (5, 5), 255).save((masks / seen[0]).with_suffix(".png"))
    lines = preview(configuration(birds, segment={"masks": str(masks)}), tmp_path / "run", 2)
    assert sorted(lines[1].split(", ")) == ["1 error", "1 ok"]
    (reason,) = lines[2:]
    assert seen[0] in reason and "5x5" in reason
    assert Image.open(tmp_path / "run" / SHEET).format == "PNG"


def test_an_image_that_cannot_be_read_is_a_grey_square(
    birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    from ddb.backends import batches as module

    def read(root: Path, path: str) -> object:
        if "landbird" in path:
            raise DataError(f"{path}: cut off")
        return read_image(root, path)

    read_image = module.read_image
    monkeypatch.setattr(module, "read_image", read)
    lines = preview(configuration(birds), tmp_path / "run", 2)
    assert sorted(lines[1].split(", ")) == ["1 error", "1 ok"]
    assert lines[2] == f"  {seen[0]}: {seen[0]}: cut off"


def test_every_kind_of_settings_has_its_preview(birds: Path, tmp_path: Path) -> None:
    """The pocket segmenter, with whichever generator: a preview opens no generator."""
    for number, inpaint in enumerate(
        ({"backend": "copy_paste"}, {"backend": "latent_diffusion", "weights": "nowhere"})
    ):
        config = configuration(birds, segment={"backend": "clipseg", "weights": "pocket"}, inpaint=inpaint)
        lines = preview(config, tmp_path / str(number), 2)
        assert lines[0] == str(tmp_path / str(number) / SHEET)
        assert sum(int(part.split()[0]) for part in lines[1].split(", ")) == 2
