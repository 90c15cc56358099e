"""A developed raw file, as the picture formats see what they are to write."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from denoise.media import ifd
from denoise.media.develop import srgb_profile
from denoise.media.formats import Header
from denoise.media.raw_tags import MAKER_NOTE
from denoise.media.tags import Tags, descriptive
from denoise.signals import Samples

if TYPE_CHECKING:
    from denoise.media.raw import RawFile


class Developed:
    format = "raw"
    pages = 1
    notes: tuple[str, ...] = ()

    def __init__(self, raw: RawFile, picture: Samples) -> None:
        self.raw, self.picture = raw, picture

    def header(self, page: int) -> Header:
        height, width, colours = self.picture.shape
        return Header(width, height, colours, 16)

    @cached_property
    def described(self) -> Tags:
        layout = self.raw.said.layout
        entries = [one for one in self.raw.said.first if one.code != ifd.ORIENTATION]
        entries.append(ifd.entry(layout, ifd.ORIENTATION, ifd.SHORT, 1))
        exif = descriptive(tuple(without_notes(one) for one in entries), layout)
        return Tags(exif, srgb_profile() if self.raw.to_srgb is not None else None)

    def tags(self, page: int) -> Tags:
        return self.described

    def pixels(self, page: int) -> Samples:
        return self.picture

    def close(self) -> None: ...


def without_notes(one: ifd.Entry) -> ifd.Entry:
    """The maker's notes hold offsets of the original."""
    if one.code != ifd.EXIF or not isinstance(one.value, tuple):
        return one
    return ifd.Entry(one.code, one.kind, one.count, tuple(each for each in one.value if each.code != MAKER_NOTE))
