"""Making raw noise: time per mosaic, beside the same law in numpy and scipy, and beside its random numbers alone.

Medians, all by turns in one run; two threads, but `alone` has one, and numpy. `ours` is the whole call, `kernel` its
loops alone, into memory that is there already. `of_counted` is the kernel's speed as a share of what the random
numbers alone reach, three of `counted.word` for each photosite, made and added up into such memory; `of_lanes` as a
share of the same numbers in 32-bit lanes, as the kernel makes them. --limit makes the large mosaic that many
megapixels, for a quick look.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from denoise.measure.bench import Row, Wish
from denoise.noise import counted, lanes
from denoise.noise.camera import Camera, in_bands, in_tile, law_of, pack, planes_of, repeated, unpack

CAMERA = Camera(0.765, 1.93, -0.0082, 0.572, (0.7, 0.5, 0.6, 0.7), name="Sony A7S II at ISO 800")
MEGAPIXELS = 24
RATIO = 200  # of exposures
THREADS = 2
TURNS, SLOW_TURNS = 15, 3  # of ours, and of what takes seconds
PATCH = 512  # photosites, side of each of four packed planes

Floats = NDArray[np.float32]
Act = Callable[[], object]


SCENES = {"dark to bright": (0.0, 1.0), "few photons": (0.0, 0.08), "many photons": (0.3, 1.0)}  # shares of white


def run(wish: Wish) -> Iterator[Row]:
    megapixels = min(wish.limit or MEGAPIXELS, MEGAPIXELS)
    for name, (low, high) in SCENES.items():
        wish.tell(f"{megapixels} megapixels, {name}")
        yield measured(f"{megapixels} megapixels, {name}", scene(megapixels, low, high), straight)
    wish.tell(f"A patch of 4×{PATCH}×{PATCH}")
    large = scene(2 * 4 * PATCH**2 / 1e6, 0.0, 1.0)
    yield measured(f"4×{PATCH}×{PATCH}, packed", pack(large[: 2 * PATCH, : 2 * PATCH], "RGGB"), packed)


def scene(megapixels: float, low: float, high: float) -> Tensor:
    """Soft hills between two shares of white, in DN, at a short exposure."""
    rows = round((megapixels * 1e6 * 2 / 3) ** 0.5 / 2) * 2
    down, across = torch.arange(rows)[:, None] / rows, torch.arange(round(megapixels * 1e6 / rows / 2) * 2) / rows
    hills = (0.5 + 0.5 * torch.sin(9 * down) * torch.cos(7 * across)) ** 2.2
    return (low + (high - low) * hills) * (CAMERA.white_dn / RATIO)


def measured(what: str, clean: Tensor, sample: Callable[[Tensor, int], Tensor]) -> Row:
    mosaic = clean if clean.ndim == 2 else unpack(clean, "RGGB")
    kept = np.empty(tuple(mosaic.shape), np.float32)
    spent = by_turns(
        {
            "ours": lambda: sample(clean, THREADS),
            "alone": lambda: sample(clean, 1),
            "kernel": kernel_of(clean),
            "counted": lambda: in_threads(counted_numbers, kept),
            "lanes": lambda: in_threads(lane_numbers, kept),
        },
        {"numpy_scipy": lambda: reference(CAMERA, mosaic.numpy(), np.random.default_rng(1))},
    )
    return row(what, mosaic.numel(), spent)


def straight(clean: Tensor, threads: int) -> Tensor:
    return CAMERA.sample(clean, 1, threads=threads)


def packed(clean: Tensor, threads: int) -> Tensor:
    """Planes in and out, as training wants it."""
    return CAMERA.sample_packed(clean, "RGGB", 1, threads=threads)


def kernel_of(clean: Tensor) -> Act:
    """The loops behind both, without the making of their result."""
    from denoise.noise import camera_kernels as kernels

    light, law = clean.numpy(), law_of(CAMERA)
    noisy = np.empty_like(light)
    sites = planes_of("RGGB", CAMERA.cfa)

    def rows(begin: int, end: int) -> None:
        if clean.ndim == 2:
            kernels.expose(light[begin:end], noisy[begin:end], (begin, 0), 1, *law)
        else:
            kernels.expose_planes(light, noisy, sites, (begin, end), (0, 0), 1, *law)

    return lambda: in_bands(rows, light.shape[-2], THREADS)


def by_turns(quick: dict[str, Act], slow: dict[str, Act]) -> dict[str, float]:
    """Median seconds of each; the first call compiles and is not counted."""
    for act in quick.values():
        act()
    spent: dict[str, list[float]] = {name: [] for name in quick | slow}
    for turn in range(TURNS):
        for name, act in (quick | (slow if turn < SLOW_TURNS else {})).items():
            begin = time.perf_counter()
            act()
            spent[name].append(time.perf_counter() - begin)
    return {name: statistics.median(times) for name, times in spent.items()}


def row(what: str, photosites: int, spent: dict[str, float]) -> Row:
    ours = spent["ours"]
    times = {f"{name}_ms": round(1e3 * seconds, 1 if seconds > 0.01 else 2) for name, seconds in spent.items()}
    return {
        "what": what,
        **times,
        "times_faster": round(spent["numpy_scipy"] / ours, 1),
        "of_counted": round(spent["counted"] / spent["kernel"], 2),
        "of_lanes": round(spent["lanes"] / spent["kernel"], 2),
        "million_per_s": round(photosites / ours / 1e6),
    }


# The same law as one would write it with numpy and scipy


def reference(camera: Camera, clean: Floats, draw: np.random.Generator) -> Floats:
    from scipy import stats

    noisy = camera.gain_dn_per_e * draw.poisson(clean / camera.gain_dn_per_e)
    noisy += camera.read_dn * stats.tukeylambda.rvs(camera.read_lambda, size=clean.shape, random_state=draw)
    noisy += camera.row_dn * draw.standard_normal((len(clean), 1))
    noisy += draw.uniform(-camera.step_dn / 2, camera.step_dn / 2, clean.shape)
    noisy += repeated(in_tile(camera.bias_dn, camera.cfa), clean.shape)
    return noisy.astype(np.float32)


# Its random numbers alone: three words for each photosite


def in_threads(make: Any, out: Floats) -> None:
    in_bands(lambda begin, end: make(out[begin:end], begin), out.shape[0], THREADS)


@njit(cache=True, nogil=True)
def lane_numbers(out: Any, top: int) -> None:
    """In 32-bit lanes, what a row has in common taken once."""
    one, two, three = lanes.stream(1, 0), lanes.stream(1, 1), lanes.stream(1, 2)
    for y in range(out.shape[0]):
        add_up(one, two, three, top + y, out[y])


@njit(cache=True)
def add_up(one: Any, two: Any, three: Any, row: Any, out: Any) -> None:
    starts = row_start(one, row), row_start(two, row), row_start(three, row)
    for x in range(out.size):
        total = unit(lanes.drawn(starts[0], one[1], np.uint32(x))) + unit(lanes.drawn(starts[1], two[1], np.uint32(x)))
        out[x] = total + unit(lanes.drawn(starts[2], three[1], np.uint32(x)))


@njit(cache=True, inline="always")
def row_start(stream: Any, row: Any) -> Any:
    return lanes.stirred(lanes.either(stream[0], np.uint32(row)))


@njit(cache=True, inline="always")
def unit(bits: Any) -> Any:
    """`counted.unit` in 32 bits."""
    return lanes.fused(lanes.real(lanes.right_by(bits, np.uint32(9))), counted.STEP, counted.HALF * counted.STEP)


@njit(cache=True, nogil=True)
def counted_numbers(out: Any, top: int) -> None:
    one, two, three = counted.begun(1, 0), counted.begun(1, 1), counted.begun(1, 2)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            at = ((top + y) << 24) + x
            total = counted.unit(counted.word(one, 0, at)) + counted.unit(counted.word(two, 1, at))
            out[y, x] = total + counted.unit(counted.word(three, 2, at))
