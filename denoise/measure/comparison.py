"""What a restorer took away: numbers that show harm, and one picture of before, after and the difference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from denoise.errors import BadFile
from denoise.media.find import NAMES, kind_of
from denoise.signals import Audio, Kind, Picture

if TYPE_CHECKING:
    from PIL.Image import Image

    from denoise.measure.draws import Draws
    from denoise.measure.noise_map import NoiseMap

Floats = NDArray[np.floating[Any]]

CROP = 256  # px
MARGIN = 24  # px, room for a line of words
GAP = 8  # px between panels
BACKGROUND, INK = (24, 24, 27), (228, 228, 231)

CROP_SECONDS = 20
SPECTRUM_PX, TIME_PX = 180, 720


@dataclass(frozen=True)
class Comparison:
    numbers: dict[str, float]
    drawing: Image
    notes: tuple[str, ...] = ()


def kind_of_both(noisy: Path, cleaned: Path) -> Kind:
    kinds = [kind_of(path) for path in (noisy, cleaned)]
    for path, kind in zip((noisy, cleaned), kinds, strict=True):
        if not path.is_file():
            raise BadFile(f"{path}: no such file; check the path.")
        if kind is None:
            raise BadFile(f"{path}: neither a sound nor a picture by its name.")
    first, second = (kind for kind in kinds if kind)
    if first != second:
        raise BadFile(f"{noisy} is a {NAMES[first]} and {cleaned} is a {NAMES[second]}; compare two of a kind.")
    return first


def compare(noisy: Path, cleaned: Path, draws: Draws | None = None, mapping: NoiseMap | None = None) -> Comparison:
    """Of the model that cleaned it, `draws` show where it is not sure and a `mapping` what noise it measures."""
    if kind_of_both(noisy, cleaned) == "audio":
        return compare_sounds(noisy, cleaned, draws)
    return compare_pictures(noisy, cleaned, draws, mapping)


def decibel(power: float) -> float:
    if math.isnan(power):
        return power
    return 10 * math.log10(power) if power > 0 else -math.inf


# Pictures


def compare_pictures(noisy: Path, cleaned: Path, draws: Draws | None, mapping: NoiseMap | None) -> Comparison:
    pages, first = one_count(noisy, cleaned), picture_of(noisy)
    before, after = values(first), values(picture_of(cleaned).beside(first))
    if before.shape != after.shape:
        raise BadFile(f"{size(noisy, before)} and {size(cleaned, after)}; only pictures of one size can be compared.")
    notes = (f"Of their {pages} pages the first is compared.",) if pages > 1 else ()
    return Comparison(picture_numbers(before, after), picture_drawing(before, after, draws, mapping), notes)


def one_count(noisy: Path, cleaned: Path) -> int:
    """How many pages both have."""
    first, second = (pages_of(path) for path in (noisy, cleaned))
    if first != second:
        raise BadFile(f"{noisy} has {first} page(s) and {cleaned} has {second}; only equal counts are compared.")
    return first


def pages_of(path: Path) -> int:
    if kind_of(path) == "raw":
        return 1
    from denoise.media.picture import open_picture

    with open_picture(path) as file:
        return file.pages


def picture_of(path: Path) -> Picture:
    """The first page; a raw file developed."""
    if kind_of(path) == "raw":
        from denoise.media.raw import as_picture

        return as_picture(path)
    from denoise.media.picture import open_picture

    return open_picture(path).page(0).picture


def values(picture: Picture) -> Floats:
    """H×W×C where white is 1."""
    return picture.pixels.astype(np.float32) / np.float32(picture.white)


def size(path: Path, pixels: Floats) -> str:
    height, width, channels = pixels.shape
    return f"{path} is {width}×{height} in {channels} colours"


def picture_numbers(before: Floats, after: Floats) -> dict[str, float]:
    removed = before - after
    mse = float(np.mean(np.square(removed, dtype=np.float64)))
    detail = after - after.mean((0, 1))
    return {
        "psnr_between_db": -decibel(mse) if mse else math.inf,
        "removed_rms_of_255": 255 * math.sqrt(mse),
        "removed_share_of_contrast": share(mse, float(np.var(before, axis=(0, 1), dtype=np.float64).mean())),
        "brightness_change_of_255": 255 * float(np.mean(after, dtype=np.float64) - np.mean(before, dtype=np.float64)),
        "removed_like_picture": likeness(removed - removed.mean((0, 1)), detail),
    }


def share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def likeness(removed: Floats, kept: Floats) -> float:
    """Correlation of what was removed with what was kept: 0 for noise, larger where detail went with it."""
    power = float(np.mean(np.square(removed, dtype=np.float64)) * np.mean(np.square(kept, dtype=np.float64)))
    return float(np.mean(removed * kept, dtype=np.float64)) / math.sqrt(power) if power > 0 else math.nan


def picture_drawing(before: Floats, after: Floats, draws: Draws | None, mapping: NoiseMap | None) -> Image:
    """Noisy, cleaned, removed, the spread and the noise, side by side, where most was changed and where least."""
    removed = before - after
    gain = amplification(float(np.sqrt(np.mean(np.square(removed)))))
    rows = []
    for title, (top, left) in places(removed):
        part = (slice(top, top + CROP), slice(left, left + CROP))
        panels = [before[part], after[part], 0.5 + gain * removed[part]]
        words = [f"noisy ({title}, x {left}, y {top})", "cleaned", f"removed{times(gain)}"]
        if draws:
            panels.append(gain * draws.of_picture(before[part]))
            words.append(f"unsure{times(gain)}")
        if mapping:
            panel, highest = mapping.of_picture(before[part])
            panels.append(panel)
            words.append(f"measured, white is sigma {highest:.0f} of 255")
        rows.append([(enlarged(panel), word) for panel, word in zip(panels, words, strict=True)])
    return sheet(rows)


def times(gain: int) -> str:
    return f", {gain} times" if gain > 1 else ""


def amplification(rms: float) -> int:
    """How often what was removed is taken, so that it can be seen: 2.5 times its rms is half the range."""
    return int(np.clip(0.2 / rms, 1, 64)) if rms > 0 else 1


def places(removed: Floats) -> list[tuple[str, tuple[int, int]]]:
    """Corners of the crops with the largest and the smallest change; the whole where there is only one."""
    height, width = removed.shape[:2]
    corners = [(top, left) for top in starts(height) for left in starts(width)]
    changes = [float(np.mean(np.square(removed[y : y + CROP, x : x + CROP]))) for y, x in corners]
    if len(corners) == 1:
        return [("whole", corners[0])]
    return [
        ("most changed", corners[int(np.argmax(changes))]),
        ("least changed", corners[int(np.argmin(changes))]),
    ]


def starts(length: int) -> list[int]:
    last = max(length - CROP, 0)
    count = math.ceil(last / CROP)
    return sorted({round(index * last / max(count, 1)) for index in range(count + 1)})


def enlarged(panel: Floats) -> Image:
    from PIL import Image

    bytes_ = np.clip(np.rint(panel * 255), 0, 255).astype(np.uint8)
    picture = Image.fromarray(bytes_ if panel.shape[2] == 3 else bytes_[:, :, 0]).convert("RGB")
    size = max(1, CROP // max(picture.size))
    return picture.resize((picture.width * size, picture.height * size), Image.Resampling.NEAREST)


def sheet(rows: Sequence[Sequence[tuple[Image, str]]]) -> Image:
    """Panels with a line of words above each."""
    from PIL import Image, ImageDraw, ImageFont

    widths = [max(max(panel.width for panel, _ in column), CROP) for column in zip(*rows, strict=True)]
    heights = [max(panel.height for panel, _ in row) + MARGIN for row in rows]
    whole = Image.new(
        "RGB", (sum(widths) + GAP * (len(widths) + 1), sum(heights) + GAP * (len(heights) + 1)), BACKGROUND
    )
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(14)
    y = GAP
    for row, height in zip(rows, heights, strict=True):
        x = GAP
        for (panel, words), width in zip(row, widths, strict=True):
            pen.text((x, y), words, INK, font)
            whole.paste(panel, (x, y + MARGIN))
            x += width + GAP
        y += height + GAP
    return whole


# Sound


def compare_sounds(noisy: Path, cleaned: Path, draws: Draws | None) -> Comparison:
    from denoise.media.sound import open_sound

    before, after = (open_sound(path).audio for path in (noisy, cleaned))
    if (before.rate, before.channels) != (after.rate, after.channels):
        raise BadFile(
            f"{noisy} has {before.channels} channels at {before.rate} Hz, {cleaned} {after.channels} at "
            f"{after.rate} Hz; only sounds of one shape can be compared."
        )
    if before.length != after.length:
        raise BadFile(f"{noisy} has {before.length} samples, {cleaned} {after.length}; they must be of one length.")
    tally = np.stack([sums(*pair) for pair in both(before, after, stretch(before))])
    return Comparison(sound_numbers(tally), sound_drawing(before, after, tally[:, REMOVED], draws))


def stretch(audio: Audio) -> int:
    """Samples that are drawn of one place."""
    return round(CROP_SECONDS * audio.rate)


def both(before: Audio, after: Audio, frames: int) -> Iterator[tuple[Floats, Floats]]:
    return zip(even(before, frames), even(after, frames), strict=True)


def even(audio: Audio, frames: int) -> Iterator[Floats]:
    """Blocks of exactly that size, but for the last; a decoder may give smaller ones."""
    held: list[Floats] = []
    have = 0
    for block in audio.blocks(frames):
        held, have = [*held, block], have + block.shape[1]
        if have >= frames:
            joined = np.concatenate(held, 1)
            yield joined[:, :frames]
            held, have = [joined[:, frames:]], have - frames
    if have:
        yield np.concatenate(held, 1)


BEFORE, AFTER, REMOVED, COMMON, PEAK = range(5)
"""Energies of noisy, cleaned and removed; removed times cleaned; the largest sample of what was removed."""


def sums(noisy: Floats, cleaned: Floats) -> Floats:
    removed = noisy - cleaned
    pairs = (noisy, noisy), (cleaned, cleaned), (removed, removed), (removed, cleaned)
    energies = [float(np.sum(one * other, dtype=np.float64)) for one, other in pairs]
    return np.array([*energies, np.abs(removed).max(initial=0)])


def sound_numbers(tally: Floats) -> dict[str, float]:
    before, after, removed, common = (float(value) for value in tally.sum(0)[:PEAK])
    return {
        "removed_energy_db": decibel(share(removed, before)),
        "removed_share_of_energy": share(removed, before),
        "level_change_db": decibel(share(after, before)),
        "removed_peak_dbfs": 2 * decibel(float(tally[:, PEAK].max())),
        "removed_like_sound": share(common, math.sqrt(removed * after)),
    }


def sound_drawing(before: Audio, after: Audio, changes: Floats, draws: Draws | None) -> Image:
    """Spectrograms of noisy, cleaned, removed and the spread, one below the other, where most was changed and where
    least."""
    columns = []
    for title, number in stretches(changes):
        noisy, cleaned = (next(islice(even(audio, stretch(before)), number, None)) for audio in (before, after))
        start = number * CROP_SECONDS
        words = f"noisy ({title}, from {start:g} s)" if start or len(changes) > 1 else "noisy"
        panels = [(noisy, words), (cleaned, "cleaned"), (noisy - cleaned, "removed")]
        if draws:
            panels.append((draws.of_sound(noisy, before.rate), "unsure: what several results differ by"))
        columns.append([(drawn(samples, before.rate), word) for samples, word in panels])
    return sheet(list(zip(*columns, strict=True)))


def stretches(changes: Floats) -> list[tuple[str, int]]:
    if len(changes) == 1:
        return [("whole", 0)]
    whole = changes[:-1] if len(changes) > 2 else changes  # the last one is shorter
    return [("most changed", int(np.argmax(whole))), ("least changed", int(np.argmin(whole)))]


def drawn(samples: Floats, rate: int) -> Image:
    from PIL import Image

    from denoise.measure.spectrogram import spectrogram_image, with_axes

    image = spectrogram_image(samples, rate, SPECTRUM_PX, TIME_PX)
    return Image.fromarray(with_axes(image, rate, samples.shape[1] / rate))
