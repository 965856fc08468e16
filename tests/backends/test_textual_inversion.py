"""Learned tokens: the loss and gradient of diffusers' own example, its file format, and that learning helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionInpaintPipeline
from safetensors.torch import load_file, save_file

from ddb.backends import Lesson, Task
from ddb.backends.latent_diffusion import LatentDiffusion
from ddb.backends.latent_diffusion_loading import Diffusion, open_diffusion
from ddb.backends.textual_inversion import BACKGROUND_WEIGHT, TextualInversion, denoising_loss, encode_views
from ddb.config import InpaintConfig, InvertConfig
from ddb.errors import ModelError, StageFailed
from ddb.learn.device import Runtime

Tasks = Callable[..., list[Task]]
PAINT = InpaintConfig(weights="tiny", image_size=32, steps=2, batch_size=4)
LEARN = InvertConfig(steps=60, batch_size=4, lr=0.05, vectors=2, check_every=20)
TOKEN = "<ddb-0>"


@pytest.fixture
def lesson(tasks: Tasks) -> Lesson:
    items = tasks(6)
    return Lesson(0, [t.image for t in items], [t.mask for t in items], "bird", seed=3)


@pytest.mark.parametrize("channels", ["nine", "four"])
def test_a_step_equals_diffusers_training_example(
    channels: str, request: pytest.FixtureRequest, lesson: Lesson
) -> None:
    """Reference: examples/textual_inversion of diffusers (the token lives in the embedding table, whole-image mean)."""
    model: Diffusion = request.getfixturevalue(channels)
    folder = request.getfixturevalue("inpainting_folder" if channels == "nine" else "text_to_image_folder")
    views = encode_views(model, PAINT, lesson, inside_mask=False).pick(torch.tensor([0, 4, 7]))
    times, noise = torch.tensor([20, 480, 960]), torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(2)).requires_grad_()
    model.prompts.add(TOKEN, vectors)
    prompt = f"a photo of a {TOKEN} bird"
    loss = denoising_loss(model, model.prompts.embed(model.prompts.ids(prompt), {TOKEN: vectors}), views, times, noise)
    loss.backward()

    pipe = StableDiffusionInpaintPipeline.from_pretrained(folder, safety_checker=None)
    pipe.load_textual_inversion({TOKEN: vectors.detach()})
    table = pipe.text_encoder.get_input_embeddings().weight.requires_grad_()
    ids = pipe.tokenizer(
        [pipe.maybe_convert_prompt(prompt, pipe.tokenizer)] * 3, padding="max_length", return_tensors="pt"
    ).input_ids
    hidden = pipe.text_encoder(ids)[0]
    schedule = DDPMScheduler.from_config(model.schedule)
    noisy = schedule.add_noise(views.latents, noise, times)
    if channels == "nine":
        noisy = torch.cat([noisy, views.mask, views.masked], dim=1)
    output = pipe.unet(noisy, times, hidden).sample
    velocity = model.schedule["prediction_type"] == "v_prediction"
    target = schedule.get_velocity(views.latents, noise, times) if velocity else noise
    expected = torch.nn.functional.mse_loss(output, target, reduction="mean")
    expected.backward()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(vectors.grad, table.grad[-2:], atol=1e-5, rtol=1e-3)
    assert vectors.grad.abs().max() > 1e-6


def test_the_loss_counts_inside_the_mask_alone(nine: Diffusion, lesson: Lesson) -> None:
    views = encode_views(nine, PAINT, lesson, inside_mask=True).pick(torch.tensor([0, 1]))
    assert 0 < views.mask.mean() < 1
    hidden, times = nine.prompts.encode("a bird")[None], torch.tensor([500, 500])
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    schedule = DDPMScheduler.from_config(nine.schedule)
    inputs = torch.cat([schedule.add_noise(views.latents, noise, times), views.mask, views.masked], dim=1)
    velocity = schedule.get_velocity(views.latents, noise, times)
    error = (nine.unet(inputs, times, hidden.expand(2, -1, -1)).sample - velocity) ** 2
    by_hand = [float(error[i][:, views.mask[i, 0] > 0].mean()) for i in range(2)]
    assert float(denoising_loss(nine, hidden, views, times, noise)) == pytest.approx(np.mean(by_hand), rel=1e-4)


def test_mirror_images_are_mirrored_before_encoding(four: Diffusion, lesson: Lesson) -> None:
    views = encode_views(four, PAINT, lesson, inside_mask=True)
    images, masks = ([array[:, ::-1].copy() for array in arrays] for arrays in (lesson.images, lesson.masks))
    flipped = Lesson(0, images, masks, "bird", 3)
    torch.testing.assert_close(views.latents[6:], encode_views(four, PAINT, flipped, inside_mask=True).latents[:6])
    assert torch.equal(views.mask[6:], views.mask[:6].flip(3))


def test_learning_lowers_the_held_out_loss_and_keeps_the_best(nine: Diffusion, lesson: Lesson, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in nine.unet.state_dict().items()}
    table = nine.prompts.table.clone()
    learned = TextualInversion(nine, LEARN, PAINT).learn(lesson, tmp_path)
    assert len(learned.losses) == 4
    assert min(learned.losses) < learned.losses[0]
    assert torch.equal(nine.prompts.table, table)
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


def test_the_vectors_of_the_lowest_held_out_loss_are_kept(nine: Diffusion, lesson: Lesson, tmp_path: Path) -> None:
    """A rate so high that the loss goes up and down: the file is that of a run that stops at the lowest check."""
    wild = LEARN.model_copy(update={"lr": 1000.0, "steps": 8, "check_every": 1})
    learned = TextualInversion(nine, wild, PAINT).learn(lesson, tmp_path)
    best = int(np.argmin(learned.losses))
    assert 0 < best < 8
    (tmp_path / "short").mkdir()
    short = TextualInversion(nine, wild.model_copy(update={"steps": best}), PAINT).learn(lesson, tmp_path / "short")
    assert short.losses == learned.losses[: best + 1]
    assert short.file.read_bytes() == learned.file.read_bytes()


def test_vectors_stay_in_the_range_of_real_words(nine: Diffusion, lesson: Lesson, tmp_path: Path) -> None:
    fast = LEARN.model_copy(update={"lr": 5.0, "steps": 10, "check_every": 1})
    learned = TextualInversion(nine, fast, PAINT).learn(lesson, tmp_path)
    norms = load_file(learned.file)[TOKEN].norm(dim=1)
    assert norms.max() <= 2.01 * nine.prompts.table.norm(dim=1).max()


@pytest.mark.parametrize("vectors", [1, 3])
def test_diffusers_loads_the_file_and_embeds_the_prompt_alike(
    vectors: int, nine: Diffusion, inpainting_folder: Path, lesson: Lesson, tmp_path: Path
) -> None:
    quick = LEARN.model_copy(update={"steps": 3, "vectors": vectors})
    learned = TextualInversion(nine, quick, PAINT).learn(lesson, tmp_path)
    pipe = StableDiffusionInpaintPipeline.from_pretrained(inpainting_folder, safety_checker=None)
    pipe.load_textual_inversion(str(tmp_path), weight_name=learned.file.name, use_safetensors=True)
    prompt = f"a photo of a {TOKEN} bird"
    theirs, _ = pipe.encode_prompt(prompt, "cpu", 1, False)
    torch.testing.assert_close(nine.prompts.encode(prompt), theirs[0], atol=1e-5, rtol=1e-5)


def test_a_token_from_a_file_paints_as_the_one_just_learned(
    nine: Diffusion, inpainting_folder: Path, lesson: Lesson, tasks: Tasks, tmp_path: Path
) -> None:
    learned = TextualInversion(nine, LEARN, PAINT).learn(lesson, tmp_path)
    items = tasks(1, prompt=f"a photo of a {TOKEN} bird")
    here = LatentDiffusion(nine, PAINT).paint(items)
    open_diffusion.cache_clear()
    fresh = open_diffusion(str(inpainting_folder), Runtime(torch.device("cpu"), torch.float32))
    with pytest.raises(ModelError, match=r"unknown token <ddb-0>"):
        LatentDiffusion(fresh, PAINT).paint(items)
    fresh.prompts.load(TOKEN, learned.file)
    there = LatentDiffusion(fresh, PAINT).paint(items)
    assert np.array_equal(here[0].image, there[0].image)


def test_a_token_can_be_replaced_by_one_of_fewer_vectors(nine: Diffusion) -> None:
    nine.prompts.add(TOKEN, torch.ones(3, 32))
    three = nine.prompts.encode(f"a {TOKEN}")
    nine.prompts.add(TOKEN, torch.ones(1, 32))
    assert nine.prompts.expand(f"a {TOKEN}") == f"a {TOKEN}"
    assert not torch.equal(nine.prompts.encode(f"a {TOKEN}"), three)


def test_tokens_that_do_not_fit_are_refused(nine: Diffusion, tmp_path: Path) -> None:
    wide, two, torn = tmp_path / "wide.safetensors", tmp_path / "two.safetensors", tmp_path / "torn.safetensors"
    save_file({TOKEN: torch.zeros(1, 77)}, wide)
    save_file({TOKEN: torch.zeros(1, 32), "<b>": torch.zeros(1, 32)}, two)
    torn.write_bytes(wide.read_bytes()[:-9])
    faults = {wide: "1x77.*32 wide", two: "holds 2 tensors", torn: "damaged", tmp_path / "no": "missing"}
    for file, words in faults.items():
        with pytest.raises(ModelError, match=words):
            nine.prompts.load(TOKEN, file)
    with pytest.raises(ModelError, match="tokens, the text encoder takes 48"):
        nine.prompts.encode("x" * 60)


def test_a_loss_that_is_not_finite_stops_with_the_step(nine: Diffusion, lesson: Lesson, tmp_path: Path) -> None:
    nine.unet.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(StageFailed, match=r"<ddb-0>.*not finite at step"):
        TextualInversion(nine, LEARN, PAINT).learn(lesson, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_loss_counts_the_object_and_little_of_its_background(nine: Diffusion, lesson: Lesson) -> None:
    objects = [np.zeros_like(mask) for mask in lesson.masks if mask is not None]
    for part, mask in zip(objects, lesson.masks, strict=True):
        row, column = np.argwhere(mask)[0]
        part[row, column] = True
    aware = encode_views(nine, PAINT, replace(lesson, objects=objects), inside_mask=True)
    plain = encode_views(nine, PAINT, lesson, inside_mask=True)
    assert torch.equal(plain.weight, plain.mask)
    assert torch.equal(aware.mask, plain.mask), "the object must not show in what the model sees"
    assert torch.equal(aware.latents, plain.latents)
    for weight, mask in zip(aware.weight, aware.mask, strict=True):
        assert (weight == 1).sum() == 1
        assert torch.allclose(weight[(mask > 0) & (weight < 1)], torch.tensor(BACKGROUND_WEIGHT))
        assert (weight[mask == 0] == 0).all()


def test_objects_are_ignored_where_the_whole_image_is_learned(nine: Diffusion, lesson: Lesson) -> None:
    views = encode_views(nine, PAINT, replace(lesson, objects=lesson.masks), inside_mask=False)
    assert (views.weight == 1).all()
