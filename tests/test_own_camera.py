"""The user's own camera: its noise is told, its fixed pattern taken away, and another camera is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from raws import BLACK, WHITE, dng, photosites, toy_shelf
from shelf import denoise, photo, tree

from denoise.batch.own_camera import OwnCamera, noise_of, without_pattern
from denoise.errors import UserError
from denoise.media.raw import open_raw
from denoise.noise.calibration import Calibration
from denoise.noise.camera import Camera
from denoise.noise.camera_file import gathered, written

pytest.importorskip("rawpy")

CAMERA = Camera(2.0, 5.0, row_dn=1.0, bias_dn=(3.0, 0.0, 0.0, -4.0), white_dn=WHITE - BLACK)
SETTING = Calibration(CAMERA, (BLACK,) * 4, 800)


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(toy_shelf(tmp_path / "shelf")))


def camera_file(path: Path, name: str = "Toy 1", setting: Calibration = SETTING) -> Path:
    path.write_text(written(gathered(name, [setting])))
    return path


def test_noise_is_told_of_full_scale(tmp_path: Path) -> None:
    mosaic = open_raw(dng(tmp_path / "a.dng")).mosaic
    red, green, _, blue = noise_of(SETTING, mosaic)
    span = WHITE - BLACK
    assert red == pytest.approx((2 / span, (25 + 1 + 1 / 12) / span**2, 3 / span))
    assert (green.bias, blue.bias) == pytest.approx((0, -4 / span))


def test_a_black_level_that_was_measured_otherwise_counts_as_bias(tmp_path: Path) -> None:
    mosaic = open_raw(dng(tmp_path / "a.dng")).mosaic
    told = noise_of(replace(SETTING, black_dn=(BLACK + 10.0,) * 4), mosaic)
    assert told[1].bias == pytest.approx(10 / (WHITE - BLACK))


def test_the_fixed_pattern_goes(tmp_path: Path) -> None:
    pattern = np.random.default_rng(0).normal(0, 40, (64, 80)).astype(np.float32)
    clean = photosites(noise=0)
    source = open_raw(dng(tmp_path / "a.dng", np.rint(clean + pattern).clip(0, 65535).astype(np.uint16)))
    setting = replace(SETTING, camera=replace(CAMERA, pattern_dn=torch.from_numpy(pattern)))
    left = without_pattern(source, setting).photosites
    assert float(np.abs(left - clean).max()) <= 0.5
    for height, width in ((10, 10), (100, 100)):
        other = replace(SETTING, camera=replace(CAMERA, pattern_dn=torch.zeros(height, width)))
        with pytest.raises(UserError, match=f"differ in size: 80×64 and {width}×{height}"):
            without_pattern(source, other)


def test_the_fixed_pattern_goes_as_far_as_the_noise_does(tmp_path: Path) -> None:
    path = dng(tmp_path / "a.dng")
    file = camera_file(tmp_path / "my.toml", setting=replace(SETTING, pattern=tmp_path / "pattern.npy"))
    np.save(tmp_path / "pattern.npy", np.random.default_rng(0).normal(0, 40, (64, 80)).astype(np.float32))
    found = {}
    for strength in (0, 0.5, 1):
        words = ["-o", f"{tmp_path}/{strength}/", "-m", "toy-raw", "--camera", file, "--strength", strength]
        assert denoise("clean", path, *words).exit_code == 0
        found[strength] = open_raw(tmp_path / str(strength) / "a.dng").photosites.astype(float)
    assert np.array_equal(found[0], open_raw(path).photosites)
    assert np.abs(found[1] - found[0]).max() > 40
    assert np.abs(found[0.5] - (found[0] + found[1]) / 2).max() <= 1


@pytest.mark.parametrize(("black", "white_dn"), [(BLACK, (WHITE - BLACK) / 4), (BLACK + 500, WHITE - BLACK)])
def test_another_mode_of_the_camera_is_refused(tmp_path: Path, black: float, white_dn: float) -> None:
    other = replace(SETTING, black_dn=(black,) * 4, camera=replace(CAMERA, white_dn=white_dn))
    with pytest.raises(UserError, match="in the mode that the file was taken in"):
        OwnCamera.of(camera_file(tmp_path / "my.toml", setting=other)).told(open_raw(dng(tmp_path / "a.dng")))


def test_what_is_told_changes_what_is_cleaned(tmp_path: Path) -> None:
    path = dng(tmp_path / "a.dng")
    found = []
    for number, read in enumerate((5.0, 200.0)):
        file = camera_file(tmp_path / f"{number}.toml", setting=replace(SETTING, camera=replace(CAMERA, read_dn=read)))
        result = denoise("clean", path, "-o", f"{tmp_path}/{number}/", "-m", "toy-raw", "--camera", file)
        assert result.exit_code == 0, result.stderr
        found.append(open_raw(tmp_path / str(number) / "a.dng").photosites.astype(float))
    assert np.abs(found[0] - found[1]).max() > 20


@pytest.mark.parametrize(
    ("name", "iso", "sentence"),
    [("Other 7", 800, "tells of Other 7"), ("Toy 1", 100, "was taken at ISO 800.*was measured at 100")],
)
def test_another_camera_or_iso_is_refused(tmp_path: Path, name: str, iso: int, sentence: str) -> None:
    file = camera_file(tmp_path / "my.toml", name, replace(SETTING, iso=iso))
    source = open_raw(dng(tmp_path / "a.dng"))
    with pytest.raises(UserError, match=sentence):
        OwnCamera.of(file).told(source)
    result = denoise("clean", tmp_path / "a.dng", "-o", f"{tmp_path}/out/", "-m", "toy-raw", "--camera", file)
    assert result.exit_code in (2, 3)
    assert not (tmp_path / "out" / "a.dng").exists()


def test_without_raw_files_it_is_refused(tmp_path: Path) -> None:
    file = camera_file(tmp_path / "my.toml")
    photo(tmp_path / "in" / "a.png")
    before = tree(tmp_path / "in")
    result = denoise("clean", tmp_path / "in", "-o", f"{tmp_path}/out/", "--camera", file)
    assert (result.exit_code, "is for camera raw files" in result.stderr) == (2, True)
    assert tree(tmp_path / "in") == before


def test_a_file_that_is_no_calibration_is_named(tmp_path: Path) -> None:
    result = denoise("clean", dng(tmp_path / "a.dng"), "-m", "toy-raw", "--camera", tmp_path / "gone.toml")
    assert result.exit_code == 2
    assert "there is no such calibration" in result.stderr
