"""The boxes that AVIF and HEIF files are made of: looked into, and given what an encoder left out."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from denoise.media.tags import Tags

VERSION_BYTES = 4  # version and flags, in front of the content of most boxes
ESSENTIAL = 0x80  # a reader that does not know this property must not show the picture
# How EXIF orientations are said in boxes: quarter turns against the clock, then the mirror axis.
TURNS = {1: (0, None), 2: (0, 1), 3: (2, None), 4: (0, 0), 5: (1, 0), 6: (3, None), 7: (3, 0), 8: (1, None)}
XMP_TYPE = b"application/rdf+xml\0"


def inside(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        size = size or len(data) - at
        if size < head:
            raise ValueError("a box shorter than its own head")
        yield kind, data[at + head : at + size]
        at += size


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def find(data: bytes, kind: bytes) -> bytes:
    return next((content for name, content in inside(data) if name == kind), b"")


def properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """The property boxes of a file: sizes, depths, colours; those of the main picture come first."""
    meta = find(data, b"meta")[VERSION_BYTES:]
    return list(inside(find(find(meta, b"iprp"), b"ipco")))


@dataclass(frozen=True)
class Coding:
    """Code points of ITU-T H.273: which colours, which curve, which mix."""

    primaries: int = 1  # BT.709
    transfer: int = 13  # sRGB
    matrix: int = 6  # BT.601

    @property
    def lossless(self) -> bool:
        """Only files without loss store RGB unmixed."""
        return self.matrix == 0


def coding(described: list[tuple[bytes, bytes]]) -> Coding | None:
    for kind, content in described:
        if kind == b"colr" and content.startswith(b"nclx"):
            return Coding(*struct.unpack(">HHH", content[4:10]))
    return None


def with_metadata(encoded: bytes, tags: Tags) -> bytes:
    """An encoder's bare file of one picture, with EXIF, XMP, ICC and orientation added."""
    parts = dict(inside(encoded))
    meta = dict(inside(parts[b"meta"][VERSION_BYTES:]))
    items = list(_items(tags, first=_highest_item(meta[b"iinf"]) + 1))
    main = struct.unpack(">H", meta[b"pitm"][VERSION_BYTES:])[0]
    meta[b"iinf"] = _more_items(meta[b"iinf"], items)
    if items:
        meta[b"iref"] = meta.get(b"iref", bytes(VERSION_BYTES)) + b"".join(_about(one.number, main) for one in items)
    meta[b"iprp"] = _more_properties(meta[b"iprp"], main, _properties(tags))
    mdat = parts[b"mdat"]
    old_start = len(encoded) - len(mdat)
    rough = _assembled(parts, meta, _places(meta[b"iloc"], items, 0, 0))
    start = len(rough) + 8
    meta[b"iloc"] = _places(meta[b"iloc"], items, start - old_start, start + len(mdat))
    return _assembled(parts, meta, meta[b"iloc"]) + box(b"mdat", mdat + b"".join(one.data for one in items))


@dataclass(frozen=True)
class Item:
    number: int
    kind: bytes
    data: bytes

    def packed(self) -> bytes:
        words = b"\0" + (XMP_TYPE if self.kind == b"mime" else b"")  # no name, then the media type
        return box(b"infe", struct.pack(">BxxxHH4s", 2, self.number, 0, self.kind) + words)


def _items(tags: Tags, first: int) -> Iterator[Item]:
    if tags.exif:
        yield Item(first, b"Exif", bytes(4) + tags.exif)  # four bytes: where the block begins behind them
    if tags.xmp:
        yield Item(first + bool(tags.exif), b"mime", tags.xmp)


def _properties(tags: Tags) -> list[tuple[bytes, bool]]:
    """Boxes, and whether they are essential; turns come last, as the format demands."""
    quarters, mirror = TURNS.get(tags.orientation, (0, None))
    found = [(box(b"colr", b"prof" + tags.icc), False)] if tags.icc else []
    found += [(box(b"irot", bytes([quarters])), True)] if quarters else []
    return found + ([(box(b"imir", bytes([mirror])), True)] if mirror is not None else [])


def _highest_item(iinf: bytes) -> int:
    return max(int.from_bytes(content[4:6]) for _, content in inside(iinf[VERSION_BYTES + 2 :]))


def _more_items(iinf: bytes, items: list[Item]) -> bytes:
    count = struct.unpack(">H", iinf[4:6])[0] + len(items)
    return iinf[:4] + struct.pack(">H", count) + iinf[6:] + b"".join(one.packed() for one in items)


def _about(item: int, main: int) -> bytes:
    return box(b"cdsc", struct.pack(">HHH", item, 1, main))


def _more_properties(iprp: bytes, main: int, added: list[tuple[bytes, bool]]) -> bytes:
    parts = dict(inside(iprp))
    known = len(list(inside(parts[b"ipco"])))
    parts[b"ipco"] += b"".join(one for one, _ in added)
    links = bytes(known + 1 + n + ESSENTIAL * essential for n, (_, essential) in enumerate(added))
    parts[b"ipma"] = _linked(parts[b"ipma"], main, links)
    return b"".join(box(kind, content) for kind, content in parts.items())


def _linked(ipma: bytes, main: int, links: bytes) -> bytes:
    """The table of which item has which properties, with more for the main one."""
    _expect(ipma[:4] == bytes(4), "ipma")
    table, at = ipma[:8], 8
    while at < len(ipma):
        item, count = struct.unpack_from(">HB", ipma, at)
        own = ipma[at + 3 : at + 3 + count] + (links if item == main else b"")
        table += struct.pack(">HB", item, len(own)) + own
        at += 3 + count
    return table


def _places(iloc: bytes, items: list[Item], shift: int, start: int) -> bytes:
    """The table of where the data of each item lies: the old ones moved, the new ones from `start` on."""
    _expect(iloc[:6] == bytes([0, 0, 0, 0, 0x44, 0]), "iloc")
    count = struct.unpack(">H", iloc[6:8])[0]
    rows = b""
    for n in range(count):
        item, reference, extents, offset, length = struct.unpack_from(">HHHII", iloc, 8 + 14 * n)
        _expect(extents == 1, "iloc")
        rows += struct.pack(">HHHII", item, reference, 1, offset + shift, length)
    for one in items:
        rows += struct.pack(">HHHII", one.number, 0, 1, start, len(one.data))
        start += len(one.data)
    return iloc[:6] + struct.pack(">H", count + len(items)) + rows


def _expect(true: bool, kind: str) -> None:
    if not true:
        raise ValueError(f"the AVIF encoder writes {kind} boxes in an unknown way")


def _assembled(parts: dict[bytes, bytes], meta: dict[bytes, bytes], iloc: bytes) -> bytes:
    """Everything in front of the pixel data."""
    meta = {**meta, b"iloc": iloc}
    content = parts[b"meta"][:VERSION_BYTES] + b"".join(box(kind, content) for kind, content in meta.items())
    return box(b"ftyp", parts[b"ftyp"]) + box(b"meta", content)
