"""The picture of a sound: a tone stands at its frequency, a click at its moment, and colours say how loud."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denoise.measure.spectrogram import (
    LOUD_DBFS,
    QUIET_DBFS,
    coloured,
    marks,
    spectrogram_dbfs,
    spectrogram_image,
    with_axes,
)

RATES = st.sampled_from([8000, 16000, 44100, 48000, 96000])


def tone(frequency_hz: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate)) / rate, dtype=np.float32)[None]


@settings(max_examples=20)
@given(rate=RATES, share=st.floats(0.05, 0.95), height=st.integers(20, 200))
def test_a_tone_stands_at_its_frequency_with_its_loudness(rate: int, share: float, height: int) -> None:
    """A sine of full scale has 0 dBFS; where it falls between two bands, each has up to half of it."""
    level = spectrogram_dbfs(tone(share * rate / 2, rate), rate, height, 20)
    middle = level[:, 10]
    assert abs(int(middle.argmax()) - height * (1 - share)) <= 1.5
    assert -4 <= middle.max() <= 0.5


@settings(max_examples=20)
@given(rate=RATES, share=st.floats(0.05, 0.95), seconds=st.sampled_from([0.5, 2.0, 20.0]))
def test_a_click_stands_at_its_moment_however_short_it_is(rate: int, share: float, seconds: float) -> None:
    sound = np.zeros((1, round(seconds * rate)), np.float32)
    sound[0, round(share * sound.shape[1])] = 1
    loudness = spectrogram_dbfs(sound, rate, 32, 60).max(0)
    assert loudness.max() > -80
    assert abs(int(loudness.argmax()) - share * 60) <= 0.04 / seconds * 60 + 1.5


@given(length=st.integers(1, 3000), channels=st.integers(1, 3), height=st.integers(1, 40), width=st.integers(1, 50))
def test_any_sound_gives_a_picture_of_the_size_asked_for(length: int, channels: int, height: int, width: int) -> None:
    image = spectrogram_image(np.full((channels, length), 0.1, np.float32), 16000, height, width)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8


def test_channels_are_averaged_and_louder_is_louder() -> None:
    one, none = tone(1000, 8000), np.zeros((1, 4000), np.float32)
    level = spectrogram_dbfs(one, 8000, 32, 10)
    assert np.allclose(spectrogram_dbfs(np.concatenate([one, one]), 8000, 32, 10), level, atol=1e-3)
    peaks = [spectrogram_dbfs(sound, 8000, 32, 10).max() for sound in (np.concatenate([one, none]), 0.1 * one)]
    assert np.allclose(peaks, level.max() - np.array([3.01, 20]), atol=0.05)


def test_silence_is_dark_and_the_scale_ends_where_it_says() -> None:
    dark, bright = coloured(np.array([[QUIET_DBFS, LOUD_DBFS]], np.float32))[0]
    assert dark.sum() < 10
    assert bright.sum() > 650
    beyond = coloured(np.array([[QUIET_DBFS - 50, LOUD_DBFS + 50]], np.float32))[0]
    assert (beyond == [dark, bright]).all()
    assert (spectrogram_image(np.zeros((2, 5000), np.float32), 16000, 20, 30) == dark).all()


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB bytes."""
    values = colours / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_equal_steps_of_loudness_look_equal() -> None:
    steps = np.diff(lightness(coloured(np.linspace(QUIET_DBFS, LOUD_DBFS, 31, dtype=np.float32)[None])[0]))
    assert (steps > 0).all()
    assert steps.max() < 2 * steps.mean()


@given(end=st.floats(0.001, 1e5), most=st.integers(1, 20))
def test_marks_are_few_even_and_within(end: float, most: int) -> None:
    found = marks(end, most)
    assert found[0] == 0
    assert found[-1] <= end * (1 + 1e-6) + 1e-8
    assert 1 <= len(found) <= most + 1


@pytest.mark.parametrize("seconds", [0.01, 3.7, 4000])
def test_axes_leave_the_picture_as_it_was(seconds: float) -> None:
    image = spectrogram_image(tone(1000, 8000), 8000, 100, 300)
    drawn = with_axes(image, 8000, seconds)
    height, width = drawn.shape[:2]
    assert (drawn[:100, width - 300 :] == image).all()
    assert len(np.unique(drawn[:, : width - 300])) > 5, "nothing stands on the left"
    assert len(np.unique(drawn[100:])) > 5, "nothing stands below"
    assert height > 100
