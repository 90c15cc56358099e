"""TIFF directories, of which TIFF files and EXIF blocks are made: read and packed, values as they are."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, Literal

MAKE, MODEL = 271, 272
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
XMP, ICC, EXIF, GPS, INTEROPERABILITY = 700, 34675, 34665, 34853, 40965
NESTED = frozenset({EXIF, GPS, INTEROPERABILITY})
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL, DOUBLE, LONG8, IFD8 = 1, 2, 3, 4, 5, 7, 10, 12, 16, 18
SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
CODES = {BYTE: "B", SHORT: "H", LONG: "I", LONG8: "Q"}
NUMBERS = CODES | {RATIONAL: "I", SRATIONAL: "i", 6: "b", 8: "h", 9: "i", 11: "f", DOUBLE: "d", 13: "I"}
CENTIMETRE = 3
MOST_ENTRIES = 4096  # more than this is a damaged count
DEEPEST = 2  # EXIF holds the interoperability directory, and nothing holds more


@dataclass(frozen=True)
class Layout:
    """How numbers are written in one file or block."""

    order: Literal["<", ">"] = "<"  # "<" little endian, ">" big endian
    big: bool = False  # BigTIFF: 64-bit offsets

    @property
    def inline(self) -> int:
        return 8 if self.big else 4

    def number(self, value: int) -> bytes:
        """A count or an offset."""
        return struct.pack(self.order + ("Q" if self.big else "I"), value)

    def header(self, first: int) -> bytes:
        mark = b"II" if self.order == "<" else b"MM"
        if self.big:
            return mark + struct.pack(self.order + "HHHQ", 43, 8, 0, first)
        return mark + struct.pack(self.order + "HI", 42, first)


@dataclass(frozen=True)
class Entry:
    code: int
    kind: int
    count: int
    value: bytes | tuple[Entry, ...]  # the entries, where it points to a nested directory


def entry(layout: Layout, code: int, kind: int, *values: int) -> Entry:
    return Entry(code, kind, len(values), struct.pack(f"{layout.order}{len(values)}{CODES[kind]}", *values))


def ratio(layout: Layout, code: int, value: float) -> Entry:
    parts = Fraction(value).limit_denominator(1000)
    return Entry(code, RATIONAL, 1, struct.pack(layout.order + "II", parts.numerator, parts.denominator))


def ratios(layout: Layout, code: int, values: Iterable[float], kind: int = SRATIONAL, below: int = 10_000) -> Entry:
    """Of one denominator, which colour matrices and levels have."""
    parts = [part for value in values for part in (round(value * below), below)]
    return Entry(code, kind, len(parts) // 2, struct.pack(f"{layout.order}{len(parts)}{NUMBERS[kind]}", *parts))


def doubles(layout: Layout, code: int, values: Sequence[float]) -> Entry:
    return Entry(code, DOUBLE, len(values), struct.pack(f"{layout.order}{len(values)}d", *values))


def words(code: int, text: str) -> Entry:
    return blob(code, ASCII, text.encode("utf-8") + b"\0")


def blob(code: int, kind: int, value: bytes) -> Entry:
    return Entry(code, kind, len(value), value)


def find(entries: Iterable[Entry], code: int) -> Entry | None:
    return next((one for one in entries if one.code == code), None)


def integer(entries: Iterable[Entry], code: int, layout: Layout) -> int | None:
    """The first number of a whole-number entry."""
    found = find(entries, code)
    if found is None or found.kind not in CODES or not isinstance(found.value, bytes):
        return None
    size = SIZES[found.kind]
    if len(found.value) < size:
        return None
    return int(struct.unpack(layout.order + CODES[found.kind], found.value[:size])[0])


def numbers(found: Entry | None, layout: Layout) -> tuple[float, ...]:
    """All of an entry; a ratio over nothing is no number."""
    if found is None or found.kind not in NUMBERS or not isinstance(found.value, bytes):
        return ()
    letter = NUMBERS[found.kind]
    count = len(found.value) // struct.calcsize("=" + letter)
    values = struct.unpack_from(f"{layout.order}{count}{letter}", found.value)
    if found.kind in (RATIONAL, SRATIONAL):
        pairs = zip(values[0::2], values[1::2], strict=False)
        return tuple(above / below if below else math.nan for above, below in pairs)
    return tuple(values)


def text(found: Entry | None) -> str:
    if found is None or not isinstance(found.value, bytes):
        return ""
    return found.value.split(b"\0", 1)[0].decode("utf-8", "replace").strip()


def inner(entries: Iterable[Entry], code: int) -> tuple[Entry, ...]:
    """The entries of a directory inside."""
    found = find(entries, code)
    return found.value if found is not None and isinstance(found.value, tuple) else ()


def dots_per_inch(entries: Iterable[Entry], layout: Layout) -> tuple[float, float] | None:
    entries = tuple(entries)
    unit = integer(entries, RESOLUTION_UNIT, layout) or 2
    across, down = (_ratio(find(entries, code), layout) for code in (X_RESOLUTION, Y_RESOLUTION))
    if not across or not down or unit == 1:
        return None
    scale = 2.54 if unit == CENTIMETRE else 1.0
    return across * scale, down * scale


def _ratio(found: Entry | None, layout: Layout) -> float | None:
    if found is None or found.kind != RATIONAL or not isinstance(found.value, bytes) or len(found.value) < 8:
        return None
    above, below = struct.unpack(layout.order + "II", found.value[:8])
    return above / below if below else None


def read(file: BinaryIO, offset: int, layout: Layout, depth: int = 0) -> tuple[Entry, ...]:
    """The entries at that offset; those that point outside the file are left out."""
    file.seek(offset)
    width = 8 if layout.big else 2
    raw = file.read(width)
    count = struct.unpack(layout.order + ("Q" if layout.big else "H"), raw)[0] if len(raw) == width else 0
    size = 12 + 2 * (layout.inline - 4)
    table = file.read(size * min(count, MOST_ENTRIES))
    rows = (table[at : at + size] for at in range(0, len(table) - size + 1, size))
    return tuple(one for row in rows if (one := _entry(file, row, layout, depth)))


def _entry(file: BinaryIO, row: bytes, layout: Layout, depth: int) -> Entry | None:
    code, kind, count = struct.unpack_from(layout.order + ("HHQ" if layout.big else "HHI"), row)
    field = row[-layout.inline :]
    place = struct.unpack(layout.order + ("Q" if layout.big else "I"), field)[0]
    if code in NESTED:
        nested = read(file, place, layout, depth + 1) if depth < DEEPEST else ()
        return Entry(code, LONG, 1, nested) if nested else None
    length = SIZES.get(kind, 0) * count
    if length <= layout.inline:
        return Entry(code, kind, count, field[:length]) if length else None
    if place + length > file.seek(0, io.SEEK_END):
        return None
    file.seek(place)
    return Entry(code, kind, count, file.read(length))


def pack(entries: Iterable[Entry], layout: Layout, at: int, last: bool = True) -> bytes:
    """A directory for the (even) offset `at`, its values behind it and then, unless last, the next one."""
    ordered = sorted(entries, key=lambda one: one.code)
    count = struct.pack(layout.order + ("Q" if layout.big else "H"), len(ordered))
    start = at + len(count) + (12 + 2 * (layout.inline - 4)) * len(ordered) + layout.inline
    rows, values = bytearray(), bytearray()
    for one in ordered:
        kind, field, value = _field(one, layout, start + len(values))
        rows += struct.pack(layout.order + ("HHQ" if layout.big else "HHI"), one.code, kind, one.count) + field
        values += value + bytes(len(value) % 2)
    values += bytes(-(start + len(values)) % 8)
    return count + rows + layout.number(0 if last else start + len(values)) + values


def _field(one: Entry, layout: Layout, place: int) -> tuple[int, bytes, bytes]:
    """Kind, the few bytes inside the entry, and the bytes to be put at `place`."""
    if isinstance(one.value, tuple):
        return (IFD8 if layout.big else LONG), layout.number(place), pack(one.value, layout, place)
    if len(one.value) <= layout.inline:
        return one.kind, one.value.ljust(layout.inline, b"\0"), b""
    return one.kind, layout.number(place), one.value


def read_block(block: bytes) -> tuple[Layout, tuple[Entry, ...]]:
    """An EXIF block; one that cannot be understood has no entries."""
    layout = Layout(">" if block[:2] == b"MM" else "<")
    if block[:2] not in (b"II", b"MM") or len(block) < 8:
        return layout, ()
    return layout, read(io.BytesIO(block), struct.unpack(layout.order + "I", block[4:8])[0], layout)


def pack_block(entries: Iterable[Entry], layout: Layout) -> bytes:
    return layout.header(8) + pack(entries, layout, 8)
