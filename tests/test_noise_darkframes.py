"""Noise out of dark frames has what the frames have: their spread, tails, rows and colours, and photons on top."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from denoise.errors import UserError
from denoise.noise.camera import Camera, pack
from denoise.noise.darkframes import DarkFrames
from denoise.noise.frame import Frame

HEIGHT, WIDTH = 96, 130
BLACK = (512.0, 512.0, 514.0, 510.0)
SENSOR = Camera(1.0, 3.0, -0.1, row_dn=2.0, step_dn=0.0)


@lru_cache
def dark_frames(count: int, shading: float = 4.0) -> tuple[Frame, ...]:
    """Whole numbers, as a camera writes them, with a slope over the frame that they all share."""
    camera = replace(SENSOR, bias_dn=BLACK)
    slope = torch.linspace(0, shading, WIDTH)
    frames = [camera.sample(torch.zeros(HEIGHT, WIDTH), seed) + slope for seed in range(count)]
    return tuple(frame_of(values.round().numpy().astype(np.uint16), index) for index, values in enumerate(frames))


def frame_of(values: np.ndarray, index: int = 0, **facts: Any) -> Frame:
    told = {"cfa": "RGGB", "black_dn": BLACK, "iso": 1600} | facts
    return Frame(Path(f"dark{index}.dng"), values, (values.shape[1], values.shape[0]), **told)


def law_of(count: int = 12, **how: Any) -> DarkFrames:
    return DarkFrames.fit(dark_frames(count), gain_dn_per_e=how.pop("gain", 2.0), **how)


def zeros(height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.zeros(height, width)


laws = pytest.mark.parametrize("law", [law_of(), law_of(shading=False), law_of(1)], ids=["fit", "shaded", "single"])


def test_without_light_the_noise_is_a_frame_moved_by_whole_tiles() -> None:
    law = law_of(3, shading=False)
    frames = [torch.from_numpy(frame.photosites.astype(np.float32)) for frame in dark_frames(3)]
    for seed in range(12):
        number, down, across = law.placed(seed)
        assert down % 2 == 0
        assert across % 2 == 0
        moved = torch.roll(frames[number], (-down, -across), (0, 1))
        dark = law.sample(zeros(), seed)
        planes = pack(moved, "RGGB") - torch.tensor(BLACK)[:, None, None]
        assert torch.equal(pack(dark, "RGGB"), planes)


def test_all_frames_and_places_are_drawn() -> None:
    law = law_of()
    placed = np.array([law.placed(seed) for seed in range(600)])
    assert set(placed[:, 0]) == set(range(12))
    for column, size in ((1, HEIGHT), (2, WIDTH)):
        assert stats.kstest((placed[:, column] + 1) / size, "uniform").pvalue > 1e-4


def test_what_frames_share_is_no_noise() -> None:
    """Without the shading the mean is level and the spread is that of the sensor; with it, the slope is there."""
    level, shaded = (samples(law_of(40, shading=shading)) for shading in (True, False))
    stated = SENSOR.read_std_dn**2 + SENSOR.row_dn**2 + 1 / 12
    assert level.var() == pytest.approx(stated, rel=0.03)
    assert shaded.var() == pytest.approx(stated + 4**2 / 12, rel=0.03)
    assert abs(level.mean()) < 0.1
    assert shaded.mean() == pytest.approx(2.0, abs=0.2)


def samples(law: DarkFrames, count: int = 80) -> np.ndarray:
    return np.stack([law.sample(zeros(), seed).double().numpy() for seed in range(count)])


def test_tails_and_rows_are_those_of_the_sensor() -> None:
    drawn = samples(law_of(40))
    rows = drawn.mean(2)
    left = (drawn - rows[..., None]).ravel()[::7]
    expected = SENSOR.read_dn * stats.tukeylambda(SENSOR.read_lambda).ppf([0.001, 0.01, 0.2, 0.8, 0.99, 0.999])
    found = np.quantile(left, [0.001, 0.01, 0.2, 0.8, 0.99, 0.999])
    assert np.allclose(found, expected, rtol=0.05)
    assert rows.var() == pytest.approx(SENSOR.row_dn**2 + SENSOR.read_std_dn**2 / WIDTH, rel=0.15)
    assert abs(np.mean(rows[:, 1:] * rows[:, :-1])) < 0.2 * rows.var(), "neighbouring rows are drawn apart"


@laws
@pytest.mark.parametrize("level", [0.0, 30.0, 800.0])
def test_photons_come_on_top(law: DarkFrames, level: float) -> None:
    clean = zeros() + level
    noise = np.stack([(law.sample(clean, seed) - clean).double().numpy() for seed in range(60)])
    dark = samples(law, 60)
    added = noise.var() - dark.var()
    error = 4 * noise.var() * math.sqrt(2 / noise.size)
    assert added == pytest.approx(law.gain_dn_per_e * level, abs=error)
    assert noise.mean() == pytest.approx(dark.mean(), abs=4 * math.sqrt(law.gain_dn_per_e * level / noise.size) + 1e-6)


@laws
def test_the_variance_is_the_stated_one(law: DarkFrames) -> None:
    clean = zeros() + 50
    noise = np.stack([(law.sample(clean, seed) - clean).double().numpy() for seed in range(80)])
    stated = law.variance(clean)
    for row in (0, 1):
        for column in (0, 1):
            wanted = stated[row::2, column::2]
            assert wanted.min() == wanted.max()
            assert noise[:, row::2, column::2].var() == pytest.approx(float(wanted[0, 0]), rel=0.06)


@laws
@given(
    top=st.integers(0, 60),
    left=st.integers(0, 90),
    height=st.integers(1, 36),
    width=st.integers(1, 40),
    seed=st.integers(0, 99),
)
@settings(max_examples=20)
def test_tiles_and_threads_do_not_change_a_bit(
    law: DarkFrames, top: int, left: int, height: int, width: int, seed: int
) -> None:
    clean = torch.linspace(0, 60, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    whole = law.sample(clean, seed, threads=3)
    part = law.sample(clean[top : top + height, left : left + width], seed, top, left, threads=1)
    assert torch.equal(part, whole[top : top + height, left : left + width])


@laws
def test_same_seed_same_noise(law: DarkFrames) -> None:
    assert torch.equal(law.sample(zeros(), 5), law.sample(zeros(), 5))
    assert not torch.equal(law.sample(zeros(), 5), law.sample(zeros(), 6))


def test_odd_sides_lose_their_last_row_and_column() -> None:
    values = dark_frames(1)[0].photosites[:95, :129]
    law = DarkFrames.fit([frame_of(values)], 1.0)
    assert law.frames[0].shape == (94, 128)
    planes = pack(law.sample(torch.zeros(94, 128), 3), "RGGB").mean((1, 2))
    assert (planes - planes.mean()).abs().max() < 1.5, "each colour keeps its own black"


def test_black_that_no_file_tells_is_taken_from_the_frames() -> None:
    law = DarkFrames.fit([frame_of(dark_frames(1)[0].photosites, black_dn=None)], 1.0)
    assert law.sample(zeros(), 1).mean().item() == pytest.approx(0, abs=1e-3)


def test_the_gain_is_assumed_aloud() -> None:
    law = DarkFrames.fit(dark_frames(3))
    assert law.gain_dn_per_e == 1.6
    assert "1.6 DN per electron (assumed from the ISO)" in law.describe()
    assert "assumed" not in law_of().describe()


def test_words_and_units() -> None:
    assert law_of().describe().startswith("12 dark frames of 96×130 at ISO 1600, ")
    assert "DN without what they share" in law_of().describe()
    assert law_of(1).describe().startswith("1 dark frame of ")


VALUES = dark_frames(1)[0].photosites


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([], "no dark frame"),
        ([frame_of(VALUES), frame_of(VALUES[:40], 1)], "different sizes"),
        ([frame_of(VALUES), frame_of(VALUES, 1, iso=800)], "different ISO"),
        ([frame_of(VALUES.astype(np.uint8))], "8-bit"),
        ([frame_of(np.full_like(VALUES, 512))], "no noise in it"),
        ([frame_of(VALUES[None])], "one value per photosite"),
        ([frame_of(VALUES, iso=None)], "say the gain"),
    ],
)
def test_no_such_dark_frames(frames: list[Frame], said: str) -> None:
    with pytest.raises(UserError, match=said):
        DarkFrames.fit(frames)


def test_no_gain_that_is_negative_and_no_mosaic_that_is_larger() -> None:
    with pytest.raises(UserError, match="gain of -1"):
        DarkFrames.fit(dark_frames(1), gain_dn_per_e=-1.0)
    with pytest.raises(UserError, match="larger than the dark frames"):
        law_of().sample(zeros(HEIGHT + 2), 1)
