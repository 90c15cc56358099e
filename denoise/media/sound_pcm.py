"""Uncompressed sound: WAV, RF64, W64, AIFF, CAF. Only the samples change; every other byte of the file is kept.

So everything stays that may stand beside the samples: INFO, bext, iXML, cue points, ID3, channel masks, unknown chunks.
Samples are worked on as 32-bit floats: integers of 8, 16 and 24 bits and 32-bit floats come back bit for bit where
nothing changed them; 32-bit integers and 64-bit floats keep 24 significant bits.
"""

from __future__ import annotations

import io
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from denoise.errors import BadFile
from denoise.media import sndfile
from denoise.media.recording import CUT_SHORT, SoundFile, enough, whole
from denoise.media.sound_tags import ID3_HEAD, size_in_front
from denoise.signals import Audio, Block

if TYPE_CHECKING:
    import soundfile


@dataclass(frozen=True)
class Container:
    """How a kind of file strings its chunks together, and which of them holds the samples."""

    name: str
    first: int  # bytes before the first chunk
    head: str  # struct of a chunk's name and size
    samples: bytes  # name of the chunk with the samples
    skip: int = 0  # bytes in that chunk before the samples
    align: int = 2  # bytes
    endian: str = "LITTLE"
    size_counts_head: bool = False


W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
CONTAINERS = {
    b"RIFF": Container("WAV", 12, "<4sI", b"data"),
    b"RIFX": Container("WAV", 12, ">4sI", b"data", endian="BIG"),
    b"RF64": Container("RF64", 12, "<4sI", b"data"),
    b"riff": Container("W64", 40, "<16sQ", W64_DATA, align=8, size_counts_head=True),
    b"FORM": Container("AIFF", 12, ">4sI", b"SSND", skip=8, endian="BIG"),
    b"caff": Container("CAF", 8, ">4sQ", b"data", skip=4, align=1, endian="BIG"),
}
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
    stale: int | None = None  # where the name of a chunk stands that tells the peaks of the old samples


def open_pcm(path: Path) -> SoundFile | None:
    """None where the samples are coded in some way."""
    with sndfile.opened(path) as file:
        must_be_whole(path, file.subtype in WIDTHS)
        place = _place(path, file) if file.subtype in WIDTHS else None
        if place is None:
            return None
        rate, length = file.samplerate, enough(path, file.frames)

        def blocks(frames: int) -> Iterator[Block]:
            return whole(path, sndfile.read(path, frames), rate, length)

        return SoundFile(
            path,
            Audio(rate, file.channels, length, blocks),
            format=CONTAINERS[_magic(path)].name,
            subtype=WORDS.get(file.subtype, f"{8 * WIDTHS[file.subtype]}-bit"),
            write=partial(_write, path, place),
        )


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return _read_at(file, _front(file), 4)


def _front(file: IO[bytes]) -> int:
    """Where the file itself begins: some programs put an ID3 tag in front of any."""
    return size_in_front(_read_at(file, 0, ID3_HEAD))


def _place(path: Path, file: soundfile.SoundFile) -> Place | None:
    """None where the file does not say the size that its samples must have: it is then written anew."""
    container = CONTAINERS[_magic(path)]
    chunks = dict(_chunks(path, container))
    if container.samples not in chunks:
        return None
    start, promised = chunks[container.samples]
    there = path.stat().st_size - start
    frame = WIDTHS[file.subtype] * file.channels
    if file.frames != (there if _is_placeholder(promised) else promised) // frame:
        return None
    endian = container.endian if file.endian == "FILE" else file.endian
    stale = chunks[b"PEAK"][0] - 8 if b"PEAK" in chunks else None
    return Place(start, file.frames * frame, file.subtype, endian, stale)


def must_be_whole(path: Path, is_plain: bool) -> None:
    """Of plain samples only their own chunk matters; coded ones may need any other to be understood."""
    container, end = CONTAINERS[_magic(path)], path.stat().st_size
    for name, (start, size) in _chunks(path, container):
        matters = name == container.samples or not is_plain
        if matters and start + size > end and not _is_placeholder(size):
            raise BadFile(
                f"{path}: {size} bytes of sound are promised and {max(end - start, 0)} are there: {CUT_SHORT}"
            )


def _chunks(path: Path, container: Container) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """The name of each chunk, where its content starts and how many bytes it has."""
    head = struct.Struct(container.head)
    long_size, end = None, path.stat().st_size
    with path.open("rb") as file:
        at = _front(file) + container.first
        while at + head.size <= end:
            name, size = head.unpack(_read_at(file, at, head.size))
            size = max(0, size - head.size * container.size_counts_head)
            at += head.size
            if name == b"ds64":  # the sizes that need more than 32 bits
                long_size = struct.unpack("<Q", _read_at(file, at + 8, 8))[0]
            if name == container.samples and size == 2**32 - 1 and long_size is not None:
                size = long_size
            skip = container.skip * (name == container.samples)
            if name == b"SSND":  # says where in it the samples begin
                skip += struct.unpack(">I", _read_at(file, at, 4).ljust(4, b"\0"))[0]
            yield name, (at + skip, size - skip)
            at += size + -size % container.align


def _read_at(file: IO[bytes], place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)


def _is_placeholder(size: int) -> bool:
    """Such sizes are written where the end is not known yet, into a pipe for example: the samples go on to the end."""
    return size <= 0 or size in (2**32 - 1, 2**64 - 5) or 2**31 - 4096 <= size <= 2**31


def _write(path: Path, place: Place, draft: Path, blocks: Iterator[Block]) -> list[str]:
    encode = Encoder(place.subtype, place.endian)
    with path.open("rb") as old, draft.open("r+b") as new:
        new.write(old.read(place.start))
        new.writelines(map(encode, blocks))
        old.seek(place.start + place.size)
        shutil.copyfileobj(old, new)
        if place.stale is not None:
            new.seek(place.stale)
            new.write(b"JUNK")
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
