"""JTT's error set, the composition of its epochs, and its two phases."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddb.learn.predict import logits
from ddb.learn.seeds import seed_of
from ddb.learn.training.fit import Material, fit
from ddb.rivals import RIVALS, Fitted, fit_rival, jtt
from ddb.rivals.jtt import JTTSettings, Recorder, balancing_copies, every_row, find_errors, grown
from rival_world import CPU, start


def test_the_recorder_notes_the_last_prediction_of_every_image():
    recorder = Recorder(np.array([0, 1, 2, 0]))
    first = torch.tensor([[0.0, 1, 0], [0, 1, 0], [0, 0, 1]])  # predicts 1, 1, 2
    assert recorder.weigh(np.array([0, 1, 2]), first, torch.ones(3)).tolist() == [1, 1, 1]
    assert recorder.state["wrong"].tolist() == [1, 0, 0, 0]
    recorder.weigh(np.array([0, 3]), torch.tensor([[2.0, 1, 0], [0, 0, 1]]), torch.ones(2))  # predicts 0, 2
    assert recorder.state["wrong"].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("copies", [0, 1, 20])
def test_an_epoch_has_every_image_once_and_errors_lambda_times_more(copies):
    errors = np.array([3, 7])
    batches = every_row(grown(10, errors, copies), 1)(torch.Generator().manual_seed(0), None)
    counts = np.bincount(np.concatenate([batch.rows for batch in batches]), minlength=10)
    assert counts.tolist() == [1 + copies * (row in (3, 7)) for row in range(10)]


@pytest.mark.parametrize(("count", "errors", "expected"), [(4795, 300, 13), (100, 50, 0), (100, 90, 0), (100, 1, 98)])
def test_balancing_copies_are_the_codes(count, errors, expected):
    """int((N - |E|) / |E|) - 1, not below 0."""
    assert balancing_copies(count, errors) == expected


def test_errors_after_are_those_of_the_model_after_t_epochs(world):
    errors = find_errors(world.problem, world.problem.fit, JTTSettings(first_epochs=2, errors="after"))
    twin, labels = start().classifier, world.problem.train.labels
    settings = world.problem.fit.model_copy(update={"epochs": 2})
    plan = every_row(np.arange(len(labels)), 32, whole=True)
    fit(
        twin,
        Material(world.problem.train, plan=plan),
        settings,
        CPU,
        seed_of(0, "rival", "first"),
        world.problem.folder,
    )
    expected = np.flatnonzero(logits(twin, world.problem.train.pixels, CPU, 50).argmax(axis=1) != labels)
    assert errors.tolist() == expected.tolist()
    assert set(np.flatnonzero(np.isin(world.problem.train_groups, (1, 2)))) <= set(errors)


@pytest.mark.parametrize("stopped", [False, True])
def test_errors_during_are_the_predictions_of_the_last_epochs_steps(world, monkeypatch, stopped):
    """Of every image, the incomplete last batch's as well; kept by the checkpoint when the fit is found finished."""
    wrong = {}

    class Watching(Recorder):
        def weigh(self, rows, outputs, losses):
            wrong.update(
                zip(rows.tolist(), (outputs.argmax(1).numpy() != world.problem.train.labels[rows]), strict=True)
            )
            return super().weigh(rows, outputs, losses)

    monkeypatch.setattr(jtt, "Recorder", Watching)
    settings = JTTSettings(first_epochs=2)
    errors = find_errors(world.problem, world.problem.fit, settings)
    if stopped:
        monkeypatch.setattr(jtt, "Recorder", Recorder)
        errors = find_errors(world.problem, world.problem.fit, settings)
    assert len(wrong) == 316
    assert errors.tolist() == sorted(row for row, is_wrong in wrong.items() if is_wrong)
    assert len(errors)


@pytest.mark.parametrize(("budget_of", "epochs"), [("epochs", 5), ("images", 2)])
def test_the_second_model_starts_afresh_and_trains_on_the_grown_set(world, monkeypatch, budget_of, epochs):
    calls = []

    def watch(problem, loaded, material, budget, phase, facts=None):
        calls.append((phase, budget.epochs, loaded, material))
        return Fitted(loaded, (), facts or {})

    monkeypatch.setattr(jtt, "train", watch)
    monkeypatch.setattr(jtt, "find_errors", lambda *_: np.arange(16))
    fitted = fit_rival(RIVALS["jtt"], world.problem, {"extra_copies": 20, "budget_of": budget_of})
    ((phase, done, loaded, material),) = calls
    assert (phase, done, fitted.facts["errors"]) == ("second", epochs, 16)  # 636 rows an epoch instead of 316
    assert torch.equal(loaded.classifier.head.weight, start().classifier.head.weight)
    rows = np.concatenate([b.rows for b in material.plan(torch.Generator().manual_seed(0), loaded.classifier)])
    assert len(rows) == 636 // 32 * 32


def test_a_fifth_of_the_epochs_where_nothing_is_said(world, monkeypatch):
    seen = []
    real = jtt.train
    monkeypatch.setattr(jtt, "train", lambda *args: seen.append(args[3].epochs) or real(*args))
    for epochs, expected in ((1, 1), (5, 1), (6, 2)):
        find_errors(world.problem, world.problem.fit.model_copy(update={"epochs": epochs}), JTTSettings())
        assert seen[-1] == expected


def test_without_errors_it_is_erm(world, monkeypatch, caplog):
    monkeypatch.setattr(jtt, "find_errors", lambda *_: np.arange(0))
    fitted = fit_rival(RIVALS["jtt"], world.problem, {"extra_copies": -1})
    assert "plain ERM" in caplog.text
    assert fitted.facts["extra_copies"] == 0


def test_reaches_the_minority_that_erm_does_not(world):
    before = world.accuracies(world.problem.erm())
    after = world.accuracies(fit_rival(RIVALS["jtt"], world.problem, {"extra_copies": 20}).classifier)
    assert before.min() < 0.5 < 0.9 < after.min()
