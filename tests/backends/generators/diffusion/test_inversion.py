"""Learned tokens: the loss and gradient of diffusers' own example, and that learning helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline
from safetensors.torch import load_file
from scipy import stats

from ddb.backends import Lesson, Task
from ddb.backends.generators.diffusion.learning import inversion
from ddb.backends.generators.diffusion.learning.denoising import Noised, denoising_losses
from ddb.backends.generators.diffusion.learning.inversion import TextualInversion, kept_check
from ddb.backends.generators.diffusion.learning.views import BACKGROUND_WEIGHT, encode_views
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.tokens import read_token
from ddb.config import InvertConfig, LatentDiffusionConfig
from ddb.errors import DDBError, StageFailed

Tasks = Callable[..., list[Task]]
PAINT = LatentDiffusionConfig(weights="tiny", image_size=32, steps=2, batch_size=4)
LEARN = InvertConfig(steps=60, batch_size=4, lr=0.05, vectors=2, check_every=20)
TOKEN = "<ddb-0>"


def diffusers_pipeline(kind: str, folder: Path) -> Any:
    if kind.startswith("xl"):
        return StableDiffusionXLInpaintPipeline.from_pretrained(folder, add_watermarker=False)
    return StableDiffusionInpaintPipeline.from_pretrained(folder, safety_checker=None)


@pytest.fixture
def lesson(tasks: Tasks) -> Lesson:
    items = tasks(6)
    return Lesson(0, [t.image for t in items], [t.mask for t in items], "bird", seed=3)


def reference_step(
    pipe: Any, prompt: str, rows: list[torch.Tensor], views: Any, times: torch.Tensor, noise: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Loss and token gradients of diffusers' examples/textual_inversion, for one encoder and for two: the
    token is a row of each embedding table, the loss a plain mean over images, channels and cells."""
    paired = hasattr(pipe, "text_encoder_2")
    parts = [(pipe.tokenizer, pipe.text_encoder)]
    parts += [(pipe.tokenizer_2, pipe.text_encoder_2)] if paired else []
    states, pooled, tables = [], None, []
    for (tokenizer, encoder), vectors in zip(parts, rows, strict=True):
        pipe.load_textual_inversion({TOKEN: vectors.detach()}, tokenizer=tokenizer, text_encoder=encoder)
        getattr(encoder, "text_model", encoder).eos_token_id = tokenizer.eos_token_id  # see test_the_pooled_vector_...
        tables.append(encoder.get_input_embeddings().weight.requires_grad_())
        text = [pipe.maybe_convert_prompt(prompt, tokenizer)] * len(times)
        output = encoder(
            tokenizer(text, padding="max_length", return_tensors="pt").input_ids, output_hidden_states=True
        )
        states.append(output.hidden_states[-2] if paired else output[0])
        pooled = output[0]
    schedule = DDPMScheduler.from_config(pipe.scheduler.config)
    noisy = schedule.add_noise(views.latents, noise, times)
    if views.masked is not None:
        noisy = torch.cat([noisy, views.mask, views.masked], dim=1)
    sizes = torch.tensor([[32.0, 32.0, 0.0, 0.0, 32.0, 32.0]] * len(times))  # original size, crop corner, target size
    told = {"text_embeds": pooled, "time_ids": sizes} if paired else None
    output = pipe.unet(noisy, times, torch.cat(states, dim=-1), added_cond_kwargs=told).sample
    velocity = schedule.config.prediction_type == "v_prediction"
    target = schedule.get_velocity(views.latents, noise, times) if velocity else noise
    loss = torch.nn.functional.mse_loss(output, target, reduction="mean")
    loss.backward()
    return loss, [table.grad[-len(rows[0]) :] for table in tables]


def test_a_step_equals_diffusers_training_example(
    kind: str, model: Diffusion, folders: dict[str, Path], lesson: Lesson
) -> None:
    """Both prediction types are among the kinds."""
    views = encode_views(model, PAINT, lesson, inside_mask=False).pick(torch.tensor([0, 4, 7]))
    times, noise = torch.tensor([20, 480, 960]), torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    draw = torch.Generator().manual_seed(2)
    rows = [torch.randn(2, one.width, generator=draw).requires_grad_() for one in model.prompts.encoders]
    prompt, prompts = f"a photo of a {TOKEN} bird", model.prompts.with_tokens({TOKEN: rows})
    text = prompts.embed(prompts.ids(prompt), {TOKEN: tuple(rows)})
    loss = denoising_losses(model, text, views, Noised(torch.arange(3), times, noise)).mean()
    loss.backward()
    expected, gradients = reference_step(diffusers_pipeline(kind, folders[kind]), prompt, rows, views, times, noise)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    for vectors, gradient in zip(rows, gradients, strict=True):
        largest = float(gradient.abs().max())  # about 1e-4, so that 1e-5 alone would say little
        torch.testing.assert_close(vectors.grad, gradient, atol=min(1e-5, 1e-4 * largest), rtol=1e-5)
        assert largest > 1e-5


def test_the_loss_counts_inside_the_mask_alone(nine: Diffusion, lesson: Lesson) -> None:
    views = encode_views(nine, PAINT, lesson, inside_mask=True).pick(torch.tensor([0, 1]))
    assert 0 < views.mask.mean() < 1
    text, times = nine.prompts.encode("a bird"), torch.tensor([500, 500])
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    schedule = DDPMScheduler.from_config(nine.schedule)
    inputs = torch.cat([schedule.add_noise(views.latents, noise, times), views.mask, views.masked], dim=1)
    velocity = schedule.get_velocity(views.latents, noise, times)
    error = (nine.unet(inputs, times, text.hidden.expand(2, -1, -1)).sample - velocity) ** 2
    by_hand = [float(error[i][:, views.mask[i, 0] > 0].mean()) for i in range(2)]
    losses = denoising_losses(nine, text, views, Noised(torch.arange(2), times, noise))
    assert losses.tolist() == pytest.approx(by_hand, rel=1e-4)


def test_mirror_images_are_mirrored_before_encoding(four: Diffusion, lesson: Lesson) -> None:
    views = encode_views(four, PAINT, lesson, inside_mask=True)
    images, masks = ([array[:, ::-1].copy() for array in arrays] for arrays in (lesson.images, lesson.masks))
    flipped = Lesson(0, images, masks, "bird", 3)
    torch.testing.assert_close(views.latents[6:], encode_views(four, PAINT, flipped, inside_mask=True).latents[:6])
    assert torch.equal(views.mask[6:], views.mask[:6].flip(3))


@pytest.mark.parametrize("kind", ["xl_nine", "xl_four"])
def test_two_encoders_learn_together(model: Diffusion, lesson: Lesson, tmp_path: Path) -> None:
    learned = TextualInversion(model, LEARN.model_copy(update={"steps": 20}), PAINT).learn(lesson, tmp_path)
    assert min(learned.losses) < learned.losses[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["token-0.safetensors", "token-0_2.safetensors"]
    initial = model.prompts.initial("bird", 2)
    assert not model.prompts.tokens, "the model stays as it is"
    for rows, start in zip(read_token(TOKEN, learned.file, 2), initial, strict=True):
        assert rows.shape == start.shape
        assert (rows - start).abs().max() > 0.02 * start.abs().max()


def test_learning_lowers_the_held_out_loss(nine: Diffusion, lesson: Lesson, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in nine.unet.state_dict().items()}
    table = nine.prompts.encoders[0].table.clone()
    learned = TextualInversion(nine, LEARN, PAINT).learn(lesson, tmp_path)
    assert len(learned.losses) == 4
    assert min(learned.losses) < learned.losses[0]
    assert torch.equal(nine.prompts.encoders[0].table, table)
    assert all(torch.equal(before[name], value) for name, value in nine.unet.state_dict().items())
    vectors = load_file(learned.file)[TOKEN]
    assert vectors.shape == (2, 32)
    assert vectors.dtype == torch.float32
    assert [path.name for path in tmp_path.iterdir()] == ["token-0.safetensors"]


def test_learning_again_gives_the_same_bytes(nine: Diffusion, lesson: Lesson, tmp_path: Path) -> None:
    quick = LEARN.model_copy(update={"steps": 5})
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files.append(TextualInversion(nine, quick, PAINT).learn(lesson, tmp_path / name).file.read_bytes())
    assert files[0] == files[1]


def test_the_vectors_of_the_kept_check_are_kept(nine: Diffusion, lesson: Lesson, tmp_path: Path, monkeypatch) -> None:
    """The file is that of a run that stops at the check which is kept."""
    quick = LEARN.model_copy(update={"steps": 8, "check_every": 1})
    monkeypatch.setattr(
        "ddb.backends.generators.diffusion.learning.inversion.kept_check", lambda losses: min(5, len(losses) - 1)
    )
    learned = TextualInversion(nine, quick, PAINT).learn(lesson, tmp_path)
    (tmp_path / "short").mkdir()
    short = TextualInversion(nine, quick.model_copy(update={"steps": 5}), PAINT).learn(lesson, tmp_path / "short")
    assert short.losses == learned.losses[:6]
    assert short.file.read_bytes() == learned.file.read_bytes()


class TestKeptCheck:
    IMAGES = np.array([0.3, 0.5, 0.4, 0.8])  # held-out losses of four images: they differ more than checks do

    def test_a_rise_within_the_error_keeps_the_last(self) -> None:
        shift = np.array([0.02, -0.01, 0.01, -0.005])  # mean 0.004
        assert kept_check(np.stack([self.IMAGES, self.IMAGES + shift])) == 1

    def test_a_rise_on_every_image_keeps_the_lowest(self) -> None:
        assert kept_check(np.stack([self.IMAGES + 0.1, self.IMAGES, self.IMAGES + [0.02, 0.01, 0.02, 0.01]])) == 1

    def test_the_limit_is_a_paired_t_test(self) -> None:
        spread = np.array([0.01, -0.02, 0.03, -0.02])
        for mean in np.linspace(0.001, 0.05, 20):
            later = self.IMAGES + spread + mean
            worse = stats.ttest_rel(later, self.IMAGES, alternative="greater").pvalue < 0.05
            assert kept_check(np.stack([self.IMAGES, later])) == (0 if worse else 1)

    def test_one_image_keeps_the_lowest(self) -> None:
        assert kept_check(np.array([[0.5], [0.3], [0.31]])) == 1


def test_vectors_stay_in_the_range_of_real_words(nine: Diffusion, lesson: Lesson, tmp_path: Path) -> None:
    fast = LEARN.model_copy(update={"lr": 5.0, "steps": 10, "check_every": 1})
    learned = TextualInversion(nine, fast, PAINT).learn(lesson, tmp_path)
    norms = load_file(learned.file)[TOKEN].norm(dim=1)
    assert norms.max() <= 2.01 * nine.prompts.encoders[0].table.norm(dim=1).max()


def test_bfloat16_rows_are_learned_as_they_are_kept(
    model: Diffusion, lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file holds bfloat16, and its vectors have the held-out loss of the check that is kept: here the lowest."""
    monkeypatch.setattr(
        "ddb.backends.generators.diffusion.learning.inversion.kept_check",
        lambda losses: int(losses.mean(axis=1).argmin()),
    )
    settings = LEARN.model_copy(update={"rows": "bf16", "steps": 6, "check_every": 3})
    inverter = TextualInversion(model, settings, PAINT)
    learned = inverter.learn(lesson, tmp_path)
    (rows,) = load_file(learned.file).values()
    assert rows.dtype == torch.bfloat16
    again = TextualInversion(model, settings.model_copy(update={"lr": 1e-12, "rows": "fp32"}), PAINT)
    again_rows = read_token(TOKEN, learned.file, len(model.prompts.encoders))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.prompts), "initial", lambda self, words, count: tuple(r.float() for r in again_rows))
        patch.setattr("ddb.backends.generators.diffusion.learning.inversion.INIT_NOISE", 0.0)
        losses = again.learn(lesson, tmp_path).losses
    assert losses[0] == pytest.approx(min(learned.losses), rel=1e-5)


@pytest.mark.parametrize("kind", ["nine", "xl_four"])
def test_out_of_memory_halves_a_step_and_keeps_its_gradient(
    model: Diffusion, lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inversion, "HELD_OUT_PAIRS", 6)
    quick = LEARN.model_copy(update={"steps": 2, "check_every": 1, "batch_size": 4})
    whole = TextualInversion(model, quick, PAINT).learn(lesson, tmp_path).losses

    def guard(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    handle = model.unet.conv_in.register_forward_pre_hook(guard)
    try:
        room = 1
        learner = TextualInversion(model, quick, PAINT)
        assert learner.learn(lesson, tmp_path).losses == pytest.approx(whole, rel=1e-4)
        assert learner._room.size == 1
        room = 0
        with pytest.raises(DDBError, match="out of memory with batches of 1: lower inpaint.image_size"):
            TextualInversion(model, quick, PAINT).learn(lesson, tmp_path)
    finally:
        handle.remove()


def test_a_loss_that_is_not_finite_stops_with_the_step(nine: Diffusion, lesson: Lesson, tmp_path: Path) -> None:
    nine.unet.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(StageFailed, match=r"<ddb-0>: no loss before the first step: .*weights may be damaged"):
        TextualInversion(nine, LEARN, PAINT).learn(lesson, tmp_path)
    nine.unet.conv_out.bias.data.fill_(0.0)
    with pytest.raises(StageFailed, match=r"<ddb-0>.*not finite at step 20; lower invert.lr"):
        TextualInversion(nine, LEARN.model_copy(update={"lr": float("inf")}), PAINT).learn(lesson, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_loss_counts_the_object_its_edge_and_little_of_its_background(nine: Diffusion, lesson: Lesson) -> None:
    objects = [np.zeros_like(mask) for mask in lesson.masks if mask is not None]
    for part, mask in zip(objects, lesson.masks, strict=True):
        row, column = np.argwhere(mask)[0]
        part[row, column] = True
    aware = encode_views(nine, PAINT, replace(lesson, objects=objects), inside_mask=True)
    plain = encode_views(nine, PAINT, lesson, inside_mask=True)
    assert torch.equal(plain.weight, plain.mask)
    assert torch.equal(aware.mask, plain.mask), "the object must not show in what the model sees"
    assert torch.equal(aware.latents, plain.latents)
    width = objects[0].shape[1]
    for number, (weight, mask) in enumerate(zip(aware.weight[:, 0], aware.mask[:, 0], strict=True)):
        row, column = np.argwhere(objects[number % len(objects)])[0]
        column = column if number < len(objects) else width - 1 - column  # mirror images come second
        far = np.maximum(*(abs(np.indices(mask.shape) - np.array([row // 4, column // 4])[:, None, None]))) > 1
        expected = np.where(far, BACKGROUND_WEIGHT, 1.0) * mask.numpy()  # a halo of an eighth of eight cells
        assert torch.allclose(weight, torch.from_numpy(expected).float())
    assert ((aware.weight > 0) & (aware.weight < 1)).any()


def test_objects_are_ignored_where_the_whole_image_is_learned(nine: Diffusion, lesson: Lesson) -> None:
    views = encode_views(nine, PAINT, replace(lesson, objects=lesson.masks), inside_mask=False)
    assert (views.weight == 1).all()
