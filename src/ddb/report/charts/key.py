"""The key of a chart: what its colours and shapes mean."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup


def key(entries: Iterable[tuple[str, str, str]], note: str = "") -> Markup:
    """A paragraph with one entry per (shape, kind, words), and a note on the axes. `shape`: "dot", "swatch" or
    "tickmark"; `kind`: the CSS class of the marks."""
    shape = '<span class="entry"><i class="{} {}"></i>{}</span> '
    body = Markup("").join(Markup(shape).format(*entry) for entry in entries)
    aside = Markup('<span class="aside">{}</span>').format(note) if note else Markup("")
    return Markup('<p class="key">{}{}</p>').format(body, aside)
