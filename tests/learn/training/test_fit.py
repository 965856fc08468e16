"""The training loop: its loss by hand, its result after a kill, and what it keeps."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from ddb.config import Augment, FitConfig
from ddb.errors import ModelError, StageFailed
from ddb.learn.device import Runtime
from ddb.learn.predict import logits
from ddb.learn.training import fit as fitting
from ddb.learn.training.batches import Batch
from ddb.learn.training.fit import CHECKPOINT, RANKING, Images, Material, Term, fit
from training_step import step_loss

PLAIN = Augment(scale=(1.0, 1.0), flip=False)
SHORT = FitConfig(epochs=4, batch_size=10, lr=0.05)


def state(classifier):
    return {name: value.clone() for name, value in classifier.model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def accuracy(images, runtime):
    return lambda c: (float((logits(c, images.pixels, runtime, 40).argmax(1) == images.labels).mean()),)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code under test may catch it."""


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_killed_fit_ends_with_the_weights_of_an_unbroken_one(
    make_classifier, colours, repeatable, tmp_path, monkeypatch, optimiser, epoch
):
    settings = SHORT.model_copy(
        update={"optimiser": optimiser, "schedule": "cosine", "lr": 0.01, "augment": Augment(colour=0.3, noise=4)}
    )
    terms = (Term(Images(255 - colours.pixels[:7], colours.labels[:7]), 0.5, 3),)
    values = [(0.5,), (0.9,), (0.6,), (0.7,)]  # the second epoch is best, in both runs

    def material(count):
        calls = iter(values[count:])
        return Material(colours, terms, lambda _: next(calls))

    unbroken = make_classifier()
    whole = fit(unbroken, material(0), settings, repeatable, 7, tmp_path / "unbroken")

    real = fitting._train_epoch

    def die_later(*arguments):
        if arguments[-1] == epoch + 1:
            real(*arguments)  # the epoch's work is done but not saved
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(fitting, "_train_epoch", die_later)
    with pytest.raises(Killed):
        fit(make_classifier(), material(0), settings, repeatable, 7, tmp_path / "broken")
    monkeypatch.setattr(fitting, "_train_epoch", real)
    resumed = make_classifier(seed=99)  # whatever it starts from, the checkpoint decides
    rest = fit(resumed, material(epoch), settings, repeatable, 7, tmp_path / "broken")
    assert same(state(unbroken), state(resumed))
    assert (rest.kept, rest.figures, rest.history) == (whole.kept, whole.figures, whole.history)
    assert rest.kept == 2
    checkpoints = [(tmp_path / run / CHECKPOINT).read_bytes() for run in ("unbroken", "broken")]
    assert checkpoints[0] == checkpoints[1]


def test_another_seed_gives_other_weights(make_classifier, colours, cpu, tmp_path):
    first, second = make_classifier(), make_classifier()
    fit(first, Material(colours), SHORT, cpu, 1, tmp_path / "a")
    fit(second, Material(colours), SHORT, cpu, 2, tmp_path / "b")
    assert not same(state(first), state(second))


def test_learns(make_classifier, colours, cpu, tmp_path):
    classifier = make_classifier()
    fit(classifier, Material(colours), SHORT.model_copy(update={"epochs": 10}), cpu, 0, tmp_path)
    assert accuracy(colours, cpu)(classifier) == (1.0,)


def test_loss_is_the_sum_of_the_parts_means(make_classifier, colours, cpu):
    """L = mean of weighted training losses + sum of gamma_c x mean of class c's losses, in one forward pass."""
    classifier = make_classifier()
    classifier.model.eval()
    weights = np.linspace(0.5, 2, 40).astype(np.float32)
    train = Images(colours.pixels, colours.labels, weights)
    terms = (Term(Images(colours.pixels[:5], colours.labels[:5]), 0.3, 4), Term(colours, 1.7, 6))
    batch = [Batch(rows) for rows in (np.arange(10), np.array([0, 1, 2, 4]), np.arange(20, 26))]
    settings = FitConfig(augment=PLAIN)
    loss = step_loss(classifier, Material(train, terms), batch, settings, cpu)

    def mean(rows, weight=1.0):
        images = torch.from_numpy(colours.pixels[rows]).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (classifier.mean, classifier.std))
        outputs = classifier.model((images - mean) / std)
        own = F.cross_entropy(outputs, torch.from_numpy(colours.labels[rows]), reduction="none")
        return (own * weight).mean().item()

    rows = [part.rows for part in batch]
    expected = mean(rows[0], torch.from_numpy(weights[:10])) + 0.3 * mean(rows[1]) + 1.7 * mean(rows[2])
    assert loss == pytest.approx(expected, rel=1e-5)


def test_one_step_is_plain_sgd(make_classifier, colours, cpu, tmp_path):
    """A fit of one epoch with one batch against torch.optim.SGD written out."""
    settings = FitConfig(epochs=1, batch_size=64, lr=0.1, weight_decay=0.01, augment=PLAIN)
    classifier, twin = make_classifier(), make_classifier()
    classifier.model.drop = twin.model.drop = torch.nn.Identity()
    fit(classifier, Material(colours), settings, cpu, 0, tmp_path)
    optimiser = torch.optim.SGD(twin.model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    images = torch.from_numpy(colours.pixels).permute(0, 3, 1, 2).float()
    F.cross_entropy(twin.model.train()(twin.normalise(images)), torch.from_numpy(colours.labels)).backward()
    optimiser.step()
    for name, value in state(twin).items():
        torch.testing.assert_close(state(classifier)[name], value, atol=1e-5, rtol=1e-4)


def rows_of(classifier, material, batch_size):
    batches = fitting._batches(classifier, material, batch_size, torch.Generator().manual_seed(0))
    return [[part.rows for part in batch] for batch in batches]


def test_an_epoch_uses_every_image_once_and_terms_evenly(make_classifier, colours):
    terms = (Term(Images(colours.pixels[:7], colours.labels[:7]), 1.0, 5),)
    batches = rows_of(make_classifier(), Material(colours, terms), 10)
    assert [[len(rows) for rows in batch] for batch in batches] == [[10, 5]] * 4
    assert sorted(np.concatenate([batch[0] for batch in batches])) == list(range(40))
    counts = np.bincount(np.concatenate([batch[1] for batch in batches]), minlength=7)
    assert counts.max() - counts.min() <= 1


def test_fewer_images_than_a_batch_are_one_batch(make_classifier, colours):
    assert [len(rows) for (rows,) in rows_of(make_classifier(), Material(colours), 64)] == [40]


def test_keeps_the_best_epoch_and_the_later_of_equals(make_classifier, colours, cpu, tmp_path):
    seen, values = [], iter([0.2, 0.8, 0.8, 0.1])

    def validate(classifier):
        seen.append(state(classifier))
        return (next(values),)

    classifier = make_classifier()
    progress = fit(classifier, Material(colours, (), validate), SHORT, cpu, 0, tmp_path)
    assert progress.kept == 3
    assert same(state(classifier), seen[2])
    assert not classifier.model.training


def test_rank_epoch_is_stored_beside(make_classifier, colours, cpu, tmp_path):
    seen = []

    def validate(classifier):
        seen.append(state(classifier))
        return (1.0,)

    fit(make_classifier(), Material(colours, (), validate, rank_epoch=2), SHORT, cpu, 0, tmp_path)
    assert same(load_file(tmp_path / RANKING), seen[1])


def test_last_layer_only(make_classifier, colours, cpu, tmp_path):
    classifier = make_classifier()
    before = state(classifier)
    fit(classifier, Material(colours, last_layer_only=True), SHORT, cpu, 0, tmp_path)
    changed = {name for name, value in state(classifier).items() if not torch.equal(value, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_epoch(make_classifier, colours, cpu, tmp_path, monkeypatch):
    real, count = fitting.put_gradients, iter(range(100))

    def turn_bad(*arguments):
        loss = real(*arguments)
        return loss * float("nan") if next(count) == 6 else loss  # 4 steps an epoch: epoch 2, step 3

    monkeypatch.setattr(fitting, "put_gradients", turn_bad)
    with pytest.raises(StageFailed, match="epoch 2, step 3.*checkpoint of epoch 1"):
        fit(make_classifier(), Material(colours), SHORT, cpu, 0, tmp_path)
    monkeypatch.setattr(fitting, "put_gradients", real)
    unbroken, resumed = make_classifier(), make_classifier()
    fit(unbroken, Material(colours), SHORT, cpu, 0, tmp_path / "unbroken")
    assert fit(resumed, Material(colours), SHORT, cpu, 0, tmp_path).history[0]["epoch"] == 1
    assert same(state(unbroken), state(resumed))


def test_a_lr_that_explodes_says_so(make_classifier, colours, cpu, tmp_path):
    with pytest.raises(StageFailed, match="Lower lr"):
        fit(make_classifier(), Material(colours), SHORT.model_copy(update={"lr": 1e20}), cpu, 0, tmp_path)


def test_a_damaged_checkpoint_is_named(make_classifier, colours, cpu, tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match="checkpoint.safetensors is damaged"):
        fit(make_classifier(), Material(colours), SHORT, cpu, 0, tmp_path)


def test_bf16_trains_as_well(make_classifier, colours, tmp_path):
    classifier = make_classifier()
    runtime = Runtime(torch.device("cpu"), torch.bfloat16)
    fit(classifier, Material(colours), SHORT.model_copy(update={"epochs": 10}), runtime, 0, tmp_path)
    assert accuracy(colours, runtime.exact())(classifier)[0] >= 0.95
    assert next(classifier.model.parameters()).dtype == torch.float32


def test_learning_rate():
    cosine = FitConfig(lr=0.4, epochs=8, schedule="cosine")
    assert [fitting.learning_rate(cosine, t) for t in (0, 4, 8)] == pytest.approx([0.4, 0.2, 0])
    assert fitting.learning_rate(FitConfig(lr=0.4, epochs=8), 5) == 0.4


def test_says_what_each_epoch_did(make_classifier, colours, cpu, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "ddb"):
        fit(make_classifier(), Material(colours), SHORT, cpu, 0, tmp_path)
    assert [line.split(":")[0] for line in caplog.messages] == [f"epoch {n}/4" for n in (1, 2, 3, 4)]
