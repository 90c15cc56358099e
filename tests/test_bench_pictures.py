"""The benches of pictures and of memory measure what they say, on the files that they are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shelf
from PIL import Image

from denoise.errors import UserError
from denoise.measure import bench_iterations, bench_memory, bench_pictures
from denoise.measure.bench import Wish
from denoise.measure.bench_pictures import CLEAN, NOISES, REAL, Pair, noised, opened, pairs_of
from denoise.measure.scores import SAME_DB
from denoise.noise.picture_laws import Gaussian


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three soft pictures, and the same with grain as if they were photographed."""
    folder = tmp_path_factory.mktemp("images")
    for name in ("test_cbsd68", "real_polyu/noisy", "real_polyu/clean"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        clean = soft(number)
        Image.fromarray(clean).save(folder / "test_cbsd68" / f"{number}.png")
        Image.fromarray(clean).save(folder / "real_polyu" / "clean" / f"{number}.png")
        Image.fromarray(noised(clean, Gaussian(6), number).noisy).save(
            folder / "real_polyu" / "noisy" / f"{number}.png"
        )
    return folder


def soft(number: int) -> np.ndarray:
    rows, columns = np.mgrid[:48, :64]
    waves = np.sin(rows / (9 + number)) * np.cos(columns / 11)
    return (128 + 60 * waves[..., None] * np.array([1, 0.8, 0.6])).astype(np.uint8)


def test_every_noise_is_measured_beside_the_noisy_input(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(shelf.shelve(tmp_path / "models")))
    monkeypatch.setattr(bench_pictures, "find_spec", lambda name: None)
    told: list[str] = []
    rows = list(bench_pictures.run(Wish("toy-picture", device="cpu", data=data, limit=2, tell=told.append)))
    assert {row["noise"] for row in rows} == {*NOISES, CLEAN, REAL}
    assert {row["method"] for row in rows} == {"noisy", "non-local means", "toy-picture", "toy-picture, 8 passes"}
    assert {row["pictures"] for row in rows} == {"2 whole", "2 centres of 224 px"}
    assert all(rows[0].keys() == row.keys() for row in rows)
    assert any("BM3D is left out" in line for line in told)
    by_name = {(row["noise"], row["method"]): row for row in rows}
    noisy, smooth = by_name["Gaussian 25", "noisy"], by_name["Gaussian 25", "non-local means"]
    assert noisy["psnr_db"] == pytest.approx(20 * np.log10(255 / 25), abs=0.5)
    assert smooth["psnr_db"] > noisy["psnr_db"] + 3  # type: ignore[operator]
    assert by_name["Gaussian 25", "toy-picture"]["psnr_db"] < noisy["psnr_db"]  # type: ignore[operator]


def test_bm3d_is_told_the_noise_and_removes_it(data: Path) -> None:
    pytest.importorskip("bm3d", reason="the package bm3d is not installed")
    (pair, *_) = pairs_of("Gaussian 25", data, 1)
    before, *_ = bench_pictures.scores_of(pair.clean, pair.noisy)
    after, *_ = bench_pictures.scores_of(pair.clean, bench_pictures.bm3d(pair))
    assert after > before + 6


def test_harm_to_clean_pictures_and_a_shift_of_colour_are_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(shelf.shelve(tmp_path / "models")))
    pairs = list(pairs_of(CLEAN, data, 2))
    kept = bench_pictures.measured(pairs, bench_pictures.as_it_is)
    assert (kept["psnr_db"], kept["colour_shift_of_255"]) == (SAME_DB, 0)
    redder = bench_pictures.measured(pairs, lambda pair: pair.noisy + np.array([3, 1, 0], np.uint8))
    assert redder["colour_shift_of_255"] == 3
    assert redder["psnr_db"] < 44
    smoothed = bench_pictures.measured(pairs, bench_pictures.non_local_means)
    assert 30 < smoothed["psnr_db"] < SAME_DB


def test_all_methods_see_the_same_noise_and_every_picture_its_own(data: Path) -> None:
    once, again = (list(pairs_of("Gaussian 25", data, None)) for _ in range(2))
    assert all(np.array_equal(one.noisy, other.noisy) for one, other in zip(once, again, strict=True))
    grain = [pair.noisy.astype(int) - pair.clean for pair in once]
    assert abs(np.corrcoef(grain[0].ravel(), grain[1].ravel())[0, 1]) < 0.05
    assert once[0].told == pytest.approx(25, rel=0.05)


def test_centres_are_cut_from_noisy_and_clean_alike(data: Path) -> None:
    picture = opened(data / "test_cbsd68" / "0.png")
    centre = Pair(picture, picture, 5.0).centre(32)
    assert np.array_equal(centre.noisy, picture[8:40, 16:48])
    assert np.array_equal(centre.clean, centre.noisy)
    assert Pair(picture, picture, 5.0).centre(1000).noisy.shape == picture.shape


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--data"):
        list(bench_pictures.run(Wish("idf-picture", device="cpu", data=tmp_path)))


def test_iterations_are_compared_on_the_same_pictures(data: Path) -> None:
    rows = list(bench_iterations.run(Wish(device="cpu", data=data, limit=1)))
    assert [row["noise"] for row in rows] == ["Gaussian 15", "Gaussian 25", "Gaussian 50", REAL]
    for row in rows:
        fixed = [row[f"{count}_db"] for count in bench_iterations.COUNTS]
        assert row["best_db"] == max(fixed)  # type: ignore[type-var]
        for rule in ("paper", "ours"):
            assert row[f"{rule}_db"] == row[f"{int(row[f'{rule}_iterations'])}_db"]  # type: ignore[call-overload]


def test_iterations_of_another_method_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(shelf.shelve(tmp_path / "models")))
    with pytest.raises(UserError, match="no IDF model"):
        list(bench_iterations.run(Wish("toy-picture")))


def test_memory_is_measured_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this process holds, the other one starts from nothing."""
    monkeypatch.setattr(bench_memory, "TRIALS", bench_memory.TRIALS[-1:])
    held = np.ones(1_500_000_000, np.uint8)
    (row,) = bench_memory.run(Wish(device="cpu", limit=1))
    assert 0.1 < row["peak_gb"] < held.nbytes / 1e9  # type: ignore[operator]
    assert (row["what"], row["below"]) == ("1 megapixels, 16-bit RGB TIFF", "yes")


def test_a_command_that_fails_is_told() -> None:
    with pytest.raises(UserError, match="no such file"):
        bench_memory.in_fresh_process(["clean", "nowhere.wav"])


def test_large_files_are_what_they_say(tmp_path: Path) -> None:
    import soundfile
    import tifffile

    bench_memory.hour(tmp_path / "large.wav", 1)
    info = soundfile.info(tmp_path / "large.wav")
    assert (info.frames, info.samplerate, info.channels, info.subtype) == (60 * 48_000, 48_000, 2, "PCM_16")
    bench_memory.panorama(tmp_path / "large.tif", 1)
    picture = tifffile.imread(tmp_path / "large.tif")
    assert picture.shape == (1000, 1000, 3)
    assert picture.dtype == np.uint16
    assert 0.02 < picture.std() / 65535 < 0.3
