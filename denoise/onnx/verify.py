"""A graph is shown to compute what PyTorch computes, before anyone gets it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
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
HALF_ALLOWED = 5e-3  # the same, in fp16
LOSS_ALLOWED_DB = 0.15  # in int8
LEAST_NOISE = 0.001  # what is added where next to nothing was taken away: a quarter of a level of 8 bits
FRESH = 2  # seed of the noise that a loss is measured with; another one is calibrated with
SIZES = {  # other ones than the graph was made with, odd ones too
    "audio": ((4000,), (9601,), (16001,)),
    "picture": ((31, 64), (64, 47), (101, 77)),
    "raw": ((31, 64), (64, 47), (101, 77)),
}
FEW = 4  # more than a knob that counts stands at by itself: each step of a diffusion takes its time
AMPLITUDE, GRAIN = 0.15, 0.05  # of the waves, and standard deviation of the noise


def verify(
    graph: Path,
    card: Card,
    restorer: Restorer,
    precision: str = "fp32",
    pieces: Sequence[Tensor] = (),
    size: tuple[int, ...] | None = None,
) -> float:
    """The largest difference on the CPU, or for int8 the loss in decibels; too large a one is an error."""
    ours = OnnxRestorer.opened(graph, card, "cpu")
    if precision == "int8":
        return refuse_loss(loss_db(ours, restorer, pieces), card)
    worst, allowed = worst_error(ours, restorer, size), HALF_ALLOWED if precision == "fp16" else ALLOWED
    if not worst <= allowed:
        raise UserError(
            f"{card.name}: its ONNX graph differs from PyTorch by {worst:.1e} of full scale, and {allowed:.0e} is "
            f"allowed: it was not written; use {'--engine torch' if precision == 'fp32' else '--precision fp32'}."
        )
    return worst


def refuse_loss(loss: float, card: Card) -> float:
    if not loss <= LOSS_ALLOWED_DB:
        raise UserError(
            f"{card.name}: in int8 it loses {loss:.2f} dB, and {LOSS_ALLOWED_DB} dB is allowed: it was not written; "
            "use another precision, or --engine onnx."
        )
    return loss


def loss_db(ours: Restorer, theirs: Restorer, pieces: Sequence[Tensor]) -> float:
    """By how many decibels PSNR, or the SNR of sound, is lower: mean over the pieces, without their noise, in fresh
    noise of the same strength."""
    return statistics.fmean(one_loss_db(ours, theirs, piece) for piece in pieces)


def one_loss_db(ours: Restorer, theirs: Restorer, piece: Tensor) -> float:
    noisy, clean = noisy_again(theirs, piece, FRESH)
    mine, true = (float((made(noisy) - clean).square().mean()) for made in (ours, theirs))
    return lost_db(mine, true)


def lost_db(error: float, exact: float) -> float:
    """By how much larger a mean squared error is."""
    return 10 * math.log10(max(error, 1e-12) / max(exact, 1e-12)) if math.isfinite(error) else math.inf


def noisy_again(restorer: Restorer, piece: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """With what was taken away put back, its signs drawn anew, and without noise: so noise is strong where it was."""
    clean = restorer(piece)
    spread = (piece - clean).abs().clamp(min=LEAST_NOISE)
    return clean + spread * seeds.normal_like(clean, seed).sign(), clean


def worst_error(ours: Restorer, theirs: Restorer, only: tuple[int, ...] | None = None) -> float:
    """At three sizes, or at that one; for two seeds and two settings of all knobs."""
    facts = theirs.facts
    errors = [
        error
        for size in ([only] if only else SIZES[facts.kind])
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
    wanted = min(wanted, knob.default + FEW) if knob.step == 1 else wanted
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
