"""Matroska and WebM files: whether they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from denoise.errors import BadFile
from denoise.media.recording import CUT_SHORT

SEGMENT = 0x18538067  # the element that holds all the rest


def must_be_whole(path: Path) -> None:
    """The header says how long the file is, unless it was written while it was recorded."""
    there = path.stat().st_size
    with path.open("rb") as file:
        _number(file, with_marker=True)
        end = (_number(file) or 0) + file.tell()
        file.seek(min(end, there))
        name, size = _number(file, with_marker=True), _number(file)
        end = max(end, file.tell() + (size or 0))
    if end > there and name in (SEGMENT, None):
        raise BadFile(f"{path}: {end} bytes are promised and {there} are there: {CUT_SHORT}")


def _number(file: IO[bytes], with_marker: bool = False) -> int | None:
    """An EBML number: the leading zeros of its first byte tell its width; all ones mean unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(width - 1))
    payload = value & ((1 << 7 * width) - 1)
    if with_marker:
        return value
    return None if payload == (1 << 7 * width) - 1 else payload
