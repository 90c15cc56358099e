"""Golden vectors: what PyTorch makes of a short signal, for programs in other languages to compare theirs with."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denoise import zoo
from denoise.atomic import atomic
from denoise.methods.method import Live
from denoise.onnx.verify import ALLOWED, HALF_ALLOWED, settings, signal
from denoise.restorer import Facts, Restorer
from denoise.zoo import Card

SIZES = {"audio": (6000,), "picture": (24, 31), "raw": (32, 48)}
FRAMES = 20
HALF = 0.5  # strength of the second case

Golden = dict[str, Any]


def write_golden(card: Card, graph: Path, live: bool = False, precision: str = "fp32") -> Path:
    """`NAME.golden.json` beside a graph, with how far its precision may be off."""
    method = zoo.method_of(card)
    facts, frame = zoo.facts_of(card, method), method.live() if live else None
    golden = golden_live(frame, facts) if frame else golden_of(zoo.TorchRestorer(method, facts))
    target, tolerance = graph.with_suffix(".golden.json"), HALF_ALLOWED if precision == "fp16" else ALLOWED
    with atomic(target) as draft:
        draft.write_text(json.dumps({"graph": graph.name, "tolerance": tolerance} | golden))
    return target


def golden_of(restorer: Restorer) -> Golden:
    """As it comes, and with everything turned at half the strength."""
    facts = restorer.facts
    noisy = signal(facts, SIZES[facts.kind], seed=1)
    usual, turned = settings(facts)
    known = None if told_alone(facts) else restorer.survey([noisy])
    cases = [
        case(noisy + strength * (restorer(noisy, known, **knobs) - noisy), {"strength": strength} | knobs)
        for knobs, strength in ((usual, 1.0), (turned, HALF))
    ]
    return {"noisy": packed(noisy), "cases": cases} | ({} if known is None else {"survey": packed(known)})


def told_alone(facts: Facts) -> bool:
    """Whether a graph does without a survey from outside."""
    from denoise.methods.method import find

    return not (facts.surveys and find(str(facts.card["method"])).measures)


def golden_live(live: Live, facts: Facts) -> Golden:
    """All frames in a row; what comes out is `late` samples behind."""
    noisy = signal(facts, (FRAMES * live.hop,), seed=1)[:, 0]
    cases = [
        case(torch.cat(list(frames_of(live, noisy, strength)), 1), {"strength": strength}) for strength in (1.0, HALF)
    ]
    return {"noisy": packed(noisy), "cases": cases}


@torch.inference_mode()
def frames_of(live: Live, noisy: Tensor, strength: float) -> Iterator[Tensor]:
    state = live.state
    for frame in noisy.split(live.hop, 1):
        restored, *kept = live.frame(frame, torch.tensor(strength), **state)
        state = dict(zip(state, kept, strict=True))
        yield restored


def case(restored: Tensor, said: dict[str, float]) -> Golden:
    return {"settings": said, "restored": packed(restored)}


def packed(values: Tensor) -> dict[str, Any]:
    """Shape, and 32-bit floats with the lowest byte first."""
    content = values.detach().numpy().astype("<f4").tobytes()
    return {"shape": list(values.shape), "data": base64.b64encode(content).decode()}
