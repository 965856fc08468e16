"""Figures, sentences and pictures on cases worked out by hand."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from ddb.data.patches import changed_by
from ddb.report import collect, pictures, timings, words
from ddb.report.charts.interval import Interval
from ddb.report.collect import GroupLine, MetricLine, groups
from ddb.report.reading import STAGES, Run
from ddb.report.sources import SourcePictures
from report_runs import Folder

RunFolder = Callable[..., Folder]


def line(
    name: str, before: float | None, after: float | None, n: int = 100, worst: tuple[bool, bool] = (True, True)
) -> GroupLine:
    sides = [None if v is None else Interval(v, v - 0.05, v + 0.05) for v in (before, after)]
    return GroupLine(name, n, sides[0], sides[1], *worst)


GROUPED = [MetricLine("Worst-group accuracy", "", 0.5, 0.5, True, False)]


def test_groups_without_training_images_are_marked(run_folder: RunFolder) -> None:
    run = Run(run_folder(stages=()))
    cells = [
        {"label": 0, "attribute": attribute, "n": 9, "accuracy": 0.5, "low": 0.2, "high": 0.8, **told}
        for attribute, told in ((0, {"train": 3}), (1, {"train": 0}))
    ]
    assert [group.unseen for group in groups(run, {"before": {"groups": cells}})] == [False, True]
    del cells[1]["train"]  # metrics.json of an earlier version
    assert not groups(run, {"before": {"groups": cells}})[1].unseen


@pytest.mark.parametrize(
    ("before", "after", "title", "sentence"),
    [
        (0.40, 0.80, "Worst-group accuracy rose from 40.0% to 80.0%", "The 95% intervals do not overlap."),
        (
            0.80,
            0.40,
            "Worst-group accuracy fell from 80.0% to 40.0%",
            "The 95% intervals do not overlap: retraining lowered the accuracy here.",
        ),
        (
            0.50,
            0.55,
            "Worst-group accuracy rose from 50.0% to 55.0%",
            "The 95% intervals overlap: the difference may be due to chance.",
        ),
        (
            0.50,
            0.5001,
            "Worst-group accuracy stayed at 50.0%",
            "The 95% intervals overlap: the difference may be due to chance.",
        ),
    ],
)
def test_headline_says_what_the_intervals_allow(
    before: float, after: float, title: str, sentence: str, run_folder: RunFolder
) -> None:
    found = words.headline([line("a", before, after)], GROUPED, Run(run_folder(stages=())), 12)
    assert found.title == title
    assert sentence in found.sentences


def test_headline_counts_images_and_names_both_groups(run_folder: RunFolder) -> None:
    groups = [line("a", 0.4, 0.9, 50, (True, False)), line("b", 0.7, 0.75, 80, (False, True))]
    story = words.headline(groups, GROUPED, Run(run_folder(stages=())), 1234).sentences[0]
    assert story == (
        "The worst group of the plain classifier is “a”: 20 of 50 correct. "
        "Retrained with 1,234 counterfactual images added, its worst group is “b”: 60 of 80 correct."
    )


def test_directions_add_up_to_the_candidates(run_folder: RunFolder) -> None:
    found = collect.directions(Run(run_folder(per_direction=14)))  # verdicts come in cycles of seven
    assert [d.name for d in found] == ["landbird → waterbird", "waterbird → landbird"]
    for direction in found:
        assert direction.painted == 14 == direction.reasons.total() + direction.undecided
        assert direction.reasons == Counter({"kept": 6, "psi": 2, "rho": 2, "psi+rho": 2, "over_budget": 2})


def test_strips_show_kept_and_rejected_of_both_directions(run_folder: RunFolder) -> None:
    run = Run(run_folder(per_direction=14))
    strips = pictures.strips(run, SourcePictures(run))
    for label in (0, 1):
        mine = [s.reason for s in strips if s.from_label == label]
        assert len(mine) == pictures.PER_DIRECTION
        assert mine.count("kept") == 6
        assert set(mine) == {"kept", "psi", "rho", "psi+rho", "over_budget"}
    assert all(s.original and s.mask and s.counterfactual and s.attribution for s in strips)


def test_mask_picture_marks_what_the_counterfactual_changed(run_folder: RunFolder) -> None:
    """Not the whole region that was to be repainted: a generator may take over less of it, or more."""
    folder = run_folder(per_direction=4)
    boxes = dict(Run(folder).rows("inpaint", ("id", "box")))
    patches = zip(boxes, folder.payload("inpaint", "patch", list(boxes)), strict=True)
    changed = {name: changed_by((64, 64), boxes[name], png or b"") for name, png in patches}
    for strip in pictures.strips(Run(folder), SourcePictures(Run(folder))):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(strip.mask.partition(",")[2]))), np.int64)
        assert (shown[..., 2] > shown[..., 0]).any()
        assert ((shown.max(axis=2) != shown.min(axis=2)) == changed[strip.id]).all()


def test_majority_cut_is_the_largest_loss_of_a_source(run_folder: RunFolder) -> None:
    run = Run(run_folder(per_direction=5))
    sources = {name for (name,) in run.rows("segment", ("id",))}
    losses = [loss for name, label, loss in run.rows("erm", ("id", "label", "loss")) if label == 1 and name in sources]
    found = collect.losses(run)[1]
    assert found.cut == max(losses)
    assert len(found.majority) == len(losses) == 5
    assert len(found.losses) == 105


def test_stage_times_survive_kills_and_restarts(run_folder: RunFolder) -> None:
    run = run_folder(stages=("erm", "score"), per_direction=1)
    events = [
        {"event": "started", "stage": "erm"}, {"event": "part", "stage": "erm", "seconds": 4.0},  # killed here
        {"event": "started", "stage": "erm"}, {"event": "part", "stage": "erm", "seconds": 1.0},
        {"event": "finished", "stage": "erm", "seconds": 2.5},
        {"event": "started", "stage": "score"}, {"event": "interrupted", "stage": "score", "seconds": 3.0},
    ]  # fmt: skip
    (run.root / "events.jsonl").write_text("".join(json.dumps(e | {"result": "f0"}) + "\n" for e in events))
    seconds = {stage.name: stage.seconds for stage in timings.stage_lines(Run(run))}
    assert seconds["erm"] == 6.5
    assert seconds["score"] == 3.0
    assert seconds["prune"] is None


def test_times_of_other_settings_do_not_count(run_folder: RunFolder) -> None:
    run = run_folder(stages=("erm",), per_direction=1)
    events = [
        {"event": "finished", "stage": "erm", "seconds": 40.0, "result": "other"},
        {"event": "finished", "stage": "erm", "seconds": 2.0, "result": "f0"},
    ]
    (run.root / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    assert timings.stage_lines(Run(run))[0].seconds == 2.0


def test_states_of_stages_that_are_not_shown(run_folder: RunFolder) -> None:
    lines = timings.stage_lines(Run(run_folder(stages=STAGES[:2], per_direction=1), {"segment": "unfinished"}))
    assert [line.state for line in lines[:4]] == ["finished", "finished", "unfinished", "not started"]
    assert [line.rows for line in lines[:4]] == [402, 2, 0, 0]


def test_token_cards_show_what_was_painted_with_the_token(run_folder: RunFolder) -> None:
    run = Run(run_folder(per_direction=10))
    cards = pictures.tokens(run, SourcePictures(run))
    for label, card in enumerate(cards):
        first = [name for name, target in run.rows("inpaint", ("id", "to_label")) if target == label][
            : pictures.PAINTED
        ]
        shown = SourcePictures(run).counterfactuals(first)
        assert card.painted == [shown[name].counterfactual for name in first]
        assert len(card.representatives) == card.count == 8
    alone = Run(run_folder(stages=("erm", "invert"), per_direction=2))
    assert [card.painted for card in pictures.tokens(alone, SourcePictures(alone))] == [[], []]
