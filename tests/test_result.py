"""The result of a run in Python: its folder, its figures, and what a notebook shows of it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ddb
from ddb.errors import DDBError, StageFailed
from report_runs import make_run

HOSTILE = ("<script>alert(1)</script>", "</div><img src=x onerror=alert(1)>")


class Fragment(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_it_stands_for_its_folder(tmp_path: Path) -> None:
    run = make_run(tmp_path, per_direction=2)
    result = ddb.open_run(str(run.root))
    assert Path(result) == run.root == result.folder and str(result) == str(run.root)
    assert json.loads((result / "config.yaml").read_text().splitlines()[1].partition(": ")[2]) == 0
    assert result.metrics["after"]["mean_accuracy"] == 0.9463
    assert result.table("prune").num_rows == ddb.table(result, "prune").num_rows == 4  # type: ignore[arg-type]
    assert result.status == ddb.status(result)  # type: ignore[arg-type]
    assert result.write_report() == run.root / "report.html"


def test_figures_of_other_settings_are_not_given(tmp_path: Path) -> None:
    run = make_run(tmp_path, stages=("erm", "invert"), per_direction=2)
    (run.root / "metrics.json").write_text('{"after": {"mean_accuracy": 0.5}}')
    with pytest.raises(StageFailed, match="evaluate is not finished"):
        _ = ddb.open_run(run.root).metrics


def test_a_notebook_shows_figures_and_escapes_names(tmp_path: Path) -> None:
    run = make_run(tmp_path, per_direction=2, classes=HOSTILE, attributes=("<b>", "&amp;"))
    (run.root / "config.yaml").write_text(json.dumps({"name": "</div><script>"}))
    shown = Fragment(ddb.open_run(run.root)._repr_html_() or "")
    assert not {"script", "img", "b", "style", "iframe"} & set(shown.tags)
    assert shown.tags[0] == "div" and shown.tags.count("table") == 1
    for words in (*HOSTILE, "<b>", "&amp;", "</div><script>", "41.7%", "87.3%", "Worst-group accuracy rose"):
        assert words in shown.text


def test_a_notebook_shows_how_far_an_unfinished_run_is(tmp_path: Path) -> None:
    run = make_run(tmp_path, stages=("erm", "invert"), per_direction=2)
    shown = Fragment(ddb.open_run(run.root)._repr_html_() or "")
    assert "2 of 8 stages are finished" in shown.text and "Not shown: segment" in shown.text
    assert "table" not in shown.tags


def test_what_is_no_run_is_refused_and_shown_as_text(tmp_path: Path) -> None:
    with pytest.raises(DDBError, match="not a run folder"):
        ddb.open_run(tmp_path)
    assert ddb.RunResult(tmp_path)._repr_html_() is None
