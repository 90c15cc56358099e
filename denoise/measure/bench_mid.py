"""PSNR and SSIM of MID on real photographs, round by round, trained on their noisy halves and on other clean pictures.

Noisy are all of real_polyu, clean are those of train_open; no pair of the two is ever seen. The clean halves of
real_polyu only measure what came of it, on the centres of some pictures, for BM3D is slow. What a short training
reaches says little about the method: --minutes is the time of all rounds together.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from denoise import zoo
from denoise.devices import chosen
from denoise.fit.loop import Run, Schedule
from denoise.fit.recipes import Lessons, in_rounds
from denoise.fit.unpaired import unpaired
from denoise.measure.bench import Row, Wish
from denoise.measure.bench_pictures import (
    CROP,
    DATA,
    FEW,
    REAL,
    Method,
    Pair,
    as_it_is,
    evenly,
    pairs_of,
    restored,
    slow,
)
from denoise.measure.bench_pictures import measured as scores_of
from denoise.methods.mid import Mid

CARD = zoo.Card(Path(), {"name": "mid", "kind": "picture", "method": "mid"})
MINUTES, ROUNDS = 60.0, 3
BATCH, PATCH = 8, 64
SCHEDULE = Schedule(rate=5e-4, warm_up=50)
SEED = 7  # of the weights before training
PEER = "idf-picture"


def run(wish: Wish) -> Iterator[Row]:
    data = wish.data or DATA
    pairs = [pair.centre(CROP) for pair in evenly(list(pairs_of(REAL, data, wish.limit)), FEW)]
    peer = zoo.load(wish.model or PEER, device=wish.device)
    peers = {"noisy": as_it_is} | slow(REAL, wish) | {peer.facts.name: partial(restored, peer)}
    for name, method in peers.items():
        yield row(name, pairs, method)
    yield from trained(wish, data, pairs)


def trained(wish: Wish, data: Path, pairs: list[Pair]) -> Iterator[Row]:
    """A row after every round."""
    torch.manual_seed(SEED)
    lessons = unpaired(data / "train_open", data / "real_polyu" / "noisy", BATCH, PATCH, wish.tell)
    curriculum = Lessons(lessons.at, lessons.judge, rounds=ROUNDS, renew=lessons.renew)
    with TemporaryDirectory() as folder:
        training = Run(Mid(), Path(folder), SCHEDULE, chosen(wish.device))
        for number, found in enumerate(in_rounds(training, curriculum, wish.minutes or MINUTES, wish.tell)):
            network = Mid()
            network.load_state_dict(training.average)
            mid = zoo.TorchRestorer(network.eval(), zoo.facts_of(CARD, network))
            name = f"mid, round {number + 1}, {training.step} steps"
            yield row(name, pairs, partial(restored, mid), found.get("sigma"))


def row(name: str, pairs: list[Pair], method: Method, sigma: float | None = None) -> Row:
    """`sigma` of the noise that was learnt from, of 255; None: white noise of all strengths, or nothing."""
    known = None if sigma is None else round(sigma, 2)
    return {"pictures": len(pairs), "method": name, "noise_sigma": known, **scores_of(pairs, method)}
