"""JSON of other programs: what Python's parser fails on with another exception, or takes although it is no text."""

from __future__ import annotations

import pytest

from ddb.data.reading.json_text import parse_json


@pytest.mark.parametrize("text", ["{", "[" * 200_000, '"\\ud800"', '{"\\udc00": 1}', b"\xff", "1" * 10_000])
def test_what_is_no_json_or_no_text_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="."):
        parse_json(text)


def test_pairs_and_other_alphabets_pass() -> None:
    assert parse_json('["\\ud83d\\udc31", "猫", "\u2028"]') == ["\U0001f431", "猫", "\u2028"]
