"""Picture files in and out. What is not noise is kept: depth, alpha, tags, pages; the original is never touched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Self
from weakref import WeakValueDictionary

import numpy as np

from denoise.atomic import atomic
from denoise.errors import BadFile
from denoise.media.formats import Header, Reader, Sheet, decoding, refuse
from denoise.media.tags import Tags
from denoise.signals import Picture, Samples

LARGEST_PIXELS = 10**9  # of one page
# A header that promises more than this for each byte of its file, and enough to hurt, is a bomb or damaged:
# deflate reaches 1032, flat JPEGs less.
LARGEST_EXPANSION, HARMLESS_BYTES = 5000, 64 << 20
ROWS = 64  # converted or looked at in one go


@dataclass(frozen=True)
class Format:
    """What a kind of file can hold, and where its reader and writer are."""

    name: str
    suffixes: tuple[str, ...]
    module: str
    bits: tuple[int, ...] = (8,)
    floating: bool = False
    alpha: bool = True
    stack: bool = False
    largest_side: int = 2**31 - 1
    opener: str = "open_file"
    writer: str = "write"

    def load(self) -> ModuleType:
        return import_module(f"denoise.media.formats.{self.module}")


FORMATS = {
    one.name: one
    for one in (
        Format("PNG", (".png",), "png", (8, 16)),
        Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), "jpeg", alpha=False, largest_side=65500),
        Format("TIFF", (".tif", ".tiff"), "tiff", (8, 16), floating=True, stack=True),
        Format("WebP", (".webp",), "webp", largest_side=16383),
        Format("AVIF", (".avif",), "avif", (8, 10, 12), largest_side=65535),
        Format("HEIF", (".heic", ".heif", ".hif"), "heif", (8, 10, 12), stack=True, largest_side=16384),
        Format("BMP", (".bmp",), "plain", alpha=False, opener="open_bmp", writer="write_bmp"),
        Format("GIF", (".gif",), "plain", opener="open_gif", writer=""),
    )
}
BY_SUFFIX = {suffix: one for one in FORMATS.values() for suffix in one.suffixes}
SUFFIXES = frozenset(BY_SUFFIX)
WRITABLE = frozenset(suffix for suffix, one in BY_SUFFIX.items() if one.writer)
KNOWN = ", ".join(FORMATS)
FALLBACK_SUFFIX = ".png"

MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
)
BRANDS = (({b"avif", b"avis"}, "AVIF"), ({b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc"}, "HEIF"))
STRANGERS = (
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"<svg", "an SVG drawing"),
)


@dataclass(frozen=True, eq=False)
class Layers(Picture):
    """Grey or RGB, in the file's type, and the alpha that was decoded with it and lives as long."""

    alpha: Samples | None = None  # H×W×1, never touched


@dataclass(frozen=True, eq=False)
class Page:
    """One decoded picture: what may be denoised, and what is kept beside it."""

    picture: Layers
    tags: Tags

    @property
    def alpha(self) -> Samples | None:
        return self.picture.alpha


class PictureFile:
    """An open picture file; its pages are decoded one at a time, when asked for."""

    def __init__(self, path: Path, reader: Reader, notes: tuple[str, ...] = ()) -> None:
        self.path = path
        self.reader = reader
        self.format = reader.format
        self.pages = reader.pages
        self.notes = (*notes, *reader.notes)
        self._bytes = path.stat().st_size
        self._seen: WeakValueDictionary[int, Layers] = WeakValueDictionary()
        self._whites: dict[int, float] = {}

    @property
    def suffix(self) -> str:
        """The ending that a result should have: the original's, where that can be written."""
        own = self.path.suffix.lower()
        return self.path.suffix if own in WRITABLE else FALLBACK_SUFFIX

    def header(self, index: int = 0) -> Header:
        """Size and depth of a page, checked before anything is decoded."""
        header = self.reader.header(index)
        _check_promise(self.path, header, self._bytes)
        return header

    def tags(self, index: int = 0) -> Tags:
        return self.reader.tags(index)

    def page(self, index: int = 0) -> Page:
        """That page; a picture that somebody still holds is not decoded again."""
        known = self._seen.get(index)
        if known is None:
            known = self._seen[index] = self._decode(index)
        return Page(known, self.tags(index))

    def white(self, index: int = 0) -> float:
        """The value that means white on that page."""
        fixed = self.header(index).white
        if fixed is not None:
            return float(fixed)
        return self._whites.get(index) or self.page(index).picture.white

    def _decode(self, index: int) -> Layers:
        header = self.header(index)
        pixels = self.reader.pixels(index)
        colour = pixels[..., : header.channels]
        with decoding(self.path, self.format):
            if header.floating:
                _check_finite(self.path, pixels)
                self._whites[index] = white_of(colour)
        alpha = pixels[..., header.channels :] if header.alpha else None
        return Layers(colour, self.white(index), alpha)

    def describe(self) -> str:
        header = self.header()
        pages = f", {self.pages} pages" if self.pages > 1 else ""
        return f"{self.format}{pages}, {header.width} × {header.height}, {header.colour}, {header.depth}"

    def close(self) -> None:
        self.reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_picture(path: Path) -> PictureFile:
    """What kind of file it is, its content says and not its name."""
    name = _recognised(path, _first_bytes(path))
    one = FORMATS[name]
    named = BY_SUFFIX.get(path.suffix.lower())
    notes = (f"in spite of its name it is a {name} file",) if named not in (None, one) else ()
    source = PictureFile(path, getattr(one.load(), one.opener)(path), notes)
    source.header()
    return source


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError as error:
        raise refuse(path, "there is no such file; check the name.") from error
    except IsADirectoryError as error:
        raise refuse(path, "a folder, not a picture; give a file inside it.") from error
    except PermissionError as error:
        raise refuse(path, "no permission to read it; change its permissions or copy it.") from error
    except OSError as error:
        raise refuse(path, f"cannot be read ({error.strerror}); copy it to a healthy disk.") from error
    if not head:
        raise refuse(path, "the file is empty; is the copy complete?")
    return head


def _recognised(path: Path, head: bytes) -> str:
    if head[8:10] == b"CR" and head[:4] == b"II*\0":
        raise refuse(path, "a raw file of a Canon camera, not a finished picture.")
    for magic, name in MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in range(8, min(int.from_bytes(head[:4]), len(head)), 4)}
        for wanted, name in BRANDS:
            if brands & wanted:
                return name
    raise refuse(path, f"{_stranger(head)}; {KNOWN} can be read.")


def _stranger(head: bytes) -> str:
    for magic, words in STRANGERS:
        if head.startswith(magic):
            return words
    if b"\0" not in head and sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head) == 0:
        return "a text file, not a picture"
    return "not a picture, or damaged at its very beginning"


def _check_promise(path: Path, header: Header, file_bytes: int) -> None:
    size = f"{header.width} × {header.height}"
    if not header.width or not header.height:
        raise refuse(path, f"{size} pixels, nothing to clean; is the file complete?")
    if header.width * header.height > LARGEST_PIXELS:
        raise refuse(path, f"{size} pixels, more than {LARGEST_PIXELS:,} are not read; cut it into parts.")
    if header.decoded_bytes > max(HARMLESS_BYTES, LARGEST_EXPANSION * file_bytes):
        raise refuse(path, f"it promises {size} pixels in {file_bytes} bytes; damaged, or made to fill the memory.")


def _check_finite(path: Path, pixels: Samples) -> None:
    bad = sum(int(np.count_nonzero(~np.isfinite(pixels[rows]))) for rows in _bands(pixels))
    if bad:
        raise refuse(path, f"{bad} of {pixels.size} values are not numbers (NaN or infinite); replace them first.")


def white_of(pixels: Samples) -> float:
    """What a float picture means by white.

    1, where 99 % of the values stay at or below it and some come near (ordinary and HDR pictures); otherwise
    nearly the largest value (counts, 0..255, 0..65535, very dark scales), so that a stray hot pixel does not rule.
    """
    step = max(1, int(np.sqrt(pixels.size / 1e6)))
    sample = pixels[::step, ::step].astype(np.float64)
    common, high, top = np.quantile(sample, (0.99, 0.999, 1.0))
    if common <= 1.0 and top >= 1 / 16:
        return 1.0
    return float(high if high > 0 else top) if top > 0 else 1.0


def _bands(pixels: Samples) -> Iterator[slice]:
    return (slice(row, row + ROWS) for row in range(0, pixels.shape[0], ROWS))


def save(target: Path, source: PictureFile, pages: Iterable[Samples]) -> list[str]:
    """Writes one array per page of `source`, whole or not at all, in the format that the ending says.

    Each is H×W×channels like the page's picture. The answer tells what the format could not keep.
    """
    kind = _writable(target, source)
    notes: list[str] = []
    sheets = _sheets(source, pages, kind, notes)
    with atomic(target) as draft:
        notes += getattr(kind.load(), kind.writer)(draft, sheets, source.reader)
    return list(dict.fromkeys(notes))


def _writable(target: Path, source: PictureFile) -> Format:
    kind = BY_SUFFIX.get(target.suffix.lower())
    endings = " ".join(sorted(WRITABLE))
    if kind is None or not kind.writer:
        holds = "a GIF has 256 colours only" if kind else f"unknown kind of picture {target.suffix!r}"
        raise BadFile(f"Cannot write {target}: {holds}; choose one of {endings}.")
    if source.pages > 1 and not kind.stack:
        raise BadFile(f"Cannot write {target}: {kind.name} holds one page and not {source.pages}; choose .tif.")
    side = max(max(one.width, one.height) for one in map(source.header, range(source.pages)))
    if side > kind.largest_side:
        limit = f"{kind.name} holds at most {kind.largest_side} pixels a side"
        raise BadFile(f"Cannot write {target}: {limit} and not {side}; choose .png or .tif.")
    return kind


def _sheets(source: PictureFile, pages: Iterable[Samples], kind: Format, notes: list[str]) -> Iterator[Sheet]:
    for index, pixels in zip(range(source.pages), pages, strict=True):
        header = source.header(index)
        if pixels.shape != (header.height, header.width, header.channels) or pixels.dtype != header.dtype:
            raise ValueError(f"page {index}: {pixels.shape} {pixels.dtype} is no {header.colour} {header.depth}")
        yield _sheet(source, index, pixels, kind, notes)


def _sheet(source: PictureFile, index: int, pixels: Samples, kind: Format, notes: list[str]) -> Sheet:
    header = source.header(index)
    alpha = source.page(index).alpha if header.alpha and kind.alpha else None
    held = replace(_held(header, kind, source.format), alpha=alpha is not None)
    if header.alpha and not kind.alpha:
        notes.append(f"{kind.name} holds no transparency: alpha is left out")
    if held.dtype.itemsize < header.dtype.itemsize or held.bits < header.bits:
        notes.append(f"{kind.name} holds {held.depth} samples: {header.depth} picture reduced")
    if kind.name != source.format:
        notes.extend(getattr(source.tags(index).native, "only_here", ()))
    white = source.white(index)
    if alpha is not None:
        opaque = 1.0 if header.floating and float(alpha.max()) <= 1 else white
        alpha = rescaled(alpha, opaque, held)
    return Sheet(rescaled(pixels, white, held), alpha, held, source.tags(index))


def _held(header: Header, kind: Format, format: str) -> Header:
    """The page as this kind of file can hold it: the smallest depth that loses nothing, or the largest there is."""
    if kind.name == format or (header.floating and kind.floating):
        return header
    bits = min((bits for bits in kind.bits if bits >= header.bits), default=max(kind.bits))
    return replace(header, bits=bits, floating=False)


def rescaled(pixels: Samples, white: float, held: Header) -> Samples:
    """The same picture in the samples of `held`; a float one is cut at black and white where they are whole."""
    if held.white is None or (pixels.dtype == held.dtype and white == held.white):
        return pixels
    result = np.empty(pixels.shape, held.dtype)
    for rows in _bands(pixels):
        values = pixels[rows].astype(np.float64) * (held.white / white)
        result[rows] = np.clip(np.rint(values), 0, held.white)
    return result
