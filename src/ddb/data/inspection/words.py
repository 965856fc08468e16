"""An `Inspection` as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ddb.data.inspection.inspect import Duplicate, Inspection, Shapes
from ddb.data.inspection.summary import set_aside

MOST_ROWS = 40
SHOWN = 5


def in_words(found: Inspection) -> str:
    """The layout; a table of counts; the association of label and attribute; files; faults."""
    listed = sum(count.images for count in found.counts)
    lines = [
        found.root,
        f"  layout      {found.source}: {found.why}",
        f"  images      {listed:,} in {_several(len(found.classes), 'class', 'classes')}{_attributes(found)}",
        "",
        *(f"  {line}" for line in _table(found)),
        "",
    ]
    lines += [f"  association {line}" for line in _associations(found)]
    lines += [f"  {line}" for line in _shapes(found.shapes)]
    lines += [f"  files       {line}" for line in set_aside((*found.missing, *found.broken)) or ["all can be read"]]
    lines += [f"  duplicates  {line}" for line in _duplicates(found.duplicates)]
    lines += [f"  note        {note}" for note in found.notes]
    lines += [f"  FAULT       {fault}" for fault in found.faults[:SHOWN]]
    if len(found.faults) > SHOWN:
        lines.append(f"  FAULT       and {len(found.faults) - SHOWN} more")
    if found.faults:
        lines.append("  a run cannot start before these faults are mended")
    return "\n".join(lines)


def _table(found: Inspection) -> list[str]:
    """A row per group (per class, without attributes), a column per split."""
    splits = list(dict.fromkeys(count.split for count in found.counts))
    cells: Counter[tuple[str, str | None, str]] = Counter()
    for count in found.counts:
        cells[count.label, count.attribute, count.split] += count.images
    present = {(count.label, count.attribute) for count in found.counts}
    groups = [(label, a) for label in found.classes for a in (*found.attributes, None) if (label, a) in present]
    with_attributes = bool(found.attributes)
    rows = [["class", *(["attribute"] if with_attributes else []), *splits]]
    before = None
    for label, attribute in groups[:MOST_ROWS]:
        names = ["" if with_attributes and label == before else label]
        names += [attribute or "unknown"] if with_attributes else []
        rows.append([*names, *(f"{cells[label, attribute, split]:,}" for split in splits)])
        before = label
    if len(groups) > MOST_ROWS:
        rows.append([f"and {len(groups) - MOST_ROWS} more", *[""] * (len(rows[0]) - 1)])
    totals = [f"{sum(n for (_, _, s), n in cells.items() if s == split):,}" for split in splits]
    rows.append(["all", *([""] if with_attributes else []), *totals])
    return _aligned(rows, left=2 if with_attributes else 1)


def _aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Columns of equal width: the first `left` start on the left, numbers end on the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if column < left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _associations(found: Inspection) -> list[str]:
    if not found.attributes:
        return ["no attribute is known: groups are the classes"]
    if not found.associations:
        return ["of label and attribute cannot be measured: a split would need two of each"]
    told = [
        f"{item.split} {item.cramers_v:.2f}" + ("" if item.phi is None else f" (phi {item.phi:+.2f})")
        for item in found.associations
    ]
    return [f"of label and attribute, Cramér's V: {', '.join(told)}"]


def _shapes(shapes: Shapes | None) -> list[str]:
    if shapes is None:
        return []
    smallest, median, largest = (f"{w}x{h}" for w, h in (shapes.smallest, shapes.median, shapes.largest))
    sizes = f"all {median}" if smallest == largest else f"{smallest} to {largest}, median {median} (width x height)"
    return [f"sizes       {sizes}", f"formats     {_tally(shapes.formats)}; modes {_tally(shapes.modes)}"]


def _duplicates(duplicates: Sequence[Duplicate]) -> list[str]:
    if not duplicates:
        return ["none (by content)"]
    extra = sum(len(item.paths) - 1 for item in duplicates)
    lines = [f"{_several(extra, 'file is', 'files are')} an exact copy of another"]
    across = [item for item in duplicates if len(set(item.splits)) > 1]
    labels = [item for item in duplicates if len(set(item.labels)) > 1]
    if across:
        lines.append(
            f"WARNING: {_several(len(across), 'image lies', 'images lie')} in more than one split, so test figures are "
            f"too good: {_pairs(across)}"
        )
    if labels:
        lines.append(f"WARNING: {_several(len(labels), 'image has', 'images have')} several labels: {_pairs(labels)}")
    return lines if across or labels else [f"{lines[0]}: {_pairs(duplicates)}"]


def _pairs(duplicates: Sequence[Duplicate]) -> str:
    told = [" = ".join(item.paths[:3]) for item in duplicates[:SHOWN]]
    return "; ".join(told) + (f"; and {len(duplicates) - SHOWN} more" if len(duplicates) > SHOWN else "")


def _tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())


def _attributes(found: Inspection) -> str:
    return f" and {_several(len(found.attributes), 'attribute', 'attributes')}" if found.attributes else ""


def _several(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
