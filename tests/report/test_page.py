"""The page as a reader and a browser meet it: complete in itself, escaped, true to metrics.json, never failing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddb.errors import DDBError
from ddb.report import thumbnails
from ddb.report.page import render, write_report
from ddb.report.reading import STAGES, Run
from report_runs import Folder, noise

RunFolder = Callable[..., Folder]
HOSTILE = ("<script>alert(1)</script>", "a\"b' onload=x {{ 7*7 }} ]]>")


class Page(HTMLParser):
    """Every tag with its attributes, the text inside style and script, and all visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline: dict[str, list[str]] = {"style": [], "script": []}
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in self.inline:
            self.inline[self._inside].append(data)
        else:
            self.text += f" {data.strip()}"

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def read(run: Folder) -> Page:
    return Page(write_report(run.root).read_text("utf-8"))


def test_nothing_is_loaded_from_outside(run_folder: RunFolder) -> None:
    text = render(Run(run_folder()))
    page = Page(text)
    without_pictures = re.sub(r"data:image/[a-z]+;base64,[\w+/=]+|\"UklGR[\w+/=]+\"", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", without_pictures)
    links = [
        a[name] for _, a in page.tags for name in ("src", "href", "srcset", "data", "action", "poster") if name in a
    ]
    assert links
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert not {"link", "iframe", "object", "embed", "form", "base"} & {name for name, _ in page.tags}


def test_policy_allows_exactly_the_inline_style_and_script(run_folder: RunFolder) -> None:
    page = read(run_folder())
    data = page.inline["script"].pop(0)
    assert json.loads(data)["total"] == 28, "the first one is data, which no browser runs"
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        (inline,) = page.inline[kind]
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not [name for _, a in page.tags for name in a if name == "style" or name.startswith("on")]


def test_hostile_names_are_shown_and_never_run(run_folder: RunFolder) -> None:
    run = run_folder(classes=HOSTILE, attributes=("<img src=x>", "&amp;"))
    (run.root / "config.yaml").write_text(json.dumps({"name": "</title><script>", "note": "<b>"}))
    page = read(run)
    assert [a.get("type") for a in page.all("script")] == ["application/json", None]
    assert len(page.inline["script"]) == 2
    data = json.loads(page.inline["script"][0])
    assert data["classes"] == list(HOSTILE)
    assert not {"<", ">", "&"} & set(page.inline["script"][0])
    assert not [a for a in page.all("img") if a.get("src") == "x"]
    for words in (*HOSTILE, "<img src=x>", "&amp;", "</title><script>", "<b>"):
        assert words in page.text


def test_figures_are_those_of_metrics_json(run_folder: RunFolder) -> None:
    run = run_folder()
    page = read(run)
    metrics = json.loads((run.folder("evaluate") / "metrics.json").read_text())
    shown = {float(a["value"]) for a in page.all("data")}
    for side in ("before", "after"):
        expected = {value for name, value in metrics[side].items() if name != "groups"}
        expected |= {group["accuracy"] for group in metrics[side]["groups"]}
        expected |= {metrics[name][side] for name in ("in_distribution", "flip_rate", "shortcut_reliance")}
        assert expected <= shown
    assert "Worst-group accuracy rose from 41.7% to 87.3%" in page.text
    low, high = (metrics["before"]["groups"][2][end] for end in ("low", "high"))
    assert f"{100 * low:.1f}–{100 * high:.1f}" in page.text


SECTIONS = {
    "groups": {"evaluate"},
    "metrics": {"evaluate"},
    "changes": {"evaluate"},
    "strips": {"inpaint"},
    "pruning": {"inpaint", "prune"},
    "scores": {"inpaint", "score"},
    "tokens": {"invert"},
    "losses": {"erm"},
    "run": set(),
}
"""Section of the page -> the stages that it shows."""


@pytest.mark.parametrize("done", range(9))
def test_every_prefix_of_the_stages_gives_a_page_that_names_the_others(run_folder: RunFolder, done: int) -> None:
    page = read(run_folder(stages=STAGES[:done], per_direction=2))
    headings = {a["id"] for a in page.all("h2") if "id" in a}
    assert headings == {name for name, needed in SECTIONS.items() if needed <= set(STAGES[:done])}
    left = ", ".join(STAGES[done:])
    assert (f"Not shown: {left} (to be computed with the present settings)." in page.text) == (done < 8)
    assert ("Not shown" in page.text) == (done < 8)
    assert ("of 8 stages are finished" in page.text) == (done < 8)


@pytest.mark.parametrize("missing", STAGES)
def test_a_stage_that_is_to_be_computed_again_is_left_out_alone(run_folder: RunFolder, missing: str) -> None:
    done = [stage for stage in STAGES if stage != missing]
    page = read(run_folder(stages=done, per_direction=2))
    headings = {a["id"] for a in page.all("h2") if "id" in a}
    assert headings == {name for name, needed in SECTIONS.items() if missing not in needed}
    assert f"Not shown: {missing} (to be computed with the present settings)." in page.text


def test_results_of_other_settings_are_not_shown(run_folder: RunFolder) -> None:
    """The stages after inpaint are finished under other settings alone: what lies in their folders is not read."""
    run = run_folder(per_direction=2)
    current = json.loads((run.root / "current.json").read_text())
    for stage in STAGES[3:]:
        current["results"][stage]["fingerprint"] = "another result"
    (run.root / "current.json").write_text(json.dumps(current))
    page = read(run)
    assert "Not shown: inpaint, score, prune, retrain, evaluate" in page.text
    assert {a["id"] for a in page.all("h2") if "id" in a} == {"tokens", "losses", "run"}


def test_figures_of_other_settings_are_not_shown(run_folder: RunFolder) -> None:
    """RUN/metrics.json may be left from other settings; a half-recomputed run once showed its 46 counterfactuals."""
    run = run_folder(stages=STAGES[:6], per_direction=14)
    (run.root / "metrics.json").write_text(json.dumps({"before": {"mean_accuracy": 0.5123, "groups": []}}))
    page = read(run)
    assert "51.2%" not in page.text
    assert "Retrained with" not in page.text
    assert "Not shown: retrain, evaluate" in page.text


def test_payloads_of_shown_counterfactuals_are_read_once_for_each_picture(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=60)
    page = render(Run(run))
    shown = page.count('<article class="strip"')
    assert shown == 24
    assert run.asked["inpaint", "patch"] <= 120 + shown + 2 * 8  # small pictures of all; those painted with the tokens
    assert run.asked["segment", "object_mask"] <= 120 + shown + 2 * 8
    assert run.asked["score", "attribution"] == 120 + shown  # which have one; those shown


def test_a_report_is_written_again_without_sources(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=3)
    first = Page(render(Run(run)))
    patches = run.asked["inpaint", "patch"]
    shutil.rmtree(run.root.parent / "data")
    again = Page(render(Run(run)))
    assert [a["src"] for a in again.all("img")] == [a["src"] for a in first.all("img")]
    assert run.asked["inpaint", "patch"] == patches  # thumbnails were stored
    assert "6 source images are gone or have changed" in again.text
    assert "data/train/0000.png" in again.text
    assert "gone or have changed" not in first.text


def test_a_source_that_has_changed_is_named_and_not_painted_on(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=3)
    path = run.root.parent / "data" / "train" / "1001.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    page = read(run)
    assert "1 source image is gone or has changed" in page.text
    assert str(path) in page.text
    (strip,) = re.findall(r"<article(?:(?!</article>).)*train/1001\.png</span>", render(Run(run)), re.DOTALL)[-1:]
    assert strip.rpartition("<article")[2].count('<div class="absent">') == 3  # original, mask, counterfactual


def test_thumbnails_lie_with_their_stage(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=2)
    render(Run(run))
    assert len(list((run.folder("inpaint") / "thumbnails").iterdir())) == 3 * 4 + 1  # and the file of small pictures
    assert len(list((run.folder("invert") / "thumbnails").iterdir())) == 4
    assert not list(run.root.glob("thumbnails"))


def test_without_tokens_sources_or_descriptions(run_folder: RunFolder) -> None:
    run = run_folder(tokens=False, per_direction=3)
    shutil.rmtree(run.root.parent / "data")
    for name in ("dataset.json", "samples.parquet", "environment.json", "events.jsonl", "config.yaml"):
        (run.root / name).unlink()
    page = read(run)
    assert "tokens" not in {a.get("id") for a in page.all("h2")}
    assert "class 0 → class 1" in page.text
    assert page.text.count("none") >= 6
    assert [a for a in page.all("img") if a["alt"].startswith("Attribution")]
    assert "source images are gone or have changed" in page.text


def test_classes_stand_in_for_groups_where_no_attribute_is_known(run_folder: RunFolder) -> None:
    run = run_folder(attributes=())
    metrics = json.loads((run.folder("evaluate") / "metrics.json").read_text())
    for side in ("before", "after"):
        metrics[side] |= {"worst_group_accuracy": None, "adjusted_mean_accuracy": None}
        metrics[side]["groups"] = [g | {"attribute": None} for g in metrics[side]["groups"] if g["attribute"] == 0]
    (run.folder("evaluate") / "metrics.json").write_text(json.dumps(metrics))
    page = read(run)
    assert "Worst-class accuracy rose from 41.7% to 87.3%" in page.text
    assert "Worst-group" not in page.text
    assert "forest" not in page.text


def test_warnings_name_what_a_reader_must_know(run_folder: RunFolder) -> None:
    run = run_folder()
    summary = {"from_label": 0, "to_label": 1, "psi_rule": "quantile", "rho_rule": "value", "fallback": ["psi"]}
    (run.folder("prune") / "summary.json").write_text(json.dumps([summary]))
    about = json.loads((run.root / "dataset.json").read_text())
    about["quarantined"] = [{"path": "train/broken.jpg", "row": None, "reason": "the file is empty"}]
    (run.root / "dataset.json").write_text(json.dumps(about))
    page = read(run)
    why = "the configured ψ rule would have rejected more than prune.max_pruned allows"
    assert f"landbird → waterbird: {why}; the rule “quantile” was used instead." in page.text
    assert "Rules used, landbird → waterbird: ψ quantile, ρ value." in page.text
    assert "1 image could not be read and was left out: train/broken.jpg: the file is empty." in page.text


def test_leak_test_is_reported_and_warned_of_only_where_it_leaks(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=2)
    page = read(run)
    assert "Leak test: a probe tells real from generated images with AUROC 0.87" in page.text
    assert "its output predicts the class with AUROC 0.62 at most" in page.text
    assert "epoch 14, chosen by accuracy on validation counterfactuals" in page.text
    assert "traces of the generator" not in page.text
    metrics = json.loads((run.folder("evaluate") / "metrics.json").read_text())
    metrics["leak"]["by_attribute"][1]["label_auroc"] = 0.93
    metrics["leak"]["leaks"] = True
    (run.folder("evaluate") / "metrics.json").write_text(json.dumps(metrics))
    assert (
        "among training images of “lake”, a probe for generated images also predicts the class (AUROC 0.93)"
        in read(run).text
    )


def test_every_picture_and_chart_has_words(run_folder: RunFolder) -> None:
    page = read(run_folder())
    assert all(a["alt"] for a in page.all("img"))
    assert all(a.get("aria-label") or a.get("aria-hidden") == "true" for a in page.all("svg"))


def test_photographs_do_not_make_a_heavy_page(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=14, side=2 * thumbnails.THUMB, draw=noise)  # nothing compresses worse
    assert len(render(Run(run))) < 5_000_000


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DDBError, match="not a run folder"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_same_run_gives_the_same_page(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=2)
    assert render(Run(run)) == render(Run(run))
