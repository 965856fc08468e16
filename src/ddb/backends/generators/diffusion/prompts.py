"""Prompts to embeddings, with learned tokens, for models of one or two text encoders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ddb.backends.generators.diffusion.text import Placed, Text, TextEncoder, names
from ddb.backends.generators.diffusion.tokens import Rows, read_token
from ddb.errors import ModelError

TOKEN = re.compile(r"<[^<>\s]+>(?:_\d+)?")
"""Pattern of a learned token in a prompt."""


@dataclass(frozen=True)
class Prompts:
    """Frozen text encoders and the learned tokens that prompts may hold; immutable.

    `tokens`: name -> float32 [vectors, width] for each encoder. `empty_is_zero`: an empty negative prompt is embedded
    as zeros (Stable Diffusion XL's `force_zeros_for_empty_prompt`). Embeddings are cached, so that a prompt is encoded
    once.
    """

    encoders: tuple[TextEncoder, ...]
    empty_is_zero: bool = False
    tokens: Mapping[str, Rows] = field(default_factory=dict)
    _cache: dict[str, Text] = field(default_factory=dict, init=False, repr=False, compare=False)

    def with_tokens(self, tokens: Mapping[str, Sequence[Tensor]]) -> Prompts:
        """Prompts over the same encoders with these tokens added (vectors [n, width], one tensor per encoder); a token
        of the same name is replaced. Tokenizers are copied, encoders shared.

        ModelError if a token's vectors do not fit the encoders.
        """
        if not tokens:
            return self
        for token, rows in tokens.items():
            self._check(token, rows)
        added = [name for token, rows in tokens.items() for name in names(token, len(rows[0]))]
        encoders = tuple(encoder.naming(added) for encoder in self.encoders)
        fresh = {
            token: tuple(
                vectors.detach().to(encoder.table.device, torch.float32)
                for vectors, encoder in zip(rows, encoders, strict=True)
            )
            for token, rows in tokens.items()
        }
        return Prompts(encoders, self.empty_is_zero, {**self.tokens, **fresh})

    def read(self, files: Mapping[str, Path]) -> Prompts:
        """`with_tokens` for the tokens in these files (for two encoders also the second file beside each). ModelError
        if a file is missing, damaged or of another model."""
        return self.with_tokens({token: read_token(token, file, len(self.encoders)) for token, file in files.items()})

    def _check(self, token: str, rows: Sequence[Tensor]) -> None:
        for vectors, encoder in zip(rows, self.encoders, strict=True):
            _check(token, vectors, encoder.width)
        if len({len(vectors) for vectors in rows}) != 1:
            raise ModelError(f"token {token}: its two text encoders have different numbers of vectors: learn it again.")

    def expand(self, prompt: str) -> str:
        """Replace a token by the names of its vectors, as diffusers does: "<t>" with three vectors -> "<t> <t>_1
        <t>_2".

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
        """One prompt, float32, without gradient. ModelError for an unknown token or a prompt that is too long."""
        if prompt not in self._cache:
            with torch.no_grad():
                self._cache[prompt] = self.embed(self.ids(prompt), self.tokens)
        return self._cache[prompt]

    def encode_against(self, prompt: str) -> Text:
        """One negative prompt; "" for none. ModelError as `encode`."""
        text = self.encode(prompt)
        return text.zeros() if self.empty_is_zero and not prompt else text

    def embed(self, ids: Sequence[Tensor], tokens: Mapping[str, Rows]) -> Text:
        """Embed ids [n, length] of each encoder with these tokens' vectors; differentiable in them."""
        vectors = [[one for rows in tokens.values() for one in rows[number]] for number in range(len(self.encoders))]
        return self.embed_placed(self.placed(ids, tokens), vectors)

    def placed(self, ids: Sequence[Tensor], tokens: Mapping[str, Rows]) -> tuple[Placed, ...]:
        """For each encoder, where its ids [n, length] hold vectors of these tokens."""
        counts = {token: len(rows[0]) for token, rows in tokens.items()}
        return tuple(encoder.placed(own, counts) for encoder, own in zip(self.encoders, ids, strict=True))

    def embed_placed(self, placed: Sequence[Placed], vectors: Sequence[Iterable[Tensor]]) -> Text:
        """Embed prompts with all vectors [width] of their tokens, for each encoder; differentiable in them. The states
        of two encoders are concatenated; the pooled vector is that of the second."""
        given = zip(self.encoders, placed, vectors, strict=True)
        texts = [encoder.embed(own, rows) for encoder, own, rows in given]
        if len(texts) == 1:
            return texts[0]
        return Text(torch.cat([text.hidden for text in texts], dim=-1), texts[-1].pooled)

    def initial(self, words: str, count: int) -> Rows:
        """Initial vectors of a new token: rows of the embedding tables of the words' pieces, repeated to `count`."""
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
