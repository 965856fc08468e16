"""Hostile input: configurations, tables of images, masks and images that nobody should write. No traceback, no hang.

    python benchmarks/fuzz.py --times 10000

hypothesis draws the inputs (the same ones for the same seed), a quarter of `--times` of each kind:

    configuration   YAML files and --set overrides: wrong types, braces, odd numbers, unknown keys
    table           CSV and Parquet files that name images: wrong columns, paths, labels, splits
    mask            mask files of every mode, cut off, of other sizes, damaged
    image           JPEG, PNG and WebP files with damaged bytes, odd EXIF, odd modes and sizes

An input is either used or refused by a DDBError. Everything else is a fault: another exception, an input that takes
more than 20 seconds, an image that `ddb check` passes and `decode` refuses. Prints a table of outcomes, the first
messages of each kind of refusal, and every fault; exits with 1 where there is one.
"""

from __future__ import annotations

import argparse
import io
import signal
import struct
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from ddb.backends import Failed
from ddb.backends.segmenters.given_masks import open_given_masks
from ddb.config import DataConfig
from ddb.config.load import load_config
from ddb.config.run import RunConfig
from ddb.data.images import check, decode
from ddb.data.sources.load import load_dataset
from ddb.errors import DDBError

SECONDS = 20
USED, REFUSED, FAULT = "used", "refused", "fault"
SIDE = 24


class TooSlow(BaseException):
    """Raised by the alarm; not an Exception, so that nothing takes it for a result."""


@dataclass
class Outcomes:
    """How the inputs of each kind ended; `messages`: the first refusals; `faults`: (kind, input, what happened)."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    messages: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    faults: list[tuple[str, str, str]] = field(default_factory=list)

    def record(self, kind: str, shown: str, use: Callable[[], object]) -> None:
        """Use an input and note how it ended."""
        try:
            with alarm():
                use()
            self.counts[kind, USED] += 1
        except DDBError as error:
            self.counts[kind, REFUSED] += 1
            if len(self.messages[kind]) < 3:
                self.messages[kind].append(str(error).splitlines()[0][:110])
        except TooSlow:
            self._fault(kind, shown, f"took more than {SECONDS} s")
        except Exception:
            self._fault(kind, shown, traceback.format_exc())

    def _fault(self, kind: str, shown: str, what: str) -> None:
        self.counts[kind, FAULT] += 1
        self.faults.append((kind, shown, what))


@contextmanager
def alarm() -> Iterator[None]:
    """TooSlow after `SECONDS`."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


TEXTS = st.one_of(
    st.sampled_from(
        ["", ".", "..", "../../x", "/etc/passwd", "{token}", "{", "}", "%s", "null", "true", "~", "1e400", "nan", "-0",
         "\u0000", "\u202eabc", "e\u0301", "日本", "🦆", "a" * 5000, "=1+1", "a: b", "- x", "!!python/object:os.system"]
    ),
    st.text(max_size=30),
)  # fmt: skip
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=4), st.dictionaries(TEXTS, SCALARS, max_size=3))


def known_keys() -> list[str]:
    """Dotted names of settings, from the schema."""
    schema = RunConfig.model_json_schema()
    definitions = schema.get("$defs", {})

    def walk(node: dict[str, Any], prefix: str) -> Iterator[str]:
        parts = [node, *node.get("oneOf", []), *node.get("anyOf", [])]
        for part in parts:
            if "$ref" in part:
                yield from walk(definitions[part["$ref"].rpartition("/")[2]], prefix)
            for name, inner in part.get("properties", {}).items():
                yield f"{prefix}{name}"
                yield from walk(inner, f"{prefix}{name}.")

    return sorted(set(walk(schema, "")))


def configurations(outcomes: Outcomes, folder: Path, times: int) -> None:
    """Overrides of known and unknown settings, and whole files."""
    keys = st.one_of(st.sampled_from(known_keys()), TEXTS)
    overrides = st.lists(st.tuples(keys, VALUES), max_size=4)
    files = st.one_of(st.dictionaries(keys, VALUES, max_size=4).map(_nested), VALUES)
    presets = st.sampled_from(["pocket-waterbirds", "photos", "waterbirds"])

    @_drawn(times // 2)
    @given(presets, overrides)
    def over_presets(preset: str, pairs: list[tuple[str, Any]]) -> None:
        words = [f"{key}={yaml.safe_dump(value, default_flow_style=True).strip()}" for key, value in pairs]
        outcomes.record("configuration", f"{preset} {words}", lambda: load_config(preset, words))

    @_drawn(times - times // 2)
    @given(files, st.binary(max_size=4))
    def as_files(tree: Any, tail: bytes) -> None:
        path = folder / "config.yaml"
        path.write_bytes(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass") + tail)
        outcomes.record("configuration", repr(path.read_bytes()), lambda: load_config(path))

    over_presets()
    as_files()


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        node, path = tree, name.split(".")
        for part in path[:-1]:
            inner = node.setdefault(part, {})
            node = inner if isinstance(inner, dict) else {}
        node[path[-1]] = value
    return tree


def tables(outcomes: Outcomes, folder: Path, times: int) -> None:
    """Metadata files of 24 images that exist, in which a few cells, headings or rows are not what they should be."""
    root = folder / "table"
    root.mkdir()
    sound = [
        {"path": f"{number}.png", "label": "cat" if number % 2 else "dog", "split": split, "attribute": "sea"}
        for number, split in enumerate(["train"] * 12 + ["val"] * 6 + ["test"] * 6)
    ]
    for number, row in enumerate(sound):
        Image.fromarray(np.full((SIDE, SIDE, 3), 9 * number, np.uint8)).save(root / str(row["path"]))
    cells = {
        "path": st.one_of(st.sampled_from([str(row["path"]) for row in sound]), TEXTS, SCALARS),
        "label": st.one_of(st.sampled_from(["cat", "dog", "0", "1"]), SCALARS),
        "split": st.one_of(st.sampled_from(["train", "val", "test", "0", "2", "validation", "dev"]), SCALARS),
        "attribute": st.one_of(st.sampled_from(["sea", "land"]), SCALARS),
    }
    places = st.lists(st.tuples(st.integers(0, len(sound) - 1), st.sampled_from(sorted(cells))), max_size=5)
    headings = st.dictionaries(
        st.sampled_from(sorted(cells)), st.sampled_from(["image", "file_name", "y", "place", "path", ""]), max_size=1
    )
    left_out = st.one_of(st.just(()), st.lists(st.sampled_from(["split", "attribute", "label", "path"]), max_size=2))
    sources = st.sampled_from(["table", "table", "auto", "huggingface", "wilds", "waterbirds"])

    @_drawn(times)
    @given(st.data(), places, headings, left_out, st.booleans(), sources)
    def one(data: st.DataObject, odd: Any, renamed: dict[str, str], gone: Any, parquet: bool, source: str) -> None:
        rows = [dict(row) for row in sound[: data.draw(st.sampled_from([24, 24, 24, 5, 0]))]]
        for place, column in odd:
            if place < len(rows):
                rows[place][column] = data.draw(cells[column])
        kept = [name for name in cells if name not in gone]
        columns = [renamed.get(name, name) for name in kept]
        texts = [["" if row[name] is None else str(row[name]) for name in kept] for row in rows]
        path = root / ("metadata.parquet" if parquet else "metadata.csv")
        for old in root.glob("metadata.*"):
            old.unlink()
        if parquet:
            arrays = [pa.array([_plain(row[place]) for row in texts], pa.string()) for place in range(len(columns))]
            pq.write_table(pa.Table.from_arrays(arrays, names=columns), path)
        else:
            lines = [",".join(columns), *(",".join(row) for row in texts)]
            path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        where = path if source == "table" else root
        config = DataConfig(source=source, root=str(where))
        outcomes.record("table", f"{source} {path.read_bytes()[:600]!r}", lambda: load_dataset(config))

    one()


def _plain(text: str) -> str:
    """Text that Parquet can hold: no lone surrogates."""
    return text.encode("utf-8", "replace").decode()


MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK")


def picture(mode: str, height: int, width: int, values: int) -> Image.Image:
    """A picture of a mode, whose values are drawn from `values`."""
    rng = np.random.default_rng(values)
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray((rng.integers(0, 2**15, (height, width)) * (values % 3)).astype(kind))
    grey = rng.integers(0, 256, (height, width), dtype=np.uint8) * np.uint8(values % 2) + np.uint8(values % 2 == 0)
    return Image.fromarray(grey).convert(mode)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """The bytes of an image file: a format and mode, a size that may be extreme, EXIF, and damage."""
    kind = draw(st.sampled_from([*["PNG"] * 6, "JPEG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]))
    odd = st.sampled_from([(1, 1), (1, 3000), (3000, 1), (7, 900), (SIDE, SIDE + 1), (300, 2)])
    height, width = draw(st.one_of(st.just((SIDE, SIDE)), st.just((SIDE, SIDE)), odd))
    image = picture(draw(st.sampled_from(MODES)), height, width, draw(st.integers(0, 7)))
    options: dict[str, Any] = {"exif": odd_exif(draw)} if draw(st.booleans()) else {}
    file = io.BytesIO()
    try:
        image.save(file, kind, **options)
    except (OSError, ValueError, KeyError, TypeError, struct.error):  # Pillow does not write such a file
        image.convert("RGB").save(file, kind)
    return damaged(draw, file.getvalue())


def odd_exif(draw: st.DrawFn) -> bytes:
    """An EXIF block with one entry of any tag, kind and value."""
    tag = draw(st.sampled_from([0x0112, 0x0100, 0x0131, 0x0128, 0x8769, 0x8825, 0xA005, 0x0001]))
    kind, count = draw(st.integers(0, 13)), draw(st.sampled_from([0, 1, 2, 5, 2**31 - 1]))
    value = draw(st.binary(min_size=4, max_size=4))
    entry = struct.pack("<HHI", tag, kind, count) + value
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)


def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes as they are, cut off, with some changed, with more behind them, or none of them."""
    how = draw(st.sampled_from([*["whole"] * 6, "cut", *["changed"] * 3, "longer", "empty", "noise"]))
    if how == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if how == "changed":
        own = bytearray(data)
        for _ in range(draw(st.integers(1, 6))):
            own[draw(st.integers(0, len(own) - 1))] = draw(st.integers(0, 255))
        return bytes(own)
    if how == "longer":
        return data + draw(st.binary(max_size=200))
    return {"whole": data, "empty": b"", "noise": draw(st.binary(max_size=200))}[how]


def masks(outcomes: Outcomes, folder: Path, times: int) -> None:
    """Mask files for an image of 24 x 24 pixels."""
    home = folder / "masks"
    home.mkdir()
    image = np.zeros((SIDE, SIDE, 3), np.uint8)

    def use(data: bytes) -> None:
        (home / "a.png").write_bytes(data)
        found = open_given_masks(str(home)).segment(["a.jpg"], [image], "bird", 1)[0]
        if isinstance(found, Failed):
            if found.traceback:
                raise RuntimeError(found.traceback)
            raise DDBError(found.reason)
        assert found.mask.shape == (SIDE, SIDE) and found.mask.dtype == np.bool_

    @_drawn(times)
    @given(files())
    def one(data: bytes) -> None:
        outcomes.record("mask", repr(data[:300]), lambda: use(data))

    one()


def images(outcomes: Outcomes, folder: Path, times: int) -> None:
    """Image files: what `check` passes has to decode, to upright RGB of at least one pixel."""

    def use(data: bytes) -> None:
        check(data, 50.0)
        try:
            pixels = decode(data, 50.0)
        except DDBError as error:
            raise RuntimeError(f"check passes what decode refuses: {error}") from error
        assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8 and pixels.size

    @_drawn(times)
    @given(files())
    def one(data: bytes) -> None:
        outcomes.record("image", repr(data[:300]), lambda: use(data))

    one()


def _drawn(times: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As many inputs as asked, the same ones for the same seed; nothing is shrunk, since nothing is raised."""
    checks = settings(
        max_examples=times, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    return lambda test: seed(0)(checks(test))


KINDS = {"configuration": configurations, "table": tables, "mask": masks, "image": images}


def main() -> None:
    """Try all kinds, print the table and the faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10_000, help="inputs of all kinds together")
    asked = parser.parse_args()
    outcomes = Outcomes()
    for kind, trial in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            trial(outcomes, Path(folder), asked.times // len(KINDS))
        counts = [outcomes.counts[kind, state] for state in (USED, REFUSED, FAULT)]
        print(f"{kind:<14} {sum(counts):>6} tried {counts[0]:>6} used {counts[1]:>6} refused {counts[2]:>4} faults")
        for message in outcomes.messages[kind]:
            print(f"    refused: {message}")
        for _, shown, what in [fault for fault in outcomes.faults if fault[0] == kind][:5]:
            print(f"\nFAULT {kind}: {shown[:600]}\n{what}")
        sys.stdout.flush()
    sys.exit(bool(outcomes.faults))


if __name__ == "__main__":
    main()
