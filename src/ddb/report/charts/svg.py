"""SVG elements as escaped text. `kind` is the CSS class. x and widths are in percent of the chart, y and heights in
pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from markupsafe import Markup


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    """A straight line from (x1, y1) to (x2, y2)."""
    shape = '<line class="{}" x1="{:.2f}%" y1="{:.1f}" x2="{:.2f}%" y2="{:.1f}"/>'
    return Markup(shape).format(kind, x1, y1, x2, y2)


def rect(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    """A filled rectangle whose upper left corner is (x, y)."""
    shape = '<rect class="{}" x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}"/>'
    return Markup(shape).format(kind, x, y, width, height)


def dot(kind: str, x: float, y: float, radius: float = 4.5, row: int | None = None) -> Markup:
    """A filled circle around (x, y); the radius is in pixels. `row`: what it stands for, for scripts."""
    named = Markup(' data-row="{}"').format(row) if row is not None else ""
    shape = '<circle class="{}" cx="{:.2f}%" cy="{:.1f}" r="{:g}"{}/>'
    return Markup(shape).format(kind, x, y, radius, named)


def text(x: float, y: float, words: str, anchor: str, *, kind: str = "", shift: float = 0) -> Markup:
    """`words` with their baseline at y. `anchor`: "start", "middle" or "end" of the words stands at x, moved right by
    `shift` pixels."""
    shape = '<text class="{}" x="{:.2f}%" y="{:.1f}" dx="{:.0f}" text-anchor="{}">{}</text>'
    return Markup(shape).format(kind, x, y, shift, anchor, words)


def chart(
    marks: Iterable[Markup], height: float, label: str, kind: str, scale: Mapping[str, float] | None = None
) -> Markup:
    """A chart of full width and `height` pixels. `label` is its content in words for screen readers; a chart whose
    label is empty is hidden from them (its figures stand in a table beside it). `scale`: data attributes, by which
    scripts place marks."""
    said = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    facts = Markup("").join(Markup(' data-{}="{:g}"').format(name, value) for name, value in (scale or {}).items())
    shape = '<svg class="chart {}" width="100%" height="{:g}" {}{}>{}</svg>'
    return Markup(shape).format(kind, height, said, facts, Markup("").join(marks))
