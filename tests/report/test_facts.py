"""Facts, words and charts on cases worked out by hand."""

from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddb.data.images import read_mask
from ddb.report import collect, figures, pictures, timings, words
from ddb.report.collect import ClassLosses, Direction, Estimate, GroupLine, MetricLine
from ddb.report.reading import Run

RunFolder = Callable[..., Path]


def line(
    name: str, before: float | None, after: float | None, n: int = 100, worst: tuple[bool, bool] = (True, True)
) -> GroupLine:
    sides = [None if v is None else Estimate(v, v - 0.05, v + 0.05) for v in (before, after)]
    return GroupLine(name, n, sides[0], sides[1], *worst)


GROUPED = [MetricLine("Worst-group accuracy", "", 0.5, 0.5, True, False)]


@pytest.mark.parametrize(
    ("before", "after", "title", "sentence"),
    [
        (0.40, 0.80, "Worst-group accuracy rose from 40.0% to 80.0%", "The 95% intervals do not overlap."),
        (
            0.80,
            0.40,
            "Worst-group accuracy fell from 80.0% to 40.0%",
            "The 95% intervals do not overlap: balancing did harm here.",
        ),
        (
            0.50,
            0.55,
            "Worst-group accuracy rose from 50.0% to 55.0%",
            "The 95% intervals overlap: the difference may be chance.",
        ),
        (
            0.50,
            0.5001,
            "Worst-group accuracy stayed at 50.0%",
            "The 95% intervals overlap: the difference may be chance.",
        ),
    ],
)
def test_headline_says_what_the_intervals_allow(before: float, after: float, title: str, sentence: str) -> None:
    found = words.headline([line("a", before, after)], GROUPED, [], 12)
    assert found.title == title
    assert sentence in found.sentences


def test_headline_counts_images_and_names_both_groups() -> None:
    groups = [line("a", 0.4, 0.9, 50, (True, False)), line("b", 0.7, 0.75, 80, (False, True))]
    story = words.headline(groups, GROUPED, [], 1234).sentences[0]
    assert story == (
        "The plain classifier did worst on “a”: 20 of 50 right. "
        "Retrained with 1,234 counterfactual images added, its weakest group is now “b”, 60 of 80 right."
    )


def test_directions_add_up_to_the_candidates(run_folder: RunFolder) -> None:
    found = collect.directions(Run(run_folder(per_direction=14)))  # verdicts come in cycles of seven
    assert [d.name for d in found] == ["landbird → waterbird", "waterbird → landbird"]
    for direction in found:
        assert direction.painted == 14 == direction.reasons.total() + direction.waiting
        assert direction.reasons == Counter({"kept": 6, "psi": 2, "rho": 2, "psi+rho": 2, "over_budget": 2})


def test_strips_show_kept_and_rejected_of_both_directions(run_folder: RunFolder) -> None:
    strips = pictures.strips(Run(run_folder(per_direction=14)))
    for label in (0, 1):
        mine = [s.reason for s in strips if s.from_label == label]
        assert len(mine) == pictures.PER_DIRECTION
        assert mine.count("kept") == 6
        assert set(mine) == {"kept", "psi", "rho", "psi+rho", "over_budget"}
    assert all(s.original and s.mask and s.counterfactual and s.attribution for s in strips)


def test_mask_picture_marks_what_the_counterfactual_may_have_changed(run_folder: RunFolder) -> None:
    """Not the whole region that was to be repainted: a generator may take over less of it, or more."""
    run = Run(run_folder(per_direction=4))
    changed = {row["id"]: read_mask(row["changed"]) for row in run.rows("inpaint", ("id", "changed"))}
    for strip in pictures.strips(run):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(strip.mask.partition(",")[2]))), np.int64)
        assert (shown[..., 2] > shown[..., 0]).any()
        assert ((shown.max(axis=2) != shown.min(axis=2)) == changed[strip.id]).all()


def test_majority_cut_is_the_largest_loss_of_a_source(run_folder: RunFolder) -> None:
    run = Run(run_folder(per_direction=5))
    sources = {row["id"] for row in run.rows("segment", ())}
    rows = [row for row in run.rows("erm", ("label", "loss")) if row["label"] == 1 and row["id"] in sources]
    found = collect.losses(run)[1]
    assert found.cut == max(row["loss"] for row in rows)
    assert len(found.majority) == len(rows) == 5
    assert len(found.losses) == 105


def test_stage_times_survive_kills_restarts_and_stale_rows(run_folder: RunFolder) -> None:
    run = run_folder(stages=(), per_direction=1)
    events = [
        {"event": "started", "stage": "erm"}, {"event": "part", "stage": "erm", "seconds": 4.0},  # killed here
        {"event": "started", "stage": "erm"}, {"event": "part", "stage": "erm", "seconds": 1.0},
        {"event": "finished", "stage": "erm", "seconds": 2.5},
        {"event": "finished", "stage": "score", "seconds": 99.0}, {"event": "stale", "stage": "score"},
        {"event": "started", "stage": "score"}, {"event": "interrupted", "stage": "score", "seconds": 3.0},
    ]  # fmt: skip
    (run / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events) + '{"event": "fini')
    seconds = {stage.name: stage.seconds for stage in timings.stage_lines(Run(run))}
    assert seconds["erm"] == 6.5
    assert seconds["score"] == 3.0
    assert seconds["prune"] is None


def test_whiskers_stand_where_the_figures_are() -> None:
    svg = str(figures.whiskers(Estimate(0.4, 0.3, 0.55), None, "a"))
    assert re.findall(r'<circle[^>]*cx="([\d.]+)%"', svg) == ["40.00"]
    assert 'x1="30.00%" y1="13.0" x2="55.00%"' in svg
    assert "after" not in svg


def test_histogram_stacks_every_loss_once() -> None:
    losses = ClassLosses("a", [0.001] * 3 + [0.1] * 5, [0.001] * 3, 0.001, [0.1])
    svg = str(figures.histogram(losses, (-4, 0)))
    heights = {kind: float(h) for kind, h in re.findall(r'class="(majority|others)"[^>]*height="([\d.]+)"', svg)}
    assert heights["majority"] / heights["others"] == pytest.approx(3 / 5, abs=0.01)
    assert svg.count('class="tick"') == 1
    assert svg.count('class="cut"') == 1


def test_verdict_bar_fills_its_share() -> None:
    direction = Direction("a → b", 0, 1, 10, 2, Counter({"kept": 5, "psi": 2, "psi+rho": 1}))
    svg = str(figures.verdicts(direction, 20))
    widths = [float(w) for w in re.findall(r'width="([\d.]+)%" height="16', svg)]
    assert widths == [25.0, 10.0, 5.0, 10.0]
