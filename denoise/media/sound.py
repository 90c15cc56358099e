"""Sound files in and out: opened by what they hold, written as what they were, both as streams."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from denoise.atomic import atomic
from denoise.errors import BadFile, UserError
from denoise.media.recording import SoundFile
from denoise.media.sound_tags import size_in_front
from denoise.signals import Block

__all__ = ["SUFFIXES", "SoundFile", "open_sound", "save"]

QUICKTIME = (".mp4", ".m4a", ".m4b", ".m4v", ".mov", ".qt")
MATROSKA = (".mkv", ".mka", ".webm")
NAMES = {  # the suffixes that files of each format go by
    "WAV": (".wav", ".wave", ".bwf"),
    "RF64": (".wav", ".rf64", ".bwf"),
    "W64": (".w64",),
    "AIFF": (".aif", ".aiff", ".aifc"),
    "CAF": (".caf",),
    "FLAC": (".flac",),
    "Ogg": (".ogg", ".oga", ".opus"),
    "MP3": (".mp3",),
    "AAC": (".aac",),
    "MP4": QUICKTIME,
    "M4A": QUICKTIME,
    "MOV": QUICKTIME,
    "MKV": MATROSKA,
    "WebM": MATROSKA,
}
SUFFIXES = frozenset(suffix for suffixes in NAMES.values() for suffix in suffixes)
HEAD = 4096  # bytes that tell what a file is
BRANDS = {b"qt  ": "mov", b"M4A ": "ipod", b"M4B ": "ipod", b"M4V ": "ipod"}
OLD_MOVIE_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
REASONS = {
    errno.ENOENT: "there is no such file; check the name.",
    errno.EISDIR: "this is a folder and not a sound file.",
    errno.EACCES: "no permission to read it; change its permissions or copy it elsewhere.",
    errno.EPERM: "no permission to read it; change its permissions or copy it elsewhere.",
}


def open_sound(path: Path) -> SoundFile:
    """The content decides what the file is; a name that says otherwise is noted."""
    sound = _opener(path)(path)
    if path.suffix.lower() in NAMES[sound.format]:
        return sound
    return replace(sound, notes=(*sound.notes, f"This is {sound.format} in spite of its name."))


def save(target: Path, source: SoundFile, blocks: Iterable[Block]) -> list[str]:
    """The blocks as a file of the source's kind, with all that came beside its sound; returns what to tell the user.

    Integers are rounded without dither, so that what was not changed stays as it was.
    """
    if target.suffix.lower() not in {source.path.suffix.lower(), *NAMES[source.format]}:
        usual = NAMES[source.format][0]
        raise UserError(f"{target}: sound is kept as {source.format}; choose a name that ends in {usual}.")
    with atomic(target) as draft:
        return source.write(draft, _as_promised(blocks, source))


def _as_promised(blocks: Iterable[Block], source: SoundFile) -> Iterator[Block]:
    """The shape is the caller's affair, the values may be a model's."""
    audio, at = source.audio, 0
    for block in blocks:
        if block.shape[0] != audio.channels:
            raise ValueError(f"A block of shape {block.shape} is not {audio.channels} channels first.")
        if not np.isfinite(block).all():
            raise BadFile(f"{source.path}: the result holds values that are not numbers; nothing was written.")
        at += block.shape[1]
        yield block
    if at != audio.length:
        raise ValueError(f"{at} samples were given for a sound of {audio.length}.")


# What is it?


def _opener(path: Path) -> Callable[[Path], SoundFile]:
    head = _head(path)
    kind = kind_of(head)
    if kind is None:
        what = "this is text and not sound" if _is_text(head) else "this is no sound file, or one of an unknown kind"
        raise BadFile(f"{path}: {what}; known are {', '.join(sorted(NAMES))}.")
    return OPENERS.get(kind) or partial(_open_track, kind=kind)


def kind_of(head: bytes) -> str | None:
    """By the first bytes of a file: "pcm", "flac", "ogg", "mp3" or FFmpeg's name of the format."""
    magic, form = head[:4], head[8:12]
    if magic in (b"riff", b"caff") or (magic in (b"RIFF", b"RIFX", b"RF64") and form == b"WAVE"):
        return "pcm"
    if magic == b"FORM":
        return "pcm" if form in (b"AIFF", b"AIFC") else None
    if magic in (b"fLaC", b"OggS"):
        return "flac" if magic == b"fLaC" else "ogg"
    if magic == b"\x1aE\xdf\xa3":
        return "webm" if b"webm" in head[:64] else "matroska"
    if head[4:8] == b"ftyp":
        return BRANDS.get(form, "mp4")
    return "mov" if head[4:8] in OLD_MOVIE_ATOMS else _mpeg_kind(head)


def _mpeg_kind(head: bytes) -> str | None:
    """Frames of MP3 or AAC start with twelve set bits, or eleven in the slowest MP3."""
    if len(head) < 2 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    return {0: "adts", 1: "mp3"}.get(head[1] >> 1 & 3)


def _head(path: Path) -> bytes:
    """The first bytes after an ID3 tag, if there is one."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            if front := size_in_front(head):
                file.seek(front)
                head = file.read(HEAD).lstrip(b"\0") or head
    except OSError as error:
        raise BadFile(f"{path}: {REASONS.get(error.errno or 0, f'it cannot be read ({error.strerror}).')}") from error
    if not head:
        raise BadFile(f"{path}: the file is empty; is the recording complete?")
    return head


def _is_text(head: bytes) -> bool:
    try:
        text = head[: HEAD - 4].decode()
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in text)


# Who reads it?


def _open_pcm(path: Path) -> SoundFile:
    from denoise.media import sound_pcm

    return sound_pcm.open_pcm(path) or _open_coded(path)


def _open_coded(path: Path) -> SoundFile:
    from denoise.media import sound_coded

    return sound_coded.open_coded(path)


def _open_mp3(path: Path) -> SoundFile:
    from denoise.media import sound_coded

    return sound_coded.open_mp3(path)


def _open_ogg(path: Path) -> SoundFile:
    """libsndfile knows Vorbis and Opus on their own; FLAC, Speex and pictures in Ogg are FFmpeg's."""
    from denoise.media import ogg

    ogg.must_be_whole(path)
    ogg.must_be_one(path)
    head = _head(path)
    alone = head.count(b"OggS\0\2") == 1 and (b"\1vorbis" in head[:64] or b"OpusHead" in head[:64])
    return _open_coded(path) if alone else _open_track(path, "ogg")


def _open_track(path: Path, kind: str) -> SoundFile:
    from denoise.media import sound_track

    return sound_track.open_track(path, kind)


OPENERS = {"pcm": _open_pcm, "flac": _open_coded, "ogg": _open_ogg, "mp3": _open_mp3}
