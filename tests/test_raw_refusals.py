"""Raw files that cannot be cleaned: one sentence each, exit code 2, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from raws import BLACK, WHITE, XTRANS, dng, photosites, toy_shelf
from shelf import denoise, tree

from denoise.media.raw import open_raw, save
from denoise.noise.calibration import Calibration
from denoise.noise.camera import Camera
from denoise.noise.camera_file import gathered, written

pytest.importorskip("rawpy")

JPEG_XL = 52546  # a compression of newer DNG files
COMPRESSION, ISO = 259, 34855


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(toy_shelf(tmp_path / "shelf")))


def coded_otherwise(path: Path) -> Path:
    return patched(dng(path), COMPRESSION, JPEG_XL)


def patched(path: Path, tag: int, value: int) -> Path:
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        at = file.pages.first.tags[tag].valueoffset
    content[at : at + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)
    return path


def renamed_jpeg(path: Path) -> Path:
    Image.new("RGB", (40, 30)).save(path, "JPEG")
    return path


def without_black(path: Path) -> Path:
    return dng(path, np.maximum(photosites(), 3000), black=None)


def developed(path: Path) -> Path:
    source = open_raw(dng(path))
    save(path.with_name("b.linear.dng"), source, source.photosites)
    return path.with_name("b.linear.dng").replace(path)


def x_trans(path: Path) -> Path:
    return dng(path, photosites(66, 78, XTRANS), XTRANS)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (coded_otherwise, "of a kind that LibRaw cannot decode; copy it again, or convert it to a plain DNG"),
        (renamed_jpeg, "in spite of its name a JPEG, and no raw file; give the one that the camera wrote"),
        (without_black, "it tells no black level and nothing in it is black"),
        (developed, "developed already (three colours at every pixel)"),
        (x_trans, "as every model here does, and this is an X-Trans mosaic; develop it with another program"),
    ],
)
def test_a_file_that_cannot_be_cleaned(make: Callable[[Path], Path], words: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in" / "a.dng")
    before = tree(tmp_path / "in")
    result = denoise("clean", path, "-o", f"{tmp_path}/out/", "--model", "toy-raw")
    refused(result.exit_code, result.stderr, words)
    assert tree(tmp_path / "in") == before
    assert not list(tmp_path.glob("out/*.dng"))


def refused(exit_code: int, said: str, words: str) -> None:
    assert (exit_code, words in said) == (2, True), said
    assert sum(words in line for line in said.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "iso", "words"),
    [
        ("Other 7", 800, "tells of Other 7; measure that camera"),
        ("Toy 1", 100, "was measured at 100; measure that ISO"),
    ],
)
def test_the_noise_of_another_camera_or_iso(name: str, iso: int, words: str, tmp_path: Path) -> None:
    setting = Calibration(Camera(2.0, 5.0, white_dn=WHITE - BLACK), (BLACK,) * 4, iso)
    (tmp_path / "my.toml").write_text(written(gathered(name, [setting])))
    path = dng(tmp_path / "a.dng")
    line = ("clean", path, "-o", f"{tmp_path}/out/", "--model", "toy-raw", "--camera", tmp_path / "my.toml")
    result = denoise(*line)
    refused(result.exit_code, result.stderr, words)
    assert not list(tmp_path.glob("out/*.dng"))


def other_camera(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"Toy 1", b"Toy 7"))


def other_iso(path: Path) -> None:
    patched(path, ISO, 3200)


@pytest.mark.parametrize(
    ("changed", "words"),
    [(other_camera, "different cameras (Toy 1, Toy 7)"), (other_iso, "different ISO (3200, 800)")],
)
@pytest.mark.parametrize("whole", [False, True])
def test_darks_of_another_camera_or_iso(
    changed: Callable[[Path], None], words: str, whole: bool, tmp_path: Path
) -> None:
    """One among others, or all of them beside flats."""
    for folder in ("darks", "flats"):
        for number in range(2):
            dng(tmp_path / folder / f"{number}.dng", dark(number))
            if folder == "darks" and (whole or number == 0):
                changed(tmp_path / folder / f"{number}.dng")
    result = denoise("noise", "fit", tmp_path / "darks", tmp_path / "flats", "-o", tmp_path / "my.toml")
    refused(result.exit_code, result.stderr, words)
    assert not (tmp_path / "my.toml").exists()


def dark(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(BLACK, 9, (64, 80)).round().astype(np.uint16)
