"""ddb bench --groups discovered: methods get discovered groups and no attribute; test figures are over given ones."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from bench_runs import config, options
from ddb.backends.classifiers.timm_classifier import create_classifier
from ddb.bench import scores
from ddb.bench.fits.trial import Trial, open_trial
from ddb.bench.groups import check_groups
from ddb.engine.progress import Lines
from ddb.errors import ConfigError

ENCODER = {"encoder": "pocket"}


def opened(birds: Path, out: Path, **changes: object) -> Trial:
    asked = options(groups="discovered")
    return open_trial(config(birds, discover={**ENCODER, **changes}), asked, 0, out, None, Lines(io.StringIO()))


@pytest.fixture(scope="module")
def trial(birds: Path, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return opened(birds, tmp_path_factory.mktemp("discovered") / "seed-0")


def test_methods_are_given_the_discovered_groups(trial: Trial) -> None:
    problem = trial.problem
    assert problem.attributes == trial.dataset.discovered
    assert set(problem.attributes) <= {"forest", "woods", "lake", "pond"}
    for split, groups in (("train", problem.train_groups), ("val", problem.val_groups)):
        samples = trial.dataset.split(split)
        labels, codes = samples["label"].to_numpy(), samples["discovered"].to_numpy()
        assert np.array_equal(groups, labels * len(problem.attributes) + codes)


def test_no_attribute_is_among_what_they_see(trial: Trial) -> None:
    assert "attribute" in trial.dataset.samples.column_names
    assert trial.dataset.attributes == ("land", "water")
    assert not {"land", "water"} & set(trial.seen.attributes)
    assert trial.config.erm.selection == trial.config.retrain.selection == "discovered"
    assert not check_groups(trial.seen, "worst_group")


def test_the_test_figures_are_over_given_groups(trial: Trial) -> None:
    untrained = create_classifier(trial.config.erm, trial.dataset.classes, 0)
    names = {row["name"] for row in scores.score(trial, untrained)["groups"]}
    assert names == {f"{label} / {place}" for label in ("landbird", "waterbird") for place in ("land", "water")}


def test_nothing_found_is_said(birds: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--groups discovered: nothing usable was found"):
        opened(birds, tmp_path, strength=1.0)
