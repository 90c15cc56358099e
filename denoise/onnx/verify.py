"""A graph is shown to compute what PyTorch computes, before anyone gets it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from denoise import seeds
from denoise.errors import UserError
from denoise.onnx.label import controls
from denoise.onnx.session import OnnxRestorer
from denoise.restorer import Facts, Knob, Restorer
from denoise.zoo import Card

ALLOWED = 1e-4  # of full scale
SIZES = {  # other ones than the graph was made with, odd ones too
    "audio": ((4000,), (9601,), (16001,)),
    "picture": ((31, 64), (64, 47), (101, 77)),
    "raw": ((31, 64), (64, 47), (101, 77)),
}
AMPLITUDE, GRAIN = 0.15, 0.05  # of the waves, and standard deviation of the noise


def verify(graph: Path, card: Card, restorer: Restorer) -> float:
    """The largest difference on the CPU; too large a one is an error."""
    worst = worst_error(OnnxRestorer.opened(graph, card, "cpu"), restorer)
    if not worst <= ALLOWED:
        raise UserError(
            f"{card.name}: its ONNX graph differs from PyTorch by {worst:.1e} of full scale, and {ALLOWED:.0e} is "
            "allowed: it was not written; use --engine torch."
        )
    return worst


def worst_error(ours: Restorer, theirs: Restorer) -> float:
    facts = theirs.facts
    errors = [
        error
        for size in SIZES[facts.kind]
        for seed in (1, 2)
        for knobs in settings(facts)
        for error in errors_of(ours, theirs, signal(facts, size, seed), knobs)
    ]
    return max(errors, key=lambda error: math.inf if math.isnan(error) else error)


def errors_of(ours: Restorer, theirs: Restorer, noisy: Tensor, knobs: dict[str, float]) -> Iterator[float]:
    """Without a survey, and with that of another part of the signal."""
    yield difference(ours(noisy, None, **knobs), theirs(noisy, None, **knobs))
    if theirs.facts.surveys:
        known = theirs.survey([noisy.flip(-1)], **knobs)
        yield relative(ours.survey([noisy.flip(-1)], **knobs), known)
        yield difference(ours(noisy, known, **knobs), theirs(noisy, known, **knobs))


def difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max()) if one.shape == other.shape else math.inf


def relative(one: Tensor, other: Tensor) -> float:
    return float(((one - other).abs() / (1 + other.abs())).max()) if one.shape == other.shape else math.inf


def settings(facts: Facts) -> Iterator[dict[str, float]]:
    """As it comes, and with everything turned."""
    usual = {name: value for name, value in controls(facts).items() if name != "strength"}
    turned = {knob.name: middle(knob) for knob in facts.knobs}
    yield usual
    yield {name: turned.get(name, value + 7) for name, value in usual.items()}


def middle(knob: Knob) -> float:
    """A step near the middle of its range that is not where it stands by itself."""
    steps = round((knob.high - knob.low) / knob.step)
    wanted = knob.low + knob.step * (steps // 2)
    return wanted if wanted != knob.default else min(wanted + knob.step, knob.high)


def signal(facts: Facts, size: tuple[int, ...], seed: int) -> Tensor:
    """Slow waves, another one in every channel, and noise; of a size that the model takes.

    Pictures keep clear of grey, where the direction of a colour is what rounding makes of it.
    """
    sides = [math.ceil(max(side, facts.least) / facts.multiple) * facts.multiple for side in size]
    channels = facts.channels or 2
    way = torch.stack(torch.meshgrid(*(torch.arange(side) / 20 for side in sides), indexing="ij")).sum(0)
    phase = torch.arange(channels).reshape(-1, *[1] * len(sides)) + seed
    waves = torch.sin(way * (1 + 0.2 * phase) + phase)
    noisy = AMPLITUDE * waves + GRAIN * seeds.normal_like(waves, seed)
    if facts.kind == "audio":
        return noisy[None]
    tint = torch.linspace(0.7, 0.3, channels).reshape(-1, *[1] * len(sides))
    return (noisy + tint)[None].clamp(0, 1)
