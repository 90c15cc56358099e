"""The sound of MP4, MOV, M4A, MKV, WebM, AAC and Ogg files, and of MP3, read through FFmpeg.

Such files are decoded once to count their samples, since few of them say the number. What is exact: FLAC, ALAC
and PCM tracks; AAC and others in MP4 and MOV, to the length of their edit list; Opus and Vorbis in MKV and WebM;
MP3 with a LAME tag. AAC and AC-3 in MKV, bare AAC and bare MP3 have the length that decoders give: whole frames.
Where a recording paused and its clock went on, the pause is read as silence: sound and picture stay together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from denoise.errors import BadFile
from denoise.media import matroska, quicktime
from denoise.media.recording import SoundFile, enough, whole
from denoise.signals import Audio, Block, regrouped

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet
    from av.container import InputContainer
    from av.stream import Stream

PAUSE = 0.05  # seconds; less is the rounding of time stamps
SILENCE_AT_ONCE = 65_536  # samples
FULL_SCALE = {"uint8": 2**7, "int16": 2**15, "int32": 2**31}
SAMPLES = {"u8p": "u1", "s16p": "i2", "s32p": "i4", "s64p": "i8", "fltp": "f4", "dblp": "f8"}
KINDS = {  # FFmpeg's name for a kind of file, and what people call it
    "mp4": "MP4",
    "ipod": "M4A",
    "mov": "MOV",
    "matroska": "MKV",
    "webm": "WebM",
    "adts": "AAC",
    "ogg": "Ogg",
}
QUICKTIME = {"mp4", "ipod", "mov"}
MATROSKA = {"matroska", "webm"}
CODECS = {"aac": "AAC", "opus": "Opus", "vorbis": "Vorbis", "mp3": "MP3", "ac3": "AC-3", "eac3": "E-AC-3", "dts": "DTS"}
CODECS |= {"truehd": "TrueHD", "mp2": "MP2", "speex": "Speex"}
LOSSLESS = {"flac", "alac", "wavpack"}


@dataclass(frozen=True)
class Survey:
    """What decoding the whole sound once has shown."""

    index: int  # of the stream in its file
    codec: str
    rate: int  # Hz
    layout: str  # "stereo", "5.1(side)"
    channels: int
    sample_format: str  # "fltp", "s16"
    length: int  # samples
    start: Fraction  # seconds, of the first sample
    bit_rate: int  # per second
    constant: bool  # all packets have one size
    setup: bytes = b""  # what the decoder was told in front

    @property
    def bits(self) -> int:
        """Of an integer sample; FFmpeg keeps 24-bit samples in 32."""
        if "s32" in self.sample_format:
            return 32 if self.codec.startswith("pcm_s32") else 24
        return 8 if "u8" in self.sample_format else 16

    def words(self) -> str:
        """ "AAC", "24-bit ALAC", "32-bit float PCM"."""
        if not self.codec.startswith("pcm") and self.codec not in LOSSLESS:
            return CODECS.get(self.codec, self.codec)
        floats = {"flt": "32-bit float", "dbl": "64-bit float"}.get(self.sample_format.rstrip("p"))
        return f"{floats or f'{self.bits}-bit'} {self.codec.partition('_')[0].upper()}"


def open_track(path: Path, kind: str) -> SoundFile:
    """`kind` is one of KINDS."""
    from denoise.media.sound_mux import write

    if kind in QUICKTIME:
        quicktime.must_be_whole(path)
    if kind in MATROSKA:
        matroska.must_be_whole(path)
    found = survey(path, kind)
    with opened(path) as file:
        pictures = any(not is_cover(stream) for stream in file.streams.video)
    return SoundFile(
        path,
        Audio(found.rate, found.channels, enough(path, found.length), partial(blocks, path, found)),
        format=KINDS[kind],
        subtype=found.words(),
        write=partial(write, path, kind, found),
        pictures=pictures,
    )


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """For reading; whatever FFmpeg then says against it is the file's fault."""
    import av

    try:
        with av.open(url(path), "r", metadata_errors="surrogateescape") as file:
            yield file
    except (av.error.InvalidDataError, av.error.EOFError) as error:
        raise BadFile(f"{path}: cannot be read, it is damaged or cut short; get a complete copy.") from error
    except av.error.FFmpegError as error:
        raise BadFile(f"{path}: cannot be read, FFmpeg says: {error.strerror}; convert it first.") from error


def url(path: Path) -> str:
    """A bare name with a colon would be taken for a protocol."""
    return f"file:{path}"


def is_cover(stream: Stream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


# How much sound is there?


def survey(path: Path, kind: str) -> Survey:
    with opened(path) as file:
        stream = _sound_of(path, file)
        tally = Tally()
        for packet in file.demux(stream):
            tally.add(packet)
        return tally.survey(path, stream, kind)


def bit_rate(path: Path) -> int:
    """Of the coded sound alone, per second, without covers and other tags."""
    with opened(path) as file:
        stream = _sound_of(path, file)
        size, first, last = 0, None, None
        for packet in file.demux(stream):
            size += packet.size
            first, last = first or packet, packet if packet.size else last
        seconds = _end(last) - beginning(first) if first and last else Fraction(0)
    return int(8 * size / max(seconds, Fraction(1, 1000)))


def _sound_of(path: Path, file: InputContainer) -> AudioStream:
    stream = file.streams.best("audio")
    if stream is None:
        raise BadFile(f"{path}: there is no sound in it; choose a file that has a sound track.")
    return cast("AudioStream", stream)


class Clock:
    """Knows when the next frame is due, and so where the recording paused."""

    def __init__(self) -> None:
        self.due: float | None = None  # seconds

    def pause(self, frame: AudioFrame) -> int:
        """How many samples are missing before this frame."""
        time = frame.time if frame.time is not None else self.due or 0.0
        gap = time - self.due if self.due is not None else 0.0
        self.due = time + frame.samples / frame.sample_rate
        return round(gap * frame.sample_rate) if gap > PAUSE else 0


@dataclass
class Tally:
    """What is counted on the way through a file."""

    first: AudioFrame | None = None
    length: int = 0  # samples
    longest: int = 0  # samples in a frame
    sizes: list[int] = field(default_factory=list)  # bytes of each packet
    last: Packet[Any] | None = None
    clock: Clock = field(default_factory=Clock)

    def add(self, packet: Packet[Any]) -> None:
        if packet.size:
            self.sizes.append(packet.size)
            self.last = packet
        frame: Any
        for frame in packet.decode():
            self.first = self.first or frame
            self.length += self.clock.pause(frame) + frame.samples
            self.longest = max(self.longest, frame.samples)

    def survey(self, path: Path, stream: AudioStream, kind: str) -> Survey:
        if self.first is None:
            raise BadFile(f"{path}: 0 samples. Nothing to clean; is the recording complete?")
        rate = self.first.sample_rate
        start = _time(self.first.pts, self.first.time_base) or Fraction(0)
        bits_per_second = 8 * sum(self.sizes) * rate / (len(self.sizes) * self.longest)
        return Survey(
            index=stream.index,
            codec=stream.codec.canonical_name,
            rate=rate,
            layout=self.first.layout.name,
            channels=self.first.layout.nb_channels,
            sample_format=self.first.format.name,
            length=self._edited(path, stream.index, start, rate) if kind in QUICKTIME else self.length,
            start=start,
            bit_rate=int(round(bits_per_second, -3)),
            constant=max(self.sizes) - min(self.sizes) <= 1,
            setup=stream.codec_context.extradata or b"",
        )

    def _edited(self, path: Path, track: int, start: Fraction, rate: int) -> int:
        """The length by the edit list; by the sample table where the edit list only rounds that."""
        edited, unit = quicktime.edited(path, track) or (Fraction(0), Fraction(0))
        listed = (_end(self.last) if self.last else start) - start
        exact = listed if abs(listed - edited) <= unit else edited
        return min(round(exact * rate), self.length) if edited > 0 else self.length


def _time(stamp: int | None, unit: Fraction | None) -> Fraction | None:
    """Seconds."""
    return None if stamp is None or unit is None else stamp * Fraction(unit)


def beginning(packet: Packet[Any]) -> Fraction:
    """Seconds at which it is to be decoded."""
    return _time(packet.pts if packet.dts is None else packet.dts, packet.time_base) or Fraction(0)


def _end(packet: Packet[Any]) -> Fraction:
    stamp = None if packet.pts is None else packet.pts + (packet.duration or 0)
    return _time(stamp, packet.time_base) or Fraction(0)


# Samples


def blocks(path: Path, found: Survey, frames: int) -> Iterator[Block]:
    samples = _up_to(found.length, _samples(path, found))
    return whole(path, regrouped(samples, frames), found.rate, found.length)


def _samples(path: Path, found: Survey) -> Iterator[Block]:
    clock = Clock()
    with opened(path) as file:
        frame: Any
        for frame in file.decode(file.streams[found.index]):
            if (frame.sample_rate, frame.layout.nb_channels) != (found.rate, found.channels):
                raise BadFile(f"{path}: the rate or the channels change on the way; convert it to one rate first.")
            yield from _silence(found.channels, clock.pause(frame))
            yield _floats(frame)


def _silence(channels: int, samples: int) -> Iterator[Block]:
    for at in range(0, samples, SILENCE_AT_ONCE):
        yield np.zeros((channels, min(SILENCE_AT_ONCE, samples - at)), np.float32)


def _floats(frame: AudioFrame) -> Block:
    samples = _rows(frame)
    if samples.dtype == np.float32:
        return samples
    zero = 128 if samples.dtype == np.uint8 else 0
    full = FULL_SCALE.get(samples.dtype.name, 1)
    return ((samples.astype(np.float64) - zero) / full).astype(np.float32)


def _rows(frame: AudioFrame) -> NDArray[Any]:
    """One for each channel; PyAV itself counts nine where there are eight, and reads what is not there."""
    channels, planes = frame.layout.nb_channels, cast(Any, frame.planes)
    if not frame.format.is_planar:
        return frame.to_ndarray().reshape(-1, channels).T
    kind = SAMPLES[frame.format.name]
    return np.stack([np.frombuffer(planes[channel], kind, frame.samples) for channel in range(channels)])


def _up_to(length: int, blocks: Iterable[Block]) -> Iterator[Block]:
    left = length
    for block in blocks:
        if left <= 0:
            return
        yield block[:, :left]
        left -= block.shape[1]
