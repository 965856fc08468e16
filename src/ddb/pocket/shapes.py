"""Shapes of the pocket world's objects. Lengths are in pixels of a 64x64 image ("u")."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Tone = tuple[int, int, int]
"""RGB, 0-255."""


@dataclass(frozen=True)
class Shape:
    """One filled shape: `kind` is "polygon" (n x 2 points) or "line" (polyline with `width` in u and round ends)."""

    kind: str
    points: np.ndarray
    colour: Tone
    width: float = 0.0


def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    """24 points of an ellipse: [24, 2]."""
    t = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    return np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], axis=1)


def rotate(points: np.ndarray, angle: float) -> np.ndarray:
    """Turn points about the origin, by radians."""
    c, s = math.cos(angle), math.sin(angle)
    turned: np.ndarray = points @ np.array([[c, s], [-s, c]])
    return turned


def curve(start: np.ndarray, control: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Seven points of a quadratic Bezier curve: [7, 2]."""
    t = np.linspace(0, 1, 7)[:, None]
    points: np.ndarray = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    return points


def shaded(tone: Tone, factor: float) -> Tone:
    """A darker (factor below 1) or lighter tone."""
    r, g, b = (int(min(255, v * factor)) for v in tone)
    return r, g, b


def sized(shapes: list[Shape], scale: float, mirrored: bool) -> list[Shape]:
    """Shapes scaled about the origin, and mirrored left to right if asked."""
    factor = np.array([-scale if mirrored else scale, scale])
    return [Shape(s.kind, s.points * factor, s.colour, s.width * scale) for s in shapes]
