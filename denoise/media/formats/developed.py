"""A developed raw file, as the picture formats see what they are to write."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from denoise.media import ifd
from denoise.media.develop import srgb_profile
from denoise.media.formats import Header
from denoise.media.raw_tags import ISO, MAKER_NOTE
from denoise.media.tags import Tags, descriptive
from denoise.signals import Samples

if TYPE_CHECKING:
    from denoise.media.raw import RawFile

DEVELOPING = b"http://ns.adobe.com/camera-raw-settings/"
TURNED = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>))[2-8]""")
LEFT_OUT = "Its XMP says how to develop it, which is done, and was left out."
OF_THE_SHOT = frozenset({33434, 33437, 34850, ISO, 36867, *range(37377, 37387)})  # exposure, date, lens


class Developed:
    format = "raw"
    pages = 1
    notes: tuple[str, ...] = ()

    def __init__(self, raw: RawFile, picture: Samples) -> None:
        self.raw, self.picture = raw, picture
        said = ifd.find(raw.said.first, ifd.XMP)
        self.xmp = said.value if said is not None and isinstance(said.value, bytes) else b""
        if DEVELOPING in self.xmp:  # a viewer would do it once more
            self.xmp, self.notes = b"", (LEFT_OUT,)

    def header(self, page: int) -> Header:
        height, width, colours = self.picture.shape
        return Header(width, height, colours, 16)

    @cached_property
    def described(self) -> Tags:
        layout = self.raw.said.layout
        entries = [one for one in self.raw.said.first if one.code not in (ifd.ORIENTATION, ifd.EXIF)]
        entries.append(ifd.entry(layout, ifd.ORIENTATION, ifd.SHORT, 1))
        shot = of_the_shot(self.raw.said.first)
        entries += [ifd.Entry(ifd.EXIF, ifd.LONG, 1, shot)] if shot else []
        profile = srgb_profile() if self.raw.to_srgb is not None else None
        return Tags(descriptive(tuple(entries), layout), profile, TURNED.sub(rb"\g<1>1", self.xmp) or None)

    def tags(self, page: int) -> Tags:
        return self.described

    def pixels(self, page: int) -> Samples:
        return self.picture

    def close(self) -> None: ...


def of_the_shot(first: tuple[ifd.Entry, ...]) -> tuple[ifd.Entry, ...]:
    """What EXIF says, without the maker's notes, which hold offsets of the original; some cameras say it outside."""
    inside = tuple(one for one in ifd.inner(first, ifd.EXIF) if one.code != MAKER_NOTE)
    known = {one.code for one in inside}
    return inside + tuple(one for one in first if one.code in OF_THE_SHOT - known)
