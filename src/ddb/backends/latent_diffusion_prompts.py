"""Prompts to embeddings, with learned tokens. Token vectors never enter the model's embedding table: their rows are put
in place of the table's output, in float32, for painting and for learning alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ddb.errors import ModelError

TOKEN = re.compile(r"<[^<>\s]+>(?:_\d+)?")
"""What looks like a learned token in a prompt."""


@dataclass
class Prompts:
    """A tokenizer and text encoder of CLIP's classes, the learned tokens (name -> float32 [vectors, width]), and the
    embeddings of the prompts seen so far (a prompt is encoded once)."""

    tokenizer: Any
    encoder: Any
    tokens: dict[str, Tensor] = field(default_factory=dict)
    _cache: dict[str, Tensor] = field(default_factory=dict)

    @property
    def table(self) -> Tensor:
        """The embedding table [vocabulary, width]."""
        weight: Tensor = self.encoder.get_input_embeddings().weight
        return weight

    @property
    def device(self) -> torch.device:
        return self.table.device

    def add(self, token: str, vectors: Tensor) -> None:
        """Make a token (vectors [n, width]) usable in prompts; a token of that name is replaced."""
        width = self.table.shape[1]
        if vectors.ndim != 2 or vectors.shape[1] != width:
            shape = "x".join(str(n) for n in vectors.shape)
            raise ModelError(f"token {token}: vectors are {shape}, this text encoder's are {width} wide: relearn it.")
        self.tokenizer.add_tokens(names(token, len(vectors)))
        self.tokens[token] = vectors.detach().to(self.device, torch.float32)
        self._cache.clear()

    def load(self, token: str, file: Path) -> None:
        """Add a token from a file in diffusers' format: one key, a tensor [n, width] or [width]."""
        try:
            content = load_file(file)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{file}: the file of token {token} is missing or damaged: learn it again.") from error
        if len(content) != 1:
            raise ModelError(f"{file}: holds {len(content)} tensors; a token file holds one, under the token's name.")
        vectors = next(iter(content.values()))
        self.add(token, vectors[None] if vectors.ndim == 1 else vectors)

    def expand(self, prompt: str) -> str:
        """Write every vector of a token out, as diffusers does: "<t>" with three vectors -> "<t> <t>_1 <t>_2".

        ModelError if the prompt holds a token that was not loaded: a tokenizer would split it silently.
        """
        unknown = [name for name in TOKEN.findall(prompt) if name not in self.tokens]
        if unknown:
            known = ", ".join(sorted(self.tokens)) or "none"
            raise ModelError(f"prompt {prompt!r}: unknown token {unknown[0]} (loaded: {known}); learn it first.")
        for token in sorted(set(TOKEN.findall(prompt))):
            prompt = prompt.replace(token, " ".join(names(token, len(self.tokens[token]))))
        return prompt

    def ids(self, prompt: str) -> Tensor:
        """Token ids int64 [1, length], padded to the encoder's length. ModelError if the prompt does not fit."""
        text, length = self.expand(prompt), int(self.tokenizer.model_max_length)
        count = len(self.tokenizer(text).input_ids)
        if count > length:
            raise ModelError(f"prompt {prompt!r}: {count} tokens, the text encoder takes {length}: shorten it.")
        ids: Tensor = self.tokenizer(text, padding="max_length", max_length=length, return_tensors="pt").input_ids
        return ids.to(self.device)

    def encode(self, prompt: str) -> Tensor:
        """Embedding of a prompt, float32 [length, width]; without gradient, cached."""
        if prompt not in self._cache:
            with torch.no_grad():
                self._cache[prompt] = self.embed(self.ids(prompt), self.tokens)[0]
        return self._cache[prompt]

    def embed(self, ids: Tensor, tokens: dict[str, Tensor]) -> Tensor:
        """Embeddings [n, length, width] of ids [n, length], these tokens' vectors in place; differentiable in them."""
        rows: list[tuple[Tensor, Tensor]] = []
        plain = ids
        for token, vectors in tokens.items():
            for name, vector in zip(names(token, len(vectors)), vectors, strict=True):
                here = ids == self.tokenizer.convert_tokens_to_ids(name)
                rows.append((here, vector))
                plain = plain.masked_fill(here, 0)

        def put_rows(module: object, inputs: object, output: Tensor) -> Tensor:
            for here, vector in rows:
                output = torch.where(here[..., None], vector.to(output.dtype), output)
            return output

        handle = self.encoder.get_input_embeddings().register_forward_hook(put_rows)
        try:
            embedded: Tensor = self.encoder(plain)[0]
        finally:
            handle.remove()
        return embedded

    def initial(self, words: str, count: int) -> Tensor:
        """Rows of the table for the words' pieces, repeated to `count` vectors: where a new token starts."""
        pieces: Sequence[int] = self.tokenizer(words, add_special_tokens=False).input_ids
        if not pieces:
            raise ModelError(f"{words!r} holds no word that this tokenizer knows: set invert.init to a plain word.")
        return self.table[[pieces[i % len(pieces)] for i in range(count)]].detach().clone().float()


def names(token: str, count: int) -> list[str]:
    """The tokenizer's names of a token's vectors, as diffusers gives them: <t>, <t>_1, <t>_2, ..."""
    return [token] + [f"{token}_{i}" for i in range(1, count)]
