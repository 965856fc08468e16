"""Messages name classes; no message shows the number of a class ("landbird → waterbird", never "0 → 1")."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddb.records import candidate_id, candidate_title, split_candidate_id

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "ddb"
FILES = sorted(PACKAGE.rglob("*.py"))
NUMBERS = {"label", "from_label", "to_label"}
"""Names of values that are numbers of classes."""
NO_MESSAGES = {
    "records.py": {"{source_id}>{to_label}#{variant}", "class {to_label}"},
    "backends/generators/diffusion/learning/inversion.py": {"token-{label}.safetensors", "<ddb-{label}>"},
    "data/balanced.py": {"| {label} | {_cell(name)} | `{folder}` |"},
    "data/class_folders.py": {"{label:0{digits}d}-{name}"},
    "stages/retrain/material.py": {"{self.name}-{label}-{side}-{augment.scale[0]:g}.bin"},
}
"""Ids, names of tokens, files and folders, and the name of a class that has none, by file."""
NAMES = {"segment_preview.py", "data/sources/metashift.py"}
"""Files in which `label` is the name of a class."""


def formatted(path: Path) -> Iterator[tuple[str, str]]:
    """(text of an f-string, source of an expression in it) for each expression in an f-string of a file."""
    text = path.read_text("utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield ast.unparse(node), ast.unparse(part.value)


def last_name(expression: str) -> str:
    """The name or key that an expression ends with: "label" for `row.label`, `row["label"]` and `label`."""
    found = re.search(r"(\w+)(?:['\"]\])?$", expression)
    return found.group(1) if found else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_text_holds_the_number_of_a_class(path: Path) -> None:
    if path.relative_to(PACKAGE).as_posix() in NAMES:
        return
    allowed = NO_MESSAGES.get(path.relative_to(PACKAGE).as_posix(), set())
    found = [
        (text, value)
        for text, value in formatted(path)
        if last_name(value) in NUMBERS and not any(words in text for words in allowed) and "class_name(" not in value
    ]
    assert not found
    assert not re.search(r"%d ?(->|→) ?%d", path.read_text("utf-8"))


def test_the_check_finds_numbers() -> None:
    for expression in ("label", "row.from_label", "row['to_label']", 'verdict["label"]'):
        assert last_name(expression) in NUMBERS
    assert last_name("classes[row['label']]") not in NUMBERS


@pytest.mark.parametrize(
    ("source", "label", "variant", "title"),
    [
        ("train/a.png", 1, 0, "train/a.png → waterbird"),
        ("a>0#1/b.png", 0, 2, "a>0#1/b.png → landbird (variant 2)"),
        ("a.png", 7, 0, "a.png → class 7"),
    ],
)
def test_a_counterfactual_is_called_by_its_source_and_class(source: str, label: int, variant: int, title: str) -> None:
    name = candidate_id(source, label, variant)
    assert split_candidate_id(name) == (source, label, variant)
    assert candidate_title(name, ("landbird", "waterbird")) == title
