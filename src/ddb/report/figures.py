"""Charts as inline SVG. Positions along x are percentages and along y pixels, so a chart fits any width without
scaling its text; colours are CSS classes, so it follows light and dark. Every chart carries its content as a label."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from ddb.report.collect import ClassLosses, Direction, Estimate

REASONS = ("kept", "over_budget", "psi", "rho", "psi+rho")
BINS = 40


def whiskers(before: Estimate | None, after: Estimate | None, label: str) -> Markup:
    """Dots with 95% intervals on a 0-100% axis: before above, after below."""
    marks = [_grid(5, -9, 49)]
    for estimate, kind, y in ((before, "before", 13), (after, "after", 27)):
        if estimate is None:
            continue
        low, high, x = (100 * v for v in (estimate.low, estimate.high, estimate.value))
        marks.append(_line(low, y, high, y, f"{kind} whisker"))
        marks += [_line(end, y - 3, end, y + 3, f"{kind} whisker") for end in (low, high)]
        marks.append(Markup('<circle class="{} dot" cx="{:.2f}%" cy="{}" r="4.5"/>').format(kind, x, y))
    return _svg(marks, 40, label, "whiskers")


def axis() -> Markup:
    """The percent axis that stands under a column of `whiskers`."""
    anchors = ("start", "middle", "middle", "middle", "end")
    marks = [_text(25 * n, 12, f"{25 * n}%", anchor) for n, anchor in enumerate(anchors)]
    return _svg(marks, 16, "", "axis")


def bar(share: float, label: str) -> Markup:
    """One plain bar; `share` of the width in [0, 1]."""
    return _svg([_rect(0, 5, 100 * share, 8, "timing")], 18, label, "bar")


def verdicts(direction: Direction, largest: int) -> Markup:
    """A direction's candidates as one stacked bar, by verdict; a full bar is `largest` candidates."""
    marks, x, words = [], 0.0, []
    for reason in REASONS:
        count = direction.reasons[reason]
        width = 100 * count / max(largest, 1)
        if count:
            marks.append(_rect(x, 4, width, 16, f"reason-{reason.replace('+', '-')}"))
            words.append(f"{count} {reason.replace('_', ' ')}")
        x += width
    if direction.waiting:
        marks.append(_rect(x, 4, 100 * direction.waiting / max(largest, 1), 16, "reason-waiting"))
        words.append(f"{direction.waiting} not judged yet")
    return _svg(marks, 24, f"{direction.name}: {', '.join(words)}", "verdict-bar")


def loss_range(classes: Sequence[ClassLosses]) -> tuple[int, int]:
    """Whole decades that hold the losses of all classes, so that their histograms share an axis."""
    values = [max(v, 1e-8) for c in classes for v in c.losses]
    if not values:
        return -1, 0
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return max(low, high - 8), max(high, low + 1)


def histogram(losses: ClassLosses, decades: tuple[int, int]) -> Markup:
    """ERM losses of one class on a log axis: majority, others, the cut, and the representatives as ticks below."""
    height, low, high = 132, *decades
    majority = _binned(losses.majority, low, high)
    everyone = _binned(losses.losses, low, high)
    top = max(everyone, default=0) or 1
    step = 100 / BINS
    marks: list[Markup] = [_line(0, height, 100, height, "base")]
    for n, (all_of_them, chosen) in enumerate(zip(everyone, majority, strict=True)):
        tall, short = (height - 16) * all_of_them / top, (height - 16) * chosen / top
        if all_of_them:
            marks.append(_rect(n * step + 0.15, height - tall, step - 0.3, tall - short, "others"))
        if chosen:
            marks.append(_rect(n * step + 0.15, height - short, step - 0.3, short, "majority"))
    if losses.cut is not None:
        x = _position(losses.cut, low, high)
        marks.append(_line(x, 0, x, height, "cut"))
        marks.append(
            _text(x + (1 if x < 60 else -1), 10, f"majority cut {losses.cut:.2g}", "start" if x < 60 else "end")
        )
    for loss in losses.representatives:
        x = _position(loss, low, high)
        marks.append(_line(x, height + 3, x, height + 9, "tick"))
    for exponent in range(low, high + 1):
        anchor = "start" if exponent == low else "end" if exponent == high else "middle"
        marks.append(_text(100 * (exponent - low) / (high - low), height + 24, f"{10.0**exponent:g}", anchor))
    label = f"{losses.name}: histogram of {len(losses.losses)} training losses, {len(losses.majority)} of them majority"
    return _svg(marks, height + 28, label, "histogram")


def scatter(points: Sequence[tuple[float, float, str]], label: str) -> Markup:
    """psi (x, 0 to 1) against rho (y) with a dot per candidate, coloured by verdict."""
    height = 170
    rhos = [rho for _, rho, _ in points]
    low, high = min(rhos, default=0.0), max(rhos, default=1.0)
    span = (high - low) or 1.0
    marks = [_grid(5, 0, height)]

    def y(rho: float) -> float:
        return 8 + (height - 16) * (1 - (rho - low) / span)

    if low < 0 < high:
        marks += [_line(0, y(0), 100, y(0), "base"), _text(100, y(0) - 4, "ρ = 0", "end")]
    for psi, rho, reason in points:
        kind = f"mark-{reason.replace('+', '-')}"
        marks.append(Markup('<circle class="{}" cx="{:.2f}%" cy="{:.1f}" r="2.6"/>').format(kind, 100 * psi, y(rho)))
    for n, anchor in enumerate(("start", "middle", "end")):
        marks.append(_text(50 * n, height + 14, f"{n / 2:g}", anchor))
    return _svg(marks, height + 18, label, "scatter")


def sparkline(values: Sequence[float], label: str) -> Markup:
    """A falling loss: straight lines between the checks, the best one marked."""
    if len(values) < 2:
        return Markup("")
    low, high = min(values), max(values)
    span, last = (high - low) or 1.0, len(values) - 1
    spots = [(1 + 98 * n / last, 5 + 26 * (high - v) / span) for n, v in enumerate(values)]
    marks = [_line(a[0], a[1], b[0], b[1], "spark") for a, b in zip(spots, spots[1:], strict=False)]
    x, y = spots[values.index(low)]
    marks.append(Markup('<circle class="after dot" cx="{:.2f}%" cy="{:.1f}" r="3"/>').format(x, y))
    return _svg(marks, 36, label, "sparkline")


def _binned(values: Sequence[float], low: int, high: int) -> list[int]:
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int(_position(value, low, high) / 100 * BINS))] += 1
    return counts


def _position(loss: float, low: int, high: int) -> float:
    """Percent along the log axis; values beyond its ends sit on them."""
    return min(100.0, max(0.0, 100 * (math.log10(max(loss, 1e-12)) - low) / (high - low)))


def _grid(lines: int, top: int, bottom: int) -> Markup:
    return Markup("").join(
        _line(100 * n / (lines - 1), top, 100 * n / (lines - 1), bottom, "grid") for n in range(lines)
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    shape = '<line class="{}" x1="{:.2f}%" y1="{:.1f}" x2="{:.2f}%" y2="{:.1f}"/>'
    return Markup(shape).format(kind, x1, y1, x2, y2)


def _rect(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    shape = '<rect class="{}" x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}"/>'
    return Markup(shape).format(kind, x, y, width, height)


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return Markup('<text x="{:.2f}%" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, words)


def _svg(marks: Sequence[Markup], height: int, label: str, kind: str) -> Markup:
    said = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    body = Markup("").join(marks)
    return Markup('<svg class="chart {}" width="100%" height="{}" {}>{}</svg>').format(escape(kind), height, said, body)
