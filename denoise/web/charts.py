"""Curves as SVG in the page's own ink, so that they are sharp at any size and need no other package."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from denoise.measure.spectrogram import marks

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BELOW = 58, 10, 24, 40
INKS = ("currentColor", "#ea580c", "#2563eb", "#16a34a", "#9333ea")
LEAST_DECADES = 1e-12  # of what is drawn in logarithms

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    name: str
    x: ArrayLike
    y: ArrayLike
    dots: bool = False


@dataclass(frozen=True)
class Axis:
    """From values to pixels."""

    label: str
    logarithmic: bool = False

    def values(self, given: ArrayLike) -> Floats:
        plain = np.asarray(given, np.float64)
        return np.log10(np.maximum(plain, LEAST_DECADES)) if self.logarithmic else plain

    def ticks(self, low: float, high: float) -> list[tuple[float, str]]:
        """(where, what it says)."""
        if self.logarithmic:
            return [(exponent, f"{10.0**exponent:g}") for exponent in range(math.ceil(low), math.floor(high) + 1)]
        places = marks(high - low, most=5)
        step = places[1] if len(places) > 1 else 1.0
        first = math.ceil(low / step - 1e-9)
        return [(n * step, f"{round(n * step, 9):g}") for n in range(first, math.floor(high / step + 1e-9) + 1)]


def chart(title: str, x: Axis, y: Axis, curves: Sequence[Curve]) -> str:
    """One picture with a legend; the title is what a screen reader says."""
    across = [x.values(curve.x) for curve in curves]
    up = [y.values(curve.y) for curve in curves]
    ends_x, ends_y = ends(across), ends(up)
    to_x = scale(ends_x, LEFT, WIDTH - RIGHT)
    to_y = scale(ends_y, HEIGHT - BELOW, TOP)
    drawn = [shape(curve, ink, to_x(a), to_y(b)) for curve, ink, a, b in zip(curves, INKS, across, up, strict=False)]
    grid = [vertical(to_x(np.array(at)), word) for at, word in x.ticks(*ends_x)]
    grid += [horizontal(to_y(np.array(at)), word) for at, word in y.ticks(*ends_y)]
    said = html.escape(title)
    names = [text(WIDTH / 2, HEIGHT - 4, x.label, "middle"), text(4, 12, f"{title} ({y.label})", "start")]
    return (
        f'<figure><svg class="chart" role="img" aria-label="{said}" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="10">'
        f"{''.join(grid)}{''.join(drawn)}{''.join(names)}</svg>{legend(curves)}</figure>"
    )


def ends(parts: Sequence[Floats]) -> tuple[float, float]:
    known = np.concatenate([part[np.isfinite(part)].ravel() for part in parts] or [np.zeros(0)])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def scale(ends: tuple[float, float], start: float, stop: float) -> Callable[[Floats], Floats]:
    low, high = ends
    return lambda values: start + (values - low) / (high - low) * (stop - start)


def shape(curve: Curve, ink: str, x: Floats, y: Floats) -> str:
    known = np.isfinite(x) & np.isfinite(y)
    points = list(zip(x[known], y[known], strict=True))
    if curve.dots:
        return "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.2" fill="{ink}"/>' for a, b in points)
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    return f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="1.5"/>'


def vertical(x: Floats, word: str) -> str:
    return line(float(x), TOP, float(x), HEIGHT - BELOW) + text(float(x), HEIGHT - BELOW + 14, word, "middle")


def horizontal(y: Floats, word: str) -> str:
    return line(LEFT, float(y), WIDTH - RIGHT, float(y)) + text(LEFT - 4, float(y) + 3, word, "end")


def line(*ends: float) -> str:
    x1, y1, x2, y2 = (f"{end:.1f}" for end in ends)
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="currentColor" stroke-opacity="0.15"/>'


def text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">{html.escape(words)}</text>'


def legend(curves: Sequence[Curve]) -> str:
    named = [(curve, ink) for curve, ink in zip(curves, INKS, strict=False) if curve.name]
    items = (f'<span style="color:{ink}">●</span> {html.escape(curve.name)}' for curve, ink in named)
    return f'<p class="quiet">{"&ensp; ".join(items)}</p>'
