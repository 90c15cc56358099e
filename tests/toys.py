"""Restorers that do something simple, so that what happens around them can be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from denoise import seeds
from denoise.restorer import Facts, Knob


@dataclass
class Toy:
    """`act` on every batch; what was seen is noted."""

    act: Callable[..., Tensor]
    facts: Facts = field(default_factory=lambda: Facts("toy", "picture", piece=64))
    look: Callable[[list[Tensor]], Tensor] | None = None  # makes a survey of the whole signal
    device: str = "cpu"
    seen: list[tuple[int, ...]] = field(default_factory=list)
    surveyed: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, noisy: Tensor, survey: Tensor | None = None, **knobs: float) -> Tensor:
        self.seen.append(tuple(noisy.shape))
        if self.look is not None:
            assert survey is not None, "whole-signal statistics were promised"
            return self.act(noisy, survey, **knobs)
        return self.act(noisy, **knobs)

    def survey(self, pieces: Iterable[Tensor], **knobs: float) -> Tensor:
        assert self.look is not None
        parts = list(pieces)
        self.surveyed += [tuple(part.shape) for part in parts]
        return self.look(parts)

    def to(self, device: str) -> Toy:
        return replace(self, device=device)


def facts(kind: str = "picture", **more: object) -> Facts:
    return Facts(**({"name": "toy", "kind": kind, "piece": 64} | more))  # type: ignore[arg-type]


def identity(noisy: Tensor, **_: float) -> Tensor:
    return noisy.clone()


def box_blur(radius: int) -> Callable[..., Tensor]:
    """The mean of the neighbourhood; the border is repeated outwards."""

    def act(noisy: Tensor, **_: float) -> Tensor:
        axes = noisy.ndim - 2
        padded = F.pad(noisy, (radius,) * (2 * axes), mode="replicate")
        pool = F.avg_pool2d if axes == 2 else F.avg_pool1d
        return pool(padded, 2 * radius + 1, stride=1)

    return act


def seeded_sound(noisy: Tensor, seed: float = 0, start: float = 0, **_: float) -> Tensor:
    places = seeds.located(noisy, int(start))
    return 0.5 * noisy + 0.1 * seeds.normal(int(seed), places)


def seeded_picture(noisy: Tensor, seed: float = 0, top: float = 0, left: float = 0, **_: float) -> Tensor:
    places = seeds.located(noisy, int(top), int(left))
    return 0.5 * noisy + 0.1 * seeds.normal(int(seed), places)


def gain(noisy: Tensor, gain: float = 1, **_: float) -> Tensor:
    return gain * noisy


GAIN = Knob("gain", 0.5, 0, 2, 0.1, "What the signal is multiplied by.")


@dataclass
class Hungry(Toy):
    """Runs out of memory where any side is longer than `room` on that device."""

    room: dict[str, int] = field(default_factory=dict)
    error: Callable[[], Exception] = lambda: torch.OutOfMemoryError("out of memory")

    def __call__(self, noisy: Tensor, survey: Tensor | None = None, **knobs: float) -> Tensor:
        if max(noisy.shape[2:]) > self.room.get(self.device, 1 << 60):
            raise self.error()
        return Toy.__call__(self, noisy, survey, **knobs)
