"""Other data and rules: three classes, selection by counterfactuals; the command line; a killed process."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddb
import miniature
from bench_runs import METHODS, Finished, config, options, records, run, tree
from ddb.bench.fits.trial import open_trial
from ddb.cli import app as cli
from ddb.config.load import config_text
from ddb.data.counterfactuals import held_out
from ddb.engine.progress import Lines

PLAIN = ("erm", "jtt", "dfr_val", "dfr_train", "lisa", "group_dro", "afr", "dac", "lff", "ddb")


def three_classes(root: Path) -> Path:
    """Grey squares of three shades on blue or green, with a table and masks."""
    rng, rows = np.random.default_rng(0), []
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    for split, count in (("train", 20), ("val", 8), ("test", 8)):
        for label in range(3):
            for number in range(count):
                place = number % 2
                image = rng.integers(0, 30, (32, 32, 3), dtype=np.uint8)
                image[..., 1 + place] += np.uint8(90)
                image[8:24, 8:24] = np.uint8(40 + 90 * label)
                name = f"{split}-{label}-{number}.png"
                for path, pixels in ((root / name, image), (root / "masks" / name, mask)):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(path)
                rows.append({"path": name, "label": "abc"[label], "attribute": "xy"[place], "split": split})
    with (root / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def test_no_method_is_for_two_classes_only(tmp_path: Path) -> None:
    root = three_classes(tmp_path / "shades")
    data = {"source": "table", "root": str(root / "table.csv")}
    own = config(root, data=data, retrain={"gammas": (1.0, 1.0)})
    results = run(own, options(PLAIN, seeds=1, search="off"), tmp_path / "out")
    assert [method.name for method in results.methods] == list(PLAIN)
    for method in results.methods:
        assert [group.name for group in method.groups] == ["a / x", "a / y", "b / x", "b / y", "c / x", "c / y"]
        assert method.paper is None


def test_counterfactuals_that_select_are_not_trained_on(birds: Path, tmp_path: Path) -> None:
    own = config(birds, prune={"psi": "off", "rho": "off", "max_rounds": 1})
    asked = options(["ffr", "ddb"], seeds=1, search="off", select="counterfactual")
    results = run(own, asked, tmp_path)
    trial = open_trial(own, asked, 0, tmp_path / "seed-0", None, Lines(io.StringIO()))
    problem, names = trial.problem, trial.dataset.split("train")["id"].to_pylist()
    assert problem.counterfactuals is not None
    assert problem.val_pairs is not None
    assert not any(held_out(names[row]) for row in problem.counterfactuals.sources)
    apart = {pixels.tobytes() for pixels in problem.val_pairs.pixels}
    assert len(problem.val_pairs.labels) > 0
    assert not apart & {pixels.tobytes() for pixels in problem.counterfactuals.images.pixels}
    assert set(problem.val_pairs.cells) <= {2 * (1 + made_from) + to for made_from, to in ((0, 1), (1, 0))}
    assert {method.name: (method.labels.count, method.labels.images) for method in results.methods} == {
        "ffr": (0, True),
        "ddb": (0, True),
    }
    assert all(fit["selection"] == "counterfactual" for fit in records(tmp_path, "fits"))


def test_the_command_prints_the_table(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finished folder, named on the command line: nothing is made again."""
    out = Path(shutil.copytree(finished.out, tmp_path / "out", symlinks=True))
    (tmp_path / "own.yaml").write_text(config_text(finished.config))
    asked = ["--methods", ",".join(METHODS), "--seeds", "2", "--tables", "1,labels", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["ddb", "bench", str(tmp_path / "own.yaml"), *asked])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    said = capsys.readouterr()
    assert caught.value.code == 0, said.err
    assert "DFR (val)" in said.out
    assert said.out.splitlines()[-1] == str(out / "bench.html")
    assert "seed 0" not in said.err


@pytest.mark.slow
def test_a_killed_bench_ends_like_an_unbroken_one(finished: Finished, birds: Path, tmp_path: Path) -> None:
    """SIGKILL after the fourth record, somewhere in the fit that follows."""
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": f"{Path(ddb.__file__).parents[1]}:{Path(miniature.__file__).parent}"}
    code = (
        "import sys, pathlib, bench_runs; "
        "bench_runs.run(bench_runs.config(pathlib.Path(sys.argv[1])), bench_runs.options(), pathlib.Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(birds), str(out)], env=environment)
    while len(list(out.glob("seed-0/fits/*.json"))) < 4:
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(0.2)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    there = {path: path.read_bytes() for path in out.glob("seed-*/*/*.json") if path.parent.name != "run"}
    run(finished.config, finished.options, out)
    assert tree(out) == tree(finished.out)
    assert all(path.read_bytes() == content for path, content in there.items())
    fits = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    made = [(event["seed"], event["name"], str(event["setting"])) for event in fits if event["event"] == "fit"]
    assert len(made) == len(set(made))
