"""The atoms of MP4 and MOV files: which comes first, and the edit list that says where a track begins."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

from denoise.errors import BadFile
from denoise.media.recording import CUT_SHORT

Span = tuple[int, int]  # bytes from and up to which the content goes
LARGE = {b"moov", b"mdat", b"moof", b"free", b"skip", b"uuid", b"meta", b"udta"}  # atoms that a file may end in
EDITS = {0: struct.Struct(">Iii"), 1: struct.Struct(">Qqi")}  # duration, first sample, speed; by version


def must_be_whole(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        for name, (_, end) in _atoms(file, (0, size)):
            if end > size and name in LARGE:
                raise BadFile(f"{path}: {end} bytes are promised and {size} are there: {CUT_SHORT}")


def index_is_in_front(path: Path) -> bool:
    """Whether a player can start before it has all of the file."""
    with path.open("rb") as file:
        names = [name for name, _ in _atoms(file, (0, path.stat().st_size))]
    return b"moov" in names and b"mdat" in names and names.index(b"moov") < names.index(b"mdat")


def edited(path: Path, track: int) -> tuple[Fraction, Fraction] | None:
    """How long the edit list lets a track be heard and the unit it counts in, both in seconds."""
    with path.open("rb") as file:
        movie = _descend(file, (0, path.stat().st_size), [(b"moov", 0)])
        header = _descend(file, movie or (0, 0), [(b"mvhd", 0)])
        edits = _descend(file, movie or (0, 0), [(b"trak", track), (b"edts", 0), (b"elst", 0)])
        if header is None or edits is None:
            return None
        unit = Fraction(1, _time_scale(file, header))
        heard = [duration for duration, first, _ in _edits(file, edits) if first >= 0]
    return sum(heard) * unit, unit


def _time_scale(file: IO[bytes], header: Span) -> int:
    """Units per second; the two dates before it have 32 bits or 64."""
    file.seek(header[0])
    version = file.read(1)[0]
    file.seek(header[0] + (20 if version else 12))
    return int(struct.unpack(">I", file.read(4))[0])


def _edits(file: IO[bytes], span: Span) -> list[tuple[int, int, int]]:
    file.seek(span[0])
    version, count = struct.unpack(">B3xI", file.read(8))
    return list(EDITS[version].iter_unpack(file.read(count * EDITS[version].size)))


def skip_warm_up(path: Path, track: int, samples: int) -> None:
    """Lets a track that starts late begin so many samples into what is coded.

    FFmpeg writes the wait as the first edit and all samples as the second, those too that only warm the decoder up.
    The edit list must count in samples.
    """
    with path.open("r+b") as file:
        way = [(b"moov", 0), (b"trak", track), (b"edts", 0), (b"elst", 0)]
        place = _descend(file, (0, path.stat().st_size), way)
        edits = _edits(file, place) if place else []
        if place is None or len(edits) != 2:
            raise ValueError(f"An edit list of 2 is expected where a track starts late, not of {len(edits)}.")
        duration, first, speed = edits[1]
        edit = EDITS[int((place[1] - place[0] - 8) / 2 == EDITS[1].size)]
        file.seek(place[0] + 8 + edit.size)
        file.write(edit.pack(duration - samples, first + samples, speed))


def _descend(file: IO[bytes], span: Span, way: list[tuple[bytes, int]]) -> Span | None:
    """Down the tree: at each level the atom of this name, counted from 0."""
    for wanted, number in way:
        found = [inner for name, inner in _atoms(file, span) if name == wanted]
        if number >= len(found):
            return None
        span = found[number]
    return span


def _atoms(file: IO[bytes], span: Span) -> Iterator[tuple[bytes, Span]]:
    at, end = span
    while at + 8 <= end:
        file.seek(at)
        size, name, long_size = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        head = 16 if size == 1 else 8
        size = {0: end - at, 1: long_size}.get(size, size)
        yield name, (at + head, at + size)
        at += max(size, head)
