"""The spectral restorer: silence stays silence, nothing done is nothing changed, noise goes and the rest stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from denoise import zoo
from denoise.measure.scores import si_sdr
from denoise.restorer import Restorer
from denoise.run import Options, restore_sound
from denoise.signals import Audio


@pytest.fixture(scope="module")
def spectral() -> Restorer:
    return zoo.load("spectral", device="cpu")


def syllables(seconds: float, rate: int) -> np.ndarray:
    at = np.arange(int(seconds * rate)) / rate
    pitch = np.cumsum(140 + 30 * np.sin(2 * np.pi * 0.7 * at)) / rate
    harmonics = sum(np.sin(2 * np.pi * k * pitch) / k for k in range(1, 15))
    return (0.1 * harmonics * np.clip(np.sin(2 * np.pi * 1.5 * at), 0, 1)).astype(np.float32)


def hiss(size: int, level: float = 0.03, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


def restored(restorer: Restorer, sound: np.ndarray, rate: int, **knobs: float) -> np.ndarray:
    return restorer(torch.from_numpy(np.atleast_2d(sound))[None], rate=float(rate), **knobs)[0].numpy()


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_silence_stays_silence(spectral: Restorer, rate: int) -> None:
    assert not restored(spectral, np.zeros(rate, np.float32), rate).any()


@pytest.mark.parametrize("rate", [8000, 11025, 48000])
@pytest.mark.parametrize("size", [1, 2, 777, 20001])
def test_a_floor_of_nothing_changes_nothing(spectral: Restorer, rate: int, size: int) -> None:
    sound = hiss(size, 0.2)
    assert np.allclose(restored(spectral, sound, rate, floor=0.0)[0], sound, atol=1e-5)


def test_even_noise_is_lowered_to_the_floor(spectral: Restorer) -> None:
    sound = hiss(6 * 16000)
    lowered = 20 * np.log10(np.std(restored(spectral, sound, 16000, floor=-18.0)[0, 16000:-16000]) / np.std(sound))
    assert -19 < lowered < -13


@pytest.mark.parametrize("rate", [16000, 48000])
def test_what_is_not_noise_comes_out_clearer(spectral: Restorer, rate: int) -> None:
    clean = syllables(6, rate)
    noisy = clean + hiss(len(clean))
    assert si_sdr(clean, restored(spectral, noisy, rate)[0]) > si_sdr(clean, noisy) + 3


def test_all_channels_get_the_same_gain(spectral: Restorer) -> None:
    sound = syllables(3, 16000) + hiss(3 * 16000)
    left, right = restored(spectral, np.stack([sound, 0.25 * sound]), 16000)
    assert np.allclose(0.25 * left, right, atol=1e-5)


def test_a_louder_sound_is_treated_alike(spectral: Restorer) -> None:
    sound = syllables(3, 16000) + hiss(3 * 16000)
    assert np.allclose(restored(spectral, 0.125 * sound, 16000), 0.125 * restored(spectral, sound, 16000), atol=1e-4)


def test_pieces_agree_with_the_whole_within_what_is_promised(spectral: Restorer) -> None:
    rate = 8000
    sound = syllables(40, rate) + hiss(40 * rate)
    audio = Audio.from_array(sound[None], rate)
    pieces = np.concatenate(list(restore_sound(audio, spectral, Options(piece=13 * rate))), axis=1)
    difference = np.abs(pieces - restored(spectral, sound, rate))
    assert difference.max() <= spectral.facts.bound
    assert np.sqrt(np.mean(difference**2)) < 1e-3
