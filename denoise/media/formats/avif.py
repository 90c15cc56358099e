"""AVIF: 8, 10 and 12 bits, alpha without loss, chroma subsampling of the original."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
from PIL import AvifImagePlugin

from denoise.media.formats import Header, Reader, Sheet, boxes, decoding, first_loss, refuse
from denoise.media.tags import Tags, bare
from denoise.signals import Samples

QUALITY = 90  # of lossy files; the file does not say what the original was written with
EFFORT = 6  # aom's speed, 0 slowest to 10


@dataclass(frozen=True)
class Description:
    coding: boxes.Coding | None
    subsampling: str


class AvifReader:
    format = "AVIF"
    pages = 1
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        with decoding(path, self.format), AvifImagePlugin.AvifImageFile(path) as picture:
            frames, size, info = getattr(picture, "n_frames", 1), picture.size, picture.info
            described = boxes.properties(path.read_bytes())
            coded = next(content for kind, content in described if kind == b"av1C")[2]
            self._header = Header(*size, 1 if coded & 0x10 else 3, _bits(coded), picture.mode == "RGBA")
        if frames > 1:
            raise refuse(path, "an animated AVIF; save its frames as single pictures or as a video.")
        native = Description(boxes.coding(described), _subsampling(coded))
        self._tags = Tags(bare(info.get("exif")), info.get("icc_profile"), info.get("xmp"), native=native)

    def header(self, page: int) -> Header:
        return self._header

    def tags(self, page: int) -> Tags:
        return self._tags

    def pixels(self, page: int) -> Samples:
        with decoding(self.path, self.format):
            pixels: Samples = imagecodecs.avif_decode(self.path.read_bytes())
            return pixels.reshape(self._header.height, self._header.width, self._header.samples)

    def close(self) -> None: ...


def open_file(path: Path) -> Reader:
    return AvifReader(path)


def _bits(coded: int) -> int:
    """From the third byte of an AV1 configuration: high depth, twelve bits, grey, chroma across, down."""
    return (12 if coded & 0x20 else 10) if coded & 0x40 else 8


def _subsampling(coded: int) -> str:
    return {0x00: "444", 0x08: "422", 0x0C: "420"}.get(coded & 0x0C, "444")


def write(draft: Path, sheets: Iterable[Sheet], source: Reader) -> list[str]:
    (sheet,) = sheets
    known = sheet.tags.native
    description = known if isinstance(known, Description) else Description(boxes.Coding(), "444")
    draft.write_bytes(boxes.with_metadata(_encoded(sheet, description), sheet.tags))
    lossless = description.coding is not None and description.coding.lossless
    return [] if lossless else first_loss(source, "AVIF", QUALITY)


def _encoded(sheet: Sheet, description: Description) -> bytes:
    pixels = sheet.interleaved()
    coding = description.coding or boxes.Coding()
    return bytes(
        imagecodecs.avif_encode(
            pixels[..., 0] if pixels.shape[2] == 1 else pixels,
            100 if coding.lossless else QUALITY,
            speed=EFFORT,
            bitspersample=sheet.header.bits,
            pixelformat="400" if sheet.header.channels == 1 else "444" if coding.lossless else description.subsampling,
            primaries=coding.primaries,
            transfer=coding.transfer,
            matrix=coding.matrix,
        )
    )
