"""`denoise noise …`: noise goes into files, a camera is fitted to a file that can be read again, and trouble is said
in one sentence."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from shelf import denoise, photo, tone

from denoise import seeds
from denoise.batch.noisy import put
from denoise.errors import UserError
from denoise.media.frames import read_folder, read_frame
from denoise.noise import camera_file, laws
from denoise.noise.calibration import Calibration, Darkness, Grain
from denoise.noise.camera import Camera
from denoise.noise.learned import LearnedCamera, opened

BLACK, SIDE = 512, 256
GAIN, READ, LAMBDA, ROW = 2.0, 3.0, -0.1, 0.8


def mosaic(light_dn: float, seed: int, gain: float = GAIN) -> NDArray[np.uint16]:
    camera = Camera(gain, READ, LAMBDA, ROW, step_dn=0)
    noisy = camera.sample(torch.full((SIDE, SIDE), light_dn), seed) + BLACK
    return noisy.round().clamp(0, 16383).numpy().astype(np.uint16)


def saved(path: Path, values: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path


def shot(folder: Path, levels: tuple[float, ...], gain: float = GAIN, first: int = 0) -> Path:
    """Two frames of each level."""
    for index, level in enumerate(levels):
        for k in (0, 1):
            saved(folder / f"{index}{k}.npy", mosaic(level, first + 2 * index + k, gain))
    return folder


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("frames")
    shot(place / "darks", (0, 0))
    shot(place / "flats", (80, 500, 3000), first=10)
    return place


@pytest.fixture(scope="module")
def fitted(frames: Path) -> Path:
    out = frames / "my-camera.toml"
    line = ["--iso", 800, "--black", BLACK, "--white", 16383, "--name", "Toy"]
    result = denoise("noise", "fit", frames / "darks", frames / "flats", "-o", out, *line)
    assert result.exit_code == 0, result.stderr
    return out


def refused(*line: object) -> str:
    """The one sentence that the command ends with."""
    result = denoise("noise", *line)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


# fit and show


def test_a_camera_is_fitted_into_a_file(fitted: Path) -> None:
    table = tomllib.loads(fitted.read_text())
    (setting,) = table["setting"]
    assert table["name"] == "Toy"
    assert setting["gain_dn_per_e"] == pytest.approx(GAIN, rel=0.05)
    assert setting["read_dn"] == pytest.approx(READ, rel=0.1)
    assert setting["read_lambda"] == pytest.approx(LAMBDA, abs=0.05)
    assert setting["row_dn"] == pytest.approx(ROW, rel=0.2)
    assert setting["bias_dn"] == pytest.approx([0] * 4, abs=0.2)
    assert (setting["iso"], setting["black_dn"], setting["white_dn"]) == (800, [BLACK] * 4, 16383 - BLACK)
    assert setting["gain_from"] == "flat frames"
    assert setting["dark"]["frames"] == 4
    assert setting["dark"]["read_r2"] > 0.998


def test_a_camera_is_told_with_units(fitted: Path) -> None:
    told = denoise("noise", "show", fitted).stdout
    for part in ("Toy, ISO 800", "DN per electron", "electrons", "lambda -0.1", "DN from row to row", "stops"):
        assert part in told


def test_a_camera_is_told_as_numbers(fitted: Path) -> None:
    (setting,) = json.loads(denoise("noise", "show", fitted, "--json").stdout)["settings"]
    assert setting["read_std_dn"] > setting["read_dn"], "the scale is no standard deviation"
    assert setting["dark"]["frames"] == 4


def test_variance_over_signal_is_drawn(fitted: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "plot.png"
    assert denoise("noise", "show", fitted, "-o", out).exit_code == 0
    with Image.open(out) as drawn:
        assert drawn.width > 400
        assert len(drawn.convert("RGB").getcolors(1 << 20) or []) > 50
    assert "there already" in refused("show", fitted, "-o", out)


def test_settings_lie_in_folders_and_make_a_line(tmp_path: Path) -> None:
    for gain in (1.0, 2.0, 4.0):
        shot(tmp_path / "darks" / f"gain{gain:g}", (0, 0), gain, first=int(100 * gain))
        shot(tmp_path / "flats" / f"gain{gain:g}", (300, 3000), gain, first=20)
    out = tmp_path / "c.toml"
    result = denoise("noise", "fit", tmp_path / "darks", tmp_path / "flats", "-o", out, "--white", 16383)
    assert result.exit_code == 0
    table = tomllib.loads(out.read_text())
    assert [one["gain_dn_per_e"] for one in table["setting"]] == pytest.approx([1, 2, 4], rel=0.05)
    assert table["over_gain"]["read_dn"]["slope"] == pytest.approx(0, abs=0.05)  # the same read noise at each
    assert "Over the gain" in result.stdout


def test_what_is_assumed_is_said(frames: Path, tmp_path: Path) -> None:
    result = denoise("noise", "fit", frames / "darks", "-o", tmp_path / "c.toml", "--iso", 800)
    assert result.exit_code == 0
    for word in ("colour filter", "black level", "white level", "ISO 800 / 1000"):
        assert word in result.stderr
    assert tomllib.loads((tmp_path / "c.toml").read_text())["setting"][0]["gain_dn_per_e"] == 0.8


def test_nothing_is_written_where_black_is_wrong_for_one_of_several_settings(tmp_path: Path) -> None:
    own = np.random.default_rng(0).normal(0, 20, (SIDE, SIDE))
    for iso, raised in ((100, 0), (200, -400)):
        for seed in range(4):
            frame = np.rint(mosaic(0, 10 * iso + seed) + own + raised).astype(np.uint16)
            saved(tmp_path / "darks" / f"{iso}" / f"{seed}.npy", frame)
    line = ("-o", tmp_path / "c.toml", "--gain", GAIN, "--black", BLACK, "--white", 16383, "--cfa", "RGGB")
    refused("fit", tmp_path / "darks", *line)
    assert [path.name for path in tmp_path.iterdir()] == ["darks"]


def test_flats_without_a_partner_are_named(frames: Path, tmp_path: Path) -> None:
    flats = shot(tmp_path / "flats", (80, 3000), first=10)
    saved(flats / "lonely.npy", mosaic(900, 77))
    result = denoise("noise", "fit", frames / "darks", flats, "-o", tmp_path / "c.toml", "--white", 16383)
    assert result.exit_code == 0
    assert "left out: lonely.npy" in result.stderr


def test_a_fixed_pattern_is_written_beside_and_used(tmp_path: Path) -> None:
    pattern = 3 * seeds.normal_like(torch.zeros(SIDE, SIDE), 99).numpy()
    for index in range(6):
        camera = Camera(GAIN, READ, LAMBDA, ROW, step_dn=0)
        dark = camera.sample(torch.zeros(SIDE, SIDE), 50 + index).numpy() + BLACK + pattern
        saved(tmp_path / "darks" / f"{index}.npy", dark.round().astype(np.uint16))
    out = tmp_path / "c.toml"
    result = denoise("noise", "fit", tmp_path / "darks", "-o", out, "--gain", GAIN, "--black", BLACK, "--white", 16383)
    assert f"Fixed pattern: {tmp_path / 'c-pattern.npy'}" in result.stderr
    assert "DN are the same in every frame (map: c-pattern.npy)" in result.stdout
    camera = camera_file.read(out).at().camera
    assert camera.read_dn == pytest.approx(READ, rel=0.1)
    assert camera.pattern_dn is not None
    error = camera.pattern_dn.numpy() - pattern
    left = camera.read_std_dn**2 / 6
    assert error.var() == pytest.approx(9 * left / (9 + left), rel=0.1), "no estimate is nearer than Wiener's"

    clean = saved(tmp_path / "a.npy", np.full((SIDE, SIDE), BLACK + 0.0, np.float32))
    line = ("noise", "add", "camera", clean, "-o", tmp_path / "b.npy", "--camera", out, "--set", "read_dn=0")
    assert "fixed pattern" in denoise(*line).stderr
    assert np.corrcoef(np.load(tmp_path / "b.npy").ravel(), pattern.ravel())[0, 1] > 0.6
    np.save(tmp_path / "c-pattern.npy", np.zeros(3))
    assert "H × W numbers" in refused(*line[1:], "--overwrite")
    (tmp_path / "c-pattern.npy").unlink()
    assert "put it beside the camera's file" in refused(*line[1:], "--overwrite")
    assert denoise("noise", "show", out).exit_code == 0


# learned


def test_noise_is_learned_into_a_folder_and_told(tmp_path: Path) -> None:
    shot(tmp_path / "darks" / "iso800", (0, 0))
    shot(tmp_path / "darks" / "iso1600", (0, 0), first=40)
    out = tmp_path / "learned"
    line = ("noise", "fit", tmp_path / "darks", "--learned", "--minutes", 0.01, "--seed", 3, "-o", out)
    result = denoise(*line)
    assert result.exit_code == 0, result.stderr
    assert "read noise as the PNNP proxy learned it from 8 dark frames" in result.stdout
    assert result.stderr.endswith(f"Written: {out}\n")
    assert [level.iso for level in opened(out).levels] == [800, 1600]
    told = json.loads(denoise("noise", "show", out, "--json").stdout)
    assert (told["network"], told["frames"], len(told["levels"])) == ("pnnp", 8, 2)
    assert "there already" in refused(*line[1:])

    clean = saved(tmp_path / "a.npy", np.full((SIDE, SIDE), BLACK + 400.0, np.float32))
    line = ("noise", "add", "learned", clean, "-o", tmp_path / "b.npy", "--from", out, "--iso", 1600)
    assert "needs gain_dn_per_e" in refused(*line[1:])
    result = denoise(*line, "--set", "gain_dn_per_e=2")
    assert "2 DN per electron, read noise as the PNNP proxy learned it" in result.stderr
    noise = np.load(tmp_path / "b.npy") - (BLACK + 400)
    law = LearnedCamera(2.0, opened(out).at(1600))
    assert noise.var() == pytest.approx(float(law.variance(torch.tensor([400.0]))[0]), rel=0.05)
    assert abs(noise.mean()) < 4 * noise.std() / SIDE + 0.2
    part = law.sample(torch.full((30, 40), 400.0), 0, (10, 20))
    assert torch.equal(part, law.sample(torch.full((SIDE, SIDE), 400.0), 0)[10:40, 20:60]), "a tile is a part"
    assert "ISO 100 lies outside" in refused(*line[1:-1], 100, "--set", "gain_dn_per_e=2", "--overwrite")
    assert "no curve to draw" in refused("show", out, "-o", tmp_path / "plot.png")


def test_trouble_with_learning_is_one_sentence(frames: Path, tmp_path: Path) -> None:
    darks, out = frames / "darks", ("-o", tmp_path / "learned")
    assert "choose pnnp or lrd" in refused("fit", darks, *out, "--learned", "--network", "gan")
    assert "more than 0" in refused("fit", darks, *out, "--learned", "--minutes", 0)
    assert "give no FLATS" in refused("fit", darks, frames / "flats", *out, "--learned")
    assert "give no FLATS" in refused("fit", darks, *out, "--learned", "--gain", 2)
    assert "add --learned" in refused("fit", darks, *out, "--minutes", 2)
    assert "without an ending" in refused("fit", darks, "-o", tmp_path / "a.toml", "--learned")
    lone = saved(tmp_path / "lone" / "a.npy", mosaic(0, 1)).parent
    assert "at least 2" in refused("fit", lone, *out, "--learned")
    (tmp_path / "empty").mkdir()
    assert "not a folder of learned noise" in refused("show", tmp_path / "empty")
    for name in ("one", "two"):
        shot(tmp_path / "some" / name, (0,))
    assert "leave out --iso 800" in refused("fit", tmp_path / "some", *out, "--learned", "--iso", 800)
    assert "name the folder after it" in refused("fit", tmp_path / "some", *out, "--learned")
    assert not (tmp_path / "learned").exists()


# inspect


def scene() -> torch.Tensor:
    """Flat patches from dark to bright, in colours."""
    level = torch.linspace(5, 900, 64).reshape(8, 8)[seeds.uniform(1, torch.arange(8)).argsort()]
    light = level.repeat_interleave(64, 0).repeat_interleave(64, 1)
    light[0::2, 0::2] *= 0.5
    light[1::2, 1::2] *= 0.7
    return light


@pytest.mark.parametrize("name", ["a.npy", "a.tif"])
def test_a_mosaic_is_inspected_blindly(tmp_path: Path, name: str) -> None:
    noisy = (Camera(GAIN, READ, step_dn=0).sample(scene(), 4) + BLACK).round().clamp(0, 16383)
    path = tmp_path / name
    put(path, noisy.numpy().astype(np.uint16))
    found = json.loads(denoise("inspect", path, "--json").stdout)
    assert found["kind"] == "raw"
    assert found["level"]["gain_dn_per_e"]["value"] == pytest.approx(GAIN, rel=0.05)
    assert found["level"]["confidence"] > 0.5
    text = denoise("inspect", path).stdout
    assert "raw mosaic, 512×512" in text
    assert "DN per electron" in text
    assert "confidence" in text


def test_a_grey_picture_is_no_mosaic(tmp_path: Path) -> None:
    smooth = torch.linspace(0, 40_000, 512).repeat(512, 1) + 300 * seeds.normal_like(torch.zeros(512, 512), 1)
    put(tmp_path / "grey.tif", smooth.clamp(0, 65535).numpy().astype(np.uint16))
    assert json.loads(denoise("inspect", tmp_path / "grey.tif", "--json").stdout)["kind"] == "picture"


def test_inspect_points_to_show_for_a_calibration(fitted: Path) -> None:
    result = denoise("inspect", fitted)
    assert result.exit_code == 2
    assert f"`denoise noise show {fitted}`" in result.stderr


def test_inspect_wants_a_file_and_no_folder(tmp_path: Path) -> None:
    result = denoise("inspect", tmp_path)
    assert result.exit_code == 2
    assert "a folder; give a file inside it" in result.stderr


# The file


def example(dark: bool = True) -> camera_file.CameraFile:
    grain = Grain(0.8, 0.991, 3.21, -0.0625, 0.9991, 6.4, 0.978, 0.0)
    camera = Camera(1.25, 3.21, -0.0625, 0.8, (0.5, -0.25, 0.0, 1.0), 1.0, 15871.0, "GBRG", name='Toy "α" \\')
    setting = Calibration(
        camera, (512.0,) * 4, 800, "flat frames", 0.01, Darkness(camera.bias_dn, 1.0, 4, grain) if dark else None
    )
    other = replace(setting, camera=replace(camera, gain_dn_per_e=2.5), iso=1600)
    third = replace(setting, camera=replace(camera, gain_dn_per_e=5.0, read_lambda=None), iso=3200)
    if dark:
        third = replace(third, dark=replace(third.dark, grain=replace(grain, read_lambda=None)))
    return camera_file.gathered(camera.name, [third, setting, other])


@pytest.mark.parametrize("dark", [True, False])
def test_what_is_written_is_read_again(tmp_path: Path, dark: bool) -> None:
    file = example(dark)
    path = tmp_path / "c.toml"
    path.write_text(camera_file.written(file), "utf-8")
    back = camera_file.read(path)
    assert back.settings == file.settings
    assert camera_file.written(back) == camera_file.written(file)


def test_a_setting_is_found_by_its_iso() -> None:
    file = example()
    assert file.at(1600).camera.gain_dn_per_e == 2.5
    with pytest.raises(UserError, match="choose --iso from 800, 1600, 3200"):
        file.at()
    with pytest.raises(UserError, match="no setting of ISO 100"):
        file.at(100)


GOOD = 'format = 1\nname = "x"\n[[setting]]\ngain_dn_per_e = 1.0\nread_dn = 3.0\nwhite_dn = 15871.0\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no camera's calibration"),
        ("format = 1\n", "no camera's calibration"),
        ("gain =", "not a calibration in TOML"),
        (GOOD.replace("gain_dn_per_e = 1.0\n", ""), "gain_dn_per_e is missing"),
        (GOOD.replace("= 1.0", "= -1.0"), "gain_dn_per_e = -1.0; more than 0"),
        (GOOD.replace("= 1.0", '= "much"'), "a number is wanted"),
        (GOOD + "row_dn = -2.0\n", "row_dn = -2.0; 0 or more"),
        (GOOD + "read_lambda = -0.6\n", "more than -0.5"),
        (GOOD + "bias_dn = [1, 2]\n", "four numbers"),
        (GOOD + 'cfa = "RGB"\n', "one of RGGB"),
        (GOOD + "[setting.dark]\nframes = 2\n", r"is missing in \[setting.dark\]"),
        (GOOD + "[over_gain.read_dn]\nslope = 1.0\n", "intercept"),
    ],
)
def test_a_broken_calibration_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        camera_file.read(path)


def test_a_short_calibration_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(GOOD)
    assert camera_file.read(path).at().camera == Camera(1.0, 3.0, name="x")
    assert denoise("noise", "show", path).exit_code == 0


# Bad frames


def test_bad_frames_are_one_sentence_each(frames: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "c.toml", "--iso", 100)
    known = ("--cfa", "RGGB", "--black", BLACK, "--white", 16383, *out)
    darks = frames / "darks"
    mixed = tmp_path / "mixed"
    saved(mixed / "a.npy", mosaic(0, 1))
    saved(mixed / "b.npy", mosaic(0, 2)[:100])
    assert "sizes (256 × 100, 256 × 256)" in refused("fit", mixed, *out)
    photo(tmp_path / "jpegs" / "dark.jpg")
    assert "dark.jpg: a developed picture (JPG" in refused("fit", tmp_path / "jpegs", *out)
    saved(tmp_path / "bytes" / "a.npy", np.zeros((9, 9), np.uint8))
    assert "8-bit" in refused("fit", tmp_path / "bytes", *out)
    (tmp_path / "empty").mkdir()
    assert "no raw frames" in refused("fit", tmp_path / "empty", *out)
    assert "no such folder" in refused("fit", tmp_path / "nowhere", *out)
    bright = shot(tmp_path / "bright", (16000,), first=4)
    assert "saturated" in refused("fit", darks, bright, *known)
    alone = saved(tmp_path / "alone" / "a.npy", mosaic(500, 5)).parent
    assert "two of each exposure" in refused("fit", darks, alone, *known)
    assert "--gain" in refused("fit", darks, *known[:-2])
    assert "gain_dn_per_e = -1; more than 0" in refused("fit", darks, *known, "--gain", -1)
    assert "not dark" in refused("fit", frames / "flats", *known)
    assert "black_dn = nan; a finite number" in refused("fit", darks, *known, "--black", "nan")
    assert "black_dn = 5000 lies above the dark frames (" in refused("fit", darks, *known, "--black", 5000)
    assert "no colour filter 'RGB'" in refused("fit", darks, "--black", BLACK, "--white", 9999, "--cfa", "RGB", *out)
    assert not (tmp_path / "c.toml").exists()


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("a.npy", np.zeros((4, 5, 3), np.uint16), "one value per photosite"),
        ("a.npy", np.full((8, 8), np.nan), "not numbers"),
        ("a.npy", np.full((8, 8), "x"), "whole numbers or float"),
    ],
)
def test_arrays_that_are_no_mosaics_are_refused(tmp_path: Path, name: str, values: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_frame(saved(tmp_path / name, values))


@pytest.mark.parametrize("name", ["a.npy", "a.tif", "a.txt"])
def test_damaged_frames_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"damaged|not a raw frame"):
        read_frame(path)


def tiff(path: Path, iso: int, camera: str = "Toy 1") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    more = [(34855, "H", 1, iso, True), (272, "s", 0, camera, True)]
    tifffile.imwrite(path, mosaic(0, iso), photometric="minisblack", extratags=more)
    return path


def test_a_tiff_tells_its_iso_and_camera(tmp_path: Path) -> None:
    frame = read_frame(tiff(tmp_path / "a.tif", 1600))
    assert (frame.iso, frame.camera, frame.size) == (1600, "Toy 1", (SIDE, SIDE))
    assert (frame.photosites == mosaic(0, 1600)).all()


def test_frames_of_different_iso_or_cameras_are_refused(tmp_path: Path) -> None:
    tiff(tmp_path / "a" / "1.tif", 100)
    tiff(tmp_path / "a" / "2.tif", 200)
    with pytest.raises(UserError, match=r"different ISO \(100, 200\); put those of each"):
        read_folder(tmp_path / "a")
    tiff(tmp_path / "b" / "1.tif", 100)
    tiff(tmp_path / "b" / "2.tif", 100, "Toy 2")
    with pytest.raises(UserError, match=r"different cameras \(Toy 1, Toy 2\)"):
        read_folder(tmp_path / "b")


def test_a_jpeg_beside_its_raw_file_is_left_alone(tmp_path: Path) -> None:
    saved(tmp_path / "one.npy", mosaic(0, 1))
    photo(tmp_path / "one.jpg")
    assert [frame.path.name for frame in read_folder(tmp_path)] == ["one.npy"]


def dng(path: Path, pattern: tuple[int, ...] = (1, 0, 2, 1)) -> Path:
    """The least that LibRaw takes for a raw file."""
    unit = [value for row in np.eye(3, dtype=int).tolist() for one in row for value in (one, 1)]
    tags = [
        (50706, "B", 4, (1, 4, 0, 0), True),
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, pattern, True),
        (50714, "H", 1, BLACK, True),
        (50717, "H", 1, 16383, True),
        (34855, "H", 1, 800, True),
        (271, "s", 0, "Toy", True),
        (272, "s", 0, "Toy 1", True),
        (50708, "s", 0, "Toy 1", True),
        (50721, "2i", 9, tuple(unit), True),
    ]
    tifffile.imwrite(path, mosaic(0, 1), photometric=32803, planarconfig=1, extratags=tags)
    return path


def test_a_camera_s_own_file_tells_everything(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    frame = read_frame(dng(tmp_path / "a.dng"))
    assert (frame.cfa, frame.black_dn, frame.white_dn) == ("GRBG", (BLACK,) * 4, 16383)
    assert (frame.iso, frame.camera) == (800, "Toy 1")
    assert (frame.photosites == mosaic(0, 1)).all()
    text = denoise("inspect", tmp_path / "a.dng").stdout
    assert "raw mosaic, 256×256" in text
    assert "GRBG, ISO 800, Toy 1" in text
    assert "noise unknown" in text, "a dark frame alone tells no gain"
    (tmp_path / "b.dng").write_bytes(b"II*\0nonsense")
    with pytest.raises(UserError, match="damaged"):
        read_frame(tmp_path / "b.dng")


def test_without_rawpy_a_camera_s_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rawpy", None)
    with pytest.raises(UserError, match="pip install rawpy"):
        read_frame(dng(tmp_path / "a.dng"))


# add


def test_noise_goes_into_a_picture(tmp_path: Path) -> None:
    clean = photo(tmp_path / "a.png", 128, 128, 180)
    out = tmp_path / "b.png"
    line = ["add", "gaussian", clean, "--set", "sigma=12"]
    result = denoise("noise", *line, "-o", out, "--seed", 3)
    assert result.stderr == f"{clean} -> {out} (Gaussian, sigma 12 of 255; seed 3)\n"
    before, after = (np.asarray(Image.open(path)).astype(float) for path in (clean, out))
    assert (after - before)[before > 60].std() == pytest.approx(12, rel=0.03)
    denoise("noise", *line, "-o", tmp_path / "same.png", "--seed", 3)
    denoise("noise", *line, "-o", tmp_path / "other.png", "--seed", 4)
    assert (tmp_path / "same.png").read_bytes() == out.read_bytes()
    assert (tmp_path / "other.png").read_bytes() != out.read_bytes()


def test_noise_goes_into_a_sound(tmp_path: Path) -> None:
    clean = tone(tmp_path / "a.wav")
    result = denoise("noise", "add", "coloured", clean, "-o", tmp_path / "b.wav", "--set", "level_dbfs=-30")
    assert result.exit_code == 0, result.stderr
    before, after = (soundfile.read(path)[0] for path in (clean, tmp_path / "b.wav"))
    assert 10 * np.log10(np.mean((after - before) ** 2)) == pytest.approx(-30, abs=1.5)


def test_noise_goes_into_a_sound_at_a_ratio(tmp_path: Path) -> None:
    clean = tone(tmp_path / "a.wav", seconds=2.0)
    result = denoise("noise", "add", "coloured", clean, "-o", tmp_path / "b.wav", "--snr", 10)
    assert "10 dB below active speech" in result.stderr
    before, after = (soundfile.read(path)[0] for path in (clean, tmp_path / "b.wav"))
    ratio = np.mean(before**2) / np.mean((after - before) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=1)


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_a_calibrated_camera_s_noise_goes_into_a_mosaic(fitted: Path, tmp_path: Path, suffix: str) -> None:
    clean = saved(tmp_path / "a.npy", np.full((SIDE, SIDE), BLACK + 400, np.uint16))
    out = tmp_path / f"b{suffix}"
    result = denoise("noise", "add", "camera", clean, "-o", out, "--camera", fitted, "--set", "row_dn=0")
    assert result.exit_code == 0, result.stderr
    noisy = read_frame(out).photosites
    camera = camera_file.read(fitted).at().camera
    expected = camera.gain_dn_per_e * 400 + camera.read_std_dn**2 + 1 / 6  # steps: in the law, and of the file
    assert noisy.dtype == np.uint16
    assert noisy.mean() == pytest.approx(BLACK + 400 + np.mean(camera.bias_dn), abs=4 * np.sqrt(expected) / SIDE)
    assert noisy.var() == pytest.approx(expected, rel=0.05)


def test_a_published_camera_s_noise_goes_into_a_mosaic(tmp_path: Path) -> None:
    clean = saved(tmp_path / "a.npy", np.full((64, 64), 1000.0, np.float32))
    line = ("noise", "add", "camera", clean, "-o", tmp_path / "b.npy", "--camera", "nikon-d850")
    assert "2 DN per electron" in denoise(*line, "--set", "gain_dn_per_e=2").stderr
    assert "nikon-d850" in denoise("noise", "cameras").stdout
    assert "did you mean nikon-d850?" in refused(*line[1:-1], "nikon-d580", "--overwrite")


def test_an_iso_is_refused_where_nothing_was_measured_at_several(frames: Path, tmp_path: Path) -> None:
    clean = saved(tmp_path / "a.npy", np.full((64, 64), 1000.0, np.float32))
    line = ("add", "camera", clean, "-o", tmp_path / "b.npy", "--iso", 800)
    assert "--iso 800 chooses" in refused(*line, "--camera", "nikon-d850")
    assert "--iso 800 chooses" in refused(*line, "--set", "gain_dn_per_e=2", "--set", "read_scale_dn=3")
    assert "--iso 800 chooses" in refused("add", "dark-frames", *line[2:], "--from", frames / "darks")
    assert not (tmp_path / "b.npy").exists()


def test_noise_of_dark_frames_goes_into_a_mosaic(frames: Path, tmp_path: Path) -> None:
    clean = saved(tmp_path / "a.npy", np.full((64, 64), BLACK + 400, np.uint16))
    line = ("noise", "add", "dark-frames", clean, "-o", tmp_path / "b.npy", "--set", f"gain_dn_per_e={GAIN}")
    assert denoise(*line, "--from", frames / "darks").exit_code == 0
    noisy = read_frame(tmp_path / "b.npy").photosites
    camera = Camera(GAIN, READ, LAMBDA, ROW)
    assert noisy.var() == pytest.approx(float(camera.variance(torch.tensor([400.0]))[0]), rel=0.1)
    assert noisy.mean() == pytest.approx(BLACK + 400, abs=4 * noisy.std() / 64 + 0.3)
    assert "--from PATH" in refused(*line[1:], "--overwrite")
    assert "made of words alone" in refused("add", "camera", clean, "-o", tmp_path / "c.npy", "--from", frames)


def test_trouble_with_a_law_is_one_sentence(tmp_path: Path, fitted: Path) -> None:
    picture, sound = photo(tmp_path / "a.png"), tone(tmp_path / "a.wav")
    out = ("-o", tmp_path / "out.png")
    assert "did you mean gaussian?" in refused("add", "gausian", picture, *out)
    assert "did you mean sigma?" in refused("add", "gaussian", picture, *out, "--set", "sigm=3")
    assert "needs sigma" in refused("add", "gaussian", picture, *out)
    assert "0 or more" in refused("add", "gaussian", picture, *out, "--set", "sigma=-3")
    assert "a number" in refused("add", "gaussian", picture, *out, "--set", "sigma=loud")
    assert "more than 0" in refused("add", "poisson", picture, *out, "--set", "peak=0")
    assert "1 to 100" in refused("add", "jpeg", picture, *out, "--set", "quality=101")
    assert "a whole number" in refused("add", "jpeg", picture, *out, "--set", "quality=9.5")
    assert "knob=value" in refused("add", "gaussian", picture, *out, "--set", "sigma")
    assert "one of RGGB" in refused("add", "photograph", picture, *out, "--set", "shot=0", "--set", "mosaic=RGB")
    assert "choose from: coloured" in refused("add", "gaussian", sound, *out)
    assert "no such file" in refused("add", "gaussian", tmp_path / "no.png", *out)
    assert "give another -o" in refused("add", "gaussian", picture, "-o", picture)
    assert "knows nothing of cameras" in refused("add", "jpeg", picture, *out, "--camera", fitted)
    assert "leave it out" in refused("add", "jpeg", picture, *out, "--snr", 3)
    assert "developed picture" in refused("add", "camera", picture, "-o", tmp_path / "o.npy", "--camera", fitted)
    assert "no such calibration" in refused(
        "add", "camera", saved(tmp_path / "m.npy", mosaic(0, 1)), "-o", tmp_path / "o.npy", "--camera", "no.toml"
    )
    assert not list(tmp_path.glob("o*"))


# Laws


@pytest.mark.parametrize("snr", ["inf", "-inf", "nan", "-1e9", "201"])
def test_a_ratio_that_no_sound_can_have(snr: str, tmp_path: Path) -> None:
    clean = tone(tmp_path / "a.wav")
    assert "from -200 to 200 dB" in refused("add", "coloured", clean, "-o", tmp_path / "b.wav", "--snr", snr)
    assert not (tmp_path / "b.wav").exists()


def test_how_loud_noise_is_can_be_said_once(tmp_path: Path) -> None:
    clean, more = tone(tmp_path / "a.wav"), ("--snr", 10, "--set", "level_dbfs=-20")
    assert "leave out one of them" in refused("add", "coloured", clean, "-o", tmp_path / "b.wav", *more)
    assert not (tmp_path / "b.wav").exists()


def test_no_ratio_to_silence(tmp_path: Path) -> None:
    silent = tone(tmp_path / "a.wav", level=0)
    assert "is silent" in refused("add", "coloured", silent, "-o", tmp_path / "b.wav", "--snr", 10)
    assert not (tmp_path / "b.wav").exists()


def test_seeds_end_where_compiled_code_does(tmp_path: Path) -> None:
    clean, out, large = tone(tmp_path / "a.wav"), ("-o", tmp_path / "b.wav"), 2**63
    assert f"Seed {large} is out of range" in refused("add", "coloured", clean, *out, "--seed", large)
    assert denoise("noise", "add", "coloured", clean, *out, "--seed", large - 1).exit_code == 0
    learning = ("fit", tmp_path, "-o", tmp_path / "noise", "--learned", "--seed", large)
    assert f"Seed {large} is out of range" in refused(*learning)


def test_every_law_is_listed_with_its_parameters() -> None:
    rows = {row["law"]: row for row in json.loads(denoise("noise", "laws", "--json").stdout)}
    assert {"gaussian", "poisson", "salt-and-pepper", "jpeg", "camera", "coloured", "hum"} <= rows.keys()
    assert rows["gaussian"] == {"law": "gaussian", "of": "picture", "parameters": "sigma=…"}
    assert rows["hum"]["of"] == "audio"
    assert rows["camera"]["of"] == "raw"


USUAL = {"peak": "50", "read": "1", "looks": "4", "factor_variance": "0.1", "density": "0.1", "rows": "2", "sigma": "5"}
USUAL |= {"shot": "0.01", "quality": "50", "gain_dn_per_e": "2", "read_dn": "1", "rate": "8000"}


@pytest.mark.parametrize("name", [name for name, one in laws.laws().items() if one.kind != "audio" and not one.made_of])
def test_every_law_can_be_made_of_words(name: str) -> None:
    entry = laws.found(name)
    law = laws.made(entry, {one: USUAL[one] for one in entry.parameters if one in USUAL})
    clean = torch.full((16, 16) if entry.kind == "raw" else (3, 16, 16), 0.5)
    assert law.sample(clean, 1).shape == clean.shape
    assert law.variance(clean).shape == clean.shape
    assert law.describe()


@pytest.mark.parametrize(
    "name", [name for name, one in laws.laws().items() if one.kind == "audio" and not one.made_of and name != "room"]
)
def test_every_law_for_sounds_can_be_made_of_words(name: str) -> None:
    entry = laws.found(name)
    law = laws.made(entry, {one: USUAL[one] for one in entry.parameters if one in USUAL})
    clean = 0.1 * seeds.normal_like(torch.zeros(1, 8000), 1)
    assert law.sample(clean, 1).shape == clean.shape
    assert law.describe()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Recordings at 16 kHz, and a sound at 8 kHz to put them into."""
    dice = np.random.default_rng(5)
    (tmp_path / "voices").mkdir()
    for number in range(2):
        soundfile.write(tmp_path / "voices" / f"{number}.wav", 0.1 * dice.standard_normal(16_000), 16_000)
    impulse = np.zeros(800)
    impulse[[10, 410]] = 0.8, 0.4  # an echo after 25 ms, half as loud
    soundfile.write(tmp_path / "hall.wav", impulse, 16_000)
    soundfile.write(tmp_path / "talk.wav", 0.2 * np.sin(0.2 * np.arange(8000)), 8000, subtype="FLOAT")
    return tmp_path


@pytest.mark.parametrize(("law", "files"), [("babble", "voices"), ("recorded", "voices/0.wav")])
def test_recordings_of_ones_own_are_put_under_a_sound(own: Path, law: str, files: str) -> None:
    result = denoise("noise", "add", law, own / "talk.wav", "-o", own / "out.wav", "--from", own / files, "--snr", 10)
    assert result.exit_code == 0, result.stderr
    clean, noisy = (soundfile.read(own / name)[0] for name in ("talk.wav", "out.wav"))
    assert 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2)) == pytest.approx(10, abs=0.3)


def test_a_measured_room_is_heard(own: Path) -> None:
    clean = np.random.default_rng(6).uniform(-0.1, 0.1, 4000)
    soundfile.write(own / "dry.wav", clean, 16_000, subtype="FLOAT")
    line = ("noise", "add", "measured-room", own / "dry.wav", "-o", own / "wet.wav", "--from", own / "hall.wav")
    assert denoise(*line).exit_code == 0
    wet, _ = soundfile.read(own / "wet.wav")
    echo = np.concatenate([np.zeros(400), clean[:-400]]) / 2
    assert wet == pytest.approx(clean + echo, abs=1e-4)


@pytest.mark.parametrize(
    ("law", "files", "why"),
    [
        ("babble", None, "made of a folder of voices"),
        ("babble", "talk.wav", "a folder of voices is wanted"),
        ("babble", ".", "is a folder"),
        ("recorded", "none.wav", "no such recording"),
    ],
)
def test_trouble_with_recordings_is_one_sentence(own: Path, law: str, files: str | None, why: str) -> None:
    if files == ".":
        (own / "voices" / "0.wav").unlink(), (own / "voices" / "1.wav").unlink()
        files, why = "voices", "no sound in it"
    given = () if files is None else ("--from", own / files)
    assert why in refused("add", law, own / "talk.wav", "-o", own / "out.wav", *given)


@pytest.mark.parametrize(
    ("words", "value"),
    [("1,2,3,4", (1.0, 2.0, 3.0, 4.0)), ("-1,0,0,0.5", (-1.0, 0.0, 0.0, 0.5))],
)
def test_several_numbers_are_read(words: str, value: tuple[float, ...]) -> None:
    assert laws.value_of(laws.found("camera"), "bias_dn", words) == value


def test_none_yes_and_no_are_read() -> None:
    assert laws.value_of(laws.found("camera"), "read_lambda", "none") is None
    assert laws.value_of(laws.found("camera"), "read_lambda", "-0.1") == -0.1
    assert laws.value_of(laws.found("jpeg"), "halved", "no") is False
    with pytest.raises(UserError, match="4 numbers"):
        laws.value_of(laws.found("camera"), "bias_dn", "1,2")
