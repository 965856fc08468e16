"""Names of folders for classes: safe on every file system, and sorted in the order of the labels."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

LONGEST = 120
"""Bytes (UTF-8) of a class's name that go into its folder's name; file systems allow 255."""
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)\s*(\.|$)", re.IGNORECASE)
_NOT_TEXT = ("Cc", "Cs", "Zl", "Zp")


def class_folders(classes: Sequence[str]) -> list[str]:
    """A folder's name for every class, so that `sorted` of the names is the order of `classes`: trainers that number
    the folders (torchvision's ImageFolder) give every image its label.

    A name is that of the class, with characters that a file system or loader refuses replaced by "_". Where the sorted
    names are in another order, or two differ only in case, all are prefixed with their label: "03-dog".
    """
    names = [_safe(name) for name in classes]
    alike = {unicodedata.normalize("NFC", name).casefold() for name in names}
    if len(alike) == len(names) and sorted(names) == names:
        return names
    digits = len(str(len(names) - 1))
    return [f"{label:0{digits}d}-{name}" for label, name in enumerate(names)]


def _safe(name: str) -> str:
    """No separators, control characters or characters that Windows forbids; not hidden (leading dot or two
    underscores), not ending in a dot or space, not reserved ("CON"), not too long, not empty."""
    text = "".join("_" if unicodedata.category(letter) in _NOT_TEXT else letter for letter in name)
    text = _FORBIDDEN.sub("_", text)
    text = text.encode()[:LONGEST].decode(errors="ignore").strip()
    text = re.sub(r"^[._]{2,}|^\.", "_", text)
    text = re.sub(r"[. ]+$", "_", text) or "_"
    return f"_{text}" if _RESERVED.match(text) else text
