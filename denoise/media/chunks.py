"""WAV, RF64, W64, AIFF and CAF: how such a file strings its chunks together, and what stands beside its samples."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from denoise.errors import BadFile
from denoise.media.recording import CUT_SHORT
from denoise.media.sound_tags import ID3_HEAD, size_in_front


@dataclass(frozen=True)
class Container:
    name: str
    first: int  # bytes before the first chunk
    head: str  # struct of a chunk's name and size
    samples: bytes  # name of the chunk with the samples
    skip: int = 0  # bytes in that chunk before the samples
    says_offset: bool = False  # of the samples in that chunk, in its first four bytes
    align: int = 2  # bytes
    endian: str = "LITTLE"
    size_counts_head: bool = False
    peak: bytes = b"PEAK"  # name of the chunk that tells the peaks of the samples
    room: bytes = b"JUNK"  # and of one that says nothing
    total: tuple[str, int, int] | None = None  # struct of the size of the file, where it stands, bytes not counted

    def name_of(self, content: int) -> int:
        """Where the name stands of the chunk whose content is there."""
        return content - struct.calcsize(self.head)


W64_NAME = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # after the four letters of most
CONTAINERS = {
    b"RIFF": Container("WAV", 12, "<4sI", b"data", total=("<I", 4, 8)),
    b"RIFX": Container("WAV", 12, ">4sI", b"data", endian="BIG", total=(">I", 4, 8)),
    b"RF64": Container("RF64", 12, "<4sI", b"data"),
    b"riff": Container("W64", 40, "<16sQ", b"data" + W64_NAME, align=8, size_counts_head=True, total=("<Q", 16, 0)),
    b"FORM": Container("AIFF", 12, ">4sI", b"SSND", skip=8, says_offset=True, endian="BIG", total=(">I", 4, 8)),
    b"caff": Container("CAF", 8, ">4sQ", b"data", skip=4, align=1, endian="BIG", peak=b"peak", room=b"free"),
}
Chunk = tuple[bytes, tuple[int, int]]
"""The name of a chunk, where its content starts and how many bytes it has."""


def container_of(path: Path) -> Container:
    with path.open("rb") as file:
        return CONTAINERS[_read_at(file, _front(file), 4)]


def _front(file: IO[bytes]) -> int:
    """Where the file itself begins: some programs put an ID3 tag in front of any."""
    return size_in_front(_read_at(file, 0, ID3_HEAD))


def of(path: Path, container: Container) -> Iterator[Chunk]:
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
            skip = 0
            if name == container.samples:
                size = long_size if size == 2**32 - 1 and long_size is not None else size
                skip = container.skip
                if container.says_offset:
                    skip += struct.unpack(">I", _read_at(file, at, 4).ljust(4, b"\0"))[0]
            yield name, (at + skip, size - skip)
            at += size + -size % container.align


def _read_at(file: IO[bytes], place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)


def is_placeholder(size: int) -> bool:
    """Such sizes are written where the end is not known yet, into a pipe for example: the samples go on to the end."""
    return size <= 0 or size in (2**32 - 1, 2**64 - 5) or 2**31 - 4096 <= size <= 2**31


def must_be_whole(path: Path, is_plain: bool) -> None:
    """Of plain samples only their own chunk matters; coded ones may need any other to be understood."""
    container, end = container_of(path), path.stat().st_size
    for name, (start, size) in of(path, container):
        matters = name == container.samples or not is_plain
        if matters and start + size > end and not is_placeholder(size):
            raise BadFile(
                f"{path}: {size} bytes of sound are promised and {max(end - start, 0)} are there: {CUT_SHORT}"
            )


def must_be_finished(path: Path) -> None:
    """A recorder writes the size of the samples when it stops."""
    container = container_of(path)
    start, size = dict(of(path, container)).get(container.samples, (0, -1))
    follow = path.stat().st_size - start
    if size == 0 and follow > struct.calcsize(container.head):
        raise BadFile(
            f"{path}: says that it holds no sound, and {follow} bytes follow: its recording was not finished; write it "
            "anew with a program that reads to the end, as `ffmpeg -i IN.wav OUT.wav` does."
        )


def carry(source: Path, result: Path) -> None:
    """What stands beside the samples in the one, put behind those of the other but for what is there already."""
    container, end = container_of(source), source.stat().st_size
    found = dict(of(result, container))
    there = found.keys() | {container.samples, container.peak, container.room}
    with source.open("rb") as old, result.open("r+b") as new:
        new.truncate(new.seek(max(start + size for start, size in found.values())))
        _pad(new, container)
        for name, (start, size) in of(source, container):
            if name not in there and start + size <= end:
                new.write(_read_at(old, at := container.name_of(start), start + size - at))
                _pad(new, container)
        if container.total:
            form, place, uncounted = container.total
            total = struct.pack(form, new.tell() - uncounted)
            new.seek(place)
            new.write(total)


def _pad(file: IO[bytes], container: Container) -> None:
    file.write(bytes(-file.tell() % container.align))
