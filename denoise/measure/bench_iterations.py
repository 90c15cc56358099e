"""When an iterated filter (IDF) should stop: PSNR after every pair of iterations, and at two rules.

The paper's rule and the model's own judge the same iterations of the same pictures, so that the columns differ
in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from denoise import zoo
from denoise.devices import chosen
from denoise.errors import UserError
from denoise.measure.bench import Row, Wish
from denoise.measure.bench_pictures import DATA, REAL, Pair, pairs_of, unit
from denoise.measure.scores import psnr
from denoise.methods.idf import IDF, Settling
from denoise.networks.idf import Step
from denoise.networks.idf_loop import StopRule
from denoise.noise.picture_laws import eight_bit

COUNTS = range(2, 11, 2)
NOISES = ("Gaussian 15", "Gaussian 25", "Gaussian 50", REAL)

OURS = "idf-picture"
Track = NDArray[np.float64]
"""PSNR after each of COUNTS."""


def run(wish: Wish) -> Iterator[Row]:
    method, device = idf_of(wish), chosen(wish.device)
    rules = {"paper": Settling(), "ours": method.settling}
    for noise in NOISES:
        pairs = list(pairs_of(noise, wish.data or DATA, wish.limit))
        wish.tell(f"{noise}: {len(pairs)} pictures")
        found = [followed(method.to(device), pair, rules, device) for pair in pairs]
        yield {"noise": noise, "pictures": len(pairs), "noisy_db": noisy_db(pairs)} | summary(found)


def idf_of(wish: Wish) -> IDF:
    card = zoo.find(wish.model or OURS)
    method = zoo.method_of(card)
    if not isinstance(method, IDF):
        raise UserError(f"{card.name} is no IDF model; this bench knows no other filter that is iterated.")
    return method


def followed(method: IDF, pair: Pair, rules: dict[str, StopRule], device: str) -> tuple[Track, dict[str, int]]:
    """PSNR along the way, and after how many iterations each rule stops."""
    noisy = torch.from_numpy(unit(pair.noisy)).permute(2, 0, 1)[None].to(device)
    with torch.inference_mode():
        steps = method.network.steps(method.normalised(noisy), COUNTS[-1])
        track = np.array([score(method.pictured(steps[count - 1].image), pair) for count in COUNTS])
        return track, {name: end(steps, rule) for name, rule in rules.items()}


def end(steps: list[Step], rule: StopRule) -> int:
    signs = torch.stack([rule.signs(step) for step in steps], 1)
    stops = (count for count in COUNTS if bool(rule.settled(signs, torch.tensor(count, device=signs.device))))
    return next(stops, COUNTS[-1])


def score(restored: torch.Tensor, pair: Pair) -> float:
    values = eight_bit(restored[0]).permute(1, 2, 0).cpu().numpy()
    return psnr(unit(pair.clean), values)


def noisy_db(pairs: list[Pair]) -> float:
    return rounded(np.mean([psnr(unit(pair.clean), unit(pair.noisy)) for pair in pairs]))


def summary(found: list[tuple[Track, dict[str, int]]]) -> Row:
    """Means over the pictures; `best` knows the clean picture and stops each where it comes nearest."""
    tracks = np.array([track for track, _ in found])
    row: Row = {f"{count}_db": rounded(value) for count, value in zip(COUNTS, tracks.mean(0), strict=True)}
    for name in found[0][1]:
        ends = [stops[name] for _, stops in found]
        row[f"{name}_db"] = rounded(np.mean([track[COUNTS.index(at)] for track, at in zip(tracks, ends, strict=True)]))
        row[f"{name}_iterations"] = rounded(np.mean(ends), 1)
    return row | {"best_db": rounded(tracks.max(1).mean())}


def rounded(value: np.floating[Any], digits: int = 2) -> float:
    return round(float(value), digits)
