"""TIFF and BigTIFF, page by page: decoded by tifffile, written segment by segment so that memory stays small.

Kept: byte order, compression where it is lossless, predictor, strips or tiles, planes, and as bytes every tag
that does not describe the storage itself. Bilevel, palette and 4-bit pages become 8-bit ones.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import tifffile

from denoise.media import ifd
from denoise.media.formats import Header, Reader, Sheet, decoding, refuse
from denoise.media.tags import Tags, descriptive
from denoise.signals import Samples

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its findings reach the user as our one sentence

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
RAW_MODELS = (32803, 34892)  # colour filter array, linear raw
NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA, ZSTD = 1, 5, 8, 32946, 32773, 34925, 50000
ENCODERS = {
    LZW: imagecodecs.lzw_encode,
    DEFLATE: imagecodecs.deflate_encode,
    OLD_DEFLATE: imagecodecs.deflate_encode,
    PACKBITS: imagecodecs.packbits_encode,
    LZMA: imagecodecs.lzma_encode,
    ZSTD: imagecodecs.zstd_encode,
}
JPEG_FAMILY = frozenset({6, 7, 33007, 34892})
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3  # predictors
SEPARATE_PLANES, UNSIGNED, FLOATING, UNASSOCIATED = 2, 1, 3, 2
SUB_DIRECTORIES, PHOTOSHOP_LAYERS, DNG_VERSION = 330, 37724, 50706
STORAGE_TAGS = (
    frozenset({256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 284, 288, 289, 292, 293})
    | frozenset({317, 320, 322, 323, 324, 325, 338, 339, 347, 400, 529, 530, 531, 532})
    | frozenset(range(512, 522))
    | {SUB_DIRECTORIES, PHOTOSHOP_LAYERS}
)
SEGMENT_BYTES = 1 << 18  # of a strip where we choose
LARGEST_SEGMENT_BYTES = 4 << 20  # of a compressed strip, whatever the original had
CLASSIC_BYTES = 3 << 30  # beyond this the offsets could need BigTIFF


@dataclass(frozen=True)
class Storage:
    """How one page lies in its file, and its tags."""

    layout: ifd.Layout
    entries: tuple[ifd.Entry, ...] = ()
    compression: int = DEFLATE
    predicted: bool = True
    rows: int = 0  # per strip; 0: ours to choose
    tile: tuple[int, int] | None = None
    planar: bool = False
    white_is_zero: bool = False
    extra: int = UNASSOCIATED  # what the fourth sample means
    losses: tuple[str, ...] = ()  # what a rewritten page cannot keep, in words


class TiffReader:
    format = "TIFF"

    def __init__(self, path: Path) -> None:
        self.path = path
        with decoding(path, self.format):
            self._file = tifffile.TiffFile(path, is_ome=False)
            self.pages = len(self._file.pages)
            self._headers: dict[int, Header] = {}
            self._check_frames()
            self.header(0)
            self.notes = _widenings(self._page(0))

    def _check_frames(self) -> None:
        """Some programs hide further frames behind a single directory."""
        file = self._file
        if not (file.is_imagej or file.is_shaped or file.is_stk):
            return
        told = sum(int(np.prod(one.shape)) for one in file.series)
        found = sum(int(np.prod(self._page(index).shape)) for index in range(self.pages))
        if told > found:
            raise refuse(self.path, "frames without directories of their own; save it as an ordinary TIFF stack.")

    def _page(self, index: int) -> Any:
        return self._file.pages[index].aspage()

    def header(self, page: int) -> Header:
        if page not in self._headers:
            with decoding(self.path, self.format):
                self._headers[page] = _header(self.path, self._page(page))
        return self._headers[page]

    def tags(self, page: int) -> Tags:
        with decoding(self.path, self.format):
            storage = _storage(self._file, self._page(page))
        entries, layout = storage.entries, storage.layout
        return Tags(
            descriptive(entries, layout),
            _bytes(entries, ifd.ICC),
            _bytes(entries, ifd.XMP),
            ifd.dots_per_inch(entries, layout),
            storage,
        )

    def pixels(self, page: int) -> Samples:
        with decoding(self.path, self.format):
            directory = self._page(page)
            self._check_complete(directory)
            return _widened(directory, _native(directory.asarray()))

    def _check_complete(self, directory: Any) -> None:
        ends = (a + n for a, n in zip(directory.dataoffsets, directory.databytecounts, strict=True))
        if max(ends, default=0) > self._file.filehandle.size:
            raise EOFError("a part of its pixels is missing")

    def close(self) -> None:
        self._file.close()


def open_file(path: Path) -> Reader:
    return TiffReader(path)


def _header(path: Path, page: Any) -> Header:
    reason = _unusable(page)
    if reason:
        raise refuse(path, reason)
    channels = 3 if page.photometric in (RGB, PALETTE, YCBCR) else 1
    stored = 1 if page.photometric == PALETTE else channels
    bits = 8 if page.photometric == PALETTE else max(8, page.bitspersample)
    return Header(
        int(page.imagewidth),
        int(page.imagelength),
        channels,
        bits,
        page.samplesperpixel > stored,
        page.dtype.kind == "f",
    )


def _unusable(page: Any) -> str | None:
    """Why this page cannot be a picture for us, in words."""
    if page.photometric == CMYK:
        return "a CMYK picture, made for print; convert it to RGB and try again."
    if DNG_VERSION in page.tags or any(model in RAW_MODELS for model in _models(page)):
        return "raw sensor data of a camera, not a finished picture; give it the ending of its raw format."
    if page.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR) or (
        page.photometric == YCBCR and page.compression not in JPEG_FAMILY
    ):
        return f"a TIFF with the colour model {_name(page.photometric)}; convert it to grey or RGB."
    if (
        page.dtype is None
        or page.dtype.kind not in "uifb"
        or page.dtype.kind == "i"
        or page.dtype.itemsize * (page.dtype.kind == "u") > 2
    ):
        return f"samples of {_kind(page)}; convert it to 8 or 16 bits or to 32-bit float."
    stored = 3 if page.photometric in (RGB, YCBCR) else 1
    if page.samplesperpixel - stored not in (0, 1) or page.imagedepth != 1:
        return f"{page.samplesperpixel} values per pixel; grey or RGB is wanted, with or without alpha: split it."
    return None


def _models(page: Any) -> list[int]:
    """The colour models of the page and of those embedded in it."""
    embedded = page.pages if page.subifds else ()
    return [page.photometric, *(one.aspage().photometric for one in embedded)]


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))


def _kind(page: Any) -> str:
    return f"the type {page.dtype}" if page.dtype is not None else "an unknown type"


def _widenings(page: Any) -> tuple[str, ...]:
    if page.photometric == PALETTE:
        return ("palette expanded to 8-bit colour",)
    return (f"{page.bitspersample}-bit grey widened to 8 bits",) if page.bitspersample < 8 else ()


def _losses(page: Any) -> Iterator[str]:
    """What a rewritten page cannot keep."""
    if page.compression != NONE and page.compression not in ENCODERS:
        yield f"its {_name(page.compression)} compression is replaced by deflate, without loss"
    elif page.compression != NONE and 8 < page.bitspersample < 16:
        yield f"{page.bitspersample}-bit samples are written without compression"
    if SUB_DIRECTORIES in page.tags:
        yield "smaller versions embedded beside the page are left out"
    if PHOTOSHOP_LAYERS in page.tags:
        yield "Photoshop layers are left out, the flattened picture is kept"


def _native(pixels: Samples) -> Samples:
    if pixels.dtype.isnative:
        return pixels
    return pixels.byteswap(inplace=True).view(pixels.dtype.newbyteorder("="))


def _widened(page: Any, pixels: Samples) -> Samples:
    """H×W×samples, where 0 is black, of at least 8 bits."""
    if page.planarconfig == SEPARATE_PLANES and page.samplesperpixel > 1:
        pixels = np.moveaxis(pixels, 0, 2)
    pixels = pixels.reshape(page.imagelength, page.imagewidth, -1)
    if page.photometric == PALETTE:
        return _looked_up(pixels[..., 0], page.colormap)
    if page.bitspersample < 8:
        pixels = pixels.astype(np.uint8) * np.uint8(255 // (2**page.bitspersample - 1))
    if page.photometric == WHITE_IS_ZERO:
        _invert(pixels, page.bitspersample)
    return pixels


def _looked_up(indices: Samples, colours: Samples) -> Samples:
    """Colour maps have 16 bits, save those of programs that put 8-bit values there."""
    table = (colours if colours.max() < 256 else colours >> 8).astype(np.uint8)
    return np.ascontiguousarray(table.T)[indices]


def _invert(pixels: Samples, bits: int) -> None:
    """Turns white-is-zero grey around, in place; alpha stays."""
    white = 1 if pixels.dtype.kind == "f" else 2 ** max(8, bits) - 1
    grey = pixels[..., 0]
    np.subtract(pixels.dtype.type(white), grey, out=grey)


def _storage(file: Any, page: Any) -> Storage:
    layout = ifd.Layout(file.byteorder, file.is_bigtiff)
    handle = file.filehandle
    entries = ifd.read(handle, page.offset, layout)
    lossless = page.compression == NONE or page.compression in ENCODERS
    return Storage(
        layout,
        tuple(one for one in entries if one.code not in STORAGE_TAGS),
        int(page.compression) if lossless else DEFLATE,
        page.predictor != 1 or not lossless,
        min(page.rowsperstrip, page.imagelength) if lossless and not page.is_tiled else 0,
        (page.tilelength, page.tilewidth) if page.is_tiled else None,
        page.planarconfig == SEPARATE_PLANES,
        page.photometric == WHITE_IS_ZERO,
        int(page.extrasamples[0]) if page.extrasamples else UNASSOCIATED,
        tuple(_losses(page)),
    )


def _bytes(entries: tuple[ifd.Entry, ...], code: int) -> bytes | None:
    found = ifd.find(entries, code)
    return found.value if found and isinstance(found.value, bytes) else None


def write(draft: Path, sheets: Iterable[Sheet], source: Reader) -> list[str]:
    layout, notes = _layout(source)
    directories = []
    with draft.open("wb") as file:
        file.write(layout.header(0))
        for sheet in sheets:
            storage = _storage_for(sheet, layout)
            directories.append(_put_page(file, sheet, storage, layout))
            notes.extend(storage.losses)
        file.write(bytes(-file.tell() % 8))
        first = file.tell()
        for number, entries in enumerate(directories, 1):
            file.write(ifd.pack(entries, layout, file.tell(), last=number == len(directories)))
        file.seek(0)
        file.write(layout.header(first))
    return notes


def _layout(source: Reader) -> tuple[ifd.Layout, list[str]]:
    """The byte order of the original, so that tags are copied as bytes; BigTIFF where it was or has to be."""
    tags = source.tags(0)
    layout = tags.native.layout if isinstance(tags.native, Storage) else tags.directory[0]
    large = sum(source.header(page).decoded_bytes for page in range(source.pages)) > CLASSIC_BYTES
    notes = ["too large for a classic TIFF: written as BigTIFF"] if large and not layout.big else []
    return ifd.Layout(layout.order, layout.big or large), notes


def _storage_for(sheet: Sheet, layout: ifd.Layout) -> Storage:
    tags = sheet.tags
    if isinstance(tags.native, Storage):
        return tags.native
    kept = tuple(one for one in tags.directory[1] if one.code not in STORAGE_TAGS | {ifd.ICC, ifd.XMP})
    return Storage(layout, (*kept, *_added(tags, layout, kept)))


def _added(tags: Tags, layout: ifd.Layout, kept: tuple[ifd.Entry, ...]) -> Iterator[ifd.Entry]:
    """Tags that other formats keep beside EXIF."""
    if tags.icc:
        yield ifd.blob(ifd.ICC, ifd.UNDEFINED, tags.icc)
    if tags.xmp:
        yield ifd.blob(ifd.XMP, ifd.BYTE, tags.xmp)
    if tags.dpi and not ifd.find(kept, ifd.X_RESOLUTION):
        for code, dots in zip((ifd.X_RESOLUTION, ifd.Y_RESOLUTION), tags.dpi, strict=True):
            yield ifd.ratio(layout, code, dots)
        if not ifd.find(kept, ifd.RESOLUTION_UNIT):
            yield ifd.entry(layout, ifd.RESOLUTION_UNIT, ifd.SHORT, 2)


@dataclass(frozen=True)
class Window:
    """A part of a page that is encoded in one go."""

    samples: slice
    rows: slice
    columns: slice
    begins: bool  # a new strip or tile


def _windows(sheet: Sheet, storage: Storage) -> Iterator[Window]:
    header = sheet.header
    height, width = storage.tile or (_strip_rows(header, storage), header.width)
    step = max(1, SEGMENT_BYTES // _row_bytes(header)) if storage.compression == NONE and not storage.tile else height
    count = header.samples
    for planes in [slice(n, n + 1) for n in range(count)] if storage.planar else [slice(0, count)]:
        for top in range(0, header.height, height):
            for left in range(0, header.width, width):
                for row in range(top, min(top + height, header.height), step):
                    rows = slice(row, min(row + step, top + height))
                    yield Window(planes, rows, slice(left, left + width), row == top)


def _row_bytes(header: Header) -> int:
    return header.width * header.samples * header.dtype.itemsize


def _strip_rows(header: Header, storage: Storage) -> int:
    largest = SEGMENT_BYTES if not storage.rows else LARGEST_SEGMENT_BYTES
    fitting = max(1, largest // _row_bytes(header))
    if storage.compression == NONE and storage.rows:
        return storage.rows
    return min(storage.rows or header.height, fitting, header.height)


def _put_page(file: BinaryIO, sheet: Sheet, storage: Storage, layout: ifd.Layout) -> list[ifd.Entry]:
    """Writes the pixels; the directory that finds them again is the answer."""
    storage = _possible(sheet.header, storage)
    offsets: list[int] = []
    counts: list[int] = []
    windows = _windows(sheet, storage)
    with ThreadPoolExecutor() as pool:
        while batch := list(islice(windows, 16)):
            packed = pool.map(lambda window: _packed(sheet, storage, layout, window), batch)
            for window, data in zip(batch, packed, strict=True):
                if window.begins:
                    offsets.append(file.tell())
                    counts.append(0)
                counts[-1] += file.write(data)
    file.write(bytes(file.tell() % 2))
    return [*_storage_entries(sheet.header, storage, layout, offsets, counts), *storage.entries]


def _possible(header: Header, storage: Storage) -> Storage:
    """Samples of 9 to 15 bits are packed and not compressed."""
    if header.bits in (8, 16, 32, 64):
        return storage
    return replace(storage, compression=NONE, predicted=False, tile=None)


def _packed(sheet: Sheet, storage: Storage, layout: ifd.Layout, window: Window) -> bytes:
    block = _block(sheet, storage, window)
    header = sheet.header
    if header.bits not in (8, 16, 32, 64):
        return bytes(imagecodecs.packints_encode(block, header.bits, runlen=block.shape[1] * block.shape[2]))
    block = np.ascontiguousarray(block, dtype=block.dtype.newbyteorder(layout.order))
    if storage.predicted and storage.compression not in (NONE, PACKBITS):
        block = imagecodecs.floatpred_encode(block, axis=-2) if header.floating else _differences(block)
    if storage.compression == NONE:
        return block.tobytes()
    return bytes(ENCODERS[storage.compression](block.tobytes()))


def _differences(block: Samples) -> Samples:
    """Of each sample to its left neighbour; in the machine's own byte order, which the codec wants."""
    native = block.astype(block.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(imagecodecs.delta_encode(native, axis=-2)).astype(block.dtype, copy=False)


def _block(sheet: Sheet, storage: Storage, window: Window) -> Samples:
    block = sheet.pixels[window.rows, window.columns]
    if sheet.alpha is not None:
        block = np.concatenate([block, sheet.alpha[window.rows, window.columns]], axis=2)
    if storage.white_is_zero:
        block = block.copy()
        _invert(block, sheet.header.bits)
    block = block[..., window.samples]
    if storage.tile:
        missing = [(0, whole - part) for whole, part in zip(storage.tile, block.shape[:2], strict=True)]
        block = np.pad(block, [*missing, (0, 0)], mode="edge")
    return block


def _storage_entries(
    header: Header, storage: Storage, layout: ifd.Layout, offsets: list[int], counts: list[int]
) -> Iterator[ifd.Entry]:
    def short(code: int, *values: int) -> ifd.Entry:
        return ifd.entry(layout, code, ifd.SHORT, *values)

    def long(code: int, *values: int) -> ifd.Entry:
        return ifd.entry(layout, code, ifd.LONG, *values)

    def places(code: int, values: list[int]) -> ifd.Entry:
        return ifd.entry(layout, code, ifd.LONG8 if layout.big else ifd.LONG, *values)

    samples = header.samples
    grey = WHITE_IS_ZERO if storage.white_is_zero else BLACK_IS_ZERO
    yield long(256, header.width)
    yield long(257, header.height)
    yield short(258, *[header.bits] * samples)
    yield short(259, storage.compression)
    yield short(262, RGB if header.channels == 3 else grey)
    yield short(277, samples)
    yield short(284, SEPARATE_PLANES if storage.planar else 1)
    yield short(339, *[FLOATING if header.floating else UNSIGNED] * samples)
    if storage.predicted and storage.compression not in (NONE, PACKBITS):
        yield short(317, FLOAT_DIFFERENCES if header.floating else DIFFERENCES)
    if header.alpha:
        yield short(338, storage.extra)
    if storage.tile:
        yield from (
            long(322, storage.tile[1]),
            long(323, storage.tile[0]),
            places(324, offsets),
            places(325, counts),
        )
    else:
        yield from (places(273, offsets), long(278, _strip_rows(header, storage)), places(279, counts))
