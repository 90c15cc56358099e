"""What a raw file says in its directories. LibRaw tells only a part of it, and nothing of it as bytes."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from denoise.media import ifd

SUB_DIRECTORIES, PURPOSE, COLOUR_MODEL = 330, 254, 262
MAIN = 0  # purpose of the picture itself, in contrast to a preview
COLOUR_FILTER, LINEAR = 32803, 34892  # colour models: a mosaic, a developed one
DNG_VERSION, UNIQUE_CAMERA = 50706, 50708
MAKER_NOTE, ISO = 37500, 34855
TIFF_LIKE = {b"II": {b"*\0", b"RO", b"RS", b"U\0"}, b"MM": {b"\0*", b"OR"}}  # also of Olympus and Panasonic
FUJI, FUJI_JPEG_AT = b"FUJIFILMCCD-RAW", 84  # place of the place of a JPEG that says all of it
CANON = {b"CMT1": (), b"CMT2": (ifd.EXIF,), b"CMT4": (ifd.GPS,)}  # boxes of CR3, and where their entries belong
CANON_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Said:
    layout: ifd.Layout = field(default_factory=ifd.Layout)
    first: tuple[ifd.Entry, ...] = ()  # EXIF and GPS are inside
    mosaic: tuple[ifd.Entry, ...] = ()  # of a DNG; may be the same

    @property
    def is_dng(self) -> bool:
        return ifd.find(self.first, DNG_VERSION) is not None

    def find(self, code: int) -> ifd.Entry | None:
        exif = ifd.inner(self.first, ifd.EXIF)
        places = (self.mosaic, self.first, exif)
        return next((found for place in places if (found := ifd.find(place, code))), None)

    def numbers(self, code: int) -> tuple[float, ...]:
        return ifd.numbers(self.find(code), self.layout)

    def number(self, code: int) -> float | None:
        """The first one, if it is more than nothing."""
        return next((value for value in self.numbers(code)[:1] if value > 0), None)

    def whole(self, code: int) -> int | None:
        value = self.number(code)
        return None if value is None else round(value)

    def text(self, code: int) -> str:
        return ifd.text(self.find(code))

    @property
    def camera(self) -> str | None:
        return self.text(ifd.MODEL) or self.text(UNIQUE_CAMERA) or None


def said_by(path: Path) -> Said:
    """Nothing, where it cannot be understood."""
    with suppress(Exception), path.open("rb") as file:  # foreign bytes; that they are damaged, LibRaw says
        head = file.read(16)
        if head[2:4] in TIFF_LIKE.get(head[:2], ()):
            return from_tiff(file, ifd.Layout(">" if head[:2] == b"MM" else "<"))
        if head[4:8] == b"ftyp":
            return from_boxes(file)
        if head.startswith(FUJI[:16]):
            return from_jpeg(file)
    return Said()


def from_tiff(file: BinaryIO, layout: ifd.Layout) -> Said:
    file.seek(4)
    first = ifd.read(file, int.from_bytes(file.read(4), "little" if layout.order == "<" else "big"), layout)
    places = ifd.numbers(ifd.find(first, SUB_DIRECTORIES), layout)
    every = [first, *(ifd.read(file, int(place), layout) for place in places)]
    return Said(layout, first, next((one for one in every if is_mosaic(one, layout)), ()))


def is_mosaic(entries: tuple[ifd.Entry, ...], layout: ifd.Layout) -> bool:
    purpose = ifd.integer(entries, PURPOSE, layout) or MAIN
    return purpose == MAIN and ifd.integer(entries, COLOUR_MODEL, layout) in (COLOUR_FILTER, LINEAR)


def from_jpeg(file: BinaryIO) -> Said:
    from denoise.media.formats.jpeg import exif_of

    file.seek(FUJI_JPEG_AT)
    place = int.from_bytes(file.read(4), "big")
    file.seek(place)
    return Said(*ifd.read_block(exif_of(io.BytesIO(file.read(1 << 17)))))


def from_boxes(file: BinaryIO) -> Said:
    file.seek(0)
    head = file.read(CANON_HEAD_BYTES)
    layout, first = ifd.Layout(), list[ifd.Entry]()
    for name, inside in CANON.items():
        at = head.find(name)
        if at < 4:
            continue
        size = int.from_bytes(head[at - 4 : at], "big")
        layout, entries = ifd.read_block(head[at + 4 : at - 4 + size])
        first += [ifd.Entry(code, ifd.LONG, 1, entries) for code in inside] or entries
    return Said(layout, tuple(first))
