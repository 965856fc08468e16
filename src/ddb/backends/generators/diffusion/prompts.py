"""Prompts to embeddings, with learned tokens, for models of one or two text encoders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ddb.backends.generators.diffusion.text import Text, TextEncoder, names
from ddb.backends.generators.diffusion.tokens import Rows, read_token
from ddb.errors import ModelError

TOKEN = re.compile(r"<[^<>\s]+>(?:_\d+)?")
"""What looks like a learned token in a prompt."""


@dataclass
class Prompts:
    """Text encoders, the learned tokens (name -> float32 [vectors, width] for each encoder), and the embeddings of the
    prompts seen so far (a prompt is encoded once). `empty_is_zero`: guidance leads away from zeros where no prompt is
    given (Stable Diffusion XL's `force_zeros_for_empty_prompt`)."""

    encoders: tuple[TextEncoder, ...]
    empty_is_zero: bool = False
    tokens: dict[str, Rows] = field(default_factory=dict)
    _cache: dict[str, Text] = field(default_factory=dict)

    def add(self, token: str, rows: Sequence[Tensor]) -> None:
        """Make a token (vectors [n, width], one tensor an encoder) usable in prompts; one of that name is replaced.

        ModelError if its vectors do not fit the encoders.
        """
        for vectors, encoder in zip(rows, self.encoders, strict=True):
            _check(token, vectors, encoder.width)
        if len({len(vectors) for vectors in rows}) != 1:
            raise ModelError(f"token {token}: its two text encoders have different numbers of vectors: learn it again.")
        for vectors, encoder in zip(rows, self.encoders, strict=True):
            encoder.tokenizer.add_tokens(names(token, len(vectors)))
        self.tokens[token] = tuple(
            vectors.detach().to(encoder.table.device, torch.float32)
            for vectors, encoder in zip(rows, self.encoders, strict=True)
        )
        self._cache.clear()

    def load(self, token: str, file: Path) -> None:
        """Add a token from its file (and the one beside it, for two encoders). ModelError if it cannot be used."""
        self.add(token, read_token(token, file, len(self.encoders)))

    def expand(self, prompt: str) -> str:
        """Write every vector of a token out, as diffusers does: "<t>" with three vectors -> "<t> <t>_1 <t>_2".

        ModelError if the prompt holds a token that was not loaded: a tokenizer would split it silently.
        """
        unknown = [name for name in TOKEN.findall(prompt) if name not in self.tokens]
        if unknown:
            known = ", ".join(sorted(self.tokens)) or "none"
            raise ModelError(f"prompt {prompt!r}: unknown token {unknown[0]} (loaded: {known}); learn it first.")
        for token in sorted(set(TOKEN.findall(prompt))):
            prompt = prompt.replace(token, " ".join(names(token, len(self.tokens[token][0]))))
        return prompt

    def ids(self, prompt: str) -> tuple[Tensor, ...]:
        """Token ids int64 [1, length] for each encoder. ModelError if the prompt is too long."""
        text = self.expand(prompt)
        return tuple(encoder.ids(text) for encoder in self.encoders)

    def encode(self, prompt: str) -> Text:
        """One prompt, float32, without gradient, cached."""
        if prompt not in self._cache:
            with torch.no_grad():
                self._cache[prompt] = self.embed(self.ids(prompt), self.tokens)
        return self._cache[prompt]

    def encode_against(self, prompt: str) -> Text:
        """One prompt that guidance leads away from; "" is none."""
        text = self.encode(prompt)
        return text.zeros() if self.empty_is_zero and not prompt else text

    def embed(self, ids: Sequence[Tensor], tokens: Mapping[str, Rows]) -> Text:
        """Ids [n, length] of each encoder, these tokens' vectors in place; differentiable in them. Two encoders' states
        stand side by side, and the pooled vector is the second one's."""
        texts = [
            encoder.embed(own, {token: rows[number] for token, rows in tokens.items()})
            for number, (encoder, own) in enumerate(zip(self.encoders, ids, strict=True))
        ]
        if len(texts) == 1:
            return texts[0]
        return Text(torch.cat([text.hidden for text in texts], dim=-1), texts[-1].pooled)

    def initial(self, words: str, count: int) -> Rows:
        """Rows of the tables for the words' pieces, repeated to `count` vectors: where a new token starts."""
        return tuple(encoder.initial(words, count) for encoder in self.encoders)


def _check(token: str, vectors: Tensor, width: int) -> None:
    if vectors.ndim != 2 or vectors.shape[1] != width or not len(vectors):
        shape = "x".join(str(n) for n in vectors.shape)
        raise ModelError(
            f"token {token}: vectors are {shape}, this text encoder's are {width} wide: it belongs to another model; "
            "learn it again with this one."
        )
    if not vectors.is_floating_point() or not vectors.isfinite().all():
        raise ModelError(f"token {token}: its vectors are not finite numbers: learn it again.")
