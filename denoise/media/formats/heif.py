"""HEIF and HEIC: 8, 10 and 12 bits, every picture of the file in its place.

The decoder turns the pixels as the file says, so the orientation of the result is 1: it looks the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif

from denoise.media.formats import Header, Reader, Sheet, boxes, decoding, first_loss
from denoise.media.tags import EXIF_PREFIX, Tags, bare, of_colours, upright
from denoise.signals import Samples

HeifFile: Any = pillow_heif.HeifFile  # the library is partly untyped
QUALITY = 92  # of lossy files; the file does not say what the original was written with
LOSSLESS = -1
FULL_CHROMA = 444  # cameras subsample; full chroma whose mixing is not told is taken for a file without loss
SRGB = {"color_primaries": 1, "transfer_characteristics": 13, "full_range_flag": 1}
UNMIXED = {"matrix_coefficients": 0}  # RGB as it is
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
KEPT = (
    "icc_profile",
    "icc_profile_type",
    "nclx_profile",
    "pixel_aspect_ratio",
    "content_light_level",
    "mastering_display_colour_volume",
    "ambient_viewing_environment",
    "nominal_diffuse_white_luminance",
    "thumbnails",  # their sizes: they are drawn anew
)


@dataclass(frozen=True)
class Description:
    """What libheif tells of one picture, to be told back."""

    kept: dict[str, Any] = field(default_factory=dict)
    chroma: int = 444
    losses: tuple[str, ...] = ()


class HeifReader:
    format = "HEIF"
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        with decoding(path, self.format):
            file = self._open()
            if not len(file):
                raise ValueError("no picture inside")
            coding = boxes.coding(boxes.properties(path.read_bytes()))
        self.lossless = file.info.get("chroma") == FULL_CHROMA and (coding is None or coding.lossless)
        self.pages = len(file)
        self.primary = file.primary_index
        self._headers = [_header(one) for one in file]
        self._tags = [_tags(one.info) for one in file]

    def _open(self) -> Any:
        return pillow_heif.open_heif(self.path, convert_hdr_to_8bit=False, hdr_to_16bit=False)

    def header(self, page: int) -> Header:
        return self._headers[page]

    def tags(self, page: int) -> Tags:
        return self._tags[page]

    def pixels(self, page: int) -> Samples:
        header = self._headers[page]
        with decoding(self.path, self.format):
            pixels: Samples = np.asarray(self._open()[page])
            return pixels.reshape(header.height, header.width, header.samples)

    def close(self) -> None: ...


def open_file(path: Path) -> Reader:
    return HeifReader(path)


def _header(image: Any) -> Header:
    mode = image.mode.split(";")[0]
    depth = int(image.info["bit_depth"])
    width, height = image.size
    return Header(width, height, 1 if mode in ("L", "I") else 3, depth, mode[-1] in "Aa")


def _tags(info: dict[str, Any]) -> Tags:
    extra = bool(info.get("depth_images") or info.get("aux"))
    description = Description(
        {key: info[key] for key in KEPT if info.get(key)},
        info.get("chroma", 444),
        ("depth and gain maps beside the picture are left out",) if extra else (),
    )
    return Tags(upright(bare(info.get("exif"))), info.get("icc_profile"), info.get("xmp"), native=description)


def write(draft: Path, sheets: Iterable[Sheet], source: Reader) -> list[str]:
    mine = source if isinstance(source, HeifReader) else None
    alpha = any(source.header(page).alpha for page in range(source.pages))
    lossless = alpha or (mine is not None and mine.lossless)
    file = HeifFile()
    chroma, notes = 420, _loss_notes(source, lossless)
    for sheet in sheets:
        description = sheet.tags.native if isinstance(sheet.tags.native, Description) else Description()
        chroma = max(chroma, description.chroma)
        notes += [*description.losses, *_add(file, sheet, description, lossless)]
    file.save(
        draft,
        quality=LOSSLESS if lossless else QUALITY,
        chroma=444 if lossless else chroma,
        primary_index=mine.primary if mine else 0,
    )
    return notes


def _loss_notes(source: Reader, lossless: bool) -> list[str]:
    if not lossless:
        return first_loss(source, "HEIF", QUALITY)
    kept = isinstance(source, HeifReader) and source.lossless
    return [] if kept else ["HEIF is written without loss, so that alpha stays exact"]


def _add(file: Any, sheet: Sheet, description: Description, lossless: bool) -> list[str]:
    pixels, tags, notes = sheet.interleaved(), sheet.tags, list[str]()
    if pixels.shape[2] == 2:
        pixels = pixels[..., [0, 0, 0, 1]]
        tags, dropped = of_colours(tags)
        notes = ["HEIF has no grey with alpha: written as colour", *dropped]
    bits = sheet.header.bits
    mode = MODES[pixels.shape[2]] + (f";{bits}" if bits > 8 else "")
    added = file.add_frombytes(mode, (sheet.header.width, sheet.header.height), pixels.tobytes())
    added.info.update(description.kept)
    added.info.update(_told(tags))
    if lossless:
        added.info["nclx_profile"] = {**SRGB, **description.kept.get("nclx_profile", {}), **UNMIXED}
    return notes


def _told(tags: Tags) -> dict[str, bytes]:
    told = {"exif": EXIF_PREFIX + tags.exif if tags.exif else None, "xmp": tags.xmp, "icc_profile": tags.icc}
    return {key: value for key, value in told.items() if value}
