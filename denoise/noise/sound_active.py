"""How loud speech is while somebody speaks, and noise mixed at a ratio to that.

The active level is that of ITU-T P.56, method B, with thresholds counted from the peak, so that a gain changes it by
just that gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from denoise.errors import UserError
from denoise.noise.law import Law
from denoise.noise.sound_kernels import HANGOVER_THRESHOLDS, activity

ENVELOPE_S = 0.03  # time constant of each of the two smoothings
HANGOVER_S = 0.2  # speech goes on for so long
MARGIN_DB = 15.9  # between the active level and the threshold that decides what is active
SILENT_POWER = 1e-12  # -120 dBFS: digital silence


def power_of(sound: Tensor) -> float:
    """Mean square over all channels and samples."""
    return float(sound.double().square().mean()) if sound.numel() else 0.0


def active_power(sound: Tensor, rate: float) -> float:
    """Mean square while somebody speaks, of (C, T); 0 in digital silence."""
    power = power_of(sound)
    if power < SILENT_POWER:
        return 0.0
    magnitude = sound.double().square().mean(0).sqrt().numpy()
    peak = float(magnitude.max())
    active = activity(magnitude, math.exp(-1 / (ENVELOPE_S * rate)), round(HANGOVER_S * rate), peak)
    steps = np.arange(1, HANGOVER_THRESHOLDS + 1)
    used = active > 0
    if not used.any():
        return power
    level = 10 * np.log10(power * len(magnitude) / active[used])
    above = level - 20 * np.log10(peak * 0.5 ** steps[used])
    return float(10 ** (at_margin(level, above) / 10))


def at_margin(level: np.ndarray, above: np.ndarray) -> float:
    """The level where its distance from the threshold crosses the margin, between two thresholds in proportion."""
    return float(np.interp(MARGIN_DB, np.maximum.accumulate(above), level))


def mixed_at(clean: Tensor, noise: Tensor, snr_db: float, rate: float) -> Tensor:
    """Speech with that noise at an SNR over active speech. Without speech, or without noise, the speech as it is."""
    if clean.shape != noise.shape:
        shapes = f"speech of {tuple(clean.shape)} and noise of {tuple(noise.shape)} samples"
        raise UserError(f"Cannot mix {shapes}; both want the same channels and length: cut or repeat the noise.")
    speech, disturbance = active_power(clean, rate), power_of(noise)
    if speech == 0 or disturbance == 0:
        return clean.clone()
    return clean + noise * math.sqrt(speech / disturbance / 10 ** (snr_db / 10))


@dataclass(frozen=True)
class AtSnr:
    """Another law, as loud as this ratio wants it; its own level does not matter."""

    law: Law
    snr_db: float  # over active speech
    rate: float

    def sample(self, clean: Tensor, seed: int) -> Tensor:
        return mixed_at(clean, self.law.sample(clean, seed) - clean, self.snr_db, self.rate)

    def variance(self, clean: Tensor) -> Tensor:
        wanted = active_power(clean, self.rate) / 10 ** (self.snr_db / 10)
        variance = self.law.variance(clean)
        mean = float(variance.double().mean()) if variance.numel() else 0.0
        return variance * (wanted / mean) if mean > 0 else torch.zeros_like(clean)

    def describe(self) -> str:
        return f"{self.law.describe()}, at {self.snr_db:g} dB below active speech"
