"""Three colours at every photosite of a Bayer mosaic, after Menon, Andriani and Calvagno (2007): between rows and
columns it takes the one along which differences of colour change less, and then smooths them along it.

Compiled, for planes (H, W) that begin with a whole cell R G over G B. The two greens count as one colour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Plane = NDArray[np.float32]  # (H, W)
Colours = NDArray[np.float32]  # (3, H, W): red, green, blue

REACH = 10  # px at every border for which there is no result; even, so that cells stay whole
EDGE = 4  # px that the widest step looks around itself


def demosaiced(values: Plane) -> Colours:
    """The outermost REACH pixels are not to be used."""
    across, down = (np.zeros_like(values) for _ in range(2))
    interpolated(values, across, down)
    along = directions(values, across, down)
    green = np.where(along, across, down)
    red, blue = (values.copy() for _ in range(2))
    at_green(values, green, red, blue, values, values)
    at_other(values, along, red, blue)
    return refined(values, green, red, blue, along)


@njit(cache=True, inline="always")
def is_green(row: Any, column: Any) -> Any:
    return (row + column) & 1 == 1


@njit(cache=True, parallel=True)
def interpolated(values: Any, across: Any, down: Any) -> None:
    """Green along rows and along columns."""
    height, width = values.shape
    for i in prange(2, height - 2):
        for j in range(2, width - 2):
            x = values[i, j]
            if is_green(i, j):
                across[i, j] = x
                down[i, j] = x
            else:
                sides, far = values[i, j - 1] + values[i, j + 1], values[i, j - 2] + values[i, j + 2]
                across[i, j] = 0.5 * sides + 0.25 * (2 * x - far)
                sides, far = values[i - 1, j] + values[i + 1, j], values[i - 2, j] + values[i + 2, j]
                down[i, j] = 0.5 * sides + 0.25 * (2 * x - far)


@njit(cache=True, inline="always")
def change(values: Any, green: Any, i: Any, j: Any, row: Any) -> Any:
    """Of the difference of colour, from a photosite to the next one of its colour in that row or column."""
    here = values[i, j] - green[i, j]
    there = values[i, j + 2] - green[i, j + 2] if row else values[i + 2, j] - green[i + 2, j]
    return abs(here - there)


@njit(cache=True, parallel=True)
def directions(values: Any, across: Any, down: Any) -> Any:
    """Whether differences of colour change less along the row."""
    height, width = values.shape
    along = np.zeros(values.shape, np.bool_)
    for i in prange(EDGE, height - EDGE):
        for j in range(EDGE, width - EDGE):
            if is_green(i, j):
                continue
            row = np.float32(0)
            column = np.float32(0)
            for away in range(-2, 3):
                if away & 1:
                    row += change(values, across, i + away, j - 1, True)
                    column += change(values, down, i - 1, j + away, False)
                else:
                    weight = np.float32(1 if away else 3)
                    for back in (0, 2):
                        row += weight * change(values, across, i + away, j - back, True)
                        column += weight * change(values, down, i - back, j + away, False)
            along[i, j] = column >= row
    return along


@njit(cache=True, inline="always")
def beside(values: Any, other: Any, i: Any, j: Any, row: Any) -> Any:
    """The mean difference of two colours at the two neighbours in that row or column."""
    if row:
        return 0.5 * (values[i, j - 1] - other[i, j - 1] + values[i, j + 1] - other[i, j + 1])
    return 0.5 * (values[i - 1, j] - other[i - 1, j] + values[i + 1, j] - other[i + 1, j])


@njit(cache=True, inline="always")
def around(values: Any, other: Any, i: Any, j: Any, row: Any) -> Any:
    """The same over the photosite itself and both neighbours."""
    return (2 * beside(values, other, i, j, row) + values[i, j] - other[i, j]) / np.float32(3)


@njit(cache=True, parallel=True)
def at_green(values: Any, green: Any, red: Any, blue: Any, reds: Any, blues: Any) -> None:
    """Red and blue where green was measured, from those of their neighbours."""
    height, width = values.shape
    for i in prange(EDGE, height - EDGE):
        for j in range(EDGE, width - EDGE):
            if is_green(i, j):
                in_red_row = i & 1 == 0
                red[i, j] = green[i, j] + beside(reds, green, i, j, in_red_row)
                blue[i, j] = green[i, j] + beside(blues, green, i, j, not in_red_row)


@njit(cache=True, parallel=True)
def at_other(values: Any, along: Any, red: Any, blue: Any) -> None:
    """Red where blue was measured, and blue where red was."""
    height, width = values.shape
    for i in prange(EDGE + 1, height - EDGE - 1):
        for j in range(EDGE + 1, width - EDGE - 1):
            if is_green(i, j):
                continue
            if i & 1:
                red[i, j] = values[i, j] + beside(red, blue, i, j, along[i, j])
            else:
                blue[i, j] = values[i, j] + beside(blue, red, i, j, along[i, j])


def refined(values: Plane, green: Plane, red: Plane, blue: Plane, along: NDArray[np.bool_]) -> Colours:
    """Once more, from differences of colour smoothed along the direction that was found."""
    out = np.stack([red, green, blue])
    greener(values, red, green, blue, along, out[1])
    at_green(values, out[1], out[0], out[2], red, blue)
    red, blue = out[0].copy(), out[2].copy()
    truer(values, red, blue, along, out)
    return out


@njit(cache=True, parallel=True)
def greener(values: Any, red: Any, green: Any, blue: Any, along: Any, out: Any) -> None:
    """Green where another colour was measured."""
    height, width = values.shape
    for i in prange(EDGE + 2, height - EDGE - 2):
        for j in range(EDGE + 2, width - EDGE - 2):
            if not is_green(i, j):
                measured = blue if i & 1 else red
                out[i, j] = values[i, j] - around(measured, green, i, j, along[i, j])


@njit(cache=True, parallel=True)
def truer(values: Any, red: Any, blue: Any, along: Any, out: Any) -> None:
    """Red where blue was measured, and blue where red was."""
    height, width = values.shape
    for i in prange(EDGE + 4, height - EDGE - 4):
        for j in range(EDGE + 4, width - EDGE - 4):
            if not is_green(i, j):
                redder = around(red, blue, i, j, along[i, j])
                if i & 1:
                    out[0, i, j] = values[i, j] + redder
                else:
                    out[2, i, j] = values[i, j] - redder
