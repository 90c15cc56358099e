"""A sound as a picture: time to the right, frequency upwards, loudness as colour on a fixed scale of decibels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Colours = NDArray[np.uint8]

QUIET_DBFS, LOUD_DBFS = -110.0, -20.0  # of power in one band: the ends of the colours; a full-scale sine has 0
HANN_BINS = 1.5  # the power of one sine, spread over three bins by the window, is so many times its middle one
FRAME_SECONDS = 0.04
FRAMES_AT_ONCE = 256

# Every sixteenth of matplotlib's "magma" (CC0): lightness rises evenly, also in grey and for colour-blind eyes.
MAGMA = bytes.fromhex(
    "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 "
    "d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf"
)


def spectrogram_image(samples: Floats, rate: int, height: int, width: int) -> Colours:
    """Samples (C, T) as height×width RGB: 0 Hz below, half the rate above, -110 dBFS dark to -20 dBFS bright."""
    return coloured(spectrogram_dbfs(samples, rate, height, width))


def coloured(level_dbfs: Floats) -> Colours:
    """The colour of every level; what lies beyond the scale has the colour of its end."""
    share = (level_dbfs - QUIET_DBFS) / (LOUD_DBFS - QUIET_DBFS)
    anchors = np.frombuffer(MAGMA, np.uint8).reshape(-1, 3)
    places = np.linspace(0, 1, len(anchors))
    colours: Colours = np.rint(np.stack([np.interp(share, places, each) for each in anchors.T], -1)).astype(np.uint8)
    return colours


def spectrogram_dbfs(samples: Floats, rate: int, height: int, width: int) -> Floats:
    """Power in each band and column, mean of the channels, height×width; no moment is left out of a column."""
    frame = 2 * height * max(1, round(FRAME_SECONDS * rate / (2 * height)))  # whole bins in every row
    per_column = max(1, math.ceil(2 * samples.shape[1] / (frame * width)))
    powers = np.concatenate(list(frame_powers(samples, frame, per_column * width)))  # (frames, frame / 2)
    bands = powers.reshape(width, per_column, height, -1).sum(3).mean(1, dtype=np.float64) / HANN_BINS
    decibel: Floats = (10 * np.log10(bands.T[::-1] + 1e-20)).astype(np.float32)
    return decibel


def frame_powers(samples: Floats, frame: int, count: int) -> Iterator[Floats]:
    """Spectra of `count` frames, evenly spread from the first sample to the last; a full-scale sine has 1."""
    window = np.hanning(frame + 1)[:-1].astype(np.float32)
    padded = np.pad(samples, ((0, 0), (frame // 2, frame)))  # a frame is centred on its moment
    starts = np.linspace(0, max(samples.shape[1] - 1, 0), count).round().astype(np.int64)
    for some in np.split(starts, range(FRAMES_AT_ONCE, count, FRAMES_AT_ONCE)):
        frames = padded[:, some[:, None] + np.arange(frame)] * window
        spectra = np.fft.rfft(frames)[..., : frame // 2]
        yield np.square(np.abs(spectra) * np.float32(2 / window.sum())).mean(0)


def with_axes(image: Colours, rate: int, seconds: float) -> Colours:
    """The same with kilohertz on its left and seconds below it."""
    from PIL import Image, ImageDraw, ImageFont

    height, width, _ = image.shape
    left, below, ink = 34, 20, (128, 128, 136)
    sheet = Image.new("RGB", (width + left, height + below), (255, 255, 255))
    sheet.paste(Image.fromarray(image), (left, 0))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for khz in marks(rate / 2000, most=height // 40):
        y = height * (1 - 2000 * khz / rate)
        pen.line([(left - 4, y), (left - 1, y)], ink)
        pen.text((left - 6, y), f"{khz:g}", ink, font, anchor="rt" if y < 8 else "rm")
    for second in marks(seconds, most=width // 80):
        x = left + width * second / seconds
        pen.line([(x, height), (x, height + 3)], ink)
        pen.text((x, height + 5), f"{second:g} s", ink, font, anchor="rt" if x > width else "mt")
    return np.asarray(sheet)


def marks(end: float, most: int) -> list[float]:
    """Round numbers from 0 up to `end`, at most about `most` of them."""
    if end <= 0:
        return []
    rough = end / max(most, 1)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [round(index * step, 9) for index in range(math.floor(end / step + 1e-9) + 1)]
