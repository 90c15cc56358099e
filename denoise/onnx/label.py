"""What a graph says of itself, and what it is made of: so that a stale one is never taken for a fresh one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from denoise.restorer import Facts, Knob
from denoise.zoo import HERE, Card

OPSET = 18
PLACES = {"audio": ("start",), "picture": ("top", "left"), "raw": ("top", "left")}
RANGES = {
    "audio": "full scale is -1 to 1",
    "picture": "0 is black and 1 is white, sRGB",
    "raw": "planes R, G1, G2, B of the mosaic; 0 is black and 1 is white, nothing cut off below or above",
}
RATE_HZ = 48_000.0  # of restorers that work at any rate, where nothing is said
# whose code decides what a graph computes
MAKERS = ("seeds.py", "methods", "networks", "processes", "onnx")


def controls(facts: Facts) -> dict[str, float]:
    """Every input of a graph beside the signal and its survey, at what it is when nothing is said.

    Those that are whole numbers here are whole numbers in the graph.
    """
    found: dict[str, float] = {"strength": 1.0} | {knob.name: float(knob.default) for knob in facts.knobs}
    if facts.kind == "audio" and not facts.rate:
        found["rate"] = RATE_HZ
    if facts.seeded:
        found |= {"seed": 0}
    if facts.wants_place:
        found |= dict.fromkeys(PLACES[facts.kind], 0)
    return found


def label(card: Card, facts: Facts) -> dict[str, str]:
    """The file's own metadata."""
    said = {key: value for key, value in asdict(facts).items() if key not in ("name", "card")}
    return {
        "name": card.name,
        "summary": str(card.entries.get("summary", "")),
        "licence": str(card.entries.get("licence", "not stated")),
        "kind": facts.kind,
        "rate": str(facts.rate or "any"),
        "range": RANGES[facts.kind],
        "multiple": str(facts.multiple),
        "least": str(facts.least),
        "inputs": json.dumps(told_controls(facts)),
        "precision": "fp32",
        "facts": json.dumps(said),
        "opset": str(OPSET),
        "sha256": str(card.entries.get("sha256", "")),
        "model": model_digest(card),
        "code": code_digest(),
    }


def told_controls(facts: Facts) -> dict[str, dict[str, Any]]:
    """What each input beside the signal is when nothing is wanted of it, and how far it goes."""
    told: dict[str, dict[str, Any]] = {name: {"default": value} for name, value in controls(facts).items()}
    told["strength"] |= {"low": 0, "high": 1, "help": "0: as it was, 1: all that the model removes."}
    for knob in facts.knobs:
        told[knob.name] |= {key: value for key, value in asdict(knob).items() if key not in ("name", "default")}
    return told


def shaped_inputs(graph: Any, told: str) -> str:
    """The same with the type and the shape of each, in the order of the graph; axes of any length have a name."""
    known = json.loads(told)
    return json.dumps({put.name: typed(put) | known.get(put.name, {}) for put in graph.inputs})


def typed(put: Any) -> dict[str, Any]:
    shape = [side if isinstance(side, int) else str(side.value) for side in put.shape]
    return {"type": "int64" if put.dtype.name == "INT64" else "float32", "shape": shape}


def facts_in(said: Mapping[str, str], card: Card) -> Facts:
    facts = json.loads(said["facts"])
    knobs = tuple(Knob(**knob | {"choices": tuple(knob["choices"])}) for knob in facts.pop("knobs"))
    return Facts(name=card.name, knobs=knobs, card=card.entries, **facts)


def model_digest(card: Card) -> str:
    """Of everything in the card that changes what is computed or promised."""
    parts = {key: card.entries.get(key) for key in ("method", "network", "facts", "sha256")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def code_digest() -> str:
    """Of the code that graphs are made from."""
    digest = hashlib.sha256()
    for path in sorted(path for maker in MAKERS for path in sources(HERE / maker)):
        digest.update(path.relative_to(HERE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def sources(maker: Path) -> list[Path]:
    return [maker] if maker.suffix == ".py" else list(maker.rglob("*.py"))
