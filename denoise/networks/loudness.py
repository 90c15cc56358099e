"""How much worse one sound is heard than another: differences of loudness, as P.862 weighs them.

Power in bands of half a Bark (Traunmüller 1990) above the threshold in quiet (Terhardt 1979) gives loudness (Zwicker).
What differs by less than a quarter is not heard, and what is added counts for more than what is missing. What PESQ
does before, aligning and levelling, is left out: both sounds are in time and equally loud.
"""

from __future__ import annotations

import torch
from torch import Tensor

SPEECH_DB = 79.0  # sound pressure level of speech at its nominal power
HALF_BARKS = 42  # bands up to 8 kHz
BARKS = 24.0  # that a sum over bands stands for, in P.862
GAMMA = 0.23
SONE = 0.187  # per Bark
MASKED = 0.25  # of the weaker loudness
PER_HEARD, PER_ADDED = 0.1, 0.0309  # MOS


def bark(hz: Tensor) -> Tensor:
    return 26.81 * hz / (1960 + hz) - 0.53


def bands(bins: int, rate: float) -> Tensor:
    """(bins, bands): which bin is in which."""
    hz = torch.linspace(0, rate / 2, bins)
    number = (2 * bark(hz)).floor().long()
    return (number[:, None] == torch.arange(HALF_BARKS)).float() * (hz > 60)[:, None]


def thresholds() -> Tensor:
    """Power that is just heard in every band, where 1 is 0 dB."""
    barks = (torch.arange(HALF_BARKS) + 0.5) / 2
    khz = 1.96 * (barks + 0.53) / (26.28 - barks)
    db = 3.64 * khz**-0.8 - 6.5 * torch.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
    return 10 ** (db.clamp(max=60) / 10)


def loudness(power: Tensor, quiet: Tensor) -> Tensor:
    """Sone per Bark."""
    return SONE * (2 * quiet) ** GAMMA * ((0.5 + 0.5 * power / quiet) ** GAMMA - 1).clamp(min=0)


def worse_by(restored: Tensor, clean: Tensor, nominal: float | Tensor, rate: float) -> Tensor:
    """MOS, about, for every sound: (B, n, bins) powers, where speech has `nominal` in all bins of a frame together:
    one number, or (B, 1, 1)."""
    into, quiet = bands(clean.shape[2], rate).to(clean), thresholds().to(clean)
    gain = 10 ** (SPEECH_DB / 10) / nominal
    mine, true = (power @ into * gain for power in (restored, clean))
    heard, wanted = loudness(mine, quiet), loudness(true, quiet)
    differs = ((heard - wanted).abs() - MASKED * torch.minimum(heard, wanted)).clamp(min=0)
    added = ((mine + 50) / (true + 50)) ** 1.2
    added = torch.where(added < 3, 0.0, added.clamp(max=12))
    weight = ((true.sum(2) + 1e5) / 1e7) ** -0.04
    symmetric = (differs.square().mean(2) + 1e-6).sqrt() * weight * BARKS
    other = (differs * added).mean(2) * weight * BARKS
    return PER_HEARD * whole(symmetric.clamp(max=45)) + PER_ADDED * whole(other.clamp(max=45))


def whole(frames: Tensor) -> Tensor:
    """The worst moments count most."""
    return (frames**2).mean(1).clamp(min=1e-6).sqrt()
