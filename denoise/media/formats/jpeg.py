"""JPEG: rewritten with the quantisation tables, chroma subsampling and descriptions of the original."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin

from denoise.media.formats import Header, Reader, Sheet, decoding, refuse
from denoise.media.tags import EXIF_PREFIX, Tags, bare
from denoise.signals import Samples

XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
MORE_XMP_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
ICC_PREFIX = b"ICC_PROFILE\0"
PHOTOSHOP_PREFIX = b"Photoshop 3.0\0"
MULTI_PICTURE_PREFIX = b"MPF\0"
JFIF_PREFIX = b"JFIF\0"
APP0, APP1, APP2, APP13, COMMENT, SCAN, END = 0xE0, 0xE1, 0xE2, 0xED, 0xFE, 0xDA, 0xD9
DESCRIBING = {
    APP0: (JFIF_PREFIX,),
    APP1: (EXIF_PREFIX, XMP_PREFIX, MORE_XMP_PREFIX),
    APP2: (ICC_PREFIX,),
    APP13: (PHOTOSHOP_PREFIX,),  # IPTC captions live here
    COMMENT: (b"",),
}
FILM = re.compile(rb"ftyp(mp4|iso|avc1|qt  )")  # how an MP4 or MOV begins, wherever the maker has put it
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
READABLE_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # baseline, extended, progressive; also arithmetic
WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
LONGEST_SEGMENT = 65533
ONE_AT_A_TIME = Lock()
QUALITY = 95  # for pictures that were no JPEG before


@dataclass(frozen=True)
class Segment:
    marker: int
    data: bytes

    @property
    def describes(self) -> bool:
        return any(self.data.startswith(prefix) for prefix in DESCRIBING.get(self.marker, ()))

    def packed(self) -> bytes:
        return struct.pack(">BBH", 0xFF, self.marker, len(self.data) + 2) + self.data


@dataclass(frozen=True)
class Recipe:
    """How the original was encoded, and what it says about itself."""

    tables: tuple[tuple[int, ...], ...]
    sampling: int  # 4:4:4, 4:2:2, 4:2:0 as Pillow counts them; -1 another one or grey
    progressive: bool
    stored_as_rgb: bool
    segments: tuple[Segment, ...]


class JpegReader:
    format = "JPEG"
    pages = 1

    def __init__(self, path: Path) -> None:
        self.path = path
        with decoding(path, self.format), path.open("rb") as file:
            segments = list(_segments(file))
            frame = next(one for one in segments if one.marker in FRAMES)
            bits, height, width, components = struct.unpack(">BHHB", frame.data[:6])
            film = FILM.search(file.read()) is not None
        _check(path, frame.marker, bits, components)
        self._header = Header(width, height, components, bits)
        self._segments = tuple(one for one in segments if one.describes)
        more = any(one.marker == APP2 and one.data.startswith(MULTI_PICTURE_PREFIX) for one in segments)
        beside = {
            "pictures embedded beside the main one (preview, gain map) are left out": more,
            "the film behind the picture (motion photo) is left out": film,
        }
        self.notes: tuple[str, ...] = tuple(note for note, there in beside.items() if there)
        self._tags: Tags | None = None

    def header(self, page: int) -> Header:
        return self._header

    def tags(self, page: int) -> Tags:
        if self._tags is None:
            with decoding(self.path, self.format), JpegImagePlugin.JpegImageFile(self.path) as picture:
                self._tags = _tags(self._segments, picture)
        return self._tags

    def pixels(self, page: int) -> Samples:
        with decoding(self.path, self.format), JpegImagePlugin.JpegImageFile(self.path) as picture:
            pixels: Samples = np.asarray(picture)
            return pixels.reshape(self._header.height, self._header.width, self._header.channels)

    def close(self) -> None: ...


def open_file(path: Path) -> Reader:
    return JpegReader(path)


def _check(path: Path, frame: int, bits: int, components: int) -> None:
    if components == 4:
        raise refuse(path, "a CMYK picture, made for print; convert it to RGB and try again.")
    if bits != 8 or frame not in READABLE_FRAMES or components not in (1, 3):
        raise refuse(
            path,
            f"a JPEG of a rare kind ({bits}-bit, {components} components); save it as ordinary JPEG or TIFF.",
        )


def _segments(file: BinaryIO) -> Iterator[Segment]:
    """The segments in front of the pixel data."""
    file.seek(2)
    while True:
        marker = _marker(file)
        if marker in (SCAN, END):
            return
        if marker not in WITHOUT_LENGTH:
            length = struct.unpack(">H", file.read(2))[0]
            yield Segment(marker, file.read(length - 2))


def exif_of(file: BinaryIO) -> bytes:
    """The EXIF block of a JPEG, or nothing."""
    found = (one.data for one in _segments(file) if one.marker == APP1 and one.data.startswith(EXIF_PREFIX))
    return bare(next(found, None)) or b""


def _marker(file: BinaryIO) -> int:
    """The next marker; filling bytes before it are allowed."""
    byte = file.read(1)
    while byte and byte != b"\xff":
        byte = file.read(1)
    while byte == b"\xff":
        byte = file.read(1)
    if not byte:
        raise EOFError("it ends before the picture begins")
    return byte[0]


def _tags(segments: tuple[Segment, ...], picture: Any) -> Tags:
    def after(marker: int, prefix: bytes) -> list[bytes]:
        found = (one.data for one in segments if one.marker == marker)
        return [data[len(prefix) :] for data in found if data.startswith(prefix)]

    icc = b"".join(part[2:] for part in sorted(after(APP2, ICC_PREFIX), key=lambda part: part[:1]))
    exif, xmp = after(APP1, EXIF_PREFIX), after(APP1, XMP_PREFIX)
    dpi = picture.info.get("dpi") if after(APP0, JFIF_PREFIX) else None
    return Tags(
        bare(exif[0]) if exif else None,
        icc or None,
        xmp[0] if xmp else None,
        (float(dpi[0]), float(dpi[1])) if dpi else None,
        _recipe(segments, picture),
    )


def _recipe(segments: tuple[Segment, ...], picture: Any) -> Recipe:
    return Recipe(
        tuple(tuple(picture.quantization[layer[3]]) for layer in picture.layer),
        JpegImagePlugin.get_sampling(picture),
        "progressive" in picture.info,
        picture.info.get("adobe_transform") == 0 or [layer[0] for layer in picture.layer] == [*b"RGB"],
        segments,
    )


def write(draft: Path, sheets: Iterable[Sheet], source: Reader) -> list[str]:
    (sheet,) = sheets
    recipe = sheet.tags.native
    if isinstance(recipe, Recipe):
        again, notes = _again(recipe, sheet.header)
        draft.write_bytes(_with_segments(_encoded(sheet, again), recipe.segments))
    else:
        fresh, notes = _fresh(sheet.tags)
        draft.write_bytes(_encoded(sheet, fresh))
    return notes


def _again(recipe: Recipe, header: Header) -> tuple[dict[str, Any], list[str]]:
    """The settings that the original was written with."""
    settings: dict[str, Any] = {
        "qtables": [list(table) for table in recipe.tables],
        "progressive": recipe.progressive,
        "keep_rgb": recipe.stored_as_rgb,
    }
    if header.channels == 1:
        return settings, []
    settings["subsampling"] = max(recipe.sampling, 0)
    rare = recipe.sampling < 0
    return settings, ["its rare chroma subsampling is written as 4:4:4"] if rare else []


def _fresh(tags: Tags) -> tuple[dict[str, Any], list[str]]:
    """Settings for a picture that was no JPEG before."""
    settings: dict[str, Any] = {"quality": QUALITY, "subsampling": 0}
    notes = []
    exif, xmp = EXIF_PREFIX + (tags.exif or b""), tags.xmp or b""
    if len(exif) > LONGEST_SEGMENT:
        notes.append("EXIF is too long for JPEG and left out")
    elif tags.exif:
        settings["exif"] = exif
    if len(XMP_PREFIX) + len(xmp) > LONGEST_SEGMENT:
        notes.append("XMP is too long for JPEG and left out")
    elif xmp:
        settings["xmp"] = xmp
    if tags.icc:
        settings["icc_profile"] = tags.icc
    if tags.resolution:
        settings["dpi"] = tuple(round(value) for value in tags.resolution)
    return settings, notes


def _encoded(sheet: Sheet, settings: dict[str, Any]) -> bytes:
    pixels = np.ascontiguousarray(sheet.pixels)
    picture = Image.fromarray(pixels[..., 0] if sheet.header.channels == 1 else pixels)
    buffer = io.BytesIO()
    with _room_for(2 * pixels.size):
        picture.save(buffer, "JPEG", optimize=True, **settings)
    return buffer.getvalue()


@contextmanager
def _room_for(size: int) -> Iterator[None]:
    """Pillow gives optimised and progressive JPEGs a buffer that the noisy ones overflow, unless it is told."""
    with ONE_AT_A_TIME:
        before = ImageFile.MAXBLOCK
        ImageFile.MAXBLOCK = max(before, size)
        try:
            yield
        finally:
            ImageFile.MAXBLOCK = before


def _with_segments(encoded: bytes, segments: tuple[Segment, ...]) -> bytes:
    """The descriptive segments of the original in place of the encoder's own."""
    file = io.BytesIO(encoded)
    own = next(_segments(file))
    start = file.tell() if own.marker == APP0 else 2
    return encoded[:2] + b"".join(one.packed() for one in segments) + encoded[start:]
