"""FLAC, Ogg Vorbis, Opus, MP3 and the rarer codings of libsndfile: coded anew, tags and covers carried over.

The length is exact for the lossy ones too: libsndfile writes down what a decoder needs to drop its own padding.
Bit rates stay what they were: the quality setting of Vorbis, the average of Opus, the constant or average one of MP3.
MP3 is read through FFmpeg, which counts what is there; libsndfile believes an estimate where there is no index.
"""
# mypy: untyped-calls-exclude=mutagen

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from denoise.errors import BadFile
from denoise.media import chunks, ogg, sndfile, sound_track
from denoise.media.recording import CUT_SHORT, SoundFile, enough, whole
from denoise.media.sound_tags import CARRIERS, carry
from denoise.signals import Audio, Block

FORMATS: dict[str, str] = {"OGG": "Ogg"}
SUBTYPES = {"PCM_S8": "8-bit", "PCM_16": "16-bit", "PCM_24": "24-bit", "VORBIS": "Vorbis", "OPUS": "Opus"}
SUBTYPES |= {f"ALAC_{bits}": f"{bits}-bit ALAC" for bits in (16, 24, 32)}
OPUS_BITS_PER_SECOND = 6_000, 256_000  # of one channel, least and most
MP3_BITS_PER_SECOND = {32_000: (32_000, 320_000), 16_000: (8_000, 160_000), 0: (8_000, 64_000)}
"""Least and most, for rates from so many Hz on: MPEG 1, 2 and 2.5."""
UNKNOWN = 2**62  # samples; libsndfile says more than that where it does not know
MP3_INDEX_BYTES = 200  # what the frame in front needs that tells the length

Kind = dict[str, Any]  # what soundfile.SoundFile wants to know


def open_coded(path: Path) -> SoundFile:
    with sndfile.opened(path) as file:
        rate, channels = file.samplerate, file.channels
        says_length = file.frames < UNKNOWN
        length = enough(path, file.frames if says_length else _counted(path))
        kind = {"format": file.format, "subtype": file.subtype, "samplerate": rate, "channels": channels}
    if kind["subtype"] == "ALAC_20":  # libsndfile writes noise
        raise BadFile(f"{path}: ALAC of 20 bits cannot be written here; convert it to 24 bits first.")
    if kind["format"] == "FLAC" and says_length:
        _reaches_its_end(path)

    def blocks(frames: int) -> Iterator[Block]:
        return whole(path, sndfile.read(path, frames), rate, length)

    return SoundFile(
        path,
        Audio(rate, channels, length, blocks),
        format=FORMATS.get(kind["format"], kind["format"]),
        subtype=SUBTYPES.get(kind["subtype"], kind["subtype"]),
        write=partial(_write, path, kind),
    )


def _counted(path: Path) -> int:
    """A FLAC file that was written into a pipe does not say its length."""
    return sum(block.shape[1] for block in sndfile.read(path, 65_536))


def open_mp3(path: Path) -> SoundFile:
    survey = sound_track.survey(path, "mp3")
    _is_as_long_as_its_index_says(path, survey)
    kind = {"format": "MP3", "subtype": "MPEG_LAYER_III", "samplerate": survey.rate, "channels": survey.channels}
    return SoundFile(
        path,
        Audio(survey.rate, survey.channels, survey.length, partial(sound_track.blocks, path, survey)),
        format="MP3",
        subtype="MP3",
        write=partial(_write, path, kind | mp3_setting(survey)),
    )


def _write(path: Path, kind: Kind, draft: Path, blocks: Iterator[Block]) -> list[str]:
    setting = SETTINGS[kind["subtype"]](path, kind) if kind["subtype"] in SETTINGS else {}
    form: str = FORMATS.get(kind["format"]) or kind["format"]
    notes = sndfile.write(draft, blocks, **kind, **setting)
    if form in CARRIERS:
        carry(form, path, draft)
    else:
        chunks.carry(path, draft)
    return notes


# Bit rates


def opus_setting(path: Path, kind: Kind) -> Kind:
    return {"compression_level": _level(sound_track.bit_rate(path) / kind["channels"], *OPUS_BITS_PER_SECOND)}


def mp3_setting(survey: sound_track.Survey) -> Kind:
    least, most = next(limits for rate, limits in MP3_BITS_PER_SECOND.items() if survey.rate >= rate)
    frame = (1152 if survey.rate >= 32_000 else 576) / survey.rate  # seconds
    constant = survey.constant and survey.bit_rate * frame / 8 > MP3_INDEX_BYTES
    level = _level(round(survey.bit_rate, -3) + 500, least, most)  # libsndfile cuts off what is below 1 kbit/s
    return {"bitrate_mode": "CONSTANT" if constant else "AVERAGE", "compression_level": level}


def vorbis_setting(path: Path, kind: Kind) -> Kind:
    with path.open("rb") as file:
        wanted = ogg.vorbis_bit_rate(file.read(4096))
    return {"compression_level": ogg.vorbis_level(wanted, kind["samplerate"], kind["channels"])}


SETTINGS: dict[str, Callable[[Path, Kind], Kind]] = {"OPUS": opus_setting, "VORBIS": vorbis_setting}


def _level(bits_per_second: float, least: float, most: float) -> float:
    """libsndfile's scale: 0 is the most it can spend, 1 the least."""
    return float(np.clip((most - bits_per_second) / (most - least), 0, 1))


# Is the file cut short?


def _reaches_its_end(path: Path) -> None:
    with sndfile.opened(path) as file:
        file.seek(file.frames - 1)
        if not len(file.read(1)):
            raise BadFile(f"{path}: the end of the sound is missing: {CUT_SHORT}")


def _is_as_long_as_its_index_says(path: Path, survey: sound_track.Survey) -> None:
    from mutagen.mp3 import MP3, HeaderNotFoundError

    try:
        info: Any = MP3(path).info
    except HeaderNotFoundError:
        return
    missing = info.length - survey.length / survey.rate
    if not info.sketchy and missing * survey.rate > 2 * 1152:
        raise BadFile(f"{path}: {missing:.1f} s of the sound are missing: {CUT_SHORT}")
