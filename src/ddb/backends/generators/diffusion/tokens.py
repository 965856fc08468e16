"""Token files, in diffusers' formats: safetensors with one key, the token's name -> vectors [n, width] or [width].

Stable Diffusion XL has a file for each text encoder, named as diffusers' training example names them: "token-0" and
"token-0_2". The community's one file with the keys clip_l and clip_g is read as well.
Load them into a pipeline: `pipe.load_textual_inversion("token-0.safetensors")`, and for the second encoder
`pipe.load_textual_inversion("token-0_2.safetensors", text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2)`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ddb.backends.weights import foreign_format
from ddb.errors import ModelError

Rows = tuple[Tensor, ...]
"""A token's vectors [n, width], one tensor a text encoder."""
COMMUNITY = ("clip_l", "clip_g")
"""Keys of the one-file form, first and second text encoder."""


def second(file: Path) -> Path:
    """The second text encoder's file."""
    return file.with_stem(f"{file.stem}_2")


def write_token(token: str, rows: Sequence[Tensor], file: Path) -> Path:
    """Write a token, the first encoder's file last, so that a token with this file is complete."""
    for vectors, path in reversed(list(zip(rows, (file, second(file)), strict=False))):
        fresh = path.with_suffix(".tmp")
        save_file({token: vectors.cpu().contiguous()}, fresh)
        os.replace(fresh, path)
    return file


def read_token(token: str, file: Path, encoders: int) -> Rows:
    """A token's vectors for a model of one or two text encoders. ModelError if a file is missing, damaged or of another
    form."""
    content = _read(token, file)
    if encoders == 2 and set(content) == set(COMMUNITY):
        return tuple(_matrix(content[key]) for key in COMMUNITY)
    rows = [_single(file, content)]
    if encoders == 2:
        if not second(file).is_file():
            raise ModelError(
                f"{file}: holds one text encoder's vectors, this model has two: put the second's beside it as "
                f"{second(file).name}, or give one file with the keys {' and '.join(COMMUNITY)}."
            )
        rows.append(_single(second(file), _read(token, second(file))))
    return tuple(rows)


def _read(token: str, file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        if file.is_file() and (foreign := foreign_format(file)):
            raise ModelError(f"{file}: the file of token {token} is {foreign}") from error
        raise ModelError(
            f"{file}: the file of token {token} is missing or damaged (not safetensors): learn or download it again."
        ) from error


def _single(file: Path, content: dict[str, Tensor]) -> Tensor:
    if set(content) == set(COMMUNITY):
        raise ModelError(
            f"{file}: a token of Stable Diffusion XL ({', '.join(COMMUNITY)}); this model has one encoder."
        )
    if len(content) != 1:
        raise ModelError(f"{file}: holds {len(content)} tensors; a token file holds one, under the token's name.")
    return _matrix(next(iter(content.values())))


def _matrix(vectors: Tensor) -> Tensor:
    return vectors[None] if vectors.ndim == 1 else vectors
