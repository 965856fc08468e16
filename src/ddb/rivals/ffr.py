"""FFR, From Fake to Real (Qraitem, Saenko and Plummer, ECCV 2024; code: mqraitem/From-Fake-to-Real).

1. A pretrained model is trained on generated images alone, equally many of every (label, background) cell, so that
   neither the background nor traces of the generator are correlated with the label.
2. All its layers are trained on the real, biased images.

The paper prompts a generator for every cell. Here the generated images are counterfactuals: label y on the background
of another class's image. Cells without counterfactuals (y on the background of y's own images) are filled with their
sources, which are real images (`fill: sources`), or left empty (`fill: nothing`; then background and label are
anti-correlated in phase 1). The paper draws k images of each cell, with k from the training group labels (the number
of images that would make all groups equal in size, divided among the cells); here cells are drawn equally often,
without training group labels. Phase 2 is ERM; the code's alternatives (resampling, GroupDRO, DFR) need those labels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from ddb.learn.training.fit import Images, Material
from ddb.learn.training.group_plans import balanced
from ddb.learn.training.joined import chosen_images, joined_images
from ddb.rivals import Fitted, Generated, Groups, Problem, Rival, TrainingSettings
from ddb.rivals.training import train


class FFRSettings(TrainingSettings):
    fill: Literal["sources", "nothing"] = Field(
        "sources", description="what stands for cells without generated images: the real sources, or nothing (ours)"
    )
    first_epochs: int | None = Field(
        None, ge=1, description="epochs of phase 1; empty: as many as of phase 2 (code: 50 and 50)"
    )
    first_lr_scale: float = Field(
        1.0, gt=0, description="multiplies the learning rate in phase 1 (code: 0.1, with Adam at 1e-4 and then 1e-3)"
    )


def synthetic_set(generated: Generated, train: Images, fill: Literal["sources", "nothing"]) -> tuple[Images, Groups]:
    """The images of phase 1 and their cells, int64 [M]: label * number of classes + class of the background."""
    images, backgrounds = generated.images, generated.from_labels
    if fill == "sources":
        sources = np.unique(generated.sources)
        real = chosen_images(train, sources)
        images, backgrounds = joined_images(images, real), np.concatenate([backgrounds, real.labels])
    classes = int(max(images.labels.max(), backgrounds.max())) + 1
    return images, images.labels * classes + backgrounds


def fit_ffr(problem: Problem, settings: FFRSettings) -> Fitted:
    assert problem.counterfactuals is not None, "declared in `uses`"
    budget = settings.budget(problem.fit)
    images, cells = synthetic_set(problem.counterfactuals, problem.train, settings.fill)
    plan = balanced(cells, budget.batch_size)
    material = Material(images, validate=problem.validate(), plan=plan)
    epochs = settings.first_epochs or budget.epochs
    first_budget = budget.model_copy(update={"epochs": epochs, "lr": budget.lr * settings.first_lr_scale})
    first = train(problem, problem.start(), material, first_budget, "synthetic")
    facts = {"synthetic_images": len(problem.counterfactuals.images.labels), "synthetic_epoch": first.facts["epoch"]}
    real = Material(problem.train, validate=problem.validate())
    return train(problem, first.classifier, real, budget, "real", facts)


RIVAL = Rival(
    name="ffr",
    title="FFR",
    uses=frozenset({"val_groups", "counterfactuals"}),
    settings=FFRSettings,
    grid=({}, {"lr_scale": 0.3}, {"first_lr_scale": 0.3}, {"fill": "nothing"}),
    fit=fit_ffr,
)
