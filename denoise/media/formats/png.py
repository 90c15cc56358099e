"""PNG: pixels through libpng, every descriptive chunk copied as it is."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np

from denoise.media.formats import Header, Reader, Sheet, decoding, refuse
from denoise.media.tags import Tags
from denoise.signals import Samples

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
DESCRIBING = frozenset(
    b"iCCP sRGB gAMA cHRM cICP mDCV cLLI mDCv cLLi pHYs tEXt zTXt iTXt eXIf tIME sCAL oFFs pCAL sTER".split()
)
CODED = frozenset(b"IHDR PLTE tRNS IDAT IEND".split())
WORDS, COLOURS = frozenset(b"tEXt zTXt iTXt".split()), frozenset(b"gAMA cHRM cICP".split())
ABOUT_SAMPLES = frozenset(b"sBIT bKGD".split())  # true only while depth and colour type stay
XMP_KEYWORD = b"XML:com.adobe.xmp\0"
METRES_PER_INCH = 0.0254
LEVEL = 4  # of compression; the usual 6 takes up to three times as long for files a twenty-fifth smaller
LEAST_ROOM = 1 << 16  # bytes, for what does not grow with the pixels
LARGEST_PROFILE = 64 << 20  # bytes; a longer one is an attack or damage


@dataclass(frozen=True)
class Chunk:
    kind: bytes
    data: bytes
    at: int = 0  # where it begins in its file
    length: int = 0  # with everything around the data
    sound: bool = True  # its check sum is right

    def packed(self) -> bytes:
        check = zlib.crc32(self.kind + self.data)
        return struct.pack(">I", len(self.data)) + self.kind + self.data + struct.pack(">I", check)


@dataclass(frozen=True)
class Chunks:
    """The descriptive chunks of a PNG, and the depth and colour type they were written for."""

    sample_type: bytes
    described: tuple[Chunk, ...]

    def find(self, kind: bytes) -> bytes | None:
        return next((one.data for one in self.described if one.kind == kind), None)

    @property
    def only_here(self) -> tuple[str, ...]:
        """What no other format is told, in words."""
        wanted = WORDS | (COLOURS if self.find(b"iCCP") is None and self.find(b"sRGB") is None else set())
        lost = (one for one in self.described if one.kind in wanted and not one.data.startswith(XMP_KEYWORD))
        kinds = dict.fromkeys(one.kind.decode() for one in lost)
        return (f"descriptions of the PNG ({', '.join(kinds)}) are left out",) if kinds else ()


class PngReader:
    format = "PNG"
    pages = 1

    def __init__(self, path: Path) -> None:
        self.path = path
        with decoding(path, self.format), path.open("rb") as file:
            chunks = list(_chunks(file))
            first = chunks[0]
            width, height, self._bits, self._type = struct.unpack(">IIBB", first.data[:10])
        self._coded = [(one.at, one.length) for one in chunks if one.kind in CODED]
        kinds = {one.kind for one in chunks}
        if b"acTL" in kinds:
            raise refuse(path, "an animated PNG; save its frames as single pictures or as a video.")
        self._transparent = b"tRNS" in kinds
        self.notes = (*self._changes(), *_damages(chunks))
        self._header = self._promise(width, height)
        self._tags = _tags(first.data[8:10], chunks)

    def _changes(self) -> tuple[str, ...]:
        changes = []
        if self._type == PALETTE:
            changes.append("palette expanded to 8-bit colour")
        elif self._bits < 8:
            changes.append(f"{self._bits}-bit grey widened to 8 bits")
        if self._transparent:
            changes.append("transparent colour turned into an alpha channel")
        return tuple(changes)

    def _promise(self, width: int, height: int) -> Header:
        channels = 1 if self._type in (GREY, GREY_ALPHA) else 3
        alpha = self._transparent or self._type in (GREY_ALPHA, COLOUR_ALPHA)
        return Header(width, height, channels, max(8, self._bits), alpha)

    def header(self, page: int) -> Header:
        return self._header

    def tags(self, page: int) -> Tags:
        return self._tags

    def pixels(self, page: int) -> Samples:
        with decoding(self.path, self.format):
            decoded = imagecodecs.png_decode(self._bare())
            pixels: Samples = decoded.reshape(self._header.height, self._header.width, -1)
        return pixels[..., : self._header.samples]  # libpng gives palettes an alpha that they may not have

    def _bare(self) -> bytearray:
        """The file without descriptions, about which libpng would print warnings of its own."""
        bare = bytearray(SIGNATURE)
        with self.path.open("rb") as file:
            for at, length in self._coded:
                file.seek(at)
                bare += file.read(length)
        return bare

    def close(self) -> None: ...


def open_file(path: Path) -> Reader:
    return PngReader(path)


def _chunks(file: BinaryIO) -> Iterator[Chunk]:
    """All chunks up to the end; the pixel data is passed over."""
    file.seek(len(SIGNATURE))
    kind = b""
    while kind != b"IEND":
        at = file.tell()
        head = file.read(8)
        if len(head) < 8:
            raise EOFError("the end of the picture is missing")
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":  # its check sums are the decoder's business
            file.seek(length + 4, 1)
            yield Chunk(kind, b"", at, length + 12)
        else:
            data, check = file.read(length), file.read(4)
            sound = zlib.crc32(kind + data).to_bytes(4) == check
            yield Chunk(kind, data, at, length + 12, sound)


def _damages(chunks: list[Chunk]) -> Iterator[str]:
    for one in chunks:
        if one.kind in DESCRIBING and not one.sound:
            yield f"a damaged description ({one.kind.decode()}) is left out"


def _tags(sample_type: bytes, chunks: list[Chunk]) -> Tags:
    described = tuple(one for one in chunks if one.kind in DESCRIBING | ABOUT_SAMPLES and one.sound)
    native = Chunks(sample_type, described)
    return Tags(
        native.find(b"eXIf"),
        _profile(native.find(b"iCCP")),
        _xmp(described),
        _dpi(native.find(b"pHYs")),
        native,
    )


def _profile(data: bytes | None) -> bytes | None:
    _, found, packed = (data or b"").partition(b"\0")
    if not found:
        return None
    try:
        return zlib.decompressobj().decompress(packed[1:], LARGEST_PROFILE) or None
    except zlib.error:
        return None


def _xmp(chunks: Iterable[Chunk]) -> bytes | None:
    for one in chunks:
        if one.kind == b"iTXt" and one.data.startswith(XMP_KEYWORD + b"\0"):
            return one.data[len(XMP_KEYWORD) + 2 :].split(b"\0", 2)[-1]  # after language and translated keyword
    return None


def _dpi(data: bytes | None) -> tuple[float, float] | None:
    if data is None or len(data) < 9 or data[8] != 1:
        return None
    across, down = struct.unpack(">II", data[:8])
    return across * METRES_PER_INCH, down * METRES_PER_INCH


def write(draft: Path, sheets: Iterable[Sheet], source: Reader) -> list[str]:
    (sheet,) = sheets
    pixels = np.squeeze(sheet.interleaved(), axis=_grey_axis(sheet))
    encoded = memoryview(imagecodecs.png_encode(pixels, level=LEVEL, out=_room_for(pixels)))
    start = len(SIGNATURE) + 25  # the signature and IHDR
    with draft.open("wb") as file:
        file.write(encoded[:start])
        for chunk in _kept(sheet.tags, bytes(encoded[24:26])):
            file.write(chunk.packed())
        file.write(encoded[start:])
    return []


def _room_for(pixels: Samples) -> int:
    """Bytes that are enough for any content; the library forgets that each row begins with one more."""
    size = pixels.nbytes + len(pixels)
    return size + size // 64 + LEAST_ROOM


def _grey_axis(sheet: Sheet) -> tuple[int, ...]:
    return (2,) if sheet.header.samples == 1 else ()


def _kept(tags: Tags, sample_type: bytes) -> Iterator[Chunk]:
    if isinstance(tags.native, Chunks):
        same = tags.native.sample_type == sample_type
        yield from (one for one in tags.native.described if same or one.kind not in ABOUT_SAMPLES)
        return
    if tags.icc:
        yield Chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(tags.icc))
    if tags.resolution:
        dots = (round(value / METRES_PER_INCH) for value in tags.resolution)
        yield Chunk(b"pHYs", struct.pack(">IIB", *dots, 1))
    if tags.exif:
        yield Chunk(b"eXIf", tags.exif)
    if tags.xmp:
        yield Chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0" + tags.xmp)
