"""A camera's noise is found again in its own frames and in one mosaic; what cannot be known is not guessed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray

from denoise import seeds
from denoise.errors import UserError
from denoise.noise import blind_mosaic
from denoise.noise.calibration import (
    Plot,
    black_of,
    calibrated,
    centred,
    darkness,
    grain_of,
    levelled,
    line,
    log_line,
    medians,
    normal_plot,
    site_means,
    step_of,
    tukey_plot,
)
from denoise.noise.camera import TILES, Camera, tukey_quantile
from denoise.noise.photon_transfer import paired, saturated, transfer
from denoise.noise.picture_laws import Poisson
from denoise.signals import quartered

ORACLES = Path(__file__).parents[2] / "shared" / "oracles" / "raw"
BLACK, WHITE = 512, 16383

Mosaic = NDArray[Any]


def frame(
    light_dn: float | torch.Tensor,
    seed: int,
    *,
    gain: float = 1.0,
    read: float = 3.0,
    shape: float | None = None,
    row: float = 0.0,
    bias: Sequence[float] = (0, 0, 0, 0),
    side: int = 512,
    fixed: float = 0.0,
) -> Mosaic:
    """A raw file of that light: written here once more from the equations, so that nothing tests itself."""
    light = light_dn if isinstance(light_dn, torch.Tensor) else torch.full((side, side), float(light_dn))
    photons = Poisson(1.0).sample(light[None] / gain, 2 * seed + 1)[0]
    if shape is None:
        still = seeds.normal_like(light, seed, 10)
    else:
        still = torch.from_numpy(tukey_quantile(seeds.uniform_like(light, seed, 20).double().numpy(), shape)).float()
    rows = row * seeds.normal_like(light[:, :1], seed, 30)
    pattern = fixed * seeds.normal_like(light, 99, 40)
    tile = torch.tensor(bias, dtype=torch.float32).reshape(2, 2).repeat(light.shape[0] // 2, light.shape[1] // 2)
    values = BLACK + gain * photons + read * still + rows + pattern + tile
    return values.round().clamp(0, WHITE).numpy().astype(np.uint16)


@lru_cache
def darks(gain: float, read: float, shape: float | None, row: float, count: int = 4) -> tuple[Mosaic, ...]:
    return tuple(frame(0, seed, gain=gain, read=read, shape=shape, row=row, side=256) for seed in range(count))


def flats(gain: float, read: float, levels: Sequence[float] = (60, 400, 2500)) -> list[tuple[Mosaic, Mosaic]]:
    made = [
        [frame(level, 50 + 2 * n + k, gain=gain, read=read, side=256) for k in (0, 1)] for n, level in enumerate(levels)
    ]
    return [(one, two) for one, two in made]


def oracle(name: str) -> dict[str, Any]:
    path = ORACLES / f"{name}.npz"
    if not path.is_file():
        pytest.skip("the oracles are not there")
    with np.load(path) as file:
        return dict(file)


# Probability plots


def test_quantiles_of_the_lambda_law_are_those_of_the_oracle() -> None:
    known = oracle("tukey_lambda")
    for shape, quantiles in zip(known["lam"], known["ppf"], strict=True):
        assert np.allclose(tukey_quantile(known["p"], float(shape)), quantiles, rtol=1e-6, atol=1e-9)


def test_a_line_through_a_line_is_that_line() -> None:
    at = np.linspace(-3, 3, 50)
    assert line(at, 2 * at + 5) == Plot(pytest.approx(2), pytest.approx(5), pytest.approx(1))


def test_medians_are_symmetric_and_grow() -> None:
    at = medians(11)
    assert np.allclose(at + at[::-1], 1)
    assert (np.diff(at) > 0).all()


@pytest.mark.parametrize("channel", range(4))
def test_a_plane_of_the_oracle_is_fitted_as_it_was(channel: int) -> None:
    known = oracle("dark_frame_calibration")
    values = known["dark_frame_uint16"][channel].astype(float) - known["black_level"]
    theirs = dict(zip(known["result_cols"], known["result"][channel], strict=True))
    still = values - values.mean(1, keepdims=True)
    read, rows, tail, gauss = normal_plot(values), normal_plot(values.mean(1)), tukey_plot(still), normal_plot(still)
    ours = [read.scale, read.centre, read.r2, rows.scale, rows.r2, tail.shape, tail.plot.scale, tail.plot.r2]
    names = ("sigma_read", "mean_read", "R2_read", "sigma_row", "R2_row", "lambda", "sigma_TL", "R2_TL")
    assert ours == pytest.approx([theirs[name] for name in names], rel=1e-5, abs=1e-5)
    assert (gauss.scale, gauss.r2) == pytest.approx((theirs["sigma_g"], theirs["R2_g"]), rel=1e-6)


@pytest.mark.parametrize("channel", range(4))
def test_the_law_behind_the_oracle_is_recovered(channel: int) -> None:
    known = oracle("dark_frame_calibration")
    values = known["dark_frame_uint16"][channel].astype(float)
    shape, scale, row = known["true_lam_sTL_sR"]
    found = grain_of([values - values.mean()], step=1.0)
    assert found.read_lambda == pytest.approx(shape, abs=0.05)
    assert found.read_dn == pytest.approx(scale, rel=0.1)
    assert found.row_dn == pytest.approx(row, rel=4 / np.sqrt(2 * 160) * 1.2)  # 160 rows, four standard errors
    assert found.read_r2 > 0.999 > found.gaussian_r2


# Dark frames

LAWS = [(-0.06, 3.2, 0.9), (0.14, 2.0, 0.5), (-0.2, 5.0, 2.0), (0.0, 1.0, 0.3), (0.05, 8.0, 0.0)]


@pytest.mark.parametrize(("shape", "scale", "row"), LAWS)
@pytest.mark.parametrize("count", [1, 4])
def test_a_dark_law_is_recovered(shape: float, scale: float, row: float, count: int) -> None:
    found = darkness(darks(1.0, scale, shape, row)[:count], [BLACK] * 4).grain
    assert found.read_lambda == pytest.approx(shape, abs=0.05)
    assert found.read_dn == pytest.approx(scale, rel=0.1)
    assert found.row_dn == pytest.approx(row, rel=4 / np.sqrt(2 * 256), abs=0.15 * scale)  # of one frame's rows
    assert found.read_r2 > 0.995


@pytest.mark.parametrize("sigma", [0.7, 1.5, 6.0])
def test_gaussian_read_noise_is_recovered_without_that_of_rounding(sigma: float) -> None:
    found = darkness(darks(1.0, sigma, None, 0.2), [BLACK] * 4).grain
    deviation = found.read_dn if found.read_lambda is None else found.gaussian_dn
    assert deviation == pytest.approx(sigma, rel=0.05)
    assert found.gaussian_dn == pytest.approx(sigma, rel=0.1)


def test_where_rounding_hides_the_shape_none_is_told() -> None:
    assert darkness(darks(1.0, 0.7, None, 0.2), [BLACK] * 4).grain.read_lambda is None


def test_the_residue_of_the_pixels_is_no_row_noise() -> None:
    """64 columns: row means of pure read noise scatter by read / 8, which must not be called row noise."""
    frames = [frame(0, seed, read=8.0, side=64) for seed in range(6)]
    found = darkness(frames, [BLACK] * 4).grain
    assert np.std(np.mean(frames[0], 1)) > 0.7
    assert found.row_dn < 0.5


@pytest.mark.parametrize("cfa", sorted(TILES))
def test_each_colour_has_its_own_bias(cfa: str) -> None:
    by_colour = {"R": 3.0, "B": -2.0}
    letters = [by_colour.get(letter, 0.0) for letter in cfa]
    greens = [site for site in range(4) if cfa[site] == "G"]
    beside_red = next(site for site in greens if "R" in cfa[site // 2 * 2 : site // 2 * 2 + 2])
    letters[beside_red] = 1.0
    found = darkness([frame(0, seed, bias=letters, side=256) for seed in (1, 2)], [BLACK] * 4, cfa)
    assert found.bias_dn == pytest.approx((3.0, 1.0, 0.0, -2.0), abs=0.1)  # R, G1 beside R, G2, B


def test_what_is_the_same_in_every_frame_is_no_read_noise() -> None:
    found = darkness([frame(0, seed, read=4.0, fixed=3.0, side=256) for seed in range(4)], [BLACK] * 4).grain
    assert found.fixed_dn == pytest.approx(3.0, rel=0.1)
    assert found.gaussian_dn == pytest.approx(4.0, rel=0.1)
    assert darkness(darks(1.0, 3.2, -0.06, 0.9), [BLACK] * 4).grain.fixed_dn == 0
    assert darkness(darks(1.0, 3.2, -0.06, 0.9)[:1], [BLACK] * 4).grain.fixed_dn is None


def test_the_step_of_a_shifted_file_is_seen() -> None:
    shifted = [(one * 4).astype(np.uint16) for one in darks(1.0, 3.2, -0.06, 0.9)]
    assert step_of(shifted) == 4
    found = darkness(shifted, [4 * BLACK] * 4).grain
    assert found.read_dn == pytest.approx(4 * 3.2, rel=0.1)


def test_the_middle_keeps_the_colours_where_they_are() -> None:
    mosaic = np.add.outer(2 * (np.arange(2301) % 2), np.arange(2503) % 2)
    middle = centred(mosaic)
    assert middle.shape == (2048, 2048)
    assert middle[:2, :2].tolist() == mosaic[:2, :2].tolist()
    assert site_means(middle).tolist() == [0, 1, 2, 3]


def test_levels_are_taken_away_per_colour() -> None:
    mosaic = frame(0, 3, bias=(5, -5, 2, 0), side=64)
    assert np.allclose(site_means(levelled(mosaic, site_means(mosaic))), 0, atol=1e-9)


def test_an_unknown_black_level_is_the_mean_of_the_dark_frames() -> None:
    assert black_of(darks(1.0, 3.2, -0.06, 0.9), None, "RGGB") == (BLACK,) * 4


# Over the gain


def test_a_line_over_the_gain_is_recovered() -> None:
    gains = np.geomspace(0.1, 20, 9)
    found = log_line(gains, np.exp(0.5 * np.log(gains) + 0.8))
    assert (found.slope, found.intercept, found.residual) == pytest.approx((0.5, 0.8, 0.0), abs=1e-9)
    assert found.at(4.0) == pytest.approx(2 * np.exp(0.8))


def test_the_scatter_around_the_line_is_told() -> None:
    gains, away = np.geomspace(0.1, 20, 8), np.tile([0.1, -0.1, -0.1, 0.1], 2)
    found = log_line(gains, np.exp(0.5 * np.log(gains) + away))
    assert found.residual == pytest.approx(0.1, rel=0.02)


def test_one_gain_makes_no_line() -> None:
    with pytest.raises(UserError, match="two settings"):
        log_line([1.0, 1.0], [2.0, 3.0])


# Photon transfer


@pytest.mark.parametrize(("gain", "read"), [(0.1, 1.0), (0.5, 2.0), (2.0, 6.0), (8.0, 15.0)])
def test_the_gain_is_recovered_within_a_twentieth(gain: float, read: float) -> None:
    dark = (frame(0, 7, gain=gain, read=read, side=256), frame(0, 8, gain=gain, read=read, side=256))
    found = transfer([*flats(gain, read), dark], BLACK, WHITE)
    assert found.gain_dn_per_e == pytest.approx(gain, rel=0.05)
    assert abs(found.gain_dn_per_e - gain) < 4 * found.gain_error
    assert found.read_dn == pytest.approx(read, rel=0.1)
    assert found.r2 > 0.95


def test_neither_dust_nor_vignetting_nor_rows_change_the_gain() -> None:
    across = torch.linspace(0.4, 1, 256)
    light = 2000 * across[:, None] * across[None]
    light[40:44, 40:60] *= 0.2
    shots = [frame(share * light, seed, gain=2.0, row=5.0) for share in (0.1, 1.0) for seed in (3, 4)]
    found = transfer([(shots[0], shots[1]), (shots[2], shots[3])], BLACK, WHITE)
    assert found.gain_dn_per_e == pytest.approx(2.0, rel=0.05)
    assert found.read_dn == pytest.approx(3.0, rel=0.25), "the rows' 5 DN are not read noise"


def test_frames_find_their_pairs_by_brightness() -> None:
    levels = (400, 60, 2500, 60, 900, 400)
    pairs, alone = paired([frame(level, seed, side=64) for seed, level in enumerate(levels)], BLACK)
    assert {frozenset(pair) for pair in pairs} == {frozenset({1, 3}), frozenset({0, 5})}
    assert sorted(alone) == [2, 4]


def test_a_flat_of_one_value_is_no_photograph() -> None:
    one = np.full((128, 128), 900, np.uint16)
    with pytest.raises(UserError, match="is 900 DN everywhere"):
        transfer([(one, one)], BLACK, WHITE)


def test_saturated_flats_are_refused() -> None:
    bright = frame(15800, 1, side=128), frame(15800, 2, side=128)
    with pytest.raises(UserError, match=r"saturated: \d+\.\d % .* expose it shorter"):
        transfer([*flats(1.0, 3.0), bright], BLACK, WHITE)
    with pytest.raises(UserError, match="saturated"):
        transfer([*flats(1.0, 3.0), bright], BLACK)  # white unknown, but heaped
    assert saturated(frame(3000, 1, side=128), WHITE) == 0


def test_flats_that_are_equally_bright_tell_no_gain() -> None:
    with pytest.raises(UserError, match="other exposures"):
        transfer(flats(1.0, 3.0, (400,)), BLACK, WHITE)


def test_a_pair_has_one_size() -> None:
    with pytest.raises(UserError, match="make no pair"):
        transfer([(frame(9, 1, side=64), frame(9, 2, side=128))], BLACK)


# All of it


def test_a_camera_is_recovered_from_its_frames() -> None:
    gain, read, shape, row = 2.0, 3.2, -0.06, 0.9
    lit = [one for pair in flats(gain, 6.5) for one in pair]
    found = calibrated(darks(gain, read, shape, row), lit, black_dn=[BLACK] * 4, white_dn=WHITE, iso=800, name="toy")
    camera = found.camera
    assert camera.gain_dn_per_e == pytest.approx(gain, rel=0.05)
    assert camera.read_dn == pytest.approx(read, rel=0.1)
    assert camera.read_lambda == pytest.approx(shape, abs=0.05)
    assert camera.row_dn == pytest.approx(row, rel=0.15)
    assert (camera.step_dn, camera.white_dn, camera.name) == (1, WHITE - BLACK, "toy")
    assert (found.iso, found.gain_from) == (800, "flat frames")
    same = Camera.fit((darks(gain, read, shape, row), lit), black_dn=[BLACK] * 4, white_dn=WHITE, name="toy")
    assert same == camera


def test_without_flats_the_gain_is_given_or_assumed() -> None:
    frames = darks(1.0, 3.2, -0.06, 0.9)
    assert calibrated(frames, gain_dn_per_e=0.7, white_dn=WHITE).camera.gain_dn_per_e == 0.7
    assumed = calibrated(frames, iso=1600, white_dn=WHITE)
    assert assumed.camera.gain_dn_per_e == pytest.approx(1.6)
    assert "assumed" in assumed.gain_from
    with pytest.raises(UserError, match="--gain"):
        calibrated(frames, white_dn=WHITE)


def dark(values: object, kind: type = np.uint16) -> Mosaic:
    return np.asarray(values, kind)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([], "no dark frames"),
        ([frame(0, 1, side=64), frame(0, 2, side=32)], r"different sizes \(32 × 32, 64 × 64\)"),
        ([dark(np.full((64, 64), 512))], "no noise"),
        ([frame(0, 1, side=64)] * 2, "same values"),
        ([np.maximum(frame(0, 1, side=64), 512)], "cut off"),
    ],
)
def test_dark_frames_that_tell_nothing_are_refused(frames: list[Mosaic], words: str) -> None:
    with pytest.raises(UserError, match=words):
        darkness(frames, [BLACK] * 4)


def test_white_is_above_black() -> None:
    with pytest.raises(UserError, match="White of 100 DN is not above black of 512 DN"):
        calibrated([frame(0, 1, side=64)], black_dn=[512] * 4, white_dn=100, iso=100)


def test_a_lit_frame_is_not_dark() -> None:
    with pytest.raises(UserError, match="not dark"):
        calibrated([frame(3000, 1, side=64)], black_dn=[BLACK] * 4, white_dn=WHITE, iso=100)


def test_flats_and_darks_are_of_one_size() -> None:
    with pytest.raises(UserError, match="differ in size"):
        calibrated([frame(0, 1, side=64)], [frame(9, 1, side=32)], white_dn=WHITE)


# One mosaic


def ramp(side: int = 768) -> torch.Tensor:
    return torch.linspace(0, 1, side).square().expand(side, side)


@pytest.mark.parametrize(("gain", "read", "bright"), [(0.3, 2.0, 1500), (1.0, 3.0, 200), (5.0, 12.0, 400)])
def test_gain_and_read_noise_are_recovered_from_one_mosaic(gain: float, read: float, bright: float) -> None:
    found = blind_mosaic.estimate(frame(bright * ramp(), 3, gain=gain, read=read, row=0.2 * read), BLACK, WHITE)
    assert found.gain_dn_per_e is not None
    assert found.read_dn is not None
    assert found.gain_dn_per_e.value == pytest.approx(gain, rel=0.05)
    assert found.read_dn.value == pytest.approx(read, rel=0.1)
    assert found.confidence > 0.7


@pytest.mark.parametrize("offset", [-6, 0, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_wrong_black_level_is_seen_in_the_dark(offset: int, seed: int) -> None:
    mosaic = frame(150 * ramp(), seed, gain=1.0, read=3.0)
    found = blind_mosaic.estimate(mosaic, BLACK - offset, WHITE)
    assert found.offset_dn is not None
    assert found.offset_dn.value == pytest.approx(offset, abs=1)
    assert abs(found.offset_dn.value - offset) < 4 * found.offset_dn.error
    assert found.read_dn is not None
    assert found.read_dn.value == pytest.approx(3.0, rel=0.1)


def black_error_dn(sites: np.ndarray) -> float:
    return blind_mosaic.black_error(quartered((sites / WHITE).astype(np.float32))) * WHITE


@pytest.mark.parametrize("offset", [-6, 0, 4])
def test_black_is_moved_as_far_as_is_sure(offset: int) -> None:
    """Neither hot pixels, nor what was cut off at black, are taken for it."""
    clean = frame(150 * ramp(), 1, gain=1.0, read=3.0).astype(float) - BLACK + offset
    hot, dice = clean.copy(), np.random.default_rng(0)
    some = dice.random(hot.shape) < 1e-4
    hot[some] += dice.exponential(200, int(some.sum()))
    bright = frame(4000 + 6000 * ramp(), 1, gain=0.5, read=3.0).astype(float) - BLACK + offset
    found = [black_error_dn(sites) for sites in (clean, hot, bright)]
    assert found[:2] == pytest.approx([offset, offset], abs=0.6)
    assert found[2] == 0
    assert black_error_dn(clean.clip(min=0)) == 0


def test_in_the_light_the_black_level_is_not_guessed() -> None:
    found = blind_mosaic.estimate(frame(4000 + 6000 * ramp(), 1, gain=0.5, read=3.0), BLACK, WHITE)
    assert found.gain_dn_per_e is not None
    assert found.offset_dn is None
    assert "too bright" in found.describe()


@pytest.mark.parametrize("case", [0, 1])
def test_the_gain_of_the_oracle_s_scenes_is_recovered_within_a_twentieth(case: int) -> None:
    known = oracle("yond_noise_estimation")
    gain = known[f"c{case}_true_K_sigma_DN"][0]
    found = blind_mosaic.estimate(959 * known[f"c{case}_noisy_bayer"], white_dn=950, step_dn=0)
    assert found.gain_dn_per_e is not None
    assert found.gain_dn_per_e.value == pytest.approx(gain, rel=0.05)


@lru_cache
def textured(name: str) -> torch.Tensor:
    """Twice as large, so that it is no noise from pixel to pixel."""
    small = torch.from_numpy(getattr(skimage.data, name)()).float()[None, None] / 255
    return torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")[0, 0]


@pytest.mark.parametrize("name", ["grass", "gravel", "brick"])
def test_where_nothing_is_flat_nothing_is_guessed(name: str) -> None:
    found = blind_mosaic.estimate(frame(15000 * textured(name), 1, gain=0.1, read=1.0), BLACK, WHITE)
    assert found.gain_dn_per_e is None
    assert found.read_dn is None
    assert found.confidence == 0
    assert "both flat and free of clipping" in found.describe()


def test_noise_that_differs_from_place_to_place_is_texture() -> None:
    """Rough and smooth cloth of every brightness: white from photosite to photosite, and yet no noise."""
    rough = torch.rand(24, 24, generator=torch.Generator().manual_seed(1)).repeat_interleave(32, 0)
    rough = rough.repeat_interleave(32, 1)
    cloth = 600 + 3000 * ramp() + 200 * rough * seeds.normal_like(ramp(), 5)
    found = blind_mosaic.estimate(frame(cloth, 1, gain=0.1), BLACK, WHITE)
    assert found.gain_dn_per_e is None
    assert "differs from place to place" in found.reason


@lru_cache
def photograph(name: str) -> torch.Tensor:
    """Linear, with its edges and its own grain."""
    pixels = torch.from_numpy(getattr(skimage.data, name)()).float().reshape(512, 512, -1)[None, :, :, -2:].mean(-1)
    return torch.nn.functional.interpolate(pixels[None] / 255, scale_factor=2, mode="bilinear")[0, 0].pow(2.2)


@pytest.mark.parametrize("name", ["astronaut", "camera"])
@pytest.mark.parametrize(("gain", "read", "bright"), [(1.0, 3.0, 200), (0.1, 1.0, 5000)])
def test_in_a_photograph_nothing_is_surer_than_it_is(name: str, gain: float, read: float, bright: float) -> None:
    mosaic = frame(bright * photograph(name), 1, gain=gain, read=read, bias=(2, 2, 2, 2))
    found = blind_mosaic.estimate(mosaic, BLACK, WHITE)
    for measured, true in ((found.gain_dn_per_e, gain), (found.offset_dn, 2.0)):
        assert measured is None or abs(measured.value - true) < 3 * measured.error
    assert gain < 1 or found.gain_dn_per_e is not None


def test_one_brightness_alone_tells_no_gain() -> None:
    found = blind_mosaic.estimate(frame(400, 1), BLACK, WHITE)
    assert found.gain_dn_per_e is None
    assert "alike in brightness" in found.reason


def test_noise_that_does_not_grow_with_light_is_not_raw() -> None:
    noisy = 200 * ramp() + 5 * seeds.normal_like(ramp(), 1)
    assert blind_mosaic.estimate((BLACK + noisy).round().numpy().astype(np.uint16), BLACK).gain_dn_per_e is None


@pytest.mark.parametrize(
    "mosaic", [dark(np.zeros((256, 256))), dark(np.full((256, 256), WHITE)), dark(np.ones((9, 9)))]
)
def test_empty_mosaics_say_nothing(mosaic: Mosaic) -> None:
    found = blind_mosaic.estimate(mosaic, 0, WHITE)
    assert found.gain_dn_per_e is None
    assert found.describe().startswith("noise unknown")


def test_words_carry_their_units() -> None:
    found = blind_mosaic.estimate(frame(200 * ramp(), 3), BLACK, WHITE)
    assert "DN per electron" in found.describe()
    assert "read noise" in found.describe()
    assert "confidence 0." in found.describe()
