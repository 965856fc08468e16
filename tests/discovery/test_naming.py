"""Words for sets of images, and words that may not be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ddb.discovery.naming import allowed, best_words, contrast
from ddb.discovery.vocabulary import MOST, built_in, read_vocabulary
from ddb.errors import ConfigError


def test_the_contrast_leaves_out_what_tells_the_classes_apart() -> None:
    """The second component is the class, the first the place; the place goes with the class."""
    labels = np.array([0] * 90 + [1] * 10 + [0] * 10 + [1] * 90)
    inside = np.arange(200) < 100
    vectors = np.stack([inside, labels, np.zeros(200)], axis=1).astype(np.float32)
    plain = contrast(vectors, inside, np.zeros(200, np.int64))
    within = contrast(vectors, inside, labels)
    assert abs(plain[1]) > 0.5
    np.testing.assert_allclose(within, [1, 0, 0], atol=1e-6)


def test_without_a_class_that_has_both_the_contrast_is_over_all() -> None:
    labels = np.array([0, 0, 1, 1])
    vectors = np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(contrast(vectors, labels == 0, labels), [0.5, 0.5, -0.5, -0.5])


def test_the_best_word_points_along_the_direction() -> None:
    texts = np.eye(3, dtype=np.float32)
    assert best_words(np.array([0.0, 2.0, 1.0], np.float32), ["a", "b", "c"], texts)[:2] == [
        ("b", pytest.approx(2 / 5**0.5, abs=1e-4)),
        ("c", pytest.approx(1 / 5**0.5, abs=1e-4)),
    ]


def test_words_of_classes_and_phrase_are_left_out() -> None:
    words = ["lake", "land", "bird feeder", "birds", "water", "underwater", "waterfall", "Waterbird", "car", "carpet"]
    assert allowed(words, ["waterbird", "landbird", "bird"]) == ["lake", "underwater", "waterfall", "car", "carpet"]
    assert allowed(["long hair", "hat"], ["0", "1", "hair"]) == ["long hair", "hat"][1:]


def test_the_built_in_words_are_short_and_each_stands_once() -> None:
    words = built_in()
    assert 300 < len(words) == len(set(words)) < MOST
    assert {"forest", "lake", "snow", "beard", "ruler"} <= set(words)
    assert all(len(word.split()) <= 6 and word == word.strip() for word in words)


def test_a_vocabulary_is_a_word_a_line(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("# places\nsnow\n\n  two   words \nsnow\n", encoding="utf-8")
    assert read_vocabulary(str(file)) == ["snow", "two words"]
    assert read_vocabulary("") == built_in()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing\n\n", "holds no word; write a word a line"),
        ("\n".join(f"word {n}" for n in range(10_000)), "holds 10,000 words, the most are 5,000"),
        ("x" * 200, "is too long; write a word a line"),
    ],
)
def test_unusable_vocabularies_are_said(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "words.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_vocabulary(str(tmp_path / "words.txt"))


def test_a_missing_vocabulary_and_one_that_is_no_text_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_vocabulary(str(tmp_path / "nowhere.txt"))
    (tmp_path / "words.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ConfigError, match="no text file in UTF-8"):
        read_vocabulary(str(tmp_path / "words.txt"))
