"""The measures on classifiers that read one part by construction have their extreme values; files and messages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import ddb
from audit_worlds import (
    BOX,
    CLASSES,
    CORNER,
    MIDDLE,
    OPTIONS,
    SIDE,
    object_reader,
    quiet,
    settings,
    surroundings_reader,
    torch_model,
    write_world,
)
from ddb.auditing.bars import parse_bars, verdicts
from ddb.auditing.images import Images
from ddb.auditing.measures.parts import take_apart
from ddb.errors import ConfigError, DataError, ModelError


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world") / "balanced", balanced=True)


def audited(model: object, table: Path, out: Path, **keywords: object):
    return ddb.audit(model, settings(table), asked=ddb.Asked(out=out), say=quiet, **keywords)


FUNCTIONS = {"object": object_reader, "surroundings": surroundings_reader}
MODELS = {"object": torch_model(MIDDLE, 0, 120), "surroundings": torch_model(CORNER, 1, 80)}


@pytest.mark.parametrize("kind", ["function", "torch"])
@pytest.mark.parametrize("part", ["object", "surroundings"])
def test_a_reader_of_one_part_has_the_extreme_of_every_measure(
    part: str, kind: str, confounded: Path, tmp_path: Path
) -> None:
    model, options = (FUNCTIONS[part], OPTIONS) if kind == "function" else (MODELS[part], None)
    found = audited(model, confounded, tmp_path, options=options).found
    by_object = float(part == "object")
    assert found.accuracy.overall.value == 1  # the data do not tell the readers apart
    assert found.parts is not None and found.attribution is not None and found.parts.n == 16
    exchanged = found.parts.surroundings_exchanged
    assert (exchanged.object_class.value, exchanged.surroundings_class.value) == (by_object, 1 - by_object)
    assert found.parts.object_exchanged.object_class.value == by_object
    assert found.parts.object_exchanged.surroundings_class.value == 1 - by_object
    assert found.parts.both_right.value == by_object
    assert found.parts.object_erased.value == (0.5 if part == "object" else 1)
    assert found.parts.erased_chance == 0.5
    assert found.parts.surroundings_share is not None
    assert found.parts.surroundings_share.value == pytest.approx(1 - by_object, abs=1e-12)
    assert found.attribution.inside.value == pytest.approx(by_object, abs=1e-6)
    assert found.attribution.area == BOX_SHARE
    assert found.attribution.method == ("occlusion" if kind == "function" else "integrated gradients")
    assert found.flip_rate == found.parts.both_right  # without a run


BOX_SHARE = (BOX[0].stop - BOX[0].start) ** 2 / SIDE**2


def test_accuracy_by_group_finds_the_shortcut(balanced: Path, tmp_path: Path) -> None:
    def certain(pixels: np.ndarray) -> np.ndarray:
        return np.where(surroundings_reader(pixels) > 0.5, 0.98, 0.02)

    found = audited(certain, balanced, tmp_path, options=OPTIONS).found
    by_name = {cell.name: cell.accuracy for cell in found.accuracy.groups}
    assert {name: figure.value for name, figure in by_name.items()} == {
        "cat, grass": 1, "cat, sofa": 0, "dog, grass": 0, "dog, sofa": 1,
    }  # fmt: skip
    assert all(figure.n == 4 for figure in by_name.values())
    worst = found.accuracy.worst_group
    assert worst is not None and worst.accuracy.value == 0 and found.accuracy.grouping == "attribute"
    assert [cell.accuracy.value for cell in found.accuracy.classes] == [0.5, 0.5]
    # half of the predictions are wrong with confidence 0.98
    assert found.calibration.ece.value == pytest.approx(0.48)
    (only,) = found.calibration.bins
    assert (only.accuracy.value, only.accuracy.n, only.confidence) == (0.5, 16, pytest.approx(0.98))


def test_contributions_sum_to_the_change_exactly(balanced: Path) -> None:
    """Completeness: f(A, A) - f(B, B), each computed from its composite."""
    from ddb.auditing.images import open_masks
    from ddb.auditing.predictors.opening import open_predictor
    from ddb.context import Context, Models
    from ddb.data.sources.load import load_dataset

    config = settings(balanced)
    dataset = load_dataset(config.data, balanced.parent / "cache")

    def smooth(pixels: np.ndarray) -> np.ndarray:
        value = 1 / (1 + np.exp(-(pixels[..., 0].mean((1, 2)) - pixels[:, :5, :, 1].mean((1, 2))) / 30))
        return np.stack([value, 1 - value], axis=1)

    predictor = open_predictor(smooth, OPTIONS, "cpu")
    masks = open_masks(config, dataset, Context(dataset, 0, "cpu", "fp32", balanced.parent / "cache"), Models())
    scenes = Images(dataset, predictor.preprocessing).scenes(dataset.split("test")["id"].to_pylist(), masks).scenes
    cats, dogs = (tuple(scene for scene in scenes if scene.label == label) for label in (0, 1))
    taken = take_apart(predictor, cats, (*dogs[1:], dogs[0]))
    columns = np.array([0, 1] * 4)
    rows = np.arange(8)
    thing, around = taken.contributions(columns)
    change = taken.probabilities["whole"][rows, columns] - taken.probabilities["both"][rows, columns]
    np.testing.assert_allclose(thing + around, change, atol=1e-12)
    np.testing.assert_allclose(taken.probabilities["whole"], smooth(np.stack([scene.pixels for scene in cats])))
    assert np.abs(thing).min() > 0.01 and np.abs(around).max() > 0.01


def test_the_files_hold_the_same_figures(balanced: Path, tmp_path: Path) -> None:
    done = audited(object_reader, balanced, tmp_path, options=OPTIONS, bars=parse_bars("accuracy=0.5,flip_rate=1"))
    value = json.loads(done.figures.read_text())
    assert value["schema"] == 1 and value["about"]["images"] == 16 and value["about"]["classes"] == list(CLASSES)
    assert value["figures"]["accuracy"] == {
        "meaning": "all audited images", "bar": 0.5, "missed": False,
        "figure": {"value": 1.0, "low": pytest.approx(0.806, abs=1e-3), "high": 1.0, "n": 16, "interval": "wilson"},
    }  # fmt: skip
    page = done.page.read_text()
    assert "http://" not in page and "https://" not in page and page.count("<img ") >= 8 * 4
    assert "Worst-group accuracy 100.0%" in page and "80.6–100.0, n 16" in page
    assert "<table>" in done._repr_html_() and "100.0%" in done._repr_html_()


def test_names_are_escaped(tmp_path: Path) -> None:
    table = write_world(tmp_path / "world", balanced=True)
    hostile = "<script>alert(1)</script>"
    table.write_text(table.read_text().replace(",cat,", f",{hostile},"))
    done = audited(object_reader, table, tmp_path, options=ddb.ModelOptions(classes=(hostile, "dog"), size=SIDE))
    page = done.page.read_text()
    assert hostile not in page and "&lt;script&gt;alert(1)" in page


def test_bytes_do_not_depend_on_the_call(balanced: Path, tmp_path: Path) -> None:
    one, two = (audited(object_reader, balanced, tmp_path / name, options=OPTIONS) for name in ("one", "two"))
    assert one.page.read_bytes() == two.page.read_bytes() and one.figures.read_bytes() == two.figures.read_bytes()


def test_without_groups_the_worst_class_counts(tmp_path: Path) -> None:
    table = write_world(tmp_path / "world", balanced=True)
    lines = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("\n".join(",".join((path, label, split)) for path, label, _, split in lines) + "\n")
    done = audited(surroundings_reader, table, tmp_path, options=OPTIONS)
    assert done.found.accuracy.worst_group is None and done.found.accuracy.grouping == ""
    assert "Worst-class accuracy 50.0%" in done.page.read_text()


def test_masks_for_none_of_the_images(balanced: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    config = settings(balanced, backend="given", masks=str(tmp_path / "empty"))
    with pytest.raises(DataError, match=r"none of 16 images has a usable mask of 'square' \(16 no_mask"):
        ddb.audit(object_reader, config, options=OPTIONS, asked=ddb.Asked(out=tmp_path), say=quiet)


def test_without_masks_of_training_images_nothing_is_exchanged(balanced: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for path in (balanced.parent / "masks").glob("test_*.png"):
        shutil.copy(path, tmp_path / "masks")
    config = settings(balanced, backend="given", masks=str(tmp_path / "masks"))
    done = ddb.audit(object_reader, config, options=OPTIONS, asked=ddb.Asked(out=tmp_path), say=quiet)
    assert done.found.parts is None and done.found.flip_rate is None
    assert done.found.attribution is not None and done.found.attribution.inside.value == 1
    assert "no training image of another class has a usable mask" in done.found.notes[0]
    assert done.found.notes[0] in done.page.read_text()
    missed = [one for one in verdicts(done.found, parse_bars("flip_rate=0")) if one.missed]
    assert [one.sentence for one in missed] == ["flip_rate: not measured, so the bar 0 is missed"]


def test_discovered_groups_are_reported_where_no_attribute_is_given(tmp_path: Path) -> None:
    table = write_world(tmp_path / "world", balanced=True)
    rows = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("\n".join(",".join((path, label, split)) for path, label, _, split in rows) + "\n")
    groups = tmp_path / "groups.csv"
    groups.write_text("image,name\n" + "".join(f"{path},on {place}\n" for path, _, place, _ in rows[1:]))
    tree = settings(table).model_dump(mode="json")
    tree["data"]["groups"] = str(groups)
    config = ddb.RunConfig.model_validate(tree)
    done = ddb.audit(surroundings_reader, config, options=OPTIONS, asked=ddb.Asked(out=tmp_path), say=quiet)
    assert done.found.accuracy.grouping == "discovered"
    assert {cell.name: cell.accuracy.value for cell in done.found.accuracy.groups} == {
        "cat, on grass": 1, "cat, on sofa": 0, "dog, on grass": 0, "dog, on sofa": 1,
    }  # fmt: skip
    assert "groups by discovered groups" in done.page.read_text()


def test_one_class_only(tmp_path: Path) -> None:
    table = write_world(tmp_path / "world", balanced=True)
    table.write_text("\n".join(line for line in table.read_text().splitlines() if ",dog," not in line) + "\n")
    with pytest.raises(DataError, match=r"only one class \('cat'\): at least two are needed"):
        audited(object_reader, table, tmp_path, options=OPTIONS)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda pixels: np.log(object_reader(pixels)), "returns no probabilities.*apply softmax"),
        (lambda pixels: np.full((len(pixels), 2), np.nan), r"returns NaN or infinity for 16 of 16 images"),
        (lambda pixels: object_reader(pixels)[:, 0], r"returns \[16\] for 16 images; \[16, 2\] is expected"),
        (lambda pixels: "cat", "not an array of numbers"),
    ],
)
def test_functions_that_return_no_probabilities(function: object, said: str, balanced: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        audited(function, balanced, tmp_path, options=OPTIONS)


def test_what_a_function_does_not_say_is_asked_for(balanced: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give classes and size"):
        audited(object_reader, balanced, tmp_path)
    with pytest.raises(ConfigError, match="not int"):
        audited(7, balanced, tmp_path)
    with pytest.raises(ConfigError, match="no data: give your images with --data"):
        ddb.audit(object_reader, ddb.load_config("photos"), options=OPTIONS)
    with pytest.raises(ConfigError, match="split 'dev' is unknown; use train, val, test or all"):
        ddb.Asked(split="dev")


def test_classes_of_the_model_that_are_not_the_datas(balanced: Path, tmp_path: Path) -> None:
    options = ddb.ModelOptions(classes=("cat", "fox"), size=SIDE)
    with pytest.raises(ConfigError, match="the model's classes do not match the data's: it has no class 'dog'"):
        audited(object_reader, balanced, tmp_path, options=options)
    mapped = ddb.ModelOptions(classes=("cat", "fox"), class_map={"fox": "dog"}, size=SIDE)
    assert audited(object_reader, balanced, tmp_path, options=mapped).found.accuracy.overall.value == 1


def test_a_torch_model_with_nan(balanced: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the model returns NaN or infinity for 16 of 16 images"):
        audited(torch_model(MIDDLE, 0, float("nan")), balanced, tmp_path)
