"""Makes the files of this folder anew: clean material from two packages, noise by the laws stated below. The raw file's
camera, its developing undone and its file are those of the package `denoise` itself.

    apt-get download asterisk-core-sounds-en-g722
    dpkg -x asterisk-core-sounds-en-g722_*.deb asterisk
    python samples/make.py asterisk

Same package versions in, same bytes out; `sha256sum -c SHA256SUMS` (in this folder) compares.
"""

from __future__ import annotations

import hashlib
import io
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import tifffile
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from denoise.fit.unprocess import CAMERAS_OF_XYZ, XYZ_OF_RGB, Developed
from denoise.media import ifd
from denoise.media.formats import dng
from denoise.media.raw import RawFile, Taken, left_of, mosaic_content
from denoise.media.raw_tags import UNIQUE_CAMERA, Said
from denoise.noise import cameras
from denoise.noise.camera import Camera
from denoise.signals import Noise, SiteNoise

Array = NDArray[np.floating[Any]]
Random = np.random.RandomState  # its stream is frozen by promise, a Generator's is not

FOLDER = Path(__file__).parent
PROMPT = "demo-congrats.g722"
VOICE_SECONDS = slice(0.0, 7.2)
VOICE_SNR_DB = 5.0
VOICE_RATE = 16000  # Hz, what G.722 carries

TAPE_RATE = 48000  # Hz
TAPE_SECONDS = 5.0
HISS_DBFS = -52.0
HUM_DBFS = -46.0

PHOTO_CROP = (slice(0, 384), slice(64, 448))  # rows, columns of the 512-pixel portrait
PHOTO_FULL_WELL_E = 90.0  # electrons at white
COFFEE_FULL_WELL_E = 250.0
READ_NOISE_E = 2.5
PLACEHOLDER = 34664  # an unused tag, beside the EXIF pointer that tifffile declines to write
NIGHT_CROP = (slice(106, 426), slice(96, 544))  # rows, columns: the rocket and its lamps
NIGHT_ISO = 6400
NIGHT_RATIO = 4.0  # so many times too dark
NIGHT_BLACK, NIGHT_WHITE = 512.0, 16383  # DN
RED_BLUE_GAIN = (2.0, 1.0, 1.6)  # white balance: red and blue photosites catch this much less light


def voice_and_noise(asterisk: Path) -> tuple[Array, Array]:
    """A spoken sentence in a room with a fan, at a stated signal-to-noise ratio."""
    prompt = next(asterisk.rglob(PROMPT), None)
    if prompt is None:
        sys.exit(f"{asterisk}: no {PROMPT} in it; unpack asterisk-core-sounds-en-g722 there.")
    clean = g722(prompt)[int(VOICE_SECONDS.start * VOICE_RATE) : int(VOICE_SECONDS.stop * VOICE_RATE)]
    noise = fan(len(clean), VOICE_RATE, Random(1))
    return clean, clean + noise * rms(clean) / rms(noise) * 10 ** (-VOICE_SNR_DB / 20)


def g722(path: Path) -> Array:
    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(frames) / 32768.0


def fan(length: int, rate: int, random: Random) -> Array:
    """Moving air, falling 4.5 dB per octave from 60 Hz, and the tones of five blades at 24 turns a second."""
    air = coloured(length, rate, random, lambda hertz: np.maximum(hertz, 60.0) ** -0.75)
    air /= rms(air)
    blades = harmonics(length, rate, 5 * 24.0, [0.5, 0.35, 0.2, 0.12, 0.06], random)
    breath = 1 + 0.2 * np.sin(2 * np.pi * 0.4 * np.arange(length) / rate)
    return (air + blades) * breath


def coloured(length: int, rate: int, random: Random, amplitude: Callable[[Array], Array]) -> Array:
    spectrum = np.fft.rfft(random.standard_normal(length))
    return np.fft.irfft(spectrum * amplitude(np.fft.rfftfreq(length, 1 / rate)), length)


def harmonics(length: int, rate: int, base_hz: float, levels: list[float], random: Random) -> Array:
    turn = 2 * np.pi * base_hz * np.arange(length) / rate
    phases = random.uniform(0, 2 * np.pi, len(levels))
    return np.sum(
        [
            level * np.sin(number * turn + phase)
            for number, (level, phase) in enumerate(zip(levels, phases, strict=True), 1)
        ],
        axis=0,
    )


def tape_and_noise() -> tuple[Array, Array]:
    """Plucked strings in stereo, as a worn cassette would play them: hiss, and hum of a 50 Hz mains."""
    clean = arpeggio(Random(2))
    random = Random(3)
    hiss = np.stack([tape_hiss(clean.shape[1], random) for _ in clean]) * 10 ** (HISS_DBFS / 20)
    hum = harmonics(clean.shape[1], TAPE_RATE, 50.0, [1.0, 0.2, 0.5, 0.1, 0.25], random)
    return clean, clean + hiss + hum / rms(hum) * 10 ** (HUM_DBFS / 20)


def tape_hiss(length: int, random: Random) -> Array:
    """White up to 2 kHz and 3 dB per octave above it, as cassettes hiss."""
    hiss = coloured(length, TAPE_RATE, random, lambda hertz: np.sqrt(np.maximum(hertz, 2000.0)))
    return hiss / rms(hiss)


def arpeggio(random: Random) -> Array:
    """A broken minor chord, each note a Karplus-Strong string somewhere between left and right."""
    length = int(TAPE_SECONDS * TAPE_RATE)
    sound = np.zeros((2, length))
    for number, semitones in enumerate([0, 7, 12, 15, 19, 15, 12, 7, 0, 12]):
        start = int((0.3 + 0.4 * number) * TAPE_RATE)
        note = string(110.0 * 2 ** (semitones / 12), length - start, random)
        pan = 0.5 + 0.35 * np.sin(1.7 * number)
        sound[:, start:] += np.stack([np.sqrt(1 - pan) * note, np.sqrt(pan) * note])
    return sound * 0.5 / np.abs(sound).max()


def string(pitch_hz: float, length: int, random: Random) -> Array:
    """A burst of noise goes round in a delay line that averages neighbours, until nothing is left of it."""
    period = round(TAPE_RATE / pitch_hz)
    line = random.uniform(-1, 1, period)
    line = np.convolve(np.tile(line, 3), np.hanning(9) / np.hanning(9).sum(), "same")[period : 2 * period]
    turns = []
    for _ in range(-(-length // period)):
        turns.append(line)
        line = 0.996 * (0.5 * line + 0.25 * np.roll(line, 1) + 0.25 * np.roll(line, -1))
    return np.concatenate(turns)[:length]


def rms(sound: Array) -> float:
    return float(np.sqrt(np.mean(np.square(sound))))


def write_sound(path: Path, sound: Array, rate: int, subtype: str, tags: dict[str, str]) -> None:
    samples = np.rint(np.atleast_2d(sound).T * 32768).clip(-32768, 32767).astype(np.int16)
    with soundfile.SoundFile(path, "w", rate, samples.shape[1], subtype) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(samples)


def photograph(name: str) -> Array:
    """One of scikit-image's own photographs, H×W×3, white is 1."""
    import skimage.data

    pixels: NDArray[np.uint8] = getattr(skimage.data, name)()
    return pixels[..., :3] / 255.0


def high_iso(clean: Array, full_well_e: float, random: Random) -> Array:
    """Counts photons: Poisson of the light, Gaussian read noise, white balance, and the sRGB curve."""
    sites_e = full_well_e / np.array(RED_BLUE_GAIN)
    counted = random.poisson(linear(clean) * sites_e) + random.normal(0, READ_NOISE_E, clean.shape)
    return gamma(np.clip(counted / sites_e, 0, 1))


def linear(value: Array) -> Array:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def gamma(light: Array) -> Array:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def half(picture: Array) -> Array:
    """Each pixel the mean of four in linear light: more than 8 bits are then true."""
    light = linear(picture)
    height, width = (side - side % 2 for side in light.shape[:2])
    cells = light[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
    return gamma(cells.mean(axis=(1, 3)))


def write_png(path: Path, picture: Array, title: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", title)
    info.add_text("Copyright", "Public domain (NASA)")
    pixels = np.rint(picture * 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, optimize=True, pnginfo=info, icc_profile=srgb_profile())


def write_tiff(path: Path, picture: Array, title: str) -> None:
    """16 bits with an ICC profile, a resolution, and the EXIF of a camera that never was."""
    pixels = np.rint(picture * 65535).astype(np.uint16)
    body = tiff_bytes(pixels, title)
    body += bytes(len(body) % 2)  # directories begin at even bytes
    placeholder = struct.pack("<HHII", PLACEHOLDER, 4, 1, 0)
    pointer = struct.pack("<HHII", ExifTags.Base.ExifOffset, 4, 1, len(body))
    path.write_bytes(body.replace(placeholder, pointer, 1) + exif_directory(len(body)))


def tiff_bytes(pixels: NDArray[np.uint16], title: str) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels,
        byteorder="<",
        photometric="rgb",
        compression="zlib",
        predictor=True,
        description=title,
        software="samples/make.py",
        metadata=None,
        resolution=(300, 300),
        resolutionunit="INCH",
        iccprofile=srgb_profile(),
        extratags=[
            (ExifTags.Base.Make, "s", 0, "Paper", True),
            (ExifTags.Base.Model, "s", 0, "Pinhole 16", True),
            (ExifTags.Base.Orientation, "H", 1, 1, True),
            (ExifTags.Base.DateTime, "s", 0, "2020:02:20 20:20:20", True),
            (ExifTags.Base.Artist, "s", 0, "Rachel Michetti", True),
            (ExifTags.Base.Copyright, "s", 0, "CC0 1.0", True),
            (PLACEHOLDER, "I", 1, 0, True),
        ],
    )
    return file.getvalue()


def exif_directory(at: int) -> bytes:
    """Exposure 1/60 s, f/2.8, ISO 6400, 35 mm, as a TIFF directory that begins at that byte of the file."""
    rationals = [
        (ExifTags.Base.ExposureTime, (1, 60)),
        (ExifTags.Base.FNumber, (28, 10)),
        (ExifTags.Base.FocalLength, (35, 1)),
    ]
    values_at = at + 2 + 4 * 12 + 4  # count, four entries, end mark
    entries = [struct.pack("<HHII", tag, 5, 1, values_at + 8 * number) for number, (tag, _) in enumerate(rationals)]
    entries.insert(2, struct.pack("<HHIHH", ExifTags.Base.ISOSpeedRatings, 3, 1, 6400, 0))
    values = b"".join(struct.pack("<II", *value) for _, value in rationals)
    return struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", 0) + values


def srgb_profile() -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2020, 2, 20, 20, 20, 20)  # it would be the time of this run
    return bytes(profile)


def night_and_noise() -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Photosites of a rocket that takes off at night, RGGB, as if never developed and two stops too dark: without
    noise, and as a Sony A7S II that ELD calibrated would see them. Rounding is the last of its noises."""
    picture = torch.from_numpy(photograph("rocket")[NIGHT_CROP]).permute(2, 0, 1).float()
    red, green, blue = night_developing().undone(picture)
    sites = green.clone()
    sites[0::2, 0::2], sites[1::2, 1::2] = red[0::2, 0::2], blue[1::2, 1::2]
    camera = night_camera()
    light = sites * (camera.white_dn / NIGHT_RATIO)
    clean, noisy = (counted(each.double().numpy() + NIGHT_BLACK) for each in (light, camera.sample(light, 6)))
    return clean, noisy


def counted(sites: Array) -> NDArray[np.uint16]:
    return np.rint(sites).clip(0, NIGHT_WHITE).astype(np.uint16)


def night_developing() -> Developed:
    """The first camera's matrix, its rows made to sum to one."""
    matrix = torch.tensor(CAMERAS_OF_XYZ[0]) @ torch.tensor(XYZ_OF_RGB)
    return Developed(matrix / matrix.sum(1, keepdim=True), RED_BLUE_GAIN[0], RED_BLUE_GAIN[2], brightness=1.0)


def night_camera() -> Camera:
    model = cameras.find("sony-a7s2-eld")
    gain = model.branches[0].gain_dn_per_e[0] * NIGHT_ISO / 100
    return replace(model.drawn(6, gain), step_dn=0.0, white_dn=NIGHT_WHITE - NIGHT_BLACK)


def night_noise() -> Noise:
    camera, span = night_camera(), NIGHT_WHITE - NIGHT_BLACK
    read_dn2 = camera.read_std_dn**2 + camera.row_dn**2 + 1 / 12
    return (SiteNoise(camera.gain_dn_per_e / span, read_dn2 / span**2),) * 4


def write_dng(path: Path, sites: NDArray[np.uint16], noisy: bool) -> None:
    """Of a camera that never was, with what a converter wants to know."""
    red, _, blue = RED_BLUE_GAIN
    camera = np.array(CAMERAS_OF_XYZ[0])
    sums = (camera @ np.array(XYZ_OF_RGB)).sum(1)
    from_xyz = camera / sums[:, None] / np.array(RED_BLUE_GAIN)[:, None]
    words = {270: "Launch of DSCOVR", 271: "Paper", 272: "Pinhole 14", 305: "samples/make.py", 315: "SpaceX"}
    words |= {UNIQUE_CAMERA: "Paper Pinhole 14", 33432: "Public domain (SpaceX)"}
    said = Said(first=tuple(ifd.words(code, text) for code, text in sorted(words.items())))
    taken = Taken(NIGHT_ISO, 1 / 60, 2.8, 35.0, "2015:02:11 18:03:00")
    black = (NIGHT_BLACK,) * 4
    raw = RawFile(path, sites, "RGGB", black, NIGHT_WHITE, (red, 1.0, blue), None, from_xyz, taken=taken, said=said)
    raw = replace(raw, to_srgb=np.linalg.inv(night_developing().matrix.double().numpy()))
    mosaic = replace(raw.mosaic, noise=night_noise())
    mosaic = mosaic if noisy else replace(mosaic, noise=left_of(mosaic, 1.0))
    dng.write(path, mosaic_content(raw, mosaic, 0.0))


def make(folder: Path, asterisk: Path) -> None:
    (folder / "clean").mkdir(parents=True, exist_ok=True)
    for where, voice in pair(folder, voice_and_noise(asterisk)):
        write_sound(where / "voice.wav", voice, VOICE_RATE, "PCM_16", {})
    for where, tape in pair(folder, tape_and_noise()):
        tags = {"title": "Broken chord", "artist": "samples/make.py", "date": "2020", "license": "CC0 1.0"}
        write_sound(where / "tape.flac", tape, TAPE_RATE, "PCM_16", tags)
    portrait = photograph("astronaut")[PHOTO_CROP]
    for where, picture in pair(folder, (portrait, high_iso(portrait, PHOTO_FULL_WELL_E, Random(4)))):
        write_png(where / "photo.png", picture, "Eileen Collins, NASA")
    cup = half(photograph("coffee"))
    for where, picture in pair(folder, (cup, high_iso(cup, COFFEE_FULL_WELL_E, Random(5)))):
        write_tiff(where / "coffee.tif", picture, "A cup of coffee, Pikolo Espresso Bar")
    clean, noisy = night_and_noise()
    write_dng(folder / "clean" / "night.dng", clean, noisy=False)
    write_dng(folder / "night.dng", noisy, noisy=True)
    (folder / "SHA256SUMS").write_text("".join(checksums(folder)))


def pair(folder: Path, clean_and_noisy: tuple[Array, Array]) -> Iterator[tuple[Path, Array]]:
    clean, noisy = clean_and_noisy
    yield folder / "clean", clean
    yield folder, noisy


def checksums(folder: Path) -> Iterator[str]:
    media = (path for path in sorted(folder.rglob("*.*")) if path.suffix in {".wav", ".flac", ".png", ".tif", ".dng"})
    for path in media:
        yield f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    make(FOLDER, Path(sys.argv[1]))
