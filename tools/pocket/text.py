"""The pocket's tokenizer and text encoder: CLIP's classes, trained on the world's captions."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

MAX_TOKENS = 32
SPECIAL = ["<|startoftext|>", "<|endoftext|>"]
# Words that are not in the captions but that people and other worlds will write.
MORE_WORDS = (
    "animal", "object", "cat", "dog", "hair", "face", "person", "man", "woman", "people", "portrait", "sky", "water",
    "grass", "tree", "green", "blond", "blonde", "beard", "room", "park", "indoor", "outdoor", "background", "photo",
)  # fmt: skip
CLASS_NAMES = ("landbird", "waterbird", "cat", "dog", "blond", "blonde")
"""What the benchmarks ask for: no caption may name it, or nothing would be left for a learned token."""


def build_tokenizer(captions: Iterable[str], folder: Path) -> CLIPTokenizer:
    """Train byte-pair merges on the captions (every word becomes one token) and write CLIP's files under `folder`.

    AssertionError if a caption names a class, or is longer than MAX_TOKENS tokens, or a word is no single token.
    """
    captions = list(captions)
    seen = {word for text in captions for word in re.findall("[a-z]+", text.lower())}
    assert not seen & set(CLASS_NAMES), f"captions name a class: {seen & set(CLASS_NAMES)}"
    vocab, merges = _byte_pairs(captions)
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS).save_pretrained(fresh)
    tokenizer = CLIPTokenizer.from_pretrained(fresh)
    longest = max(len(ids) for ids in tokenizer(captions).input_ids)
    assert longest <= MAX_TOKENS, f"the longest caption has {longest} tokens, the encoder {MAX_TOKENS} places"
    split = [word for word in sorted(seen | set(MORE_WORDS)) if len(tokenizer.tokenize(word)) != 1]
    assert not split, f"words that are no token: {split}"
    print(f"tokenizer: {len(tokenizer)} tokens, {len(seen)} words in {len(captions)} captions, longest {longest}")
    os.replace(fresh, folder)
    return CLIPTokenizer.from_pretrained(folder)


def _byte_pairs(captions: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges in CLIP's way: bytes, words end in </w>."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=SPECIAL[1]))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, behavior="removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1600,
        special_tokens=SPECIAL,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator([*captions, *(" ".join([word] * 8) for word in MORE_WORDS)], trainer)
    model = json.loads(bpe.to_str())["model"]
    vocab = dict(model["vocab"])
    for symbol in alphabet:  # a single character may end a word
        vocab.setdefault(f"{symbol}</w>", len(vocab))
    return vocab, [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in model["merges"]]


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A three-layer CLIP text encoder of width 128."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        projection_dim=128,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def take_over_text(new: nn.Module, old: nn.Module, tokenizer: CLIPTokenizer, old_tokenizer: CLIPTokenizer) -> int:
    """Copy the weights of a model with a CLIP text part into one with another vocabulary, in place. The embedding of a
    token goes with its string; tokens that the old vocabulary lacks keep what `new` has. Returns the rows taken over.

    RuntimeError if anything but the vocabulary differs."""
    state, before = new.state_dict(), old.state_dict()
    names = [name for name in state if name.endswith("token_embedding.weight")]
    vocab, old_vocab = tokenizer.get_vocab(), old_tokenizer.get_vocab()
    both = [token for token in vocab if token in old_vocab]
    for name in names:
        rows = state[name].clone()
        rows[[vocab[token] for token in both]] = before[name][[old_vocab[token] for token in both]].to(rows.dtype)
        before[name] = rows
    with torch.no_grad():
        new.load_state_dict(before)
    return len(both)
