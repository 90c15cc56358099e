"""DNG out: the mosaic with its colour filter, or linear colours; a preview in front, and all that the original says
of its light and its making, as bytes. The maker's notes are left out: their offsets hold in the original only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np

from denoise.media import ifd
from denoise.media.raw import BLACK_LEVEL, EXPOSURE, NOISE_PROFILE, RawFile
from denoise.media.raw_tags import COLOUR_FILTER, DNG_VERSION, ISO, LINEAR, MAKER_NOTE, SUB_DIRECTORIES, UNIQUE_CAMERA
from denoise.media.tags import DESCRIPTIVE
from denoise.signals import Noise, Samples

VERSIONS = ((DNG_VERSION, (1, 4, 0, 0)), (50707, (1, 3, 0, 0)))  # written, and the oldest that reads it
ONE_VERSION_BYTE = 4
COLOUR_MATRIX, FORWARD_MATRIX, AS_SHOT_NEUTRAL, AS_SHOT_WHITE = 50721, 50964, 50728, 50729
ILLUMINANT, DAYLIGHT = 50778, 21
REDUCED = 50935  # how much of the noise has been taken away, 0 to 1
COLOURS = (  # of the first directory: how a converter makes colours of it, and which camera it is
    frozenset({UNIQUE_CAMERA, 50709, *range(50721, 50733), *range(50734, 50737), 50739, ILLUMINANT, 50779})
    | frozenset({*range(50831, 50835), 50879, 50931, 50932, 50934, *range(50936, 50943), FORWARD_MATRIX, 50965})
    | {50981, 50982, 51107, 51108, 51109, 51110, ifd.XMP, 50827}
)
RENDERING = frozenset({50733, 50737, 50738, 50780})  # of the mosaic's directory: sharpness and false colours
CROPS = frozenset({50718, 50719, 50720, 51125, 51009, 51022})  # places in the active area, and what to do there
WHOLE_SENSOR = 51008  # what to do in the area with its margins
MOSAIC_STEPS = 51009  # what to do before colours are made: gains of each colour of the mosaic
ACTIVE_AREA = 50829
MATERIAL = {"R": 0, "G": 1, "B": 2}
STRIP_BYTES = 1 << 20
TILE, GRAIN = 512, 16  # px: largest side of a tile, and what sides are multiples of
NONE, JPEG = 1, 7  # compressions; of 16 bits, the latter loses nothing
TAKEN, APERTURE, FOCAL, LENS = 36867, 33437, 37386, 42036  # of EXIF


@dataclass(frozen=True, eq=False)
class Content:
    """What goes into a DNG beside what its original says."""

    raw: RawFile
    pixels: Samples  # uint16, H×W of a mosaic, or H×W×3
    black: tuple[float, ...]  # DN: for each place of the tile, or one
    white: float
    preview: tuple[bytes, int, int]  # JPEG, width, height
    reduced: float | None  # share of the noise that was taken away, where it is known
    noise: Noise | None  # what is left

    @property
    def colours(self) -> int:
        return 1 if self.pixels.ndim == 2 else 3


def write(draft: Path, content: Content) -> None:
    layout = ifd.Layout(content.raw.said.layout.order)
    with draft.open("wb") as file:
        file.write(layout.header(0))
        pieces = put_tiles(file, content.pixels) if content.colours == 1 else put_strips(file, content.pixels, layout)
        preview = file.tell()
        file.write(content.preview[0] + bytes(-len(content.preview[0]) % 8))
        file.write(bytes(-file.tell() % 8))
        first = file.tell()
        file.write(ifd.pack(first_directory(content, layout, preview, pieces), layout, first))
        file.seek(0)
        file.write(layout.header(first))


@dataclass(frozen=True)
class Pieces:
    """Where the pixels lie: strips over the whole width, not compressed, or tiles that are."""

    height: int
    width: int | None = None  # None: of strips
    offsets: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def put(self, file: BinaryIO, data: bytes) -> None:
        self.offsets.append(file.tell())
        self.counts.append(file.write(data))
        file.write(bytes(len(data) % 2))

    def entries(self, layout: ifd.Layout) -> Iterator[ifd.Entry]:
        yield ifd.entry(layout, 259, ifd.SHORT, NONE if self.width is None else JPEG)
        sizes = {278: self.height} if self.width is None else {322: self.width, 323: self.height}
        yield from (ifd.entry(layout, code, ifd.LONG, size) for code, size in sizes.items())
        first, second = (273, 279) if self.width is None else (324, 325)
        yield ifd.entry(layout, first, ifd.LONG, *self.offsets)
        yield ifd.entry(layout, second, ifd.LONG, *self.counts)


def put_strips(file: BinaryIO, pixels: Samples, layout: ifd.Layout) -> Pieces:
    strips = Pieces(max(1, STRIP_BYTES // (pixels[0].size * 2)))
    for top in range(0, len(pixels), strips.height):
        strips.put(file, pixels[top : top + strips.height].astype(layout.order + "u2").tobytes())
    return strips


def put_tiles(file: BinaryIO, pixels: Samples) -> Pieces:
    """Lossless JPEG, in which two rows lie in one, so that each value is predicted from others of its colour."""
    height, width = (min(TILE, max(side // GRAIN, 1) * GRAIN) for side in pixels.shape)  # LibRaw wants none wider
    tiles = Pieces(height, width)
    for top in range(0, pixels.shape[0], height):
        for left in range(0, pixels.shape[1], width):
            part = pixels[top : top + height, left : left + width]
            missing = [(0, whole - have) for whole, have in zip((height, width), part.shape, strict=True)]
            tile = np.pad(part, missing, mode="edge").reshape(height // 2, 2 * width)
            tiles.put(file, bytes(imagecodecs.ljpeg_encode(tile, bitspersample=16)))
    return tiles


def first_directory(content: Content, layout: ifd.Layout, preview: int, pieces: Pieces) -> list[ifd.Entry]:
    """The preview's, with everything about the picture; the mosaic's own is inside."""
    entries = [*previewed(content, layout, preview), *about(content.raw, layout)]
    mosaic = tuple(sensor(content, layout, pieces))
    entries.append(ifd.Entry(SUB_DIRECTORIES, ifd.LONG, 1, tuple(sorted(mosaic, key=lambda one: one.code))))
    return list({one.code: one for one in entries}.values())


def previewed(content: Content, layout: ifd.Layout, at: int) -> Iterator[ifd.Entry]:
    jpeg, width, height = content.preview
    yield ifd.entry(layout, 254, ifd.LONG, 1)  # a smaller version of another picture in the file
    yield from (
        ifd.entry(layout, code, ifd.LONG, value) for code, value in ((256, width), (257, height), (278, height))
    )
    yield ifd.entry(layout, 258, ifd.SHORT, 8, 8, 8)
    yield from (ifd.entry(layout, code, ifd.SHORT, value) for code, value in ((259, 7), (262, 6), (277, 3), (284, 1)))
    yield ifd.entry(layout, 273, ifd.LONG, at)
    yield ifd.entry(layout, 279, ifd.LONG, len(jpeg))
    yield ifd.entry(layout, 530, ifd.SHORT, 1, 1)


def sensor(content: Content, layout: ifd.Layout, pieces: Pieces) -> Iterator[ifd.Entry]:
    height, width = content.pixels.shape[:2]
    colours = content.colours
    yield ifd.entry(layout, 254, ifd.LONG, 0)
    yield from (ifd.entry(layout, code, ifd.LONG, value) for code, value in ((256, width), (257, height)))
    yield ifd.entry(layout, 258, ifd.SHORT, *[16] * colours)
    model = COLOUR_FILTER if colours == 1 else LINEAR
    yield from (ifd.entry(layout, code, ifd.SHORT, value) for code, value in ((262, model), (277, colours), (284, 1)))
    yield from pieces.entries(layout)
    if colours == 1:
        yield from filter_of(content.raw.cfa, layout)
    yield from levels(content, layout)
    yield from kept(content, layout)
    if content.reduced is not None:
        yield ifd.ratios(layout, REDUCED, [content.reduced], ifd.RATIONAL)
    if content.noise is not None:
        yield ifd.doubles(layout, NOISE_PROFILE, profile(content.noise))


def filter_of(cfa: str, layout: ifd.Layout) -> Iterator[ifd.Entry]:
    side = 2 if len(cfa) == 4 else 6
    yield ifd.entry(layout, 33421, ifd.SHORT, side, side)
    yield ifd.entry(layout, 33422, ifd.BYTE, *(MATERIAL[letter] for letter in cfa))
    yield ifd.entry(layout, 50710, ifd.BYTE, 0, 1, 2)  # red, green, blue
    yield ifd.entry(layout, 50711, ifd.SHORT, 1)  # rows and columns are straight


def levels(content: Content, layout: ifd.Layout) -> Iterator[ifd.Entry]:
    black = content.black
    side = {1: 1, 4: 2, 36: 6}[len(black)]
    yield ifd.entry(layout, 50713, ifd.SHORT, side, side)
    each = black if content.colours == 1 else black * 3
    yield ifd.ratios(
        layout, BLACK_LEVEL, each, ifd.RATIONAL, 1 if all(level == int(level) for level in black) else 1000
    )
    yield ifd.entry(layout, 50717, ifd.LONG, *[round(content.white)] * content.colours)


def kept(content: Content, layout: ifd.Layout) -> Iterator[ifd.Entry]:
    """What holds for the same area of the sensor."""
    raw = content.raw
    if not raw.said.is_dng:
        return
    wanted = RENDERING | (CROPS if same_area(raw) else set())
    if not any(raw.margins) and same_area(raw):
        wanted |= {WHOLE_SENSOR}
    if content.colours == 3:
        wanted -= {WHOLE_SENSOR, MOSAIC_STEPS}
    yield from (found for code in sorted(wanted) if (found := raw.said.find(code)) is not None)


def losses(content: Content) -> list[str]:
    """What holds for a mosaic and not for the colours made of it."""
    if content.colours == 1 or content.raw.said.find(MOSAIC_STEPS) is None:
        return []
    return [
        "corrections of its mosaic that it asks a converter for (OpcodeList2: dark corners, as a rule) are left out"
    ]


def same_area(raw: RawFile) -> bool:
    """Whether the visible part, as LibRaw sees it, is what the file calls the active area."""
    told = raw.said.numbers(ACTIVE_AREA)
    top, left = raw.margins
    height, width = raw.photosites.shape
    return tuple(told) == (top, left, top + height, left + width) if told else not any(raw.margins)


def profile(noise: Noise) -> list[float]:
    """Shot and read of red, green and blue."""
    red, first, second, blue = noise
    greens = ((first.shot + second.shot) / 2, (first.read + second.read) / 2)
    return [red.shot, red.read, *greens, blue.shot, blue.read]


# What the original says


def about(raw: RawFile, layout: ifd.Layout) -> Iterator[ifd.Entry]:
    codes = DESCRIPTIVE | (COLOURS if raw.said.is_dng else {ifd.XMP})
    yield from (one for one in raw.said.first if one.code in codes - {ifd.EXIF, ifd.ORIENTATION})
    yield ifd.entry(layout, ifd.ORIENTATION, ifd.SHORT, raw.orientation)
    yield from (ifd.entry(layout, code, ifd.BYTE, *version) for code, version in VERSIONS)
    if raw.said.find(UNIQUE_CAMERA) is None:
        make, model = raw.said.text(ifd.MAKE), raw.camera or "unknown camera"
        yield ifd.words(UNIQUE_CAMERA, model if model.startswith(make) else f"{make} {model}")
    if raw.said.find(COLOUR_MATRIX) is None and raw.from_xyz is not None:
        yield ifd.ratios(layout, COLOUR_MATRIX, raw.from_xyz.flat)
        yield ifd.entry(layout, ILLUMINANT, ifd.SHORT, DAYLIGHT)
    if raw.balance and raw.said.find(AS_SHOT_NEUTRAL) is None and raw.said.find(AS_SHOT_WHITE) is None:
        yield ifd.ratios(layout, AS_SHOT_NEUTRAL, (1 / factor for factor in raw.balance), ifd.RATIONAL, 1_000_000)
    yield ifd.Entry(ifd.EXIF, ifd.LONG, 1, tuple(exif_of(raw, layout)))


def exif_of(raw: RawFile, layout: ifd.Layout) -> list[ifd.Entry]:
    """As the original has it, and what LibRaw alone knows."""
    entries = [one for one in ifd.inner(raw.said.first, ifd.EXIF) if one.code != MAKER_NOTE]
    there = {one.code for one in entries}
    entries += [one for one in measured(raw, layout) if one.code not in there]
    return sorted(entries, key=lambda one: one.code)


def measured(raw: RawFile, layout: ifd.Layout) -> Iterator[ifd.Entry]:
    yield ifd.blob(36864, ifd.UNDEFINED, b"0231")  # its version
    if raw.iso:
        yield ifd.entry(layout, ISO, ifd.SHORT, min(raw.iso, 65535))
    if raw.exposure_s:
        yield ifd.ratios(layout, EXPOSURE, [raw.exposure_s], ifd.RATIONAL, 1_000_000)
    for code, value in ((APERTURE, raw.taken.aperture), (FOCAL, raw.taken.focal_mm)):
        if value:
            yield ifd.ratio(layout, code, value)
    for code, text in ((TAKEN, raw.taken.when), (LENS, raw.taken.lens)):
        if text:
            yield ifd.words(code, text)
