"""One frame of a live signal as a graph: what was kept goes in and comes out again, so that any host can loop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from denoise import zoo
from denoise.atomic import atomic
from denoise.errors import UserError
from denoise.methods.method import Live
from denoise.onnx.export import exported, refuse_without_exporter, save
from denoise.onnx.label import label
from denoise.onnx.precision import halved
from denoise.onnx.runtime import session_on
from denoise.onnx.verify import ALLOWED, HALF_ALLOWED, signal
from denoise.restorer import Facts
from denoise.zoo import Card

FRAMES = 40  # that are compared
ALLOWED_IN = {"fp32": ALLOWED, "fp16": HALF_ALLOWED}
AFTER = "next_"  # what comes out to be kept, by the name under which it goes in

Floats = NDArray[np.float32]


class Named(nn.Module):
    """All inputs by name, as the exporter wants them."""

    def __init__(self, frame: nn.Module) -> None:
        super().__init__()
        self.frame = frame

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = self.frame(**inputs)
        return outputs


def export_live(card: Card, folder: Path, precision: str = "fp32") -> Path:
    """`NAME-live.onnx` in that folder; frame by frame it computes what the whole model computes."""
    target = folder / f"{card.name}-live{'' if precision == 'fp32' else f'-{precision}'}.onnx"
    if precision not in ALLOWED_IN:
        raise UserError(f"--precision {precision} --live: a live graph comes in {' or '.join(ALLOWED_IN)}.")
    refuse_without_exporter(card)
    method = zoo.method_of(card)
    live, facts = method.live(), zoo.facts_of(card, method)
    if live is None:
        raise UserError(
            f"{card.name} cannot work frame by frame: it has to see more of a sound; export it without --live."
        )
    with atomic(target) as draft:
        program = traced(live, facts)
        if precision == "fp16":
            halved(program.model)
        save(program, label(card, facts) | said_of(live) | {"precision": precision}, draft)
        verify(draft, card, live, facts, ALLOWED_IN[precision])
    return target


def said_of(live: Live) -> dict[str, str]:
    shapes = {name: list(value.shape) for name, value in live.state.items()}
    return {"hop": str(live.hop), "late": str(live.late), "state": json.dumps(shapes)}


def traced(live: Live, facts: Facts) -> Any:
    inputs = {"noisy": torch.zeros(1, live.hop), "strength": torch.tensor(1.0)} | live.state
    outputs = ["restored", *(AFTER + name for name in live.state)]
    return exported(Named(live.frame), inputs, outputs, None, facts.name)


def frames_of(session: Any, noisy: Floats, live: Live, strength: float = 1.0) -> Iterator[Floats]:
    """What the graph makes of a sound (n), frame by frame, `late` samples behind."""
    state = {name: value.numpy() for name, value in live.state.items()}
    for frame in noisy[: len(noisy) // live.hop * live.hop].reshape(-1, 1, live.hop):
        restored, *kept = session.run(None, {"noisy": frame, "strength": np.array(strength, np.float32), **state})
        state = dict(zip(state, kept, strict=True))
        yield restored[0]


def verify(graph: Path, card: Card, live: Live, facts: Facts, allowed: float) -> float:
    noisy = signal(facts, (FRAMES * live.hop,), seed=1)
    ours = np.concatenate(list(frames_of(session_on(graph, "cpu", 1), noisy[0, 0].numpy(), live)))[live.late :]
    theirs = zoo.TorchRestorer(zoo.method_of(card), facts)(noisy)[0, 0].numpy()[: len(ours)]
    worst = float(np.abs(ours - theirs).max())
    if not worst <= allowed:
        raise UserError(
            f"{card.name}: its live graph differs from PyTorch by {worst:.1e} of full scale, and {allowed:.0e} is "
            "allowed: it was not written."
        )
    return worst
