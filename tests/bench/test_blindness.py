"""No code that fits or chooses reads a test image or a test label: by the source, at run time, and by experiment."""

from __future__ import annotations

import ast
import csv
import io
import shutil
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ddb.bench
from bench_runs import Finished, config, options, records, run
from ddb.backends.classifiers.timm_classifier import preprocessing_of
from ddb.bench import scores
from ddb.bench.fits.methods import method
from ddb.bench.fits.search import Fits
from ddb.bench.fits.trial import Trial, open_trial
from ddb.bench.folder import Folder
from ddb.data.images import read_image
from ddb.data.table import Dataset
from ddb.engine.progress import Lines

CHOOSING = sorted(path for path in (Path(ddb.bench.__file__).parent / "fits").glob("*.py"))
"""What takes part in fits and choices; run.py calls scores.py after them."""
BLIND_TO = ("ddb.bench.scores", "ddb.bench.groups", "ddb.bench.studies", "ddb.stages.evaluate")


@pytest.fixture(scope="module")
def trial(finished: Finished) -> Trial:
    return open_trial(finished.config, finished.options, 0, finished.out / "seed-0", None, Lines(io.StringIO()))


def test_by_the_source() -> None:
    """No file that fits or chooses imports one that reads the test split, or names that split."""
    assert {"search.py", "choice.py", "trial.py"} <= {path.name for path in CHOOSING}
    for path in CHOOSING:
        tree = ast.parse(path.read_text("utf-8"))
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert "test" not in texts, path.name
        assert not [name for name in imported if name.startswith(BLIND_TO)], path.name
        assert "SPLITS" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}, path.name


def test_the_problem_holds_no_test_image(trial: Trial) -> None:
    ids = trial.dataset.split("test")["id"].to_pylist()
    test = {np.asarray(_squared(trial, name)).tobytes() for name in ids}
    assert len(test) == 24
    arrays = list(_arrays(trial.problem))
    images = [array for array in arrays if array.ndim == 4]
    assert sorted(len(array) for array in images)[-2:] == [24, 60]  # val, train; and the counterfactuals
    for array in images:
        assert not test & {image.tobytes() for image in array}
    assert {len(array) for array in arrays if array.ndim == 1} <= {24, 60, *(len(array) for array in images)}


def test_at_run_time(trial: Trial, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits and choice with a data set whose test split cannot be read give the records that are there."""
    asked: list[str] = []
    split = Dataset.split

    def watched(self: Dataset, name: str) -> Any:
        asked.append(name)
        assert name != "test"
        return split(self, name)

    monkeypatch.setattr(Dataset, "split", watched)
    shutil.copytree(finished.out / "seed-0/run", tmp_path / "seed-0/run", symlinks=True)
    own = Trial(0, tmp_path / "seed-0", trial.config, trial.select, trial.dataset, trial.runtime)
    fits = Fits(Folder(tmp_path), own, Lines(io.StringIO()), lambda record, seconds: None)
    for name in ("erm", "dfr_val"):
        found = method(name, own.config)
        _, setting = fits.search(found, list(found.grid))
        assert setting == _chosen(finished.out)[name, 0]
    assert {"train", "val"} <= set(asked)
    with pytest.raises(AssertionError):
        scores.score(own, own.erm())  # what reads the test split does ask for it


def test_by_experiment(finished: Finished, birds: Path, tmp_path: Path) -> None:
    """Noise for all test images, test classes turned round: the same fits, the same choice, other test figures."""
    other = Path(shutil.copytree(birds, tmp_path / "birds"))
    with (other / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(0)
    for row in rows:
        if row["split"] == "2":
            row["y"] = str(1 - int(row["y"]))
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(other / row["img_filename"])
    with (other / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    own = config(other, segment={"masks": str(birds / "masks")})
    run(own, options(seeds=1), tmp_path / "out")
    facts = ("method", "setting", "figures", "facts")
    before, after = (
        [{key: fit[key] for key in facts} for fit in records(out, "fits") if fit["seed"] == 0]
        for out in (finished.out, tmp_path / "out")
    )
    assert sorted(map(str, before)) == sorted(map(str, after))
    assert _chosen(tmp_path / "out") == {key: value for key, value in _chosen(finished.out).items() if key[1] == 0}
    scored = [
        {s["method"]: s["test"] for s in records(out, "scores") if s["seed"] == 0}
        for out in (finished.out, tmp_path / "out")
    ]
    assert scored[0] != scored[1]


def _chosen(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    return {(score["method"], score["seed"]): score["setting"] for score in records(out, "scores")}


def _squared(trial: Trial, name: str) -> np.ndarray:
    return preprocessing_of(trial.config.erm).square(read_image(trial.dataset.root, name))


def _arrays(value: Any) -> Any:
    """Every array in a dataclass, however deep."""
    if isinstance(value, np.ndarray):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from _arrays(getattr(value, field.name))
