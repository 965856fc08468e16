"""Selection of samples: majority, representatives, targets and budgets."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb.errors import ConfigError
from ddb.learn import selection
from ddb.records import PREDICTIONS


def predictions(rows: list[tuple[str, int, str, float, list[float]]]) -> pa.Table:
    names = ("id", "label", "split", "loss", "probabilities")
    rest = {"correct": True, "status": "ok", "error": ""}
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) | rest for row in rows], schema=PREDICTIONS)


EVEN = [0.5, 0.5]
TABLE = predictions(
    [
        ("a", 0, "train", 0.3, [0.8, 0.2]),
        ("b", 0, "train", 0.1, [0.9, 0.1]),
        ("c", 1, "train", 0.0, [0.4, 0.6]),
        ("d", 0, "train", 2.0, [0.1, 0.9]),
        ("e", 0, "val", 0.0, EVEN),
        ("f", 0, "train", 0.1, [0.6, 0.4]),
        ("g", 1, "val", 9.0, EVEN),
    ]
)


def test_majority_is_lowest_loss_first_training_alone():
    assert selection.majority(TABLE, 0, 3) == ["b", "f", "a"]  # b and f tie: table order
    assert selection.majority(TABLE, 1, 9) == ["c"]


def test_representatives_are_highest_loss_first():
    assert selection.representatives(TABLE, 0, 2, 0.0) == ["d", "a"]
    assert selection.representatives(TABLE, 0, 2, 0.25) == ["a", "b"]  # the top quarter (d) is taken for noise
    assert selection.representatives(TABLE, 0, 0, 0.0) == []


def test_mean_probability_is_of_the_class_over_the_class():
    assert selection.mean_probabilities(TABLE) == {
        0: pytest.approx((0.8 + 0.9 + 0.1 + 0.6) / 4),
        1: pytest.approx(0.6),
    }


def test_rows_that_failed_do_not_count():
    rows = TABLE.to_pylist()
    rows[1]["status"] = "error"
    assert selection.majority(pa.Table.from_pylist(rows, schema=PREDICTIONS), 0, 1) == ["f"]


THREE = predictions(
    [(f"t{y}{n}", y, "train", 0.1, [1.0, 0.0, 0.0]) for y, size in ((0, 10), (1, 20), (2, 30)) for n in range(size)]
    + [("v0", 0, "val", 1.0, [0.6, 0.1, 0.3]), ("v1", 1, "val", 1.0, [0.2, 0.7, 0.1])]
)


def test_targets_follow_the_confusion_on_validation():
    assert selection.targets(THREE, 0, 3) == [2, 1]
    assert selection.targets(THREE, 1, 3, 1) == [0]
    assert selection.targets(TABLE, 0, 2) == [1]


def test_budgets_of_two_classes_are_the_smaller_size():
    rows = [(f"a{n}", 0, "train", 0.1, EVEN) for n in range(7)] + [(f"b{n}", 1, "train", 0.1, EVEN) for n in range(3)]
    assert selection.budgets(predictions(rows), 2, None) == {(0, 1): 3, (1, 0): 3}
    assert selection.budgets(predictions(rows), 2, 5) == {(0, 1): 5, (1, 0): 3}  # class 1 has no more than 3 images


def test_budgets_may_differ_from_class_to_class():
    rows = [(f"a{n}", 0, "train", 0.1, EVEN) for n in range(7)] + [(f"b{n}", 1, "train", 0.1, EVEN) for n in range(9)]
    assert selection.budgets(predictions(rows), 2, [5, 0]) == {(0, 1): 5, (1, 0): 0}
    assert selection.budgets(predictions(rows), 2, [2, 100]) == {(0, 1): 2, (1, 0): 9}
    with pytest.raises(ConfigError, match=r"inpaint\.per_class: 3 numbers for 2 classes"):
        selection.budgets(predictions(rows), 2, [1, 2, 3])


def test_budgets_of_three_classes_are_shared_by_confusion():
    found = selection.budgets(THREE, 3, 8)
    assert found[0, 2] == 6  # 0.3 against 0.1
    assert found[0, 1] == 2


@given(st.lists(st.integers(1, 40), min_size=2, max_size=4), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_no_class_gives_or_takes_more_than_its_size(sizes, seed):
    rng, classes = np.random.default_rng(seed), len(sizes)
    rows = [
        (f"{y}-{n}", y, "train", 0.1, rng.dirichlet(np.ones(classes)).tolist())
        for y, size in enumerate(sizes)
        for n in range(size)
    ]
    found = selection.budgets(predictions(rows), classes, None)
    for label, size in enumerate(sizes):
        slack = classes  # every direction is rounded
        assert sum(n for (i, _), n in found.items() if i == label) <= size + slack
        assert sum(n for (_, j), n in found.items() if j == label) <= size + slack
