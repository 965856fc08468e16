"""The tables that stages hand to each other. Every row of a stage has `id`, `status` and `error`.

`status` is "ok" or a short reason ("no_mask", "too_large", "error"); rows with "error" are tried again on the next run,
every other status is a result. `error` is the message for people, empty when there is none. Columns of `large_binary`
are payload: pixels, which are read by id and never with the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

OK = "ok"
ERROR = "error"
SPLITS = ("train", "val", "test")
FAMILIAR = "in_distribution"
"""Split of the images, in `OUTCOMES` alone, that are drawn with the training split's group shares."""


def _stage(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    head = [pa.field("id", pa.string(), nullable=False)]
    tail = [pa.field("status", pa.string(), nullable=False), pa.field("error", pa.string(), nullable=False)]
    return pa.schema([*head, *(pa.field(name, kind) for name, kind in fields), *tail])


SAMPLES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("image", pa.string(), nullable=False),  # path relative to the data root, "/" as separator
        pa.field("label", pa.int32(), nullable=False),  # index into Dataset.classes
        pa.field("attribute", pa.int32()),  # index into Dataset.attributes; null where unknown
        pa.field("discovered", pa.int32()),  # index into Dataset.discovered; null where unknown
        pa.field("split", pa.string(), nullable=False),  # one of SPLITS
    ]
)

PREDICTIONS = _stage(  # 1-erm: a row per training and validation sample, eval mode, no augmentation
    ("label", pa.int32()),
    ("split", pa.string()),
    ("loss", pa.float32()),  # cross-entropy, nats
    ("probabilities", pa.list_(pa.float32())),  # softmax over classes
    ("logits", pa.list_(pa.float32())),
    ("correct", pa.bool_()),
)

TOKENS = _stage(  # 2-invert: a row per class; id = str(label)
    ("label", pa.int32()),
    ("token", pa.string()),  # e.g. "<ddb-0>"; "" where no token was learned (0 representatives, or copy-paste)
    ("file", pa.string()),  # safetensors in diffusers' format, relative to the stage folder; "" as above
    ("representatives", pa.list_(pa.string())),  # sample ids, highest loss first
    ("masks", pa.list_(pa.large_binary())),  # PNG, 1 channel, 255 = causal; empty bytes where there is none
    ("losses", pa.list_(pa.float32())),  # held-out denoising loss at every check
)

MASKS = _stage(  # 3-segment: a row per source; status no_mask | too_small | too_large | touches_border where unusable
    ("object_mask", pa.large_binary()),  # PNG at image size, 255 = causal part as found
    ("mask", pa.large_binary()),  # PNG at image size, 255 = repaint (object mask after shape, dilation, expansion)
    ("score", pa.float32()),  # the segmenter's confidence in [0, 1]
    ("area", pa.float32()),  # share of the image that `mask` covers
)

CANDIDATES = _stage(  # 4-inpaint: a row per counterfactual, a patch on its source; id = candidate_id(...)
    ("source_id", pa.string()),
    ("source_sha256", pa.string()),  # of the source file's bytes, hex
    ("from_label", pa.int32()),
    ("to_label", pa.int32()),
    ("variant", pa.int32()),
    ("seed", pa.int64()),
    ("box", pa.list_(pa.int32())),  # left, top, right, bottom of the changed region, pixels of the upright source
    ("height", pa.int32()),  # of the source, upright
    ("width", pa.int32()),
    ("patch", pa.large_binary()),  # PNG RGBA of the box: painted pixels, alpha 255 where they may differ, else all 0
    ("prompt", pa.string()),
    ("model", pa.string()),  # backend identity: name and weights hash
)

SCORES = _stage(  # 5-score: a row per candidate with status ok
    ("psi_from", pa.float32()),  # softmax of class from_label on the counterfactual
    ("psi_to", pa.float32()),  # softmax of class to_label on the counterfactual
    ("psi_from_source", pa.float32()),  # softmax of class from_label on the source image
    ("rho", pa.float32()),  # sum over the mask of integrated gradients of f_to (method: logit or probability)
    ("exact", pa.bool_()),  # True: closed form; False: integrated numerically
    ("area", pa.float32()),  # share of changed pixels
    ("attribution", pa.large_binary()),  # PNG of |IG| summed over channels, for a few rows of each direction; else null
)

VERDICTS = _stage(  # 6-prune: a row per scored candidate
    ("keep", pa.bool_()),
    ("reason", pa.string()),  # "kept" | "psi" | "rho" | "psi+rho" | "over_budget"
)

FITS = _stage(  # 7-retrain: one row, id "classifier"
    ("epoch", pa.int32()),  # epoch kept
    ("selection", pa.string()),  # rule that chose it
    ("value", pa.float32()),  # its value on the selection data
)

OUTCOMES = _stage(  # 8-evaluate: a row per test (and in-distribution) sample, before and after
    ("label", pa.int32()),
    ("split", pa.string()),
    ("before", pa.list_(pa.float32())),  # softmax of the ERM classifier
    ("after", pa.list_(pa.float32())),  # softmax of the retrained classifier
)


class Group(NamedTuple):
    """The cell (label, attribute) that worst-group accuracy is taken over."""

    label: int
    attribute: int


def candidate_id(source_id: str, to_label: int, variant: int) -> str:
    """Identity of a counterfactual; its seed is a hash of the run's seed and these three."""
    return f"{source_id}>{to_label}#{variant}"


def split_candidate_id(name: str) -> tuple[str, int, int]:
    """Source id, target label and variant of a counterfactual's id."""
    head, _, variant = name.rpartition("#")
    source, _, to_label = head.rpartition(">")
    return source, int(to_label), int(variant)


def candidate_title(name: str, classes: Sequence[str]) -> str:
    """A counterfactual's id in words for messages: "train/a.png → waterbird", variants after the first with their
    number."""
    source, to_label, variant = split_candidate_id(name)
    painted = classes[to_label] if to_label < len(classes) else f"class {to_label}"
    return f"{source} → {painted}" + (f" (variant {variant})" if variant else "")
