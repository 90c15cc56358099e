"""A sound put back into a file of its kind through FFmpeg; all else in the file is copied packet by packet."""

from __future__ import annotations

import heapq
import io
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from denoise.errors import BadFile
from denoise.media import ogg, quicktime, sndfile
from denoise.media.recording import Integers
from denoise.media.sound_tags import carry, itunes_list
from denoise.media.sound_track import CODECS, KINDS, MATROSKA, QUICKTIME, Survey, beginning, is_cover, opened, url
from denoise.signals import Block

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

ENCODERS = {"mp3": "libmp3lame", "opus": "libopus"}  # others are called like the coding
UNFINISHED = {"dts", "truehd", "mlp"}  # FFmpeg's encoders for these are experiments
SPARE_ENCODERS = {"webm": "libopus", "ogg": "libopus"}  # AAC elsewhere
SPARE_BIT_RATE = 96_000  # per channel and second
ALAC_FRAME = 4096  # samples
SKIPS = "<IIBB"  # samples in front and behind that are not sound, and why, as FFmpeg has it


def write(path: Path, kind: str, found: Survey, draft: Path, blocks: Iterator[Block]) -> list[str]:
    """A file like `path`, with these samples for the sound that was surveyed there."""
    import av

    codec, notes = _codec(path, kind, found)
    with ExitStack() as stack:
        origin = stack.enter_context(av.open(url(path), metadata_errors="surrogateescape"))
        coder: Coder = Vorbis(stack, found, blocks) if codec == "vorbis" else Encoder(codec, found, blocks)
        result = stack.enter_context(_begun(path, draft, kind, _options(path, origin, kind, found)))
        routes = _laid_out(path, origin, result, kind, found.index, coder, notes)
        result.start_encoding()
        sound = Timed(coder.packets(), kind, found)
        for packet in heapq.merge(sound.packets(), _copied(path, routes), key=beginning):
            result.mux_one(packet)
        track = coder.stream.index
    if sound.warm_up:
        quicktime.skip_warm_up(draft, track, sound.warm_up)
    carry(KINDS[kind], path, draft)
    return notes + coder.notes()


@contextmanager
def _begun(path: Path, draft: Path, kind: str, options: dict[str, str]) -> Iterator[OutputContainer]:
    import av

    try:
        with av.open(url(draft), "w", kind, container_options=options, metadata_errors="surrogateescape") as file:
            yield file
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise BadFile(f"{path}: {KINDS[kind]} with such sound cannot be written ({error.strerror}).") from error


def _options(path: Path, origin: InputContainer, kind: str, found: Survey) -> dict[str, str]:
    if kind not in QUICKTIME:
        return {}
    flags = ["faststart"] * quicktime.index_is_in_front(path)
    if itunes_list(path) is None and any("." in name for name in origin.metadata):  # as phones name them
        flags.append("use_metadata_tags")
    edit_list_unit = {"movie_timescale": str(found.rate)}  # else milliseconds, too coarse for the last sample
    return edit_list_unit | ({"movflags": "+".join(flags)} if flags else {})


# Sound


class Coder(Protocol):
    """Blocks to packets of one coding."""

    @property
    def stream(self) -> Stream: ...

    def add_to(self, result: OutputContainer) -> Stream: ...

    def packets(self) -> Iterator[Packet[Any]]: ...

    def notes(self) -> list[str]: ...


class Encoder:
    """FFmpeg's."""

    def __init__(self, codec: str, found: Survey, blocks: Iterator[Block]) -> None:
        self.codec, self.found, self.blocks = codec, found, blocks
        self.rounding = Integers(found.bits)
        self.notes = self.rounding.notes

    def add_to(self, result: OutputContainer) -> Stream:
        found = self.found
        stream = self.stream = cast("AudioStream", result.add_stream(self.codec, rate=found.rate))
        context = stream.codec_context
        context.layout = found.layout
        context.format = _sample_format(self.codec, found.sample_format)
        context.time_base = Fraction(1, found.rate)
        is_spare = self.codec not in (found.codec, ENCODERS.get(found.codec))
        context.bit_rate = SPARE_BIT_RATE * found.channels if is_spare else found.bit_rate
        return self.stream

    def packets(self) -> Iterator[Packet[Any]]:
        at = round(self.found.start * self.found.rate)
        for block in self.blocks:
            frame = _frame(block, self.stream.codec_context, self.rounding)
            frame.pts = at
            frame.time_base = Fraction(1, self.found.rate)
            yield from self.stream.encode(frame)
            at += block.shape[1]
        yield from self.stream.encode(None)


class Vorbis:
    """libsndfile's, whose packets are handed on: FFmpeg's own is an experiment."""

    def __init__(self, stack: ExitStack, found: Survey, blocks: Iterator[Block]) -> None:
        self.start = found.start
        coded = Path(stack.enter_context(TemporaryDirectory()), "sound.ogg")
        wanted = ogg.vorbis_bit_rate(found.setup)
        kind = ogg.VORBIS | {"samplerate": found.rate, "channels": found.channels}
        level = ogg.vorbis_level(wanted, found.rate, found.channels)
        sndfile.write(coded, ogg.in_vorbis_order(blocks, found.channels), **kind, compression_level=level)
        self.file = stack.enter_context(opened(coded))

    def add_to(self, result: OutputContainer) -> Stream:
        self.stream = result.add_stream_from_template(self.file.streams.audio[0], opaque=True)
        return self.stream

    def packets(self) -> Iterator[Packet[Any]]:
        """The first one only warms the decoder up; FFmpeg counts that of a short file as sound, and ends too early.
        Nor does it always know when the last one begins."""
        late, at = 0, 0  # ticks
        for number, packet in enumerate(self.file.demux(self.file.streams.audio[0])):
            if packet.size:
                length = packet.duration or 0
                if number == 0:
                    late, at = (packet.pts or 0) + length, round(self.start / packet.time_base) - length
                _ended_later(packet, late)
                packet.pts = packet.dts = max(0, at)
                packet.stream = self.stream
                yield packet
                at += length

    def notes(self) -> list[str]:
        return []


def _ended_later(packet: Packet[Any], ticks: int) -> None:
    """Where the packet says how many samples at its end are not sound, that many fewer of them."""
    if packet.has_sidedata("skip_samples"):
        skips = packet.get_sidedata("skip_samples")
        in_front, behind, *reasons = struct.unpack(SKIPS, bytes(skips))
        skips.update(struct.pack(SKIPS, in_front, max(0, behind - ticks), *reasons))
        packet.set_sidedata(skips)
        packet.duration = ((packet.duration or 0) + ticks) % 2**32  # FFmpeg's was less than none


def _codec(path: Path, kind: str, found: Survey) -> tuple[str, list[str]]:
    """The encoder for this sound, and what is to be said of the choice."""
    if found.codec == "alac" and found.channels > 2 and 0 < found.length % ALAC_FRAME < 8:
        raise BadFile(  # FFmpeg would end the whole program
            f"{path}: {found.channels} channels of ALAC cannot be written at just this length; convert it to FLAC."
        )
    name = ENCODERS.get(found.codec, found.codec)
    if found.codec == "vorbis" or (name not in UNFINISHED and _has_encoder(name)):
        return name, []
    spare = SPARE_ENCODERS.get(kind, "aac")
    new, old = CODECS[spare.removeprefix("lib")], CODECS.get(found.codec, found.codec)
    return spare, [f"{old} cannot be written here; the sound is {new} now."]


def _has_encoder(name: str) -> bool:
    import av

    try:
        return not av.codec.Codec(name, "w").experimental
    except av.codec.codec.UnknownCodecError:
        return False


def _sample_format(codec: str, wanted: str) -> str:
    """What the encoder takes: the same kind of number if it can, else floats."""
    import av

    taken = [form.name for form in av.codec.Codec(codec, "w").audio_formats or ()]
    plain = wanted.rstrip("p")
    order = [wanted, plain, plain + "p", "fltp", "flt", *taken]
    return next((name for name in order if name in taken), wanted)


def _frame(block: Block, context: Any, rounding: Integers) -> AudioFrame:
    from av import AudioFrame

    samples = _numbers(block, context.format.name.rstrip("p"), rounding)
    if not context.format.is_planar:
        samples = samples.T.reshape(1, -1)
    frame = AudioFrame(context.format.name, context.layout.name, block.shape[1])
    for plane, row in zip(frame.planes, np.ascontiguousarray(samples), strict=False):  # PyAV counts nine for eight
        plane.update(row)
    frame.sample_rate = context.sample_rate
    return frame


def _numbers(block: Block, form: str, rounding: Integers) -> NDArray[Any]:
    if form in ("flt", "dbl"):
        return block.astype(np.float32 if form == "flt" else np.float64)
    if form == "u8":
        return ((rounding(block) >> 24) + 128).astype(np.uint8)
    return (rounding(block) >> 16).astype(np.int16) if form == "s16" else rounding(block)


class Timed:
    """The packets with times that the kind of file can say."""

    warm_up = 0  # samples in front that only warm the decoder up and for which there is no time

    def __init__(self, packets: Iterator[Packet[Any]], kind: str, found: Survey) -> None:
        self.coded, self.found = packets, found
        ways = {"adts": self._without_warm_up, **dict.fromkeys(QUICKTIME, self._ended)}
        self.packets = ways.get(kind, self._as_coded)

    def _as_coded(self) -> Iterator[Packet[Any]]:
        return self.coded

    def _without_warm_up(self) -> Iterator[Packet[Any]]:
        return islice(self.coded, 1, None)

    def _ended(self) -> Iterator[Packet[Any]]:
        """The edit list is made of what packets say: the last one tells where the sound ends.

        A sound that starts late begins with its first packet there; see `quicktime.skip_warm_up`.
        """
        start = round(self.found.start * self.found.rate)
        for packet in self.coded:
            pts = packet.pts or 0
            self.warm_up = max(self.warm_up, start - pts) if start > 0 else 0
            left = start + self.found.length - pts
            if left > 0:
                packet.duration = min(packet.duration or left, left)
                packet.pts = packet.dts = pts + self.warm_up
                yield packet


# Everything else


def _laid_out(
    path: Path,
    origin: InputContainer,
    result: OutputContainer,
    kind: str,
    sound: int,
    coder: Coder,
    notes: list[str],
) -> dict[int, Stream]:
    """The streams in their order; returns where the packets of each one that is copied go."""
    result.metadata.update(origin.metadata)
    result.set_chapters(origin.chapters())
    routes: dict[int, Stream] = {}
    for stream in origin.streams:
        if stream.index == sound:
            _describe(coder.add_to(result), stream)
        elif is_cover(stream):
            _keep_cover(path, kind, stream, result)
        elif _can_carry(stream, kind):
            routes[stream.index] = _copy_of(stream, result, kind)
            if stream.type == "audio":
                notes.append(f"Track {stream.index + 1} ({_sound_in_words(stream)}) was copied as it is.")
        elif not (stream.type == "data" and origin.chapters()):  # chapters have a track of their own there
            notes.append(f"Track {stream.index + 1} ({stream.type}) could not be carried over.")
    return routes


def _sound_in_words(stream: Stream) -> str:
    """ "sound, deu"."""
    language = stream.metadata.get("language", "und")
    return "sound" if language == "und" else f"sound, {language}"


def _describe(stream: Stream, origin: Stream) -> None:
    stream.metadata.update(origin.metadata)
    stream.disposition = origin.disposition


def _copy_of(stream: Stream, result: OutputContainer, kind: str) -> Stream:
    copy = result.add_stream_from_template(stream, opaque=True)
    if kind in QUICKTIME and copy.codec_context is not None:
        copy.codec_context.codec_tag = stream.codec_tag  # hvc1 or hev1: some players take only one
    _describe(copy, stream)
    return copy


def _can_carry(stream: Stream, kind: str) -> bool:
    """Whether a file with nothing but this stream can be begun."""
    import av

    try:
        with av.open(io.BytesIO(), "w", kind) as trial:
            _copy_of(stream, trial, kind)
            trial.start_encoding()
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def _keep_cover(path: Path, kind: str, cover: Stream, result: OutputContainer) -> None:
    """In Matroska a cover is an attachment; elsewhere it goes with the tags."""
    if kind not in MATROSKA:
        return
    with opened(path) as file:
        picture = next(packet for packet in file.demux(file.streams[cover.index]) if packet.size)
        named = cover.metadata
        result.add_attachment(named.get("filename", "cover.jpg"), named.get("mimetype", "image/jpeg"), bytes(picture))


def _copied(path: Path, routes: dict[int, Stream]) -> Iterator[Packet[Any]]:
    if not routes:
        return
    with opened(path) as file:
        for packet in file.demux([file.streams[index] for index in routes]):
            if packet.size:
                packet.stream = routes[packet.stream.index]
                yield packet
