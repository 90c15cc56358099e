"""Noise that is put into a clean file and taken out again, with what both did in curves and scores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denoise.errors import UserError
from denoise.measure.files import scored, signal_of, usable_scores
from denoise.media.find import kind_of, result_name
from denoise.noise.laws import found, made
from denoise.report import shown
from denoise.web.charts import Axis, Curve, chart
from denoise.web.turns import awaited, turn, untold
from denoise.web.words import table

NOISY = ".noisy"
BINS = 61  # of a histogram
FLATS = 33  # brightnesses at which a variance is looked at
FEWEST = 50  # samples of one brightness
WIDEST = 4.0  # standard deviations that a histogram shows
SPECTRUM_SIDE = 512  # px
FRAME = 4096  # samples of a sound
SPAN = 255.0
FULL_SCALE = "of full scale"

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Added:
    """A noisy file, and what is said of it."""

    clean: Path
    noisy: Path
    law: str
    words: Mapping[str, str]
    described: str
    notes: tuple[str, ...]


def noisy_file(
    clean: Path, law: str, words: Mapping[str, str], seed: int, folder: Path, files: Sequence[Path] = (), **more: Any
) -> Added:
    """As `denoise noise add` makes it. `files`: what the law is made of."""
    from denoise.batch.noisy import Order, add

    entry = found(law)
    made_of = gathered(files, folder / "from", several="folder" in entry.made_of) if entry.made_of else None
    name = f"{clean.stem}{NOISY}.npy" if clean.suffix.lower() == ".npy" else result_name(clean, NOISY)
    order = Order(entry, clean, folder / name, words, seed, files=made_of, **more)
    with turn(awaited(untold)):
        described, notes = add(order)
    return Added(clean, folder / name, law, words, described, tuple(notes))


def gathered(files: Sequence[Path], place: Path, several: bool) -> Path:
    if not files:
        raise UserError("This law is made of files; drop them into its box first.")
    if not several:
        return files[0]
    place.mkdir()
    for path in files:
        os.link(path, place / path.name)
    return place


# What the noise is like


def portrait(one: Added) -> str:
    """Its histogram, its variance over the signal, and its spectrum."""
    clean, noisy = (values_of(path) for path in (one.clean, one.noisy))
    noise = noisy.values - clean.values
    parts = [histogram(noise, clean.unit), variances(one, clean, noise), spectrum(noise, clean)]
    return f'<div class="charts">{"".join(part for part in parts if part)}</div>'


@dataclass(frozen=True)
class Values:
    """All samples of a signal, (C, …): pictures of 0..255, sounds of -1..1, mosaics in DN."""

    values: Floats
    unit: str
    rate: int | None = None


def values_of(path: Path) -> Values:
    from denoise.media.frames import read_frame

    if path.suffix.lower() == ".npy" or kind_of(path) == "raw":
        return Values(read_frame(path).photosites[None].astype(np.float32), "DN")
    signal = signal_of(path)
    if signal.kind == "audio":
        return Values(signal.parts[0], FULL_SCALE, signal.rate)
    return Values(signal.parts[0] * np.float32(SPAN), "of 255")


def histogram(noise: Floats, unit: str) -> str:
    sigma = float(noise.std())
    counts, edges = np.histogram(noise, edges_of(WIDEST * sigma or 1.0, whole=unit != FULL_SCALE))
    middles = (edges[1:] + edges[:-1]) / 2
    share = counts / max(noise.size, 1)
    gauss = np.exp(-(middles**2) / (2 * sigma**2 or 1))
    gauss *= (edges[1] - edges[0]) / (np.sqrt(2 * np.pi) * (sigma or 1))
    curves = [Curve("the noise", middles, share), Curve("a Gaussian as wide", middles, gauss)]
    return chart(f"Histogram of the noise, sigma {sigma:.3g}", Axis(unit), Axis("share"), curves)


def edges_of(end: float, whole: bool) -> Floats:
    """Values of a file are whole numbers, and every bin has to hold as many of them as its neighbours."""
    width = 2 * end / BINS
    if whole:
        width = max(1.0, round(width))
    steps = int(np.ceil(end / width))
    return (np.arange(-steps, steps + 2) - 0.5) * width


def variances(one: Added, clean: Values, noise: Floats) -> str:
    """Measured in what was added, and as the law states it; a sound has no brightness."""
    if clean.rate is not None:
        return ""
    signal = clean.values.ravel()
    edges = np.linspace(float(signal.min()), float(signal.max()) + 1e-6, FLATS)
    which = np.digitize(signal, edges) - 1
    counts = np.bincount(which, minlength=FLATS)
    flat = noise.ravel().astype(np.float64)
    means = np.bincount(which, flat, FLATS) / np.maximum(counts, 1)
    squares = np.bincount(which, flat**2, FLATS) / np.maximum(counts, 1) - means**2
    enough = counts >= FEWEST
    middles = edges + (edges[1] - edges[0]) / 2
    curves = [Curve("measured", middles[enough], squares[enough], dots=True), *stated(one, clean, middles[enough])]
    return chart("Variance over the signal", Axis(clean.unit), Axis(f"variance, ({clean.unit})²"), curves)


def stated(one: Added, clean: Values, at: Floats) -> list[Curve]:
    """By a picture's law, at flat patches; a mosaic's law starts at a black level that is the file's."""
    if clean.unit != "of 255":
        return []
    import torch

    law = made(found(one.law), one.words)
    flats = [torch.full((3, 16, 16), value / SPAN) for value in at]
    return [Curve("stated by the law", at, [float(law.variance(flat).mean()) * SPAN**2 for flat in flats])]


def spectrum(noise: Floats, clean: Values) -> str:
    if clean.rate is not None:
        hertz, decibel = power_of(noise, clean.rate)
        there, signal = power_of(clean.values, clean.rate)
        curves = [Curve("the noise", hertz, decibel), Curve("the clean sound", there, signal)]
        return chart("Spectrum", Axis("Hz", logarithmic=True), Axis("dB of full scale per band"), curves)
    cycles, power = radial(noise[0])
    return chart(
        "Spectrum of the noise", Axis("cycles per pixel"), Axis("power", logarithmic=True), [Curve("", cycles, power)]
    )


def power_of(sound: Floats, rate: int) -> tuple[Floats, Floats]:
    """Mean power in each band, in dB; a full-scale sine has 0."""
    frame = min(FRAME, sound.shape[1])
    window = np.hanning(frame)
    starts = range(0, sound.shape[1] - frame + 1, frame)
    spectra = np.fft.rfft(np.stack([sound[:, start : start + frame] for start in starts]) * window)
    power = np.square(np.abs(spectra) * 2 / window.sum()).mean((0, 1))
    return np.fft.rfftfreq(frame, 1 / rate)[1:], 10 * np.log10(power[1:] + 1e-20)


def radial(plane: Floats) -> tuple[Floats, Floats]:
    """Mean power at each distance from zero, of the middle; white noise has its variance everywhere."""
    height, width = (min(side, SPECTRUM_SIDE) for side in plane.shape)
    top, left = (plane.shape[0] - height) // 2, (plane.shape[1] - width) // 2
    part = plane[top : top + height, left : left + width]
    power = np.square(np.abs(np.fft.fft2(part - part.mean()))) / part.size
    distance = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    rings = 64
    which = np.minimum((distance / 0.5 * rings).astype(int), rings)
    counts = np.bincount(which.ravel(), minlength=rings + 1)[:rings]
    sums = np.bincount(which.ravel(), power.ravel(), rings + 1)[:rings]
    cycles: Floats = (np.arange(rings) + 0.5) * 0.5 / rings
    there = counts > 0
    there[0] = False  # the mean was taken away
    return cycles[there], sums[there] / counts[there]


# What the cleaning was worth


def scores(one: Added, cleaned: Path) -> str:
    """Against the clean file; what cannot be scored on this machine is left out."""
    missing: list[str] = []
    names = usable_scores(missing.append)
    rows = [
        {"": what} | {name: shown(value) for name, value in scored(path, one.clean, names).items()}
        for what, path in (("noisy", one.noisy), ("cleaned", cleaned))
    ]
    return table(rows, " ".join(["Against the clean file; more is better.", *missing]))
