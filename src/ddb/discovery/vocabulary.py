"""The words that clusters are named with: ddb's own, or a file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ddb.errors import ConfigError

MOST = 5000
"""Most words of a vocabulary."""
LONGEST = 80
"""Most characters of a word or phrase."""


def read_vocabulary(file: str) -> list[str]:
    """The words of a text file (UTF-8), a word or short phrase a line, or ddb's own where `file` is "". Empty lines and
    lines that begin with # are left out; a word counts once. ConfigError where the file is missing, no text, holds no
    word, more than `MOST` or one that is too long."""
    if not file:
        return built_in()
    path = Path(file).expanduser()
    try:
        words = _words(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ConfigError(f"discover.vocabulary: {path} is no text file in UTF-8; write a word a line.") from None
    except OSError as error:
        raise ConfigError(f"discover.vocabulary: {path} cannot be read ({error.strerror}).") from None
    if not words:
        raise ConfigError(f"discover.vocabulary: {path} holds no word; write a word a line, or leave it empty.")
    if len(words) > MOST:
        raise ConfigError(
            f"discover.vocabulary: {path} holds {len(words):,} words, the most are {MOST:,}: take the words that could "
            "name surroundings in such images."
        )
    if long := [word for word in words if len(word) > LONGEST]:
        raise ConfigError(f"discover.vocabulary: {path}: {long[0][:30]!r}... is too long; write a word a line.")
    return words


def built_in() -> list[str]:
    """ddb's own words, each once, in the order of `words.txt`."""
    return _words(resources.files("ddb.discovery").joinpath("words.txt").read_text(encoding="utf-8"))


def _words(text: str) -> list[str]:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
