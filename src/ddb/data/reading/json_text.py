"""JSON that another program wrote."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value that `text` describes.

    ValueError where it is no JSON, is nested deeper than the parser can follow, or holds half of a UTF-16 pair
    ("\\ud800"), which is no text: neither a file name nor a table can store it.
    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value
