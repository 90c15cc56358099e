"""The sample files are the ones that samples/make.py makes, and each has its origin written down."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import tifffile
from PIL import ExifTags, Image

from denoise.measure.files import scored

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
LISTED = dict(reversed(line.split("  ", 1)) for line in (SAMPLES / "SHA256SUMS").read_text().splitlines())
NOISY = [name for name in LISTED if not name.startswith("clean/")]
MEDIA = {".wav", ".flac", ".png", ".tif", ".dng"}


@pytest.fixture(scope="module")
def make() -> ModuleType:
    pytest.importorskip("skimage", reason="scikit-image brings the photographs")
    specification = importlib.util.spec_from_file_location("make", SAMPLES / "make.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def sound(name: str) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(SAMPLES / name, always_2d=True)
    return samples.T, rate


def psnr(clean: np.ndarray, other: np.ndarray, white: float) -> float:
    return float(-10 * np.log10(np.mean(np.square((clean.astype(float) - other) / white))))


@pytest.mark.parametrize("name", LISTED)
def test_checksum_is_the_stated_one(name: str) -> None:
    assert hashlib.sha256((SAMPLES / name).read_bytes()).hexdigest() == LISTED[name]


def test_no_file_without_checksum_clean_original_and_origin() -> None:
    present = {path.relative_to(SAMPLES).as_posix() for path in SAMPLES.rglob("*") if path.suffix in MEDIA}
    assert present == set(LISTED)
    assert {f"clean/{name}" for name in NOISY} == present - set(NOISY)
    readme = (SAMPLES / "README.md").read_text()
    assert [name for name in NOISY if f"`{name}`" not in readme] == []


def test_a_clone_stays_quick() -> None:
    assert sum((SAMPLES / name).stat().st_size for name in LISTED) <= 3 * 2**20


def test_voice_has_the_stated_noise(make: ModuleType) -> None:
    (clean, rate), (noisy, _) = sound("clean/voice.wav"), sound("voice.wav")
    assert rate == make.VOICE_RATE
    snr_db = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
    assert snr_db == pytest.approx(make.VOICE_SNR_DB, abs=0.01)
    assert np.abs(noisy).max() < 1, "clipped"


def test_tape_is_made_again_by_the_script(make: ModuleType) -> None:
    for name, remade in zip(("clean/tape.flac", "tape.flac"), make.tape_and_noise(), strict=True):
        samples, rate = sound(name)
        assert rate == make.TAPE_RATE
        assert np.abs(samples - remade).max() <= 1 / 32768  # of another numpy's Fourier transform


def test_photo_is_made_again_by_the_script(make: ModuleType) -> None:
    clean = make.photograph("astronaut")[make.PHOTO_CROP]
    noisy = make.high_iso(clean, make.PHOTO_FULL_WELL_E, make.Random(4))
    for name, remade in (("clean/photo.png", clean), ("photo.png", noisy)):
        pixels = np.asarray(Image.open(SAMPLES / name), dtype=float)
        assert np.abs(pixels - remade * 255).max() <= 1


def test_coffee_is_sixteen_bits_deep_with_a_camera_s_data() -> None:
    pixels = tifffile.imread(SAMPLES / "coffee.tif")
    assert pixels.dtype == np.uint16
    assert len(np.unique(pixels % 257)) > 200, "only eight bits of it are used"
    with Image.open(SAMPLES / "coffee.tif") as picture:
        exif = picture.getexif()
        assert picture.info["icc_profile"]
        assert exif[ExifTags.Base.Model] == "Pinhole 16"
        assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] == 6400


def test_tape_has_two_channels_and_tags() -> None:
    with soundfile.SoundFile(SAMPLES / "tape.flac") as file:
        assert (file.channels, file.samplerate, file.title) == (2, 48000, "Broken chord")


def test_pictures_are_noisy_and_not_ruined() -> None:
    photo = [np.asarray(Image.open(SAMPLES / name)) for name in ("clean/photo.png", "photo.png")]
    coffee = [tifffile.imread(SAMPLES / name) for name in ("clean/coffee.tif", "coffee.tif")]
    assert 18 < psnr(*photo, white=255) < 23
    assert 22 < psnr(*coffee, white=65535) < 28


def test_night_is_made_again_by_the_script(make: ModuleType) -> None:
    pytest.importorskip("rawpy")
    from denoise.media.raw import open_raw

    for name, remade in zip(("clean/night.dng", "night.dng"), make.night_and_noise(), strict=True):
        assert np.abs(open_raw(SAMPLES / name).photosites.astype(int) - remade).max() <= 1  # of another torch's sines


def test_night_tells_what_a_converter_wants_to_know_and_its_noise_is_the_stated_one(make: ModuleType) -> None:
    pytest.importorskip("rawpy")
    from denoise.media.raw import open_raw

    noisy, clean = (open_raw(SAMPLES / name) for name in ("night.dng", "clean/night.dng"))
    assert (noisy.black, noisy.white, noisy.iso, noisy.camera) == ((512,) * 4, 16383, 6400, "Pinhole 14")
    assert noisy.balance == pytest.approx(make.RED_BLUE_GAIN, rel=1e-4)
    assert np.allclose(noisy.to_srgb @ make.night_developing().matrix.numpy(), np.eye(3), atol=1e-3)
    light = (clean.photosites - 512.0) / (16383 - 512)
    error = (noisy.photosites.astype(float) - clean.photosites) / (16383 - 512)
    dim, bright = (error[part] for part in (light < np.quantile(light, 0.1), light > 0.1))
    assert noisy.noise is not None
    assert clean.noise is not None
    (shot, read, _), rest = noisy.noise[1], clean.noise[1]
    assert dim.var() == pytest.approx(shot * light[light < np.quantile(light, 0.1)].mean() + read, rel=0.1)
    assert bright.var() == pytest.approx(shot * light[light > 0.1].mean() + read, rel=0.1)
    assert rest.shot < shot / 1000


def test_night_is_measured_against_its_clean_twin() -> None:
    """The mosaic itself, and what is developed of it."""
    pytest.importorskip("rawpy")
    found = scored(SAMPLES / "night.dng", SAMPLES / "clean" / "night.dng", ["psnr", "ssim"])
    assert 48 < found["raw_psnr"] < 54
    assert found["psnr"] < found["raw_psnr"] - 10
    assert scored(SAMPLES / "night.dng", SAMPLES / "night.dng", ["psnr"])["raw_psnr"] == float("inf")
