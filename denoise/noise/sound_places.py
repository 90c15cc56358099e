"""Where a sound is made: among people who talk, and in a room.

Sounds are float32 (C, T) at the law's `rate`; `start` is the place of their first sample in the whole sound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from denoise import seeds
from denoise.errors import UserError
from denoise.noise.sound_active import active_power, power_of
from denoise.noise.sound_colour import Added, Block, amplitude, want

NEARER_NEPERS = 0.3  # how much talkers differ in amplitude, standard deviation of the logarithm
WALL_M = 0.5  # nearest to a wall that anyone stands
CRITICAL_M = 0.057  # distance at which direct and reverberant sound are alike: 0.057·sqrt(volume / RT60)
DECAY = 3 * math.log(10)  # nepers of amplitude in RT60
PLACES, DIRECTIONS = 3, 4  # streams


@dataclass(frozen=True, eq=False)
class Babble(Added):
    """Talkers who say, from anywhere in their recordings and round and round, what some voices have said."""

    voices: tuple[Tensor, ...]  # (T,) or (C, T) each, at `rate`
    rate: float
    talkers: int = 5
    level_dbfs: float = -40.0  # of all together, while everybody speaks

    def __post_init__(self) -> None:
        want(self.talkers > 0, f"{self.talkers} talkers make no babble; at least 1 is wanted.")
        want(bool(self.loops), "Babble wants voices that are not silent; give at least one recording of speech.")

    @cached_property
    def loops(self) -> tuple[Tensor, ...]:
        """One channel each, active power 1."""
        mono = [voice.float().reshape(-1, voice.shape[-1]).mean(0, keepdim=True) for voice in self.voices]
        levels = [active_power(voice, self.rate) for voice in mono]
        return tuple(voice[0] / math.sqrt(level) for voice, level in zip(mono, levels, strict=True) if level > 0)

    @property
    def power(self) -> float:
        """Pauses included."""
        nearness = math.exp(2 * NEARER_NEPERS**2)
        return amplitude(self.level_dbfs) ** 2 * nearness * float(np.mean([power_of(loop) for loop in self.loops]))

    def noise(self, channels: int, count: int, seed: int, start: int) -> Block:
        who = seeds.uniform(seed, torch.arange(self.talkers), 0).double()
        begins = seeds.uniform(seed, torch.arange(self.talkers), 1).double()
        gains = torch.exp(NEARER_NEPERS * seeds.normal(seed, torch.arange(self.talkers), 1))
        total = torch.zeros(count)
        for person in range(self.talkers):
            loop = self.loops[int(who[person] * len(self.loops))]
            at = torch.arange(count) + start + int(begins[person] * len(loop))
            total += gains[person] * loop[at % len(loop)]
        scaled = total * (amplitude(self.level_dbfs) / math.sqrt(self.talkers))
        return scaled.expand(channels, count).clone().numpy()

    def describe(self) -> str:
        return f"babble of {self.talkers} talkers, {self.level_dbfs:g} dBFS"


@dataclass(frozen=True, eq=False)
class MeasuredRoom:
    """The echo of a room by its impulse response; the direct sound keeps its level and its place."""

    impulse: Tensor  # (T,), at the rate of the sound

    def __post_init__(self) -> None:
        heard = self.impulse.ndim == 1 and bool(self.impulse.abs().sum() > 0)
        want(
            heard, f"An impulse response of shape {tuple(self.impulse.shape)} is wanted as one row that is not silent."
        )

    def sample(self, clean: Tensor, seed: int, start: int = 0) -> Tensor:
        return echoed(clean, self.impulse)

    def variance(self, clean: Tensor) -> Tensor:
        """Nothing is left to chance."""
        return torch.zeros_like(clean)

    def describe(self) -> str:
        return f"a measured room, impulse response of {len(self.impulse)} samples"


@dataclass(frozen=True)
class SimulatedRoom:
    """A box with walls of one kind; the seed says where one speaks and where one listens."""

    rate: int
    rt60_s: float = 0.4  # time in which an echo dies away by 60 dB
    size_m: tuple[float, float, float] = (6.0, 4.5, 2.8)
    distance_m: float = 1.5

    def __post_init__(self) -> None:
        words = " x ".join(f"{side:g}" for side in self.size_m)
        least = WALL_M * 2 + self.distance_m / math.sqrt(3)
        fits = min(self.size_m) >= least and self.distance_m > 0 and self.rt60_s > 0
        given = f"A room of {words} m with {self.distance_m:g} m between mouth and ear, RT60 {self.rt60_s:g} s"
        want(fits, f"{given} cannot be; sides of {least:.1f} m at least, and an RT60 and distance above 0 are wanted.")

    def sample(self, clean: Tensor, seed: int, start: int = 0) -> Tensor:
        return echoed(clean, torch.from_numpy(self.impulse(seed)))

    def impulse(self, seed: int) -> Block:
        try:
            import pyroomacoustics
        except ImportError:
            raise UserError(
                "Simulated rooms need the package pyroomacoustics: pip install 'denoise-kit[rooms]', "
                "or give a measured impulse response."
            ) from None
        try:
            absorption, order = pyroomacoustics.inverse_sabine(self.rt60_s, self.size_m)
        except ValueError:
            raise UserError(f"No walls make RT60 {self.rt60_s:g} s in so large a room; take a longer one.") from None
        walls = pyroomacoustics.Material(absorption)
        box = pyroomacoustics.ShoeBox(self.size_m, fs=self.rate, materials=walls, max_order=order)
        mouth, ear = self.places(seed)
        box.add_source(mouth)
        box.add_microphone(ear)
        box.compute_rir()
        return np.asarray(box.rir[0][0], np.float32)

    def places(self, seed: int) -> tuple[list[float], list[float]]:
        """Of mouth and ear, which are so far apart along all three axes that both are away from the walls."""
        signs = torch.where(seeds.uniform(seed, torch.arange(3), DIRECTIONS) < 0.5, -1.0, 1.0).double()
        span = signs * self.distance_m / math.sqrt(3)
        low = WALL_M + span.clamp(max=0).abs()
        high = torch.tensor(self.size_m).double() - WALL_M - span.clamp(min=0)
        mouth = low + (high - low) * seeds.uniform(seed, torch.arange(3), PLACES).double()
        return mouth.tolist(), (mouth + span).tolist()

    def variance(self, clean: Tensor) -> Tensor:
        """Of the echo, were it diffuse: so much of the power as distance and volume say, dying away with RT60."""
        reach_m = CRITICAL_M * math.sqrt(math.prod(self.size_m) / self.rt60_s)
        seconds = torch.arange(round(self.rt60_s * self.rate) + 1) / self.rate
        decay = torch.exp(-2 * DECAY / self.rt60_s * seconds)
        share = decay * ((self.distance_m / reach_m) ** 2 / decay.sum())
        return convolved(clean.square(), share).clamp(min=0)

    def describe(self) -> str:
        words = " x ".join(f"{side:g}" for side in self.size_m)
        return f"a simulated room of {words} m, RT60 {self.rt60_s:g} s, {self.distance_m:g} m away"


def echoed(clean: Tensor, impulse: Tensor) -> Tensor:
    """The direct sound is the highest point of the impulse response; it comes at once and as loud as it was."""
    direct = int(impulse.abs().argmax())
    return convolved(clean, impulse / impulse[direct], direct)


def convolved(sound: Tensor, answer: Tensor, ahead: int = 0) -> Tensor:
    from scipy.signal import oaconvolve

    if not sound.numel():
        return sound.clone()
    whole = oaconvolve(sound.numpy(), answer.numpy()[None], mode="full", axes=1)
    return torch.from_numpy(np.asarray(whole[:, ahead : ahead + sound.shape[1]], np.float32))
