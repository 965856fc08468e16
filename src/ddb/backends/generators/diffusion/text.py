"""A text encoder of CLIP's classes with its tokenizer: prompts to embeddings, learned vectors put in place.

Token vectors are not written into the embedding table: a hook replaces the table's output rows by them, in float32, for
painting and for learning. Their ids are not passed to the encoder, so the pooled vector is that of the end of the
text even where the configuration has CLIP's old `eos_token_id` 2, which makes transformers pool at the highest id.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ddb.errors import ModelError


@dataclass(frozen=True)
class Text:
    """Embedded prompts: `hidden` [n, length, width]; `pooled` [n, pooled width] for models with two text encoders."""

    hidden: Tensor
    pooled: Tensor | None

    def expand(self, rows: int) -> Text:
        """One prompt repeated for `rows` images; unchanged if it has `rows` rows already."""
        pooled = None if self.pooled is None else self.pooled.expand(rows, -1)
        return Text(self.hidden.expand(rows, -1, -1), pooled)

    def to(self, dtype: torch.dtype) -> Text:
        return Text(self.hidden.to(dtype), None if self.pooled is None else self.pooled.to(dtype))

    def zeros(self) -> Text:
        return Text(torch.zeros_like(self.hidden), None if self.pooled is None else torch.zeros_like(self.pooled))


def joined(texts: Sequence[Text]) -> Text:
    """The concatenation of embedded prompts of one model."""
    pooled = [text.pooled for text in texts if text.pooled is not None]
    return Text(torch.cat([text.hidden for text in texts]), torch.cat(pooled) if pooled else None)


@dataclass(frozen=True)
class Placed:
    """Prompts' ids int64 [n, length] without learned tokens, and bool [n, length] for each vector of theirs: where it
    replaces the embedding."""

    plain: Tensor
    places: tuple[Tensor, ...]


@dataclass(frozen=True)
class TextEncoder:
    """`paired`: one of Stable Diffusion XL's two encoders, whose states before the last layer are used."""

    tokenizer: Any
    encoder: Any
    paired: bool = False

    def naming(self, names: Sequence[str]) -> TextEncoder:
        """The same encoder with a copy of the tokenizer to which these names are added as tokens."""
        tokenizer = copy.deepcopy(self.tokenizer)
        tokenizer.add_tokens(list(names))
        return replace(self, tokenizer=tokenizer)

    @property
    def table(self) -> Tensor:
        """The embedding table [vocabulary, width]."""
        weight: Tensor = self.encoder.get_input_embeddings().weight
        return weight

    @property
    def width(self) -> int:
        return int(self.table.shape[1])

    def ids(self, text: str) -> Tensor:
        """Token ids int64 [1, length], padded to the encoder's length. ModelError if the prompt does not fit."""
        length = int(self.tokenizer.model_max_length)
        count = len(self.tokenizer(text).input_ids)
        if count > length:
            raise ModelError(f"prompt {text!r}: {count} tokens, the text encoder takes {length}: shorten it.")
        ids: Tensor = self.tokenizer(text, padding="max_length", max_length=length, return_tensors="pt").input_ids
        return ids.to(self.table.device)

    def placed(self, ids: Tensor, tokens: Mapping[str, int]) -> Placed:
        """Where ids [n, length] hold these tokens, token -> number of vectors."""
        places, plain = [], ids
        for token, count in tokens.items():
            for name in names(token, count):
                here = ids == self.tokenizer.convert_tokens_to_ids(name)
                places.append(here)
                plain = plain.masked_fill(here, 0)
        return Placed(plain, tuple(places))

    def embed(self, placed: Placed, vectors: Iterable[Tensor]) -> Text:
        """Embed prompts with a vector [width] for each of their places; differentiable in the vectors."""
        rows = list(zip(placed.places, vectors, strict=True))

        def put_rows(module: object, inputs: object, output: Tensor) -> Tensor:
            for here, vector in rows:
                output = torch.where(here[..., None], vector.to(output.dtype), output)
            return output

        handle = self.encoder.get_input_embeddings().register_forward_hook(put_rows)
        try:
            output = self.encoder(placed.plain, output_hidden_states=self.paired)
        finally:
            handle.remove()
        if not self.paired:
            return Text(output.last_hidden_state, None)
        return Text(output.hidden_states[-2], getattr(output, "text_embeds", None))

    def initial(self, words: str, count: int) -> Tensor:
        """Initial vectors of a new token: rows of the embedding table of the words' pieces, repeated to `count`."""
        pieces: Sequence[int] = self.tokenizer(words, add_special_tokens=False).input_ids
        if not pieces:
            raise ModelError(f"{words!r} holds no word that this tokenizer knows: set invert.init to a plain word.")
        return self.table[[pieces[i % len(pieces)] for i in range(count)]].detach().clone().float()


def plain_words(text: str) -> str:
    """A name as words for a prompt: the characters of learned tokens (<, >, _) become spaces."""
    return re.sub(r"[<>_\s]+", " ", text).strip()


def names(token: str, count: int) -> list[str]:
    """The tokenizer's names of a token's vectors, as diffusers gives them: <t>, <t>_1, <t>_2, ..."""
    return [token] + [f"{token}_{i}" for i in range(1, count)]
