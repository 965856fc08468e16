"""Figures for the selection of epochs, by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ddb.errors import ConfigError
from ddb.learn.predict import logits
from ddb.learn.validation import Held, group_cells, validator
from ddb.records import SAMPLES

CELLS = np.array([0] * 10 + [1] * 10 + [2] * 20)


@pytest.fixture
def case(make_classifier, colours, cpu):
    classifier = make_classifier()
    right = logits(classifier, colours.pixels, cpu, 40).argmax(1) == colours.labels
    return classifier, Held(colours.pixels, colours.labels, CELLS), right


@pytest.mark.parametrize("rule", ["worst_class", "worst_group", "counterfactual"])
def test_lowest_cell_comes_first_then_the_mean(case, cpu, rule):
    classifier, held, right = case
    figures = validator(rule, [held], cpu, 16)(classifier)
    assert figures == (min(right[cell == CELLS].mean() for cell in range(3)), right.mean())


def test_mean_and_last(case, cpu):
    classifier, held, right = case
    assert validator("mean", [held], cpu, 16)(classifier) == (right.mean(),)
    assert validator("last", [held], cpu, 16) is None


def test_several_parts_are_one_and_empty_ones_nothing(case, cpu):
    classifier, held, right = case
    halves = [Held(held.pixels[part], held.labels[part], held.cells[part]) for part in (slice(25), slice(25, 40))]
    empty = Held(held.pixels[:0], held.labels[:0], held.cells[:0])
    assert validator("worst_group", [*halves, empty], cpu, 16)(classifier)[1] == right.mean()


def samples(rows):
    return pa.Table.from_pylist(
        [{"id": i, "image": i, "label": y, "attribute": None, "split": "val"} for i, y in rows], schema=SAMPLES
    )


def test_group_cells_number_the_pairs():
    groups = pa.table({"id": ["c", "a", "b", "d"], "attribute": [1, 0, 1, 0]})
    cells = group_cells(samples([("a", 0), ("b", 0), ("c", 0), ("d", 1)]), groups, "erm")
    assert cells[1] == cells[2]
    assert len(set(cells.tolist())) == 3


@pytest.mark.parametrize("groups", [None, pa.table({"id": ["a"], "attribute": [1]})])
def test_missing_group_labels_are_said(groups):
    with pytest.raises(ConfigError, match='retrain.selection: "worst_group"'):
        group_cells(samples([("a", 0), ("b", 1)]), groups, 'retrain.selection: "worst_group"')
