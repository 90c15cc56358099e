"""Ogg files: whether they are whole and one recording, and the quality of Vorbis, found back from a stated bit rate."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from denoise.errors import BadFile
from denoise.media import sndfile
from denoise.media.recording import CUT_SHORT
from denoise.signals import Block

VORBIS: dict[str, Any] = {"format": "OGG", "subtype": "VORBIS"}
USUAL = 0.6  # the compression level of quality 4, what most encoders take unless told otherwise
ORDERS = {  # which of FFmpeg's channels each one of Vorbis is, by their number
    3: [0, 2, 1],  # left, centre, right
    5: [0, 2, 1, 3, 4],  # and both behind
    6: [0, 2, 1, 4, 5, 3],  # the low frequencies last
    7: [0, 2, 1, 5, 6, 4, 3],  # both sides, the middle behind
    8: [0, 2, 1, 6, 7, 4, 5, 3],  # both sides, both behind
}
LARGEST_PAGE = 65_307  # bytes
PAGE, FIRST_PAGE = b"OggS", b"OggS\0\2"  # what any page starts with, and the first one of a stream
TRIALS = 10  # halvings of the scale


def vorbis_bit_rate(header: bytes) -> int:
    """Bits per second that the encoder aimed at; 0 where it does not say."""
    identification = header.find(b"\x01vorbis")
    if not 0 <= identification <= len(header) - 24:
        return 0
    return int(max(0, struct.unpack_from("<i", header, identification + 20)[0]))


def in_vorbis_order(blocks: Iterable[Block], channels: int) -> Iterator[Block]:
    """FFmpeg hands out its own order of channels, libsndfile takes that of Vorbis."""
    order = ORDERS.get(channels)
    return (block if order is None else block[order] for block in blocks)


def vorbis_level(bits_per_second: int, rate: int, channels: int) -> float:
    """libsndfile's compression level whose nominal bit rate is this, found by writing headers.

    Above 50 kHz files do not state it.
    """
    if not bits_per_second:
        return USUAL
    low, high = 0.0, 1.0
    with TemporaryDirectory() as folder:
        for _ in range(TRIALS):
            middle = (low + high) / 2
            spends_more = _stated(Path(folder, "trial.ogg"), rate, channels, middle) > bits_per_second
            low, high = (middle, high) if spends_more else (low, middle)
    return (low + high) / 2


def _stated(trial: Path, rate: int, channels: int, compression_level: float) -> int:
    kind = VORBIS | {"samplerate": rate, "channels": channels, "compression_level": compression_level}
    sndfile.write(trial, [np.zeros((channels, 2), np.float32)], **kind)
    return vorbis_bit_rate(trial.read_bytes())


def must_be_whole(path: Path) -> None:
    """The last page of a whole file is marked."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * LARGEST_PAGE))
        tail = file.read()
    page = tail[tail.rfind(PAGE) :]
    segments = page[26] if len(page) > 26 else 255
    is_last = len(page) > 27 and page[5] & 4
    if not is_last or len(page) < 27 + segments + sum(page[27 : 27 + segments]):
        raise BadFile(f"{path}: the last page of the sound is missing: {CUT_SHORT}")


def must_be_one(path: Path) -> None:
    """All streams of a recording begin before any goes on; what begins later is another recording."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        at = pages.find(PAGE)
        while at >= 0 and pages[at : at + len(FIRST_PAGE)] == FIRST_PAGE:
            at = pages.find(PAGE, at + 1)
        if at >= 0 and pages.find(FIRST_PAGE, at) >= 0:
            raise BadFile(f"{path}: there are several recordings in one Ogg file; part them first.")
