"""Bars, the JUnit file and the exit code, on the command line; the flip rate over all pairs of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import ddb
from ddb.auditing.bars import NAMED, parse_bars
from ddb.cli import app as cli
from ddb.data.counterfactuals import Counterfactuals
from ddb.data.sources.load import load_dataset
from ddb.engine.workspace import Workspace
from ddb.errors import ConfigError


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process; the exit code."""
    monkeypatch.setattr(sys, "argv", ["ddb", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("worst_grup=0.8", "'worst_grup' is no figure of an audit; there are accuracy, worst_class, worst_group"),
        ("accuracy=80", "'accuracy=80': write it as accuracy=0.8"),
        ("accuracy", "write it as accuracy=0.8"),
        ("accuracy=high", "a share from 0 to 1"),
    ],
)
def test_bars_that_cannot_be_read(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_bars(text)


def test_bars_are_read() -> None:
    assert parse_bars(" worst_group = 0.8 , flip_rate=1,") == {"worst_group": 0.8, "flip_rate": 1.0}
    assert parse_bars("") == {}


def test_a_missed_bar_sets_the_exit_code(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, junit = tmp_path / "out", tmp_path / "ci" / "audit.xml"
    common = ("audit", finished, "--out", out, "--images", "12")
    assert call(monkeypatch, *common, "--junit", junit, "--fail-under", "accuracy=0,flip_rate=1,worst_group=1") == 1
    said = capsys.readouterr()
    missed = [line for line in said.err.splitlines() if line.startswith("ddb: ")]
    assert [line.split()[1] for line in missed] == ["worst_group", "flip_rate"] and "is under 1" in missed[0]
    assert str(out / "audit.html") in said.out and str(out / "audit.json") in said.out
    value = json.loads((out / "audit.json").read_text())
    suite = ElementTree.parse(junit).getroot()[0]
    assert suite.tag == "testsuite" and suite.get("tests") == str(len(NAMED)) == str(len(suite))
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["worst_group", "flip_rate"] and suite.get("failures") == "2"
    assert failed == [name for name in NAMED if value["figures"][name]["missed"]]
    assert call(monkeypatch, *common, "--fail-under", "accuracy=0") == 0


def test_the_flip_rate_is_over_all_pairs_of_the_run(finished: Path, tmp_path: Path) -> None:
    """Against the public `predict` of the run's classifier, pair by pair."""
    config = ddb.load_config(finished / "config.yaml")
    asked = ddb.Asked(masked=4, out=tmp_path)
    found = ddb.audit(finished, config, asked=asked, say=lambda line: None).found.pairs
    assert found is not None
    dataset = load_dataset(config.data, finished / "cache")
    painted = Counterfactuals(Workspace.at(finished), dataset)
    classifier = ddb.load_classifier(finished / "classifier")
    both = []
    for one in painted.images(np.arange(len(painted))):
        rows = classifier.predict([one.source, one.image])
        names = [max(row, key=row.__getitem__) for row in rows]
        labels = painted.from_labels[one.row], painted.to_labels[one.row]
        both.append(names == [dataset.classes[label] for label in labels])
    right, kept = np.array(both), painted.kept
    assert 0 < kept.sum() < len(kept)
    assert found.all.value == right.mean() and found.all.n == len(painted)
    assert found.kept is not None and (found.kept.value, found.kept.n) == (right[kept].mean(), kept.sum())
    assert found.rejected is not None and found.rejected.n == (~kept).sum()
    assert found.rejected.value == right[~kept].mean()
    assert sum(one.all.n for one in found.directions) == found.all.n


def test_a_run_folder_brings_its_settings(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = load_dataset(ddb.load_config(finished / "config.yaml").data).split("test")["id"][0].as_py()
    assert call(monkeypatch, "explain", finished, image, "--out", tmp_path / "x") == 0
    assert capsys.readouterr().out.startswith(f"{image}: Calls this a ")
    assert (tmp_path / "x" / "explain.html").is_file() and (tmp_path / "x" / "explain.json").is_file()
    assert call(monkeypatch, "audit", finished / "classifier", "--run", tmp_path) == 1
    assert "no run folder" in capsys.readouterr().err
    assert call(monkeypatch, "audit", finished / "classifier", "--data", tmp_path / "gone") == 1
    assert call(monkeypatch, "audit", finished / "classifier") == 1
    assert "no data: give your images with --data" in capsys.readouterr().err
