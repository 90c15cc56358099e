"""Uncompressed sound: WAV, RF64, W64, AIFF, CAF. Only the samples change; every other byte of the file is kept.

So everything stays that may stand beside the samples: INFO, bext, iXML, cue points, ID3, channel masks, unknown chunks.
Samples are worked on as 32-bit floats: integers of 8, 16 and 24 bits and 32-bit floats come back bit for bit where
nothing changed them; 32-bit integers and 64-bit floats keep 24 significant bits.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from denoise.media import chunks, sndfile
from denoise.media.recording import SoundFile, enough, whole
from denoise.signals import Audio, Block

if TYPE_CHECKING:
    import soundfile


WIDTHS = {  # bytes of a sample
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}
WORDS = {"FLOAT": "32-bit float", "DOUBLE": "64-bit float", "ULAW": "µ-law", "ALAW": "A-law"}


@dataclass(frozen=True)
class Place:
    """Where the samples lie in the file, and how they are written there."""

    start: int  # bytes
    size: int  # bytes
    subtype: str
    endian: str
    stale: int | None  # where the name of a chunk stands that tells the peaks of the old samples
    room: bytes  # the name of one that says nothing


def open_pcm(path: Path) -> SoundFile | None:
    """None where the samples are coded in some way."""
    with sndfile.opened(path) as file:
        chunks.must_be_whole(path, file.subtype in WIDTHS)
        if not file.frames:
            chunks.must_be_finished(path)
        place = _place(path, file) if file.subtype in WIDTHS else None
        if place is None:
            return None
        rate, length = file.samplerate, enough(path, file.frames)

        def blocks(frames: int) -> Iterator[Block]:
            return whole(path, sndfile.read(path, frames), rate, length)

        return SoundFile(
            path,
            Audio(rate, file.channels, length, blocks),
            format=chunks.container_of(path).name,
            subtype=WORDS.get(file.subtype, f"{8 * WIDTHS[file.subtype]}-bit"),
            write=partial(_write, path, place),
        )


def _place(path: Path, file: soundfile.SoundFile) -> Place | None:
    """None where the file does not say the size that its samples must have: it is then written anew."""
    container = chunks.container_of(path)
    found = dict(chunks.of(path, container))
    if container.samples not in found:
        return None
    start, promised = found[container.samples]
    there = path.stat().st_size - start
    frame = WIDTHS[file.subtype] * file.channels
    if file.frames != (there if chunks.is_placeholder(promised) else promised) // frame:
        return None
    endian = container.endian if file.endian == "FILE" else file.endian
    stale = container.name_of(found[container.peak][0]) if container.peak in found else None
    return Place(start, file.frames * frame, file.subtype, endian, stale, container.room)


def _write(path: Path, place: Place, draft: Path, blocks: Iterator[Block]) -> list[str]:
    encode = Encoder(place.subtype, place.endian)
    with path.open("rb") as old, draft.open("r+b") as new:
        new.write(old.read(place.start))
        new.writelines(map(encode, blocks))
        old.seek(place.start + place.size)
        shutil.copyfileobj(old, new)
        if place.stale is not None:
            new.seek(place.stale)
            new.write(place.room)
    return encode.notes()


class Encoder:
    """Samples to the bytes of one subtype."""

    def __init__(self, subtype: str, endian: str) -> None:
        self.subtype, self.endian = subtype, endian
        self.integers = sndfile.integers(subtype)

    def __call__(self, block: Block) -> bytes:
        import soundfile

        samples = self.integers(block) if self.integers else block
        raw = io.BytesIO()
        soundfile.write(raw, samples.T, 1, self.subtype, self.endian, "RAW")
        return raw.getvalue()

    def notes(self) -> list[str]:
        return self.integers.notes() if self.integers else []
