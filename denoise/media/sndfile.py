"""libsndfile, with streams in and out and with errors that say what is wrong."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoise.errors import BadFile
from denoise.media.recording import Integers
from denoise.signals import Block, regrouped

if TYPE_CHECKING:
    import soundfile

BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_24": 24, "PCM_32": 32, "ALAC_24": 24, "ALAC_32": 32}
AT_ONCE = 8192  # samples; libvorbis puts what it is given on the stack
TAKES_FLOATS = {"FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_III"}


@contextmanager
def opened(path: Path) -> Iterator[soundfile.SoundFile]:
    import soundfile

    try:
        with _forward_reader()(path) as file:
            yield file
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(". ") or "no more is said"
        raise BadFile(f"{path}: cannot be read, it is damaged, cut short or of an unknown kind ({reason}).") from error


@cache
def _forward_reader() -> type[soundfile.SoundFile]:
    import soundfile

    class Forward(soundfile.SoundFile):  # type: ignore[misc]
        """soundfile seeks to where it is after each read; near the end of an Opus file that changes the samples."""

        def seekable(self) -> bool:
            return False

    return Forward


def read(path: Path, frames: int) -> Iterator[Block]:
    """All samples from the beginning, so many at a time."""
    with opened(path) as file:
        while (block := file.read(frames, dtype="float32", always_2d=True)).size:
            yield block.T


def integers(subtype: str) -> Integers | None:
    """Who rounds for this subtype; what is coded from 16 bits, as µ-law and ADPCM are, is rounded to those."""
    return None if subtype in TAKES_FLOATS else Integers(BITS.get(subtype, 16))


def write(draft: Path, blocks: Iterable[Block], **kind: Any) -> list[str]:
    """A whole file; `kind` is what `soundfile.SoundFile` wants to know of it."""
    import soundfile

    rounding = integers(kind["subtype"])
    with _Sink(draft, "w") as sink:
        try:
            with soundfile.SoundFile(sink, "w", **kind) as file:
                for block in regrouped(blocks, AT_ONCE):
                    file.write((rounding(block) if rounding else block).T)
                    sink.complain()
        except soundfile.LibsndfileError as error:
            sink.complain()
            raise BadFile(f"{draft.name} cannot be written: {error.error_string}") from error
        sink.complain()
    return rounding.notes() if rounding else []


class _Sink(io.FileIO):
    """Remembers why a write failed and tells libsndfile nothing: it would crash, or for MP3 not even stop."""

    trouble: OSError | None = None

    def write(self, data: Any, /) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.trouble = error
        return memoryview(data).nbytes

    def complain(self) -> None:
        if self.trouble:
            raise self.trouble
