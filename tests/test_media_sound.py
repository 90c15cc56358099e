"""What is not noise is kept: keep-laws over real sound files of each format, then what happens to bad ones."""

from __future__ import annotations

import os
import resource
import shutil
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import av
import mutagen
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutagen import apev2, flac, id3, mp4

from denoise.errors import BadFile, UserError
from denoise.media import chunks, sound_mux
from denoise.media.recording import Integers, in_words
from denoise.media.sound import SUFFIXES, SoundFile, kind_of, open_sound, save
from denoise.media.sound_track import survey
from denoise.resample import active_resampler, at_rate, resample, resampled
from denoise.signals import Audio, regrouped

few = settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
COVER = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 20 + b"\xff\xd9"


def hum(channels: int, length: int, rate: int, seed: int = 0) -> np.ndarray:
    """Notes that swell over a hiss: no two moments are alike, so that a shift shows."""
    turns = 2 * np.pi * np.arange(length)
    notes = [
        np.sin(turns * (0.02 + 0.004 * c)) * np.sin(turns * (1.3 + c) / rate)  # cycles per sample
        for c in range(channels)
    ]
    hiss = np.random.default_rng(seed).standard_normal((channels, length))
    return (0.3 * np.stack(notes) + 0.02 * hiss).astype(np.float32)


# Files as other programs write them


def by_libsndfile(path: Path, samples: np.ndarray, rate: int, format: str, subtype: str, **more: Any) -> None:
    kind = {"format": format, "subtype": subtype} | more
    with soundfile.SoundFile(path, "w", rate, len(samples), **kind) as file:
        for at in range(0, samples.shape[1], 8192):
            file.write(samples.T[at : at + 8192])


def by_ffmpeg(path: Path, samples: np.ndarray, rate: int, codec: str, form: str, **options: str) -> None:
    with av.open(str(path), "w", options=options) as file:
        stream = sound_stream(file, codec, form, rate, len(samples))
        for packet in encoded(stream, samples, rate):
            file.mux(packet)


def sound_stream(file: Any, codec: str, form: str, rate: int, channels: int) -> Any:
    stream = file.add_stream(codec, rate=rate)
    stream.codec_context.layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    stream.codec_context.format = form
    return stream


def encoded(stream: Any, samples: np.ndarray, rate: int, start: float = 0, pause: float = 0) -> Iterator[Any]:
    layout = stream.codec_context.layout.name
    converter = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
    for at in range(0, samples.shape[1], 4096):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, at : at + 4096]), "fltp", layout)
        late = pause if at > samples.shape[1] // 2 else 0
        frame.sample_rate, frame.pts, frame.time_base = rate, at + round((start + late) * rate), Fraction(1, rate)
        for converted in converter.resample(frame):
            yield from stream.encode(converted)
    yield from stream.encode(None)


@dataclass(frozen=True)
class Form:
    """One kind of file, how another program writes it, and what it can hold."""

    name: str
    suffix: str
    make: Callable[..., None]
    described: str
    channels: tuple[int, ...] = (1, 2, 6)
    rates: tuple[int, ...] = (11025, 44100, 48000, 96000)
    exact: bool = False  # identity changes no sample
    says_length: bool = True  # to the sample
    options: dict[str, Any] = field(default_factory=dict)

    def file(self, folder: Path, channels: int = 2, length: int = 30_001, rate: int | None = None) -> Path:
        path = folder / f"{self.name}{self.suffix}"
        rate = rate or next(r for r in (44100, 48000) if r in self.rates)
        self.make(path, hum(channels, length, rate), rate, **self.options)
        return path


def sndfile(name: str, suffix: str, format: str, subtype: str, described: str, **more: Any) -> Form:
    options = {"format": format, "subtype": subtype} | more.pop("options", {})
    return Form(name, suffix, by_libsndfile, described, options=options, **more)


def ffmpeg(name: str, suffix: str, codec: str, form: str, described: str, **more: Any) -> Form:
    return Form(name, suffix, by_ffmpeg, described, options={"codec": codec, "form": form}, **more)


OPUS_RATES = (8000, 16000, 24000, 48000)
MPEG_RATES = (11025, 16000, 22050, 44100, 48000)
PLAIN = [
    sndfile("wav8", ".wav", "WAV", "PCM_U8", "8-bit WAV", exact=True),
    sndfile("wav16", ".wav", "WAV", "PCM_16", "16-bit WAV", exact=True),
    sndfile("wav24", ".wav", "WAVEX", "PCM_24", "24-bit WAV", exact=True),
    sndfile("wav32", ".wav", "WAV", "PCM_32", "32-bit WAV", exact=True),
    sndfile("wav32f", ".wav", "WAV", "FLOAT", "32-bit float WAV", exact=True),
    sndfile("wav64f", ".wav", "WAV", "DOUBLE", "64-bit float WAV", exact=True),
    sndfile("mulaw", ".wav", "WAV", "ULAW", "µ-law WAV", exact=True),
    sndfile("alaw", ".wav", "WAV", "ALAW", "A-law WAV", exact=True),
    sndfile("rifx", ".wav", "WAV", "PCM_24", "24-bit WAV", exact=True, options={"endian": "BIG"}),
    sndfile("rf64", ".rf64", "RF64", "PCM_24", "24-bit RF64", exact=True),
    sndfile("w64", ".w64", "W64", "PCM_16", "16-bit W64", exact=True),
    sndfile("aiff", ".aiff", "AIFF", "PCM_24", "24-bit AIFF", exact=True),
    sndfile("aifc", ".aifc", "AIFF", "PCM_16", "16-bit AIFF", exact=True, options={"endian": "LITTLE"}),
    sndfile("caf", ".caf", "CAF", "PCM_24", "24-bit CAF", exact=True),
    sndfile("caf32f", ".caf", "CAF", "FLOAT", "32-bit float CAF", exact=True, options={"endian": "LITTLE"}),
]
CODED = [
    sndfile("flac16", ".flac", "FLAC", "PCM_16", "16-bit FLAC", exact=True),
    sndfile("flac24", ".flac", "FLAC", "PCM_24", "24-bit FLAC", exact=True),
    sndfile("adpcm", ".wav", "WAV", "IMA_ADPCM", "IMA_ADPCM WAV", channels=(1, 2), says_length=False),
    sndfile("caf-alac", ".caf", "CAF", "ALAC_16", "16-bit ALAC CAF", exact=True),
    sndfile("vorbis", ".ogg", "OGG", "VORBIS", "Vorbis Ogg"),
    sndfile("opus", ".opus", "OGG", "OPUS", "Opus Ogg", rates=OPUS_RATES),
    sndfile("mp3", ".mp3", "MP3", "MPEG_LAYER_III", "MP3", channels=(1, 2), rates=MPEG_RATES),
]
TRACKS = [
    ffmpeg("aac", ".m4a", "aac", "fltp", "AAC M4A"),
    ffmpeg("alac", ".m4a", "alac", "s16p", "16-bit ALAC M4A", exact=True),
    ffmpeg("alac24", ".m4a", "alac", "s32p", "24-bit ALAC M4A", exact=True),
    ffmpeg("aac", ".mp4", "aac", "fltp", "AAC MP4"),
    ffmpeg("opus", ".mp4", "libopus", "flt", "Opus MP4", rates=(48000,)),
    ffmpeg("aac", ".mov", "aac", "fltp", "AAC MOV"),
    ffmpeg("pcm24", ".mov", "pcm_s24le", "s32", "24-bit PCM MOV", exact=True),
    ffmpeg("pcm8", ".mov", "pcm_u8", "u8", "8-bit PCM MOV", exact=True),
    ffmpeg("flac24", ".mkv", "flac", "s32", "24-bit FLAC MKV", exact=True),
    ffmpeg("pcm32f", ".mka", "pcm_f32le", "flt", "32-bit float PCM MKV", exact=True),
    ffmpeg("aac", ".mkv", "aac", "fltp", "AAC MKV", says_length=False),
    ffmpeg("ac3", ".mkv", "ac3", "fltp", "AC-3 MKV", rates=(44100, 48000), says_length=False),
    ffmpeg("opus", ".webm", "libopus", "flt", "Opus WebM", rates=(48000,)),
    ffmpeg("aac", ".aac", "aac", "fltp", "AAC", says_length=False),
    ffmpeg("flac", ".oga", "flac", "s16", "16-bit FLAC Ogg", exact=True),
]
ALL = PLAIN + CODED + TRACKS
every = partial(pytest.mark.parametrize, "form", ids=lambda form: f"{form.name}{form.suffix}")


def samples_of(sound: SoundFile, frames: int = 8192) -> np.ndarray:
    return np.concatenate(list(sound.audio.blocks(frames)), axis=1)


def kept(path: Path, change: Callable[[np.ndarray], np.ndarray] = lambda block: block) -> tuple[SoundFile, list[str]]:
    """The file written back beside itself, and what was said."""
    sound = open_sound(path)
    target = path.with_name(f"kept-{path.name}")
    notes = save(target, sound, map(change, sound.audio.blocks(8192)))
    return open_sound(target), notes


def shift(old: np.ndarray, new: np.ndarray) -> int:
    """Samples by which the new one is late, where the two differ least."""
    reach, half, middle = 1200, 1000, max(2200, len(old) // 3)
    part = old[middle - half : middle + half].astype(np.float64)
    around = new[middle - half - reach : middle + half + reach].astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(around, len(part))
    difference = np.einsum("ij,ij->i", windows, windows) - 2 * windows @ part
    return int(np.argmin(difference)) - reach


# Keep-laws


@every(ALL)
@few
@given(draw=st.data())
def test_length_rate_channels_and_kind_are_kept(form: Form, draw: Any, tmp_path: Path) -> None:
    channels = draw.draw(st.sampled_from(form.channels))
    rate = draw.draw(st.sampled_from(form.rates))
    length = draw.draw(st.integers(7000, 20_000))
    path = form.file(tmp_path, channels, length, rate)
    old, (new, notes) = open_sound(path), kept(path)
    assert (old.audio.rate, old.audio.channels) == (rate, channels)
    assert old.audio.length == length or not form.says_length
    for fact in ("rate", "channels", "length"):
        assert getattr(new.audio, fact) == getattr(old.audio, fact)
    assert (new.format, new.subtype, notes) == (old.format, old.subtype, [])
    assert f" {form.described}, " in new.describe()
    before, after = samples_of(old), samples_of(new)
    assert before.shape == after.shape == (channels, new.audio.length)
    if form.exact:
        np.testing.assert_array_equal(before, after)
    else:
        assert shift(before[0], after[0]) == 0


@every([form for form in ALL if not form.exact])
def test_what_is_lost_by_coding_again_is_little(form: Form, tmp_path: Path) -> None:
    path = form.file(tmp_path, channels=1, length=60_000)
    before, after = samples_of(open_sound(path)), samples_of(kept(path)[0])
    assert np.std(after - before) < 0.25 * np.std(before)


@every(PLAIN)
def test_unchanged_plain_samples_give_the_same_bytes(form: Form, tmp_path: Path) -> None:
    path = form.file(tmp_path)
    old, new = path.read_bytes(), kept(path)[0].path.read_bytes()
    if form.name == "mulaw":  # has two codes for nothing
        old, new = old.replace(b"\x7f", b"\xff"), new.replace(b"\x7f", b"\xff")
    assert new == old.replace(b"PEAK", b"JUNK").replace(b"peak", b"free")  # what was the peak of the old samples


def test_every_chunk_beside_the_samples_is_kept(tmp_path: Path) -> None:
    plain = sndfile("s", ".wav", "WAV", "PCM_16", "").file(tmp_path, length=999).read_bytes()
    bext = b"bext" + struct.pack("<I", 603) + b"b" * 603 + b"\0"
    info = b"LIST" + struct.pack("<I", 18) + b"INFOINAM" + struct.pack("<I", 6) + b"Title\0"
    unknown = b"zzzz" + struct.pack("<I", 3) + b"abc\0"
    body = plain[12:36] + bext + plain[36:] + info + unknown
    path = tmp_path / "chunks.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)
    old, new = path.read_bytes(), kept(path, lambda block: block / 2)[0].path.read_bytes()
    start = old.index(b"data") + 8
    end = start + 999 * 2 * 2
    assert (new[:start], new[end:]) == (old[:start], old[end:])
    halved = np.frombuffer(old[start:end], "<i2") / 2
    np.testing.assert_array_equal(np.frombuffer(new[start:end], "<i2"), np.rint(halved))


def test_a_recording_that_was_not_finished_is_told(tmp_path: Path) -> None:
    path = sndfile("s", ".wav", "WAV", "PCM_16", "").file(tmp_path, length=999)
    content = path.read_bytes()
    at = content.index(b"data") + 4
    path.write_bytes(content[:at] + bytes(4) + content[at + 4 :])
    with pytest.raises(BadFile, match=f"{999 * 2 * 2} bytes follow: its recording was not finished"):
        open_sound(path)
    path.write_bytes(content[:at] + bytes(4))
    with pytest.raises(BadFile, match="0 samples"):
        open_sound(path)


@pytest.mark.parametrize("offset", [2, 4, 512])
def test_an_aiff_whose_samples_begin_later_stays_as_it_is(offset: int, tmp_path: Path) -> None:
    path = sndfile("s", ".aiff", "AIFF", "PCM_16", "").file(tmp_path, length=999)
    plain = path.read_bytes()
    at = plain.index(b"SSND")
    size = struct.unpack_from(">I", plain, at + 4)[0] + offset
    head = struct.pack(">4sIII", b"SSND", size, offset, 0)
    path.write_bytes(plain[:at] + head + bytes(offset) + plain[at + 16 :])
    old, new = open_sound(path), kept(path)[0]
    np.testing.assert_array_equal(samples_of(new), samples_of(old))
    assert new.path.read_bytes() == path.read_bytes()


@every([form for form in PLAIN if form.name in {"wav16", "wav24", "aiff"}])
def test_a_tag_in_front_of_plain_sound_is_kept(form: Form, tmp_path: Path) -> None:
    path = form.file(tmp_path)
    plain = samples_of(open_sound(path))
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=1, text="Tïtle"))
    tags.save(path)
    new = kept(path)[0]
    assert new.path.read_bytes() == path.read_bytes()
    np.testing.assert_array_equal(samples_of(new), plain)


@given(st.sampled_from([8, 16, 24, 32]), st.lists(st.floats(-1.5, 1.5, width=32), min_size=1))
def test_integers_are_rounded_clipped_and_counted(bits: int, values: list[float]) -> None:
    block = np.array([values], np.float32)
    integers = Integers(bits)
    full = 2 ** (bits - 1)
    expected = np.clip(np.rint(block.astype(np.float64) * full), -full, full - 1)
    np.testing.assert_array_equal(integers(block) >> (32 - bits), expected)
    assert integers.clipped == sum(abs(np.float32(value)) > 1 for value in values)


def test_clipping_is_said_and_floats_are_not_clipped(tmp_path: Path) -> None:
    louder = lambda block: np.where(np.arange(block.shape[1]) < 1, 1.5, block).astype(np.float32)  # noqa: E731
    integers = sndfile("i", ".wav", "WAV", "PCM_16", "").file(tmp_path, channels=1, length=8000)
    assert kept(integers, louder)[1] == ["1 sample above full scale was clipped."]
    assert samples_of(kept(integers, louder)[0])[0, 0] == 32767 / 32768
    both = sndfile("i", ".flac", "FLAC", "PCM_24", "").file(tmp_path, channels=2, length=8000)
    assert kept(both, louder)[1] == ["2 samples above full scale were clipped."]
    floats = sndfile("f", ".wav", "WAV", "FLOAT", "").file(tmp_path, length=8000)
    new, notes = kept(floats, louder)
    assert (samples_of(new)[0, 0], notes) == (1.5, [])


LOSSY = [form for form in CODED + TRACKS if form.name in {"vorbis", "opus", "mp3", "aac", "ac3"}]


@every(LOSSY)
def test_bit_rate_stays_about_what_it_was(form: Form, tmp_path: Path) -> None:
    path = form.file(tmp_path, length=44_100 * 4)
    assert 0.8 < kept(path)[0].path.stat().st_size / path.stat().st_size < 1.2


@pytest.mark.parametrize(("mode", "level"), [("CONSTANT", 0.1), ("CONSTANT", 0.8), ("AVERAGE", 0.5), ("VARIABLE", 0.3)])
def test_mp3_keeps_its_bit_rate_and_whether_it_varies(mode: str, level: float, tmp_path: Path) -> None:
    path = tmp_path / "voice.mp3"
    kind = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": mode, "compression_level": level}
    soundfile.write(path, hum(2, 90_000, 44100).T, 44100, **kind)
    old, new = mutagen.File(path).info, mutagen.File(kept(path)[0].path).info
    assert new.bitrate == pytest.approx(old.bitrate, rel=0.15)
    assert ("CBR" in str(new.bitrate_mode)) == ("CBR" in str(old.bitrate_mode)) == (mode == "CONSTANT")


@pytest.mark.parametrize("level", [0.2, 0.9])
def test_vorbis_keeps_its_quality(level: float, tmp_path: Path) -> None:
    path = tmp_path / "music.ogg"
    kind = {"format": "OGG", "subtype": "VORBIS", "compression_level": level}
    soundfile.write(path, hum(2, 44_100, 44100).T, 44100, **kind)
    assert mutagen.File(kept(path)[0].path).info.bitrate == pytest.approx(mutagen.File(path).info.bitrate, rel=0.01)


# Tags and covers


def flac_cover() -> flac.Picture:
    cover = flac.Picture()
    cover.data, cover.mime, cover.type = COVER, "image/jpeg", 3
    return cover


def test_flac_keeps_comments_cover_and_application_data(tmp_path: Path) -> None:
    path = CODED[0].file(tmp_path)
    file = flac.FLAC(path)
    file["title"], file["artist"] = "Tïtle", ["One", "Two"]
    file.add_picture(flac_cover())
    file.save()
    new = flac.FLAC(kept(path, lambda block: block / 2)[0].path)
    assert list(new.tags) == [("title", "Tïtle"), ("artist", "One"), ("artist", "Two")]
    assert [picture.data for picture in new.pictures] == [COVER]
    assert new.tags.vendor == file.tags.vendor
    assert soundfile.info(path).frames == new.info.total_samples


@every([form for form in CODED + TRACKS if form.described.endswith("Ogg")])
def test_ogg_keeps_comments_and_cover(form: Form, tmp_path: Path) -> None:
    import base64

    path = form.file(tmp_path)
    file = mutagen.File(path)
    file["title"], file["artist"] = "Tïtle", ["One", "Two"]
    file["metadata_block_picture"] = base64.b64encode(flac_cover().write()).decode()
    file.save()
    assert sorted(mutagen.File(kept(path)[0].path).tags) == sorted(mutagen.File(path).tags)


@pytest.mark.parametrize(("version", "version_1", "ape"), [(3, 2, False), (4, 0, True)])
def test_mp3_keeps_its_tags_in_their_versions(version: int, version_1: int, ape: bool, tmp_path: Path) -> None:
    path = CODED[-1].file(tmp_path)
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=1, text="Tïtle"))
    tags.add(id3.TXXX(encoding=1, desc="mine", text="x"))
    tags.add(id3.COMM(encoding=1, lang="deu", desc="", text="a comment"))
    tags.add(id3.PRIV(owner="me", data=b"\0\1"))
    tags.add(id3.APIC(encoding=0, mime="image/jpeg", type=3, desc="", data=COVER))
    tags.save(path, v2_version=version, v1=version_1)
    if ape:
        gain = apev2.APEv2()
        gain["REPLAYGAIN_TRACK_GAIN"] = "-3 dB"
        gain.save(path)
    sound, _ = kept(path)
    new = id3.ID3(sound.path, translate=False)
    assert new.version[1] == version
    assert {key: frame for key, frame in new.items()} == dict(id3.ID3(path, translate=False).items())
    assert new["APIC:"].data == COVER
    assert (sound.path.read_bytes()[-128:][:3] == b"TAG") == bool(version_1)
    if ape:
        assert apev2.APEv2(sound.path)["REPLAYGAIN_TRACK_GAIN"] == "-3 dB"


@every([form for form in TRACKS if form.suffix in (".m4a", ".mp4")])
def test_m4a_keeps_the_itunes_list(form: Form, tmp_path: Path) -> None:
    path = form.file(tmp_path, length=6000)
    file = mp4.MP4(path)
    file["\xa9nam"], file["trkn"], file["----:com.apple.iTunes:my.own"] = "Tïtle", [(3, 9)], [b"free"]
    file["covr"] = [mp4.MP4Cover(COVER, mp4.MP4Cover.FORMAT_JPEG)]
    file.save()
    assert dict(mp4.MP4(kept(path)[0].path)) == dict(mp4.MP4(path))


RARE = {  # kind of file: names of what it may have beside its sound, and the struct of the head of such
    ("WAV", "IMA_ADPCM"): ((b"bext", b"cue ", b"LIST", b"zzzz"), "<4sI"),
    ("WAV", "GSM610"): ((b"bext", b"iXML"), "<4sI"),
    ("W64", "MS_ADPCM"): ((b"bext" + chunks.W64_NAME,), "<16sQ"),
    ("AIFF", "IMA_ADPCM"): ((b"NAME", b"MARK"), ">4sI"),
    ("CAF", "ALAC_16"): ((b"info", b"uuid"), ">4sQ"),
}


@pytest.mark.parametrize(("kind", "beside"), RARE.items(), ids=["-".join(kind) for kind in RARE])
def test_rarer_codings_keep_what_stands_beside_the_sound(
    kind: tuple[str, str], beside: tuple[tuple[bytes, ...], str], tmp_path: Path
) -> None:
    (names, head), path = beside, tmp_path / f"memo.{kind[0].lower()}"
    soundfile.write(path, hum(1, 9000, 8000).T, 8000, kind[1], format=kind[0])
    container = chunks.container_of(path)
    with path.open("r+b") as file:
        file.truncate(file.seek(max(start + size for _, (start, size) in chunks.of(path, container))))
        for name in names:
            file.write(bytes(-file.tell() % container.align))
            file.write(struct.pack(head, name, 7 + struct.calcsize(head) * container.size_counts_head) + b"as were")
    new = kept(path)[0]
    found = dict(chunks.of(new.path, container))
    for name in names:
        start, size = found[name]
        assert new.path.read_bytes()[start : start + size] == b"as were"
    if container.total:
        form, place, uncounted = container.total
        assert struct.unpack_from(form, new.path.read_bytes(), place)[0] == new.path.stat().st_size - uncounted
    assert new.path.stat().st_size % container.align == 0
    assert kept(new.path)[0].audio.length == new.audio.length


def test_rarer_codings_keep_what_libsndfile_knows_of_tags(tmp_path: Path) -> None:
    path = tmp_path / "memo.wav"
    with soundfile.SoundFile(path, "w", 8000, 1, format="WAV", subtype="IMA_ADPCM") as file:
        file.title, file.artist = "Title", "Me"
        file.write(hum(1, 9000, 8000).T)
    with soundfile.SoundFile(kept(path)[0].path) as new:
        assert (new.title, new.artist) == ("Title", "Me")


# Videos


@dataclass(frozen=True)
class Film:
    """A short video with a sound track, and what may be special about it."""

    suffix: str = ".mp4"
    pictures: str = "libx264"
    sound: str = "aac"
    rate: int = 44100
    start: float = 0  # seconds, of the sound
    pause: float = 0  # seconds, in the middle of the sound
    tags: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    chapters: tuple[str, ...] = ()
    second_sound: bool = False

    def file(self, folder: Path) -> Path:
        path = folder / f"film{self.suffix}"
        with av.open(str(path), "w", container_options=self.options) as file:
            file.metadata.update(self.tags)
            file.set_chapters(
                [
                    {"id": k, "start": k, "end": k + 1, "time_base": Fraction(1, 2), "metadata": {"title": title}}
                    for k, title in enumerate(self.chapters)
                ]
            )
            pictures = file.add_stream(self.pictures, rate=25, options={"preset": "ultrafast", "bf": "2"})
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
            form = "flt" if self.sound == "libopus" else "fltp"
            tracks = [sound_stream(file, self.sound, form, self.rate, 2) for _ in range(1 + self.second_sound)]
            for stream, language in zip([pictures, *tracks], ["und", "deu", "fra"], strict=False):
                stream.metadata["language"] = language
            packets = list(self._pictures(pictures))
            for number, track in enumerate(tracks):
                samples = hum(2, self.rate + 17, self.rate, seed=number)
                packets += encoded(track, samples, self.rate, self.start, self.pause)
            for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
                file.mux(packet)
        return path

    def _pictures(self, stream: Any) -> Iterator[Any]:
        for number in range(25):
            grey = np.roll(np.tile(np.arange(64, dtype=np.uint8) * 4, (72, 1)), number, axis=1)
            frame = av.VideoFrame.from_ndarray(grey, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            yield from stream.encode(frame)
        yield from stream.encode(None)


def packets_of(path: Path, index: int) -> list[tuple[Any, ...]]:
    with av.open(str(path)) as file:
        stream = file.streams[index]
        return [
            (p.pts * p.time_base, p.dts and p.dts * p.time_base, p.is_keyframe, bytes(p))
            for p in file.demux(stream)
            if p.size
        ]


FILMS = {
    "mp4": Film(),
    "mov": Film(".mov", "mpeg4"),
    "mkv": Film(".mkv"),
    "mkv-ac3": Film(".mkv", sound="ac3", rate=48000),
    "webm": Film(".webm", "libvpx-vp9", "libopus", 48000),
    "mp4-late-sound": Film(start=0.5),
    "mp4-hardly-late": Film(start=0.03),
    "mkv-late-sound": Film(".mkv", start=0.5),
    "mp4-with-a-pause": Film(pause=0.4),
    "mp4-for-the-web": Film(options={"movflags": "faststart"}),
}


@pytest.mark.parametrize("film", FILMS.values(), ids=FILMS.keys())
def test_pictures_are_the_same_packets_and_sound_stays_with_them(film: Film, tmp_path: Path) -> None:
    path = film.file(tmp_path)
    old, (new, notes) = open_sound(path), kept(path)
    assert packets_of(path, 0) == packets_of(new.path, 0)
    assert notes == []
    assert new.audio.length == old.audio.length
    before, after = samples_of(old)[0], samples_of(new)[0]
    assert shift(before, after) == 0
    with av.open(str(path)) as one, av.open(str(new.path)) as other:
        assert first_sound(one) == first_sound(other)
        assert one.streams.video[0].codec_context.extradata == other.streams.video[0].codec_context.extradata
        assert one.streams.video[0].codec_tag == other.streams.video[0].codec_tag
        assert one.streams.video[0].average_rate == other.streams.video[0].average_rate
        assert [s.metadata.get("language") for s in one.streams] == [s.metadata.get("language") for s in other.streams]
    assert " video, " in new.describe()


def first_sound(file: Any) -> Fraction:
    frame = next(file.decode(audio=0))
    return frame.pts * frame.time_base


def test_a_pause_in_the_recording_is_silence(tmp_path: Path) -> None:
    film = Film(".mkv", sound="libopus", rate=48000, pause=0.4)
    sound = open_sound(film.file(tmp_path))
    samples = samples_of(sound)[0]
    assert sound.audio.length == 48000 + 17 + round(0.4 * 48000)
    assert np.count_nonzero(samples == 0) == pytest.approx(0.4 * 48000, abs=100)


def test_an_index_in_front_stays_in_front(tmp_path: Path) -> None:
    for name, in_front in (("mp4-for-the-web", True), ("mp4", False)):
        content = kept(FILMS[name].file(tmp_path))[0].path.read_bytes()
        assert (content.index(b"moov") < content.index(b"mdat")) == in_front


def test_other_sound_tracks_are_copied_and_that_is_said(tmp_path: Path) -> None:
    path = Film(second_sound=True).file(tmp_path)
    new, notes = kept(path, lambda block: 0 * block)
    assert notes == ["Track 3 (sound, fra) was copied as it is."]
    assert packets_of(new.path, 2) == packets_of(path, 2)
    assert not samples_of(new).any()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_chapters_and_titles_are_kept(suffix: str, tmp_path: Path) -> None:
    path = Film(suffix, chapters=("Öne", "Two"), tags={"title": "Tïtle", "comment": "c"}).file(tmp_path)
    new, notes = kept(path)
    with av.open(str(path)) as one, av.open(str(new.path)) as other:
        facts = [[(c["start"] * c["time_base"], c["metadata"]) for c in f.chapters()] for f in (one, other)]
        assert facts[0] == facts[1] != []
        assert {**one.metadata, "encoder": ""} == {**other.metadata, "encoder": ""}
    assert notes == []


def test_what_a_phone_says_of_its_video_is_kept(tmp_path: Path) -> None:
    tags = {"com.apple.quicktime.make": "Maker", "title": "Hi", "creation_time": "2020-01-02T03:04:05.000000Z"}
    path = Film(".mov", tags=tags, options={"movflags": "use_metadata_tags"}).file(tmp_path)
    with av.open(str(kept(path)[0].path)) as file:
        assert file.metadata.items() >= tags.items()


def test_a_turned_video_stays_turned_and_its_coding_keeps_its_name(tmp_path: Path) -> None:
    path = Film().file(tmp_path)
    quarter = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    unturned = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    content = path.read_bytes()
    first_track = content.index(unturned, content.index(b"tkhd"))
    content = content[:first_track] + quarter + content[first_track + len(quarter) :]
    name = content.index(b"avc1", content.index(b"stsd"))
    path.write_bytes(content[:name] + b"avc3" + content[name + 4 :])
    new = kept(path)[0].path.read_bytes()
    assert quarter in new
    assert new[new.index(b"stsd") :][16:20] == b"avc3"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_subtitles_are_copied(suffix: str, tmp_path: Path) -> None:
    plain, path = Film(suffix).file(tmp_path), tmp_path / f"titled{suffix}"
    with av.open(str(plain)) as origin, av.open(str(path), "w") as file:
        routes = {stream.index: file.add_stream_from_template(stream, opaque=True) for stream in origin.streams}
        titles = file.add_mux_stream("mov_text" if suffix == ".mp4" else "subrip")
        title = av.Packet(b"\0\5Hello")
        title.stream, title.pts, title.dts, title.duration, title.time_base = titles, 100, 100, 500, Fraction(1, 1000)
        file.mux(title)
        for packet in origin.demux():
            if packet.size:
                packet.stream = routes[packet.stream.index]
                file.mux(packet)
    new, notes = kept(path)
    assert packets_of(new.path, 2) == packets_of(path, 2)
    assert b"Hello" in packets_of(path, 2)[-1][-1]
    assert notes == []


def test_a_coding_that_cannot_be_written_is_replaced_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = next(form for form in TRACKS if form.name == "ac3").file(tmp_path)
    monkeypatch.setattr(sound_mux, "UNFINISHED", {"ac3"})
    old, (new, notes) = open_sound(path), kept(path)
    assert (old.subtype, new.subtype) == ("AC-3", "AAC")
    assert notes == ["AC-3 cannot be written here; the sound is AAC now."]
    assert 0 <= new.audio.length - old.audio.length < 1024
    assert shift(samples_of(old)[0], samples_of(new)[0]) == 0


def test_what_would_end_the_program_is_refused(tmp_path: Path) -> None:
    path = next(form for form in TRACKS if form.name == "alac").file(tmp_path, channels=6, length=4096 + 10)
    assert kept(path)[0].audio.length == 4106
    shorter = replace(survey(path, "ipod"), length=4097)
    with pytest.raises(BadFile, match="6 channels of ALAC cannot be written at just this length"):
        sound_mux.write(path, "ipod", shorter, tmp_path / "draft.m4a", iter([]))


@pytest.mark.parametrize("name", ["a:b.mp4", "http:x.mkv", " spaced é%d.m4a", "-x.webm"])
def test_names_are_only_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suffix = Path(name).suffix
    form = next(form for form in TRACKS if form.suffix == suffix)
    form.file(tmp_path).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert kept(Path(name))[0].audio.channels == 2


def test_a_flac_from_a_pipe_is_counted(tmp_path: Path) -> None:
    path = CODED[0].file(tmp_path)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # 36 bits with the number of samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert open_sound(path).audio.length == kept(path)[0].audio.length == 30_001


def test_a_cover_in_matroska_stays_an_attachment(tmp_path: Path) -> None:
    path = tmp_path / "album.mka"
    with av.open(str(path), "w") as file:
        stream = sound_stream(file, "flac", "s16", 44100, 1)
        file.add_attachment("cover.jpg", "image/jpeg", COVER)
        file.add_attachment("letters.ttf", "font/ttf", b"letters")
        for packet in encoded(stream, hum(1, 9000, 44100), 44100):
            file.mux(packet)
    content = kept(path)[0].path.read_bytes()
    for whole in (COVER, b"cover.jpg", b"image/jpeg", b"letters.ttf", b"letters"):
        assert whole in content


def vorbis_in_webm(folder: Path, samples: np.ndarray, rate: int = 44100) -> Path:
    made, path = folder / "v.ogg", folder / "v.webm"
    by_libsndfile(made, samples, rate, "OGG", "VORBIS")
    with av.open(str(made)) as origin, av.open(str(path), "w") as file:
        stream = file.add_stream_from_template(origin.streams.audio[0], opaque=True)
        for packet in origin.demux(origin.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                file.mux(packet)
    return path


@pytest.mark.parametrize("length", [10_000, 44_100, 60_001, 131_072])  # FFmpeg counts short ones otherwise than long
def test_vorbis_in_webm_stays_vorbis(length: int, tmp_path: Path) -> None:
    path = vorbis_in_webm(tmp_path, hum(2, length, 44100))
    old, (new, notes) = open_sound(path), kept(path)
    assert (new.subtype, new.format, notes) == ("Vorbis", "WebM", [])
    assert new.audio.length == old.audio.length
    assert shift(samples_of(old)[0], samples_of(new)[0]) == 0
    with av.open(str(path)) as before, av.open(str(new.path)) as after:
        assert next(after.decode(audio=0)).pts == next(before.decode(audio=0)).pts
        assert after.duration < (length / 44_100 + 0.1) * av.time_base


@pytest.mark.parametrize("channels", [2, 3, 5, 6, 7, 8])
def test_every_channel_of_vorbis_keeps_its_place(channels: int, tmp_path: Path) -> None:
    hertz = 30.0 * (1 + np.arange(channels))  # the low frequencies have a channel of their own, which holds no more
    tones = 0.3 * np.sin(2 * np.pi * hertz[:, None] * np.arange(44_100) / 44_100)
    path = vorbis_in_webm(tmp_path, tones.astype(np.float32))
    before, after = samples_of(open_sound(path)), samples_of(kept(path)[0])
    assert sorted(loudest(before)) == list(hertz)
    assert loudest(after) == loudest(before)


@every([form for form in TRACKS if form.name in {"aac", "pcm24"}])
def test_eight_channels_are_read_and_written(form: Form, tmp_path: Path) -> None:
    path = tmp_path / f"eight{form.suffix}"
    samples = hum(8, 30_000, 48000)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(form.options["codec"], rate=48000)
        stream.codec_context.layout = "7.1"
        packed = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), "flt", "7.1")
        packed.sample_rate, packed.time_base = 48000, Fraction(1, 48000)
        converter = av.AudioResampler(stream.codec_context.format, "7.1", 48000)
        for frame in [*converter.resample(packed), None]:
            file.mux(stream.encode(frame))
    before, after = samples_of(open_sound(path)), samples_of(kept(path)[0])
    assert before.shape == after.shape
    for channel in range(8):
        assert np.corrcoef(before[channel], after[channel])[0, 1] > 0.9


def loudest(samples: np.ndarray) -> list[int]:
    """The strongest frequency of each channel, to 10 Hz."""
    return [round(peak, -1) for peak in np.abs(np.fft.rfft(samples)).argmax(1) * 44_100 / samples.shape[1]]


# Streams


@every([form for form in ALL if form.name in {"wav24", "flac16", "opus", "mp3", "aac"}])
@few
@given(frames=st.integers(1, 40_000))
def test_blocks_of_any_size_are_the_same_sound_each_time(form: Form, frames: int, tmp_path: Path) -> None:
    path = tmp_path / f"{form.name}{form.suffix}"
    sound = open_sound(path if path.exists() else form.file(tmp_path, channels=1, length=12_000))
    blocks = list(sound.audio.blocks(max(frames, 50)))
    assert all(block.dtype == np.float32 and 0 < block.shape[1] <= max(frames, 50) for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), samples_of(sound))


@every([form for form in ALL if form.name + form.suffix in {"wav16.wav", "flac16.flac", "vorbis.ogg", "aac.mkv"}])
def test_a_longer_sound_needs_no_more_memory(form: Form, tmp_path: Path) -> None:
    path = form.file(tmp_path, channels=1, length=44_100 * 40)
    sound = open_sound(path)
    tracemalloc.start()
    save(path.with_name(f"kept{form.suffix}"), sound, sound.audio.blocks(8192))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6 < 44_100 * 40 * 4 / 2


def test_importing_loads_nothing_heavy() -> None:
    modules = "{'av', 'torch', 'soundfile', 'mutagen'}"
    script = f"import sys, denoise.media.sound, denoise.resample; print({modules} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"


# Nothing half-written


@every([form for form in ALL if form.name in {"wav16", "flac16", "vorbis", "mp3", "aac", "opus"}])
def test_a_failure_on_the_way_leaves_nothing(form: Form, tmp_path: Path) -> None:
    sound = open_sound(form.file(tmp_path))
    out = tmp_path / "out"

    def failing() -> Iterator[np.ndarray]:
        yield from list(sound.audio.blocks(8192))[:2]
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError, match="the model broke"):
        save(out / f"result{form.suffix}", sound, failing())
    assert list(out.iterdir()) == []


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files cannot grow beyond this, as if the disk were full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@every([form for form in ALL if form.name != "caf-alac"])
def test_a_full_disk_is_said_and_leaves_nothing(form: Form, tmp_path: Path) -> None:
    sound = open_sound(form.file(tmp_path))
    out = tmp_path / "out"
    with room_for(3000), pytest.raises(BadFile, match=r"^Cannot write .*larger than that disk allows"):
        save(out / f"result{form.suffix}", sound, sound.audio.blocks(8192))
    assert list(out.iterdir()) == []


def test_a_result_of_another_length_or_with_nan_is_never_written(tmp_path: Path) -> None:
    sound = open_sound(sndfile("s", ".wav", "WAV", "FLOAT", "").file(tmp_path))
    target = tmp_path / "out" / "result.wav"
    whole = samples_of(sound)
    with pytest.raises(ValueError, match="30000 samples were given for a sound of 30001"):
        save(target, sound, [whole[:, 1:]])
    with pytest.raises(ValueError, match="channels first"):
        save(target, sound, [whole.T])
    with pytest.raises(BadFile, match="the result holds values that are not numbers"):
        save(target, sound, [whole * np.float32(np.nan)])
    assert list(target.parent.iterdir()) == []


def test_another_kind_of_file_is_not_written(tmp_path: Path) -> None:
    sound = open_sound(CODED[0].file(tmp_path))
    with pytest.raises(UserError, match=r"out\.wav: sound is kept as FLAC; choose a name that ends in \.flac"):
        save(tmp_path / "out.wav", sound, sound.audio.blocks(8192))


# Bad input


def open_and_save(path: Path, target: Path) -> None:
    sound = open_sound(path)
    save(target, sound, sound.audio.blocks(8192))


@every(ALL)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_file_that_is_cut_short_is_refused(form: Form, part: float, tmp_path: Path) -> None:
    path = form.file(tmp_path, length=50_000)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    target = tmp_path / "out" / path.name
    with pytest.raises(BadFile, match=r"cut short|0 samples") as refusal:
        open_and_save(path, target)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not target.exists()


@pytest.mark.parametrize("name", FILMS)
def test_a_video_that_is_cut_short_is_refused(name: str, tmp_path: Path) -> None:
    path = FILMS[name].file(tmp_path)
    content = path.read_bytes()
    for end in (len(content) // 2, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(BadFile, match="cut short"):
            open_sound(path)


@every([form for form in ALL if form.described.endswith("Ogg")])
def test_several_recordings_in_one_ogg_are_refused(form: Form, tmp_path: Path) -> None:
    path = form.file(tmp_path, length=48_000)
    once = path.read_bytes()
    form.file(tmp_path, length=30_001)
    for other in (path.read_bytes(), once):
        path.write_bytes(once + other)
        with pytest.raises(BadFile, match="several recordings in one Ogg file; part them first") as refusal:
            open_sound(path)
        assert str(path) in str(refusal.value)


def test_a_webm_whose_first_element_has_no_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.webm"
    path.write_bytes(b"\x1aE\xdf\xa3\x01" + b"\xfe" * 7 + b"\x42\x82\x84webm" + bytes(99))
    with pytest.raises(BadFile, match="cut short"):
        open_sound(path)


def test_an_mp3_without_an_index_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "recorder.mp3"
    samples = hum(1, 120_000, 44100) * np.where(np.arange(120_000) < 60_000, 0.001, 1).astype(np.float32)
    soundfile.write(path, samples.T, 44100, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE")
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 100) :])  # without the frame that tells the length
    old, (new, _) = open_sound(path), kept(path)
    assert 120_000 <= old.audio.length < 120_000 + 3 * 1152
    assert new.audio.length == old.audio.length
    assert shift(samples_of(old)[0], samples_of(new)[0]) == 0


@pytest.mark.parametrize("size", [2**31 - 37, 2**31, 2**32 - 1])
def test_a_wav_from_a_pipe_is_read_to_its_end(size: int, tmp_path: Path) -> None:
    path = sndfile("s", ".wav", "WAV", "PCM_16", "").file(tmp_path, length=9000)
    content = path.read_bytes()
    at = content.index(b"data") + 4
    path.write_bytes(content[:at] + struct.pack("<I", size) + content[at + 4 :])
    new, _ = kept(path)
    assert new.audio.length == 9000
    assert new.path.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("samples", "sentence"), [(0, "0 samples. Nothing to clean"), (1, "1 sample. Nothing to clean")]
)
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".aiff"])
def test_too_little_to_be_sound(samples: int, sentence: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"nothing{suffix}"
    soundfile.write(path, np.zeros((samples, 1)), 44100)
    if not path.stat().st_size:
        pytest.skip("libsndfile writes no such file")
    with pytest.raises(BadFile) as refusal:
        open_sound(path)
    assert str(refusal.value) == f"{path}: {sentence}; is the recording complete?"


def test_nan_in_a_float_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    for samples in (np.full((9000, 1), np.nan), np.r_[np.zeros((8000, 1)), [[np.inf]], np.zeros((99, 1))]):
        soundfile.write(path, samples, 8000, subtype="FLOAT")
        with pytest.raises(BadFile, match="values that are not numbers"):
            open_and_save(path, tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


def test_a_wrong_name_is_noted_and_the_content_decides(tmp_path: Path) -> None:
    path = CODED[0].file(tmp_path).rename(tmp_path / "voice.wav")
    sound = open_sound(path)
    assert sound.notes == ("This is FLAC in spite of its name.",)
    assert open_sound(CODED[0].file(tmp_path)).notes == ()
    assert kept(path)[0].format == "FLAC"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is empty; is the recording complete?"),
        (b"Dear diary,\n" * 99, "this is text and not sound; known are AAC"),
        ("Liebes Tagebuch, heute war schön.\n".encode() * 999, "this is text and not sound; known are AAC"),
        (bytes(range(256)) * 9, "this is no sound file, or one of an unknown kind; known are AAC"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0" * 9, "this is no sound file, or one of an unknown kind; known are AAC"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "cannot be read, it is damaged, cut short or of an unknown kind"),
        (b"fLaC" + b"\0" * 99, "cannot be read, it is damaged, cut short or of an unknown kind"),
        (b"\xff\xfb\x90\x64" + b"\0" * 99, "cannot be read, it is damaged or cut short"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "cannot be read, it is damaged or cut short"),
    ],
)
def test_what_is_no_sound_is_refused_in_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "voice.wav"
    path.write_bytes(content)
    with pytest.raises(BadFile) as refusal:
        open_sound(path)
    assert str(refusal.value).startswith(f"{path}: {sentence}")


def test_a_video_without_sound_a_folder_and_nothing_at_all(tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    with av.open(str(silent), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for packet in Film()._pictures(stream):
            file.mux(packet)
    for path, sentence in (
        (silent, "there is no sound in it; choose a file that has a sound track."),
        (tmp_path, "this is a folder and not a sound file."),
        (tmp_path / "none.wav", "there is no such file; check the name."),
    ):
        with pytest.raises(BadFile) as refusal:
            open_sound(path)
        assert str(refusal.value) == f"{path}: {sentence}"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = CODED[0].file(tmp_path)
    path.chmod(0)
    with pytest.raises(BadFile, match="no permission to read it"):
        open_sound(path)


@given(st.binary(max_size=80), st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", b"OggS\0\2", b"\x1aE\xdf\xa3", b"ID3\4\0\0"]))
def test_any_bytes_are_a_known_kind_or_none(rest: bytes, magic: bytes) -> None:
    assert kind_of(magic + rest) in {
        None, "pcm", "flac", "ogg", "mp3", "adts", "mp4", "ipod", "mov", "matroska", "webm",
    }  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data(), form=st.sampled_from([f for f in ALL if f.name in {"wav16", "flac16", "opus", "mp3", "aac"}]))
def test_damaged_files_are_read_or_refused_never_worse(form: Form, draw: Any, tmp_path: Path) -> None:
    path = tmp_path / f"whole-{form.name}{form.suffix}"
    if not path.exists():
        form.file(tmp_path, channels=1, length=8000).rename(path)
    content = bytearray(path.read_bytes())
    for _ in range(draw.draw(st.integers(1, 5))):
        content[draw.draw(st.integers(0, min(len(content) - 1, 600)))] = draw.draw(st.integers(0, 255))
    damaged = tmp_path / f"damaged{form.suffix}"
    damaged.write_bytes(content)
    with suppress(BadFile):
        sound = open_sound(damaged)
        if sound.audio.length < 10**6:
            kept(damaged)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


# Words


def test_sounds_are_described_in_words(tmp_path: Path) -> None:
    path = CODED[1].file(tmp_path, channels=2, length=48000 * 2, rate=48000)
    assert open_sound(path).describe() == "48 kHz stereo 24-bit FLAC, 2.0 s"
    assert in_words(0.05) == "0.05 s"
    assert in_words(59.94) == "59.9 s"
    assert in_words(192) == "3 min 12 s"
    assert in_words(3725.2) == "1 h 2 min 5 s"


def test_all_formats_have_their_suffixes() -> None:
    assert {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".mkv", ".mov", ".webm"} <= SUFFIXES


# Other rates

RATES = st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 96000, 47999])


@settings(max_examples=40)
@given(RATES, RATES, st.integers(1, 100_000), st.integers(1, 2))
def test_resampled_length_is_rounded_up(old: int, new: int, length: int, channels: int) -> None:
    samples = np.zeros((channels, length), np.float32)
    assert resample(samples, old, new).shape == (channels, ceil(length * new / old))


@settings(max_examples=12)
@given(RATES, RATES, st.integers(1000, 300_000), st.integers(1, 9))
def test_a_stream_is_resampled_like_the_whole(old: int, new: int, length: int, cuts: int) -> None:
    samples = hum(2, length, old)
    whole = resample(samples, old, new)
    pieces = np.array_split(samples, cuts, axis=1)
    np.testing.assert_allclose(np.concatenate(list(resampled(pieces, old, new)), axis=1), whole, atol=1e-6)
    audio = at_rate(Audio.from_array(samples, old), new)
    assert (audio.rate, audio.channels, audio.length) == (new, 2, whole.shape[1])
    np.testing.assert_allclose(np.concatenate(list(audio.blocks(9999)), axis=1), whole, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new"), [(44100, 16000), (16000, 44100), (48000, 16000), (11025, 48000), (47999, 48000)]
)
def test_a_tone_stays_the_same_tone_and_in_its_place(old: int, new: int) -> None:
    tone = lambda rate, length: np.sin(2 * np.pi * 0.3 * 8000 * np.arange(length) / rate)  # noqa: E731
    length = 4 * old
    there = resample(tone(old, length)[None].astype(np.float32), old, new)[0]
    middle = slice(new, 3 * new)
    np.testing.assert_allclose(there[middle], tone(new, len(there))[middle], atol=2e-3)


def test_what_the_lower_rate_cannot_hold_is_gone() -> None:
    above = np.sin(2 * np.pi * 9000 * np.arange(48000) / 48000)[None].astype(np.float32)
    assert np.abs(resample(above, 48000, 16000)[:, 1000:-1000]).max() < 1e-4


def test_the_same_rate_and_an_empty_sound_are_left_alone() -> None:
    samples = hum(1, 100, 8000)
    assert resample(samples, 8000, 8000) is samples
    assert resample(samples[:, :0], 8000, 16000).shape == (1, 0)


def test_the_resampler_is_named() -> None:
    assert active_resampler().split()[0] in {"soxr", "torchaudio"}


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 40))
def test_regrouping_changes_only_where_blocks_end(sizes: list[int], frames: int) -> None:
    samples = np.arange(sum(sizes), dtype=np.float32)[None]
    pieces = np.split(samples, np.cumsum(sizes)[:-1], axis=1) if sizes else []
    blocks = list(regrouped(pieces, frames))
    assert [block.shape[1] for block in blocks[:-1]] == [frames] * (len(blocks) - 1)
    assert all(0 < block.shape[1] <= frames for block in blocks)
    np.testing.assert_array_equal(np.concatenate([samples[:, :0], *blocks], axis=1), samples)
