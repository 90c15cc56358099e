"""Tags and covers, carried from one sound file to another of the same kind."""
# mypy: untyped-calls-exclude=mutagen

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from denoise.errors import BadFile

ID3_HEAD = 10  # bytes


def size_in_front(head: bytes) -> int:
    """How many bytes the ID3 tag has that a file begins with; seven bits of each byte count."""
    size = 0
    for byte in head[6:ID3_HEAD]:
        size = size << 7 | byte & 0x7F
    return ID3_HEAD + size if head.startswith(b"ID3") else 0


def carry(form: str, source: Path, result: Path) -> None:
    """What files of this format may have beside their sound."""
    from mutagen import MutagenError

    try:
        if form in CARRIERS:
            CARRIERS[form](source, result)
    except MutagenError as error:
        raise BadFile(f"{source}: its tags cannot be carried over ({error}); take them out or mend them.") from error


def carry_flac(source: Path, result: Path) -> None:
    """All metadata blocks but those that describe the coding: comments, pictures, cue sheets, application data."""
    from mutagen.flac import FLAC, SeekTable, StreamInfo

    old, new = FLAC(source), FLAC(result)
    kept = [block for block in old.metadata_blocks if not isinstance(block, (StreamInfo, SeekTable))]
    new.metadata_blocks[:] = [new.info, *kept]
    new.save(padding=_as_planned)


def carry_ogg(source: Path, result: Path) -> None:
    """The comments in their order, covers among them."""
    from mutagen import File

    old, new = File(source), File(result)
    if old is not None and new is not None:
        new.tags[:] = old.tags[:]
        new.save(padding=_as_planned)


def carry_mp3(source: Path, result: Path) -> None:
    """Both kinds of tag that an MP3 may have."""
    from mutagen.apev2 import APENoHeaderError, APEv2
    from mutagen.id3 import ID3NoHeaderError

    with suppress(APENoHeaderError):
        APEv2(source).save(result)
    with suppress(ID3NoHeaderError):
        _carry_id3(source, result)


def _carry_id3(source: Path, result: Path) -> None:
    """In the version it has; version 2.2, which nothing writes any more, becomes 2.3."""
    from mutagen.id3 import ID3, ID3v1SaveOptions

    tags = ID3(source, translate=False)
    if tags.version < (2, 3):
        tags = ID3(source, v2_version=3)
    version_1 = ID3v1SaveOptions.CREATE if _has_id3_version_1(source) else ID3v1SaveOptions.REMOVE
    tags.save(result, v1=version_1, v2_version=4 if tags.version >= (2, 4) else 3)


def itunes_list(path: Path) -> Any:
    """Names, covers, free fields; None where the list is of the other kind, whose keys are numbers of names."""
    from mutagen import MutagenError
    from mutagen.mp4 import MP4

    try:
        tags = MP4(path).tags
    except MutagenError:  # FFmpeg then carries over what it understands
        return None
    return None if tags is None or any(key.startswith("\0") for key in tags) else tags


def carry_mp4(source: Path, result: Path) -> None:
    tags = itunes_list(source)
    if tags is not None:
        tags.save(result)


def _has_id3_version_1(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 128))
        return file.read(3) == b"TAG"


def _as_planned(info: object) -> int:
    """No space is left for tags to come."""
    return 0


CARRIERS: dict[str, Callable[[Path, Path], None]] = {
    "FLAC": carry_flac,
    "Ogg": carry_ogg,
    "MP3": carry_mp3,
    **dict.fromkeys(("MP4", "M4A", "MOV"), carry_mp4),
}
