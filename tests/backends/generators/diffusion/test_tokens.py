"""Tokens in files and in prompts: diffusers' formats, for one and for two text encoders, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline
from safetensors.torch import load_file, save_file

from ddb.backends import Failed, Painted, Task, paint_all
from ddb.backends.generators.diffusion.generator import LatentDiffusion
from ddb.backends.generators.diffusion.learning.inversion import TextualInversion
from ddb.backends.generators.diffusion.network.loading import open_diffusion
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.tokens import read_token, write_token
from ddb.backends.weights import parse_weights
from ddb.config import InvertConfig, LatentDiffusionConfig
from ddb.errors import ModelError
from ddb.learn.device import Runtime

Tasks = Callable[..., list[Task]]
TOKEN = "<ddb-0>"
PROMPT = f"a photo of a {TOKEN} bird"
NEAR = {"atol": 1e-5, "rtol": 1e-5}
PAINT = LatentDiffusionConfig(weights="tiny", image_size=32, steps=2, batch_size=4)


def vectors(model: Diffusion, count: int = 2) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    return [torch.randn(count, one.width, generator=draw) for one in model.prompts.encoders]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", ["nine", "four"])
def test_diffusers_loads_the_file_and_embeds_the_prompt_alike(
    count: int, kind: str, model: Diffusion, folders: dict[str, Path], tmp_path: Path
) -> None:
    prompts = model.prompts.read({TOKEN: write_token(TOKEN, vectors(model, count), tmp_path / "token-0.safetensors")})
    pipe = StableDiffusionInpaintPipeline.from_pretrained(folders[kind], safety_checker=None)
    pipe.load_textual_inversion(str(tmp_path), weight_name="token-0.safetensors", use_safetensors=True)
    theirs, _ = pipe.encode_prompt(PROMPT, "cpu", 1, False)
    torch.testing.assert_close(prompts.encode(PROMPT).hidden, theirs, **NEAR)


def xl_pipeline(folder: Path, token: Path) -> Any:
    """Both files loaded as diffusers documents it."""
    pipe = StableDiffusionXLInpaintPipeline.from_pretrained(folder, add_watermarker=False)
    pipe.load_textual_inversion(str(token), token=TOKEN, text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer)
    pipe.load_textual_inversion(
        str(token.with_name("token-0_2.safetensors")),
        token=TOKEN,
        text_encoder=pipe.text_encoder_2,
        tokenizer=pipe.tokenizer_2,
    )
    return pipe


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", ["xl_nine"])
def test_diffusers_loads_both_encoders_files(
    count: int, kind: str, model: Diffusion, folders: dict[str, Path], tmp_path: Path
) -> None:
    file = write_token(TOKEN, vectors(model, count), tmp_path / "token-0.safetensors")
    assert [len(load_file(path)) for path in sorted(tmp_path.iterdir())] == [1, 1]
    prompts = model.prompts.read({TOKEN: file})
    hidden, _, _, _ = xl_pipeline(folders[kind], file).encode_prompt(PROMPT, do_classifier_free_guidance=False)
    torch.testing.assert_close(prompts.encode(PROMPT).hidden, hidden, **NEAR)


@pytest.mark.parametrize("kind", ["xl_nine"])
def test_the_pooled_vector_is_that_of_the_end_of_the_text(
    kind: str, model: Diffusion, folders: dict[str, Path], tmp_path: Path
) -> None:
    """The published configurations have the end id 2, so transformers pools at the highest id: a learned token, where
    there is one ("can't work correctly with extra new tokens", its source says). With the true end id it agrees."""
    file = write_token(TOKEN, vectors(model), tmp_path / "token-0.safetensors")
    pipe = xl_pipeline(folders[kind], file)
    found = model.prompts.read({TOKEN: file}).encode(PROMPT).pooled
    _, _, pooled, _ = pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    assert not torch.allclose(found, pooled, atol=1e-2)
    pipe.text_encoder_2.text_model.eos_token_id = pipe.tokenizer_2.eos_token_id
    _, _, pooled, _ = pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    torch.testing.assert_close(found, pooled, **NEAR)


@pytest.mark.parametrize("kind", ["xl_four"])
def test_the_community_form_is_read(kind: str, model: Diffusion, tmp_path: Path) -> None:
    rows = vectors(model)
    save_file({"clip_g": rows[1], "clip_l": rows[0]}, tmp_path / "style.safetensors")
    prompts = model.prompts.read({TOKEN: tmp_path / "style.safetensors"})
    for found, given in zip(prompts.tokens[TOKEN], rows, strict=True):
        assert torch.equal(found, given)


def test_bfloat16_and_single_vectors_are_read(nine: Diffusion, tmp_path: Path) -> None:
    save_file({"<other>": torch.full((32,), 0.5, dtype=torch.bfloat16)}, tmp_path / "one.safetensors")
    prompts = nine.prompts.read({TOKEN: tmp_path / "one.safetensors"})
    assert torch.equal(prompts.tokens[TOKEN][0], torch.full((1, 32), 0.5))


def test_a_token_from_a_file_paints_as_the_one_just_given(
    kind: str, model: Diffusion, folders: dict[str, Path], tasks: Tasks, tmp_path: Path
) -> None:
    file = write_token(TOKEN, vectors(model), tmp_path / "elsewhere.safetensors")
    (tmp_path / "run").mkdir()
    learned = TextualInversion(model, InvertConfig(), PAINT).adopt(0, file, tmp_path / "run")
    assert (learned.token, learned.file.name, learned.losses) == (TOKEN, "token-0.safetensors", [])
    items = tasks(1, prompt=PROMPT)
    here = paint_all(LatentDiffusion(model, PAINT, model.prompts.read({TOKEN: file})), items, 1)
    fresh = open_diffusion(parse_weights(str(folders[kind])), Runtime(torch.device("cpu"), torch.float32))
    there = LatentDiffusion(fresh, PAINT, fresh.prompts.read({TOKEN: learned.file}))
    other, same = replace(items[0], prompt="a photo of a bird"), paint_all(there, items, 1)
    assert np.array_equal(image(here), image(same))
    assert not np.array_equal(image(here), image(paint_all(there, [other], 1)))


def image(results: list[Painted | Failed]) -> np.ndarray:
    (result,) = results
    assert isinstance(result, Painted), result
    return result.image


def test_a_task_with_an_unknown_token_fails_alone(kind: str, model: Diffusion, tasks: Tasks) -> None:
    good, bad, worse = tasks(3)
    items = [good, replace(bad, prompt=PROMPT), replace(worse, against=PROMPT)]
    first, *others = paint_all(LatentDiffusion(model, PAINT, model.prompts), items, 3)
    assert isinstance(first, Painted)
    for other in others:
        assert isinstance(other, Failed)
        assert "unknown token <ddb-0>" in other.reason


def test_a_value_with_other_tokens_leaves_the_first_as_it_was(model: Diffusion) -> None:
    """The shared model knows no token, and a token's name means what its value says, in any order of use."""
    before = [len(one.tokenizer) for one in model.prompts.encoders]
    plain = model.prompts.encode("a photo of a <  ddb-0 > bird").hidden
    one = model.prompts.with_tokens({TOKEN: vectors(model, 3)})
    first = one.encode(PROMPT).hidden
    other = model.prompts.with_tokens({TOKEN: [2 * rows for rows in vectors(model, 1)], "<b>": vectors(model, 2)})
    second = other.encode(PROMPT).hidden
    assert not torch.equal(first, second)
    assert torch.equal(replace(one).encode(PROMPT).hidden, first), "encoded anew"
    assert [len(encoder.tokenizer) for encoder in model.prompts.encoders] == before
    assert torch.equal(replace(model.prompts).encode("a photo of a <  ddb-0 > bird").hidden, plain)
    assert not model.prompts.tokens and set(one.tokens) == {TOKEN}
    with pytest.raises(ModelError, match=r"unknown token <ddb-0>"):
        model.prompts.encode(PROMPT)
    with pytest.raises(ModelError, match=r"unknown token <b>"):
        one.encode("a <b>")


def test_a_token_can_be_replaced_by_one_of_fewer_vectors(model: Diffusion) -> None:
    three = model.prompts.with_tokens({TOKEN: vectors(model, 3)})
    one = three.with_tokens({TOKEN: vectors(model, 1)})
    assert one.expand(f"a {TOKEN}") == f"a {TOKEN}"
    assert not torch.equal(one.encode(f"a {TOKEN}").hidden, three.encode(f"a {TOKEN}").hidden)
    alone = model.prompts.with_tokens({TOKEN: vectors(model, 1)})
    assert torch.equal(one.encode(f"a {TOKEN}").hidden, alone.encode(f"a {TOKEN}").hidden)


def test_tokens_that_do_not_fit_are_refused(nine: Diffusion, tmp_path: Path) -> None:
    def file(name: str, **content: torch.Tensor) -> Path:
        save_file(content, tmp_path / name)
        return tmp_path / name

    torn = tmp_path / "torn"
    torn.write_bytes(file("whole", t=torch.zeros(1, 32)).read_bytes()[:-9])
    faults = {
        file("wide", t=torch.zeros(1, 77)): "1x77, this text encoder's are 32 wide: it belongs to another model",
        file("cube", t=torch.zeros(1, 1, 32)): "1x1x32",
        file("none", t=torch.zeros(0, 32)): "0x32",
        file("nan", t=torch.full((1, 32), torch.nan)): "not finite",
        file("integer", t=torch.zeros(1, 32, dtype=torch.int64)): "not finite numbers",
        file("two", a=torch.zeros(1, 32), b=torch.zeros(1, 32)): "holds 2 tensors",
        file("xl", clip_l=torch.zeros(1, 32), clip_g=torch.zeros(1, 24)): "a token of Stable Diffusion XL",
        torn: "missing or damaged",
        tmp_path / "no": "missing or damaged",
    }
    for path, words in faults.items():
        with pytest.raises(ModelError, match=words):
            nine.prompts.read({TOKEN: path})
    assert not nine.prompts.tokens
    with pytest.raises(ModelError, match="tokens, the text encoder takes 48"):
        nine.prompts.encode("x" * 60)


@pytest.mark.parametrize("kind", ["xl_four"])
def test_half_a_token_of_two_encoders_is_refused(kind: str, model: Diffusion, tmp_path: Path) -> None:
    save_file({TOKEN: torch.zeros(1, 32)}, tmp_path / "cat.safetensors")
    with pytest.raises(ModelError, match=r"one text encoder's vectors, this model has two: .*cat_2.safetensors"):
        model.prompts.read({TOKEN: tmp_path / "cat.safetensors"})
    save_file({TOKEN: torch.zeros(1, 32)}, tmp_path / "cat_2.safetensors")
    with pytest.raises(ModelError, match="1x32, this text encoder's are 24 wide"):
        model.prompts.read({TOKEN: tmp_path / "cat.safetensors"})
    save_file({TOKEN: torch.zeros(2, 24)}, tmp_path / "cat_2.safetensors")
    with pytest.raises(ModelError, match="different numbers of vectors"):
        model.prompts.read({TOKEN: tmp_path / "cat.safetensors"})


@pytest.mark.parametrize("kind", ["xl_four"])
def test_files_are_written_whole(kind: str, model: Diffusion, tmp_path: Path) -> None:
    rows = vectors(model)
    file = write_token(TOKEN, rows, tmp_path / "token-3.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["token-3.safetensors", "token-3_2.safetensors"]
    assert set(load_file(file)) == {TOKEN}
    for found, given in zip(read_token(TOKEN, file, 2), rows, strict=True):
        assert torch.equal(found, given)
