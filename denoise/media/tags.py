"""What a picture file says about its pixels, kept as bytes.

A picture is never rotated: the pixels stay as the file stores them and the orientation tag stays as it is, so
every viewer turns the result exactly as it turned the original.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from denoise.media import ifd

GREY_PROFILE = b"GRAY"  # the colour space of an ICC profile, behind its first 16 bytes
NO_GREY_PROFILE = "its colour profile is for grey and the result is in colour: left out"
EXIF_PREFIX = b"Exif\0\0"
# Of a TIFF's first directory, what an EXIF block in another format may carry: the picture, not its storage.
DESCRIPTIVE = frozenset(
    {270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 318, 319, 33432, 18246, 18249}
    | set(range(40091, 40096))
    | {ifd.EXIF, ifd.GPS}
)


@dataclass(frozen=True)
class Tags:
    exif: bytes | None = None  # a TIFF block that begins with II or MM
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None  # across, down
    native: object = None  # everything, the way its own format holds it; for rewriting in the same format

    @cached_property
    def directory(self) -> tuple[ifd.Layout, tuple[ifd.Entry, ...]]:
        return ifd.read_block(self.exif or b"")

    @property
    def orientation(self) -> int:
        """1 upright, 2..8 as EXIF defines; how a viewer has to turn the stored pixels."""
        layout, entries = self.directory
        return ifd.integer(entries, ifd.ORIENTATION, layout) or 1

    @property
    def resolution(self) -> tuple[float, float] | None:
        layout, entries = self.directory
        return self.dpi or ifd.dots_per_inch(entries, layout)


def of_colours(tags: Tags) -> tuple[Tags, list[str]]:
    """For grey that is written as colours, which no profile of grey describes."""
    if tags.icc is None or tags.icc[16:20] != GREY_PROFILE:
        return tags, []
    return replace(tags, icc=None), [NO_GREY_PROFILE]


def bare(exif: bytes | None) -> bytes | None:
    """Without the six bytes that JPEG puts in front."""
    return exif.removeprefix(EXIF_PREFIX) or None if exif else None


def descriptive(entries: tuple[ifd.Entry, ...], layout: ifd.Layout) -> bytes | None:
    """An EXIF block for another format from the first directory of a TIFF."""
    kept = [one for one in entries if one.code in DESCRIPTIVE]
    return ifd.pack_block(kept, ifd.Layout(layout.order)) if kept else None


def upright(exif: bytes | None) -> bytes | None:
    """The same block saying orientation 1, for formats whose reader has already turned the pixels."""
    layout, entries = ifd.read_block(exif or b"")
    turned = ifd.integer(entries, ifd.ORIENTATION, layout)
    if turned in (None, 1):
        return exif
    one = ifd.entry(layout, ifd.ORIENTATION, ifd.SHORT, 1)
    return ifd.pack_block(
        [replace(e, value=one.value, kind=one.kind, count=1) if e.code == one.code else e for e in entries],
        layout,
    )
