"""A mosaic through a restorer: cut into cells, restored, put back; and the commands that do it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from raws import BLACK, TILES, WHITE, XTRANS, dng, mosaic, photosites, toy_shelf
from shelf import denoise, photo, shelve
from torch import Tensor
from toys import GAIN, Toy, box_blur, facts, gain, identity, seeded_picture

from denoise.errors import BadFile, Cancelled, UserError
from denoise.media.raw import open_raw
from denoise.noise.camera import in_tile, repeated
from denoise.run import DARK, MEASURED, STATED, Options, restore_mosaic, told_noise
from denoise.signals import Cells, Mosaic, SiteNoise

pytest.importorskip("rawpy")

tiles, sides = st.sampled_from(TILES), st.integers(2, 45)
LEVELS = (500.0, 505.0, 510.0, 520.0)


def toy(act: Any, **more: Any) -> Toy:
    return Toy(act, facts("raw", channels=4, **more))


# Cells


@given(height=sides, width=sides, cfa=tiles)
def test_cells_are_red_green_green_blue_and_nothing_is_cut(height: int, width: int, cfa: str) -> None:
    black, number = repeated(in_tile(LEVELS, cfa), (height, width)), np.arange(height * width).reshape(height, width)
    values = (number % 997 + 100).astype(np.uint16)  # some below black
    cells = Cells(Mosaic(values, cfa, LEVELS, 1500))
    planes = cells.region(slice(0, cells.height), slice(0, cells.width))
    assert planes.shape == (4, cells.height, cells.width)
    expected = (values - black) / (1500 - black)
    above, left = cells.before
    for plane, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        rows, columns = np.arange(row - above, height, 2), np.arange(column - left, width, 2)
        inside = planes[plane].numpy()[: len(rows), : len(columns)][rows >= 0][:, columns >= 0]
        assert np.allclose(inside, expected[rows[rows >= 0]][:, columns[columns >= 0]], atol=1e-6)
        letters = {cfa[2 * (r % 2) + c % 2] for r in rows[rows >= 0] for c in columns[columns >= 0]}
        assert letters <= {"RGGB"[plane]}


def test_all_phases_look_alike() -> None:
    """The same scene, one row or column later: the restorer sees the same cells."""
    whole = photosites(65, 81)
    seen = []
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        cfa = "".join("RGGB"[2 * ((r + row) % 2) + (c + column) % 2] for r in (0, 1) for c in (0, 1))
        cells = Cells(Mosaic(whole[row:, column:], cfa, (BLACK,) * 4, WHITE))
        seen.append(cells.region(slice(1, 30), slice(1, 30)))
    assert all(torch.equal(seen[0], one) for one in seen[1:])


# The laws


@given(height=sides, width=sides, cfa=tiles)
def test_what_changes_nothing_changes_nothing(height: int, width: int, cfa: str) -> None:
    noisy = mosaic(height, width, cfa)
    restored = restore_mosaic(noisy, toy(identity))
    assert restored.dtype == np.uint16
    assert np.array_equal(restored, noisy.photosites)


@given(seed=st.integers(0, 99), white=st.integers(1000, 65535), black=st.integers(0, 900))
def test_every_level_comes_back(seed: int, white: int, black: int) -> None:
    values = np.random.default_rng(seed).integers(0, 65536, (16, 18)).astype(np.uint16)
    noisy = Mosaic(values, "GRBG", (black, black + 1, black + 2, black + 3), white)
    assert np.array_equal(restore_mosaic(noisy, toy(identity)), values)


@pytest.mark.parametrize("cfa", TILES)
def test_in_tiles_it_is_the_whole(cfa: str) -> None:
    noisy = mosaic(301, 423, cfa)
    blur = toy(box_blur(3), context=3)
    whole = restore_mosaic(noisy, blur, Options(piece=10**6))
    cut = restore_mosaic(noisy, blur, Options(piece=64))
    assert len(blur.seen) > 6
    assert np.abs(whole.astype(int) - cut).max() <= 1, "half a step may fall either way"
    assert np.abs(whole.astype(int) - noisy.photosites).max() > 1


@pytest.mark.parametrize("piece", [64, 10**6])
def test_strength_is_linear(piece: int) -> None:
    noisy = mosaic(151, 170)
    none, some, all_ = (
        restore_mosaic(noisy, toy(box_blur(1), context=1), Options(strength=share, piece=piece)).astype(float)
        for share in (0, 0.25, 1)
    )
    assert np.array_equal(none, noisy.photosites)
    inside = (all_ > 0) & (all_ < WHITE)
    assert np.abs(some - (none + 0.25 * (all_ - none)))[inside].max() <= 0.75


def test_levels_stay_within_those_of_the_file() -> None:
    noisy = mosaic()
    brighter = restore_mosaic(noisy, toy(gain, knobs=(GAIN,)), Options(knobs={"gain": 2}))
    assert brighter.max() == noisy.photosites.max() == WHITE + 5
    float_values = Mosaic(noisy.photosites.astype(np.float32), "RGGB", (BLACK,) * 4, WHITE)
    assert restore_mosaic(float_values, toy(gain, knobs=(GAIN,)), Options(knobs={"gain": 2})).max() > 1.5 * WHITE


def test_noise_of_a_seed_is_the_same_in_every_cut() -> None:
    noisy = mosaic(200, 260)
    one, cut, other = (
        restore_mosaic(noisy, toy(seeded_picture, seeded=True), Options(seed=seed, piece=piece)).astype(int)
        for seed, piece in ((1, 10**6), (1, 64), (2, 64))
    )
    assert np.abs(one - cut).max() <= 1
    assert not np.array_equal(cut, other)


def test_work_can_be_stopped_and_tells_how_far_it_is() -> None:
    told: list[float] = []
    restore_mosaic(mosaic(200, 260), toy(identity), Options(piece=64), told.append)
    assert told == sorted(told)
    assert told[-1] == 1

    def stop(share: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        restore_mosaic(mosaic(), toy(identity), tick=stop)


def test_a_restorer_for_other_planes_or_sensors_is_refused() -> None:
    with pytest.raises(UserError, match="knows Bayer sensors only"):
        restore_mosaic(mosaic(66, 78, XTRANS), toy(identity))
    with pytest.raises(BadFile, match="not numbers"):
        restore_mosaic(Mosaic(np.full((8, 8), np.nan, np.float32), "RGGB", (0.0,) * 4, 1), toy(identity))


# Its noise


def seen_noise(noisy: Tensor, survey: Tensor, **_: float) -> Tensor:
    """The read noise of each colour, in place of the picture."""
    return survey[:, :, 1, None, None].expand(noisy.shape)


def looked(parts: list[Tensor]) -> Tensor:
    (sheet,) = parts
    return torch.stack([torch.zeros(4), sheet.flatten(2).std(2)[0], torch.zeros(4), torch.ones(4)], 1)[None]


def test_noise_is_surveyed_over_the_whole_mosaic() -> None:
    restorer = Toy(seen_noise, facts("raw", channels=4, surveys=True), looked)
    restored = restore_mosaic(mosaic(400, 520), restorer, Options(piece=64))
    assert restorer.surveyed == [(1, 4, 200, 260)]
    assert np.unique(restored[0::2, 0::2]).size == 1


def test_noise_that_is_known_is_told_in_place_of_a_survey() -> None:
    red, first, second, blue = (SiteNoise(1e-3, read) for read in (0.1, 0.2, 0.3, 0.4))
    restorer = Toy(seen_noise, facts("raw", channels=4, surveys=True), looked)
    restored = restore_mosaic(mosaic(100, 120, "GRBG"), restorer, noise=(red, first, second, blue))
    assert restorer.surveyed == []
    values = (restored[:2, :2].astype(float) - BLACK) / (WHITE - BLACK)
    assert np.allclose(values, [[0.2, 0.1], [0.4, 0.3]], atol=1e-3), "G1 R / B G2"
    told = told_noise((red, first, second, blue), torch.full((4, 32, 32), 0.25))
    assert told[0].tolist() == pytest.approx(np.array([[1e-3, read, 0.0, 0.25] for read in (0.1, 0.2, 0.3, 0.4)]))
    with pytest.raises(UserError, match="cannot be told"):
        restore_mosaic(mosaic(), toy(identity), noise=(red, first, second, blue))


@pytest.mark.parametrize(("stated", "believed"), [(0.5, True), (5.0, False), (0.05, True)])
def test_what_the_file_states_is_believed_unless_there_is_far_less(stated: float, believed: bool) -> None:
    """Texture is measured as noise too; noise that is not there was taken away since."""
    sites = mosaic(100, 120)
    measured = float(looked([Cells(sites).region(slice(0, 50), slice(0, 60))[None]])[0, 0, 1])
    noise = (SiteNoise(0.0, stated * measured),) * 4
    restorer = Toy(seen_noise, facts("raw", channels=4, surveys=True), looked)
    said: list[str] = []
    restored = restore_mosaic(replace(sites, noise=noise), restorer, say=said.append)
    seen = (float(restored[0, 0]) - BLACK) / (WHITE - BLACK)
    assert seen == pytest.approx(min(stated * measured, 1) if believed else measured, rel=0.05)
    assert said == [STATED if believed else MEASURED]
    assert not np.array_equal(restore_mosaic(replace(sites, noise=noise), toy(identity)), restored)


@pytest.mark.parametrize(("than", "said"), [(1.1, True), (1.0, False)])
def test_another_model_for_the_dark_is_named(than: float, said: bool) -> None:
    """By the card; `looked` finds as much light as white has."""
    card = {"darker": {"than": than, "model": "owl"}}
    heard: list[str] = []
    restore_mosaic(
        mosaic(), Toy(seen_noise, facts("raw", channels=4, surveys=True, card=card), looked), say=heard.append
    )
    assert heard == ([DARK.format(light=than, model="owl")] if said else [])


# The command


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with a raw model on it."""
    place = toy_shelf(tmp_path / "shelf")
    monkeypatch.setenv("DENOISE_MODELS", str(place))
    return place


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One without."""
    import denoise.zoo

    place = shelve(tmp_path / "shelf")
    monkeypatch.setattr(denoise.zoo, "shelves", lambda: [place])
    return place


def test_a_raw_file_becomes_a_dng(shelf: Path, tmp_path: Path) -> None:
    path = dng(tmp_path / "in" / "a.dng", more=[(51041, "d", 2, (1e-3, 2e-6), True)])
    before = path.read_bytes()
    result = denoise("clean", path, "-o", f"{tmp_path}/out/", "--model", "toy-raw")
    assert result.exit_code == 0, result.stderr
    assert "DN (RMS)" in result.stderr
    noisy, clean = open_raw(path), open_raw(tmp_path / "out" / "a.dng")
    assert clean.photosites.shape == noisy.photosites.shape
    assert not np.array_equal(clean.photosites, noisy.photosites)
    assert (clean.cfa, clean.black, clean.white, clean.iso) == (noisy.cfa, noisy.black, noisy.white, noisy.iso)
    assert path.read_bytes() == before
    tags = tifffile.TiffFile(tmp_path / "out" / "a.dng").pages.first.pages[0].tags
    assert tags["NoiseReductionApplied"].value == (10000, 10000)


def test_nobody_knows_what_noise_is_left_where_a_knob_was_turned(shelf: Path, tmp_path: Path) -> None:
    path = dng(tmp_path / "a.dng", more=[(51041, "d", 2, (1e-3, 2e-6), True)])
    assert denoise("clean", path, "--model", "toy-raw", "--set", "detail=0.5").exit_code == 0
    tags = tifffile.TiffFile(tmp_path / "a.clean.dng").pages.first.pages[0].tags
    assert not {"NoiseReductionApplied", "NoiseProfile"} & {tag.name for tag in tags}
    assert open_raw(tmp_path / "a.clean.dng").noise is None


def test_a_mosaic_in_a_grey_tiff_is_said_to_be_one(shelf: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "mosaic.tif", photosites(noise=0))
    tifffile.imwrite(tmp_path / "grey.tif", np.full((64, 80), 999, np.uint16))
    for name, said in (("mosaic", True), ("grey", False)):
        ran = denoise("clean", tmp_path / f"{name}.tif")
        assert ("raw mosaic" in ran.stderr) == said


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_any_name_will_do(tmp_path: Path) -> None:
    path = dng(tmp_path / "a.dng").rename(tmp_path / os.fsdecode(b"bad\xff.dng"))
    assert open_raw(path).iso == 800


def test_nothing_is_changed_at_strength_0(shelf: Path, tmp_path: Path) -> None:
    path = dng(tmp_path / "a.dng", photosites(63, 81, "GBRG"), "GBRG")
    assert denoise("clean", path, "--model", "toy-raw", "--strength", 0).exit_code == 0
    again = open_raw(tmp_path / "a.clean.dng")
    assert np.array_equal(again.photosites, open_raw(path).photosites)


@pytest.mark.parametrize(
    ("develop", "name"), [("tiff", "a.tif"), ("png", "a.png"), ("jpeg", "a.jpg"), ("linear", "a.linear.dng")]
)
def test_it_can_be_developed(shelf: Path, tmp_path: Path, develop: str, name: str) -> None:
    path = dng(tmp_path / "in" / "a.dng")
    out = tmp_path / "out"
    result = denoise("clean", path, "-o", f"{out}/", "--model", "toy-raw", "--develop", develop)
    assert result.exit_code == 0, result.stderr
    assert sorted(each.name for each in out.glob("[!.]*")) == [name]
    told = denoise("clean", path, "-o", tmp_path / "one" / name, "--model", "toy-raw")
    assert told.exit_code == 0, told.stderr
    assert (tmp_path / "one" / name).read_bytes() == (out / name).read_bytes(), "the name says it too"


def test_folders_of_raw_files_and_pictures(shelf: Path, tmp_path: Path) -> None:
    dng(tmp_path / "in" / "a.dng")
    dng(tmp_path / "in" / "deep" / "b.dng")
    photo(tmp_path / "in" / "c.png")
    line = ("clean", tmp_path / "in", "-o", tmp_path / "out", "--json")
    first = denoise(*line)
    assert first.exit_code == 0, first.stderr
    files = {Path(one["output"]).relative_to(tmp_path / "out").as_posix() for one in json.loads(first.stdout)["files"]}
    assert files == {"a.dng", "deep/b.dng", "c.png"}
    again = json.loads(denoise(*line).stdout)
    assert again["totals"]["skipped"] == 3


def test_results_beside_are_not_cleaned_again(shelf: Path, tmp_path: Path) -> None:
    dng(tmp_path / "a.dng")
    for extra in ((), ("--develop", "tiff"), ("--develop", "linear")):
        assert denoise("clean", tmp_path, *extra).exit_code == 0
    assert sorted(path.name for path in tmp_path.glob("*.*")) == [
        "a.clean.dng",
        "a.clean.linear.dng",
        "a.clean.tif",
        "a.dng",
    ]


def test_what_was_taken_away_is_a_mosaic(shelf: Path, tmp_path: Path) -> None:
    path = dng(tmp_path / "a.dng")
    result = denoise("clean", path, "--residual")
    assert result.exit_code == 0, result.stderr
    noisy, clean, taken = (open_raw(tmp_path / f"a{mark}.dng") for mark in ("", ".clean", ".clean.residual"))
    middle = (BLACK + WHITE) // 2
    assert np.abs(noisy.photosites.astype(int) - clean.photosites - (taken.photosites - float(middle))).max() <= 1


def test_wrong_wishes_are_one_sentence(shelf: Path, tmp_path: Path) -> None:
    path, picture = dng(tmp_path / "a.dng"), photo(tmp_path / "b.png")
    for line, words in (
        ((path, "--develop", "movie"), "there are: linear, tiff, png, jpeg"),
        ((picture, "--develop", "tiff"), "for camera raw files"),
        ((path, "--develop", "tiff", "--in-place"), "choose one of the two"),
        ((path, "--develop", "tiff", "--residual"), "choose one of the two"),
        ((path, "--develop", "tiff", "-o", tmp_path / "c.png"), "is not what --develop tiff makes"),
        ((path, "--residual", "-o", tmp_path / "c.tif"), "--residual compares mosaics"),
        ((path, "-o", tmp_path / "c.webp"), "choose one of"),
        ((path, "--model", "toy-picture"), "chosen model is for another kind"),
    ):
        result = denoise("clean", *line)
        assert result.exit_code == 2, line
        assert words in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(each.name for each in tmp_path.glob("*.*")) == ["a.dng", "b.png"]


def test_bad_files_and_other_sensors_are_named_and_the_rest_comes(shelf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    dng(folder / "good.dng")
    dng(folder / "xtrans.dng", photosites(66, 78, XTRANS), XTRANS)
    Image.new("RGB", (40, 30)).save(folder / "jpeg.dng", "JPEG")
    dng(folder / "bright.dng", np.maximum(photosites(), 3000), black=None)
    result = denoise("clean", folder, "-o", tmp_path / "out")
    assert result.exit_code == 3
    for words in ("X-Trans mosaic", "in spite of its name a JPEG", "no black level"):
        assert words in result.stderr
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["good.dng"]


def test_only_a_dng_is_written_over(shelf: Path, tmp_path: Path) -> None:
    path = dng(tmp_path / "a.dng")
    other = tmp_path / "b.nef"
    other.write_bytes(path.read_bytes())
    refused = denoise("clean", other, "--in-place")
    assert refused.exit_code == 2
    assert "written as DNG" in refused.stderr
    assert other.read_bytes() == path.read_bytes()
    before = open_raw(path)
    assert denoise("clean", path, "--in-place").exit_code == 0
    assert open_raw(path).photosites.shape == before.photosites.shape
    assert not np.array_equal(open_raw(path).photosites, before.photosites)


def test_without_a_model_for_it_one_sentence_says_so(bare: Path, tmp_path: Path) -> None:
    path = dng(tmp_path / "in" / "a.dng")
    result = denoise("clean", path)
    assert result.exit_code == 2
    assert result.stderr.strip() == "No model for camera raw files here; `denoise models` lists what there is."
    photo(tmp_path / "in" / "b.png")
    mixed = denoise("clean", tmp_path / "in", "-o", tmp_path / "out")
    assert mixed.exit_code == 3
    assert "No model for camera raw files" in mixed.stderr
    assert [each.name for each in (tmp_path / "out").glob("[!.]*")] == ["b.png"]


def test_inspect_tells_camera_iso_levels_and_filter(shelf: Path, tmp_path: Path) -> None:
    said = denoise("inspect", dng(tmp_path / "a.dng", cfa="BGGR"))
    assert said.exit_code == 0, said.stderr
    for words in ("80×64", f"black {BLACK}, white {WHITE}", "BGGR", "ISO 800", "Toy 1", "model  yond"):
        assert words in said.stdout
    other = denoise("inspect", dng(tmp_path / "b.dng", photosites(66, 78, XTRANS), XTRANS)).stdout
    assert "X-Trans" in other
    assert "noise unknown" in other


def test_noise_goes_into_a_raw_file(tmp_path: Path) -> None:
    path = dng(tmp_path / "a.dng", photosites(noise=0), "GRBG")
    line = ("noise", "add", "camera", path, "--set", "gain_dn_per_e=2", "--set", "read_dn=40")
    assert denoise(*line, "-o", tmp_path / "b.dng").exit_code == 0
    clean, noisy = open_raw(path), open_raw(tmp_path / "b.dng")
    assert (noisy.cfa, noisy.black, noisy.iso) == (clean.cfa, clean.black, clean.iso)
    assert 40 < np.std(noisy.photosites.astype(float) - clean.photosites) < 400
    refused = denoise(*line, "-o", tmp_path / "b.png")
    assert refused.exit_code == 2
    assert "a raw file as .dng too" in refused.stderr


def test_two_raw_files_are_compared_developed(shelf: Path, tmp_path: Path) -> None:
    path = dng(tmp_path / "a.dng", photosites(noise=200))
    assert denoise("clean", path).exit_code == 0
    compared = denoise("compare", path, tmp_path / "a.clean.dng", "--json")
    assert compared.exit_code == 0, compared.stderr
    measured = json.loads(denoise("measure", tmp_path / "a.clean.dng", "-r", path, "--json").stdout)
    assert 20 < measured["mean"]["psnr"] < 60
