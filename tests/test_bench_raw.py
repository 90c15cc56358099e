"""The bench of raw models measures what it says, on the mosaics that it makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from raws import MODELS, dng

from denoise import zoo
from denoise.errors import UserError
from denoise.measure import bench_raw
from denoise.measure.bench import Wish
from denoise.measure.bench_raw import BLACK, by_day, case, dark, measured, scene
from denoise.media.raw import open_raw
from denoise.noise import cameras

pytest.importorskip("rawpy")

KINDS = ("test photographs", "photographs of cameras")
FRAMES = "frames of photographs of cameras"


def soft(number: int) -> np.ndarray:
    rows, columns = np.mgrid[:80, :96]
    waves = np.sin(rows / (9 + number)) * np.cos(columns / 11)
    return (128 + 60 * waves[..., None] * np.array([1, 0.8, 0.6])).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for place in (folder / "test_cbsd68", folder / "real_polyu" / "clean"):
        place.mkdir(parents=True)
        for number in range(12):
            Image.fromarray(soft(number)).save(place / f"{number}.png")
    return folder


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One camera, and a small file for the command."""
    monkeypatch.setattr(bench_raw, "calibrated", lambda: [model()])
    monkeypatch.setattr(bench_raw, "MEGAPIXELS", 0.1)
    monkeypatch.setattr(bench_raw, "ISOS", (800, 6400))
    monkeypatch.setattr(bench_raw, "SOFT_SIDE", 80)


def shelf(place: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> Path:
    """One with those raw models alone."""
    place.mkdir()
    if "toy-raw" in names:
        (place / "toy-raw").mkdir()
        (place / "toy-raw" / "model.toml").write_bytes((MODELS / "toy-raw" / "model.toml").read_bytes())
    if "night" in names:
        (place / "night").mkdir()
        card = 'name = "night"\nkind = "raw"\nmethod = "eld"\n[network]\nwidth = 4\n'
        (place / "night" / "model.toml").write_text(card)
    monkeypatch.setattr(zoo, "shelves", lambda: [place])
    return place


def one_case(setting: bench_raw.Setting, number: int = 0) -> bench_raw.Case:
    return case(scene(torch.from_numpy(soft(number)).permute(2, 0, 1), number, 256), setting, number)


def test_all_methods_are_measured_beside_the_noisy_input(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf(tmp_path / "shelf", monkeypatch, "toy-raw")
    monkeypatch.setattr(bench_raw, "in_full", lambda card, megapixels, wish: {"method": card.name, "mp": megapixels})
    told: list[str] = []
    monkeypatch.setattr(bench_raw, "find_spec", lambda name: None)
    *rows, last = bench_raw.run(Wish(device="cpu", data=data, limit=1, tell=told.append))
    assert last == {"method": "toy-raw", "mp": 0.1}
    assert {row["method"] for row in rows} == {"noisy", "toy-raw", "toy-raw, told"}
    assert [row["noise"] for row in rows if row["method"] == "noisy"] == [
        *(f"sony-a7s2-eld, ratio {ratio}, {of}" for ratio in (100, 300) for of in KINDS),
        *(f"daylight, ISO {iso}, {of}" for of in KINDS for iso in (800, 6400)),
        *(f"sony-a7s2-eld, ratio {ratio}, {FRAMES}" for ratio in (100, 300)),
    ]
    assert {row["mosaics"] for row in rows if FRAMES in str(row["noise"])} == {"1 of 240×240"}
    assert all(rows[0].keys() == row.keys() for row in rows)
    assert any("BM3D is left out" in line for line in told)
    assert any("dark frames is left out" in line for line in told)
    noisy = [row["raw_psnr_db"] for row in rows if row["method"] == "noisy"]
    assert noisy[0] > noisy[2]  # type: ignore[operator]
    assert noisy[4] > noisy[5] > noisy[0]  # type: ignore[operator]


def test_the_noisy_input_has_the_noise_that_is_stated() -> None:
    setting = by_day(6400, 0)
    one = one_case(setting)
    light = one.scene.light.clamp(max=0.9)
    red = setting.noise[0]
    expected = -10 * np.log10(red.shot * float(light.mean()) + red.read)
    (row, dim) = (measured([each], bench_raw.as_it_is) for each in (one, one_case(dark(model(), 300, 0))))
    assert row["raw_psnr_db"] == pytest.approx(expected, abs=0.5)
    assert dim["raw_psnr_db"] < row["raw_psnr_db"] - 5  # type: ignore[operator]


def model() -> cameras.Model:
    return cameras.find("sony-a7s2-eld")


def test_without_noise_nothing_is_lost() -> None:
    """What is restored perfectly is as good in the mosaic as when it is developed."""
    one = one_case(by_day(800, 0))
    perfect = bench_raw.whole(one.scene.light.numpy() * np.float32(one.setting.white_dn) + np.float32(BLACK))
    raw, seen = bench_raw.scores(one, perfect)
    assert raw > 90
    assert seen > 70
    shown = one.scene.developed(one.scene.light.numpy())
    photograph = bench_raw.centre(torch.from_numpy(soft(0)).permute(2, 0, 1), 80).permute(1, 2, 0).numpy()
    inside = (slice(8, -8), slice(8, -8))
    assert np.corrcoef(shown[inside].ravel(), photograph[inside].ravel())[0, 1] > 0.95


@pytest.mark.parametrize("name", ["non_local_means", "bm3d"])
def test_peers_behind_the_curve_keep_the_mean_and_take_noise_away(name: str) -> None:
    pytest.importorskip({"bm3d": "bm3d", "non_local_means": "skimage"}[name])
    one = one_case(by_day(6400, 0))
    way = bench_raw.partial(bench_raw.behind_curve, getattr(bench_raw, name))
    noisy, clean = measured([one], bench_raw.as_it_is), measured([one], way)
    assert clean["raw_psnr_db"] > noisy["raw_psnr_db"] + 4  # type: ignore[operator]
    assert way(one).mean() == pytest.approx(one.mosaic.photosites.mean(), rel=0.01)


def test_settings_go_through_the_gains_of_a_camera() -> None:
    gains = [dark(model(), 100, number).law.gain_dn_per_e for number in range(4)]
    assert gains[0] < gains[1] < gains[2]
    assert gains[3] == gains[0]
    gap = cameras.find("sony-a7s2")
    (low, high), (next_low, _) = (branch.gain_dn_per_e for branch in gap.branches)
    if high < next_low:
        assert bench_raw.nearest(gap, (high * next_low) ** 0.5) in (high, next_low)
    assert bench_raw.nearest(gap, low * 1.5) == low * 1.5


def test_a_phone_is_told_the_ratio_that_it_gets() -> None:
    assert bench_raw.told_ratio(cameras.find("imx686"), 200) == 12


def test_dark_frames_are_a_law_where_there_are_some(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "darks"
    for number in range(3):
        sites = np.random.default_rng(number).normal(512, 20, (96, 96)).round().astype(np.uint16)
        dng(folder / f"{number}.dng", sites)
    named = dict(bench_raw.of_dark_frames(Wish(data=tmp_path)))
    assert list(named) == [f"3 dark frames, ratio {ratio}" for ratio in (100, 300)]
    setting = named["3 dark frames, ratio 100"](0)
    assert setting.law.gain_dn_per_e == pytest.approx(0.8)  # type: ignore[union-attr]
    found = one_case(setting)
    noise = found.brightened(found.mosaic.photosites) - found.scene.light.numpy()
    assert float(noise.std()) * setting.white_dn / 100 == pytest.approx(21, rel=0.1)
    assert np.sqrt(setting.noise[0].read) * setting.white_dn == pytest.approx(20, rel=0.05)


def test_without_raw_models_the_peers_are_measured(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf(tmp_path / "shelf", monkeypatch)
    monkeypatch.setattr(bench_raw, "find_spec", lambda name: None)
    rows = list(bench_raw.run(Wish(device="cpu", data=data, limit=1)))
    assert {row["method"] for row in rows} == {"noisy"}


def test_the_command_is_measured_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = shelf(tmp_path / "shelf", monkeypatch, "night")
    row = bench_raw.in_full(zoo.Card.of(place / "night"), 0.1, Wish(device="cpu"))
    assert 0.1 < row["peak_gb"] < 3  # type: ignore[operator]
    assert row["s_per_24_megapixels"] > 1  # type: ignore[operator]


def test_the_large_file_is_what_it_says(tmp_path: Path) -> None:
    bench_raw.night(tmp_path / "large.dng", 0.5)
    raw = open_raw(tmp_path / "large.dng")
    assert raw.photosites.size == pytest.approx(5e5, rel=0.01)
    assert (raw.cfa, raw.black, raw.white, raw.iso) == ("RGGB", (BLACK,) * 4, 16383, 6400)
    assert raw.balance == pytest.approx((2, 1, 1.5), rel=1e-4)


def test_other_models_and_folders_without_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not for camera raw"):
        list(bench_raw.run(Wish("spectral", device="cpu", data=tmp_path)))
    with pytest.raises(UserError, match="--data"):
        list(bench_raw.run(Wish(device="cpu", data=tmp_path)))
