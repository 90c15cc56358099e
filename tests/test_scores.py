"""Scores: what is equal scores best, what is worse scores less, and what has no meaning is NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest

from denoise.measure import scores

RATE = 16000


def voice_like(seconds: float = 3.0) -> np.ndarray:
    """Harmonics of a wandering pitch that come and go as syllables do."""
    at = np.arange(int(seconds * RATE)) / RATE
    pitch = np.cumsum(140 + 30 * np.sin(2 * np.pi * 0.7 * at)) / RATE
    harmonics = sum(np.sin(2 * np.pi * k * pitch) / k for k in range(1, 20))
    return (0.1 * harmonics * np.clip(np.sin(2 * np.pi * 2.5 * at), 0, 1)).astype(np.float32)


def noise(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def test_psnr_is_what_the_error_says() -> None:
    clean = np.full((3, 20, 20), 0.5, np.float32)
    assert scores.psnr(clean, clean) == math.inf
    assert scores.psnr(clean, clean + 0.1) == pytest.approx(20, abs=1e-4)


def test_ssim_is_one_for_the_same_and_falls_with_noise() -> None:
    clean = np.random.default_rng(0).random((3, 40, 50)).astype(np.float32)
    weak, strong = (clean + level * noise(clean.size).reshape(clean.shape) for level in (0.02, 0.2))
    assert scores.ssim(clean, clean) == pytest.approx(1, abs=1e-5)
    assert 1 > scores.ssim(clean, weak) > scores.ssim(clean, strong)
    assert math.isnan(scores.ssim(clean[:, :5, :5], clean[:, :5, :5]))


def test_si_sdr_does_not_mind_the_level_and_is_the_ratio_of_powers() -> None:
    clean = voice_like()
    disturbance = noise(len(clean))
    disturbance -= clean * (disturbance @ clean) / (clean @ clean)  # only what is not the signal
    disturbance *= 0.1 * np.linalg.norm(clean) / np.linalg.norm(disturbance)
    assert scores.si_sdr(clean, clean + disturbance) == pytest.approx(20, abs=0.01)
    assert scores.si_sdr(clean, 7 * (clean + disturbance)) == pytest.approx(20, abs=0.01)
    assert math.isnan(scores.si_sdr(clean, np.zeros_like(clean)))


def test_stoi_falls_with_noise_and_silence_has_none() -> None:
    clean = voice_like()
    level = float(np.std(clean))
    weak, strong = (scores.stoi(clean, clean + k * level * noise(len(clean)), RATE) for k in (0.3, 3.0))
    assert scores.stoi(clean, clean, RATE) == pytest.approx(1, abs=1e-3)
    assert weak > strong
    assert math.isnan(scores.stoi(clean, np.zeros_like(clean), RATE))
    assert math.isnan(scores.stoi(clean[:100], clean[:100], RATE))


def test_pesq_falls_with_noise_and_silence_has_none() -> None:
    pytest.importorskip("pesq", reason="PESQ is compiled on installation, and was not")
    clean = voice_like()
    noisy = clean + 0.5 * float(np.std(clean)) * noise(len(clean))
    assert scores.pesq_wb(clean, clean, RATE) > 4.5
    assert scores.pesq_wb(clean, noisy, RATE) < 4
    assert math.isnan(scores.pesq_wb(clean, np.zeros_like(clean), RATE))
