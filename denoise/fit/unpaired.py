"""Clean photographs and noisy pictures that have nothing to do with each other (MID, arXiv 2503.21377).

Clean ones are made noisy by a set of noise that begins as white noise of any strength. After every round it is made
anew, of what the model takes away from the noisy pictures: the better the model, the truer the noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import mean

import torch
from torch import Tensor

from denoise.errors import UserError
from denoise.fit.loop import Scores
from denoise.fit.own_lessons import ASIDE, COLOURS, Part, centre, fitting, parts_of, unbiased
from denoise.fit.own_pages import Page, Tell, evenly, pages_of
from denoise.fit.pictures import Pairs, Photographs
from denoise.methods.method import Method
from denoise.noise.patches import Patches, left_over
from denoise.restorer import Facts
from denoise.run import padded_to

FIRST = (5.0, 50.0)  # sigma of the white noise at the beginning, of 255, from weakest to strongest
STRENGTHS = 16  # of it, evenly spread
JUDGED = 6  # parts of noisy pictures
RENEWED = 16  # pictures that the noise of a round is taken from
STRONGER = (0.8, 2.5)  # times: less is taken away than there is, and no two pictures are equally noisy
BEST_DB = 60.0


@dataclass
class UnpairedNoise:
    """Batches of (noisy, clean), a pure function of the seed, the step and the set of noise of this round."""

    photographs: Photographs
    pages: Sequence[Page]  # noisy ones that the noise is taken from
    aside: Sequence[Part]  # and those that say how good the model is
    batch: int
    patch: int
    noise: Sequence[Patches]
    seed: int = 0

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        dice = Random(f"{self.seed}/{step}")
        crops = Pairs(self.photographs, {}, self.batch, self.patch, self.seed)
        clean = torch.stack([crops.crop(dice) for _ in range(self.batch)])
        return torch.stack([self.noisy(one, dice) for one in clean]), clean

    def noisy(self, clean: Tensor, dice: Random) -> Tensor:
        """With noise of one picture, drawn where that was about as bright."""
        noise = dice.choice(self.noise).drawn(clean, dice.randrange(1 << 31))
        return (clean + dice.uniform(*STRONGER) * noise).clamp(0, 1)

    def renew(self, method: Method) -> Scores:
        """Another round: what this model takes away is the noise from now on, where that can be told from texture."""
        found = [left_over(page.tiles, cleaned(method, page.tiles)) for page in evenly(self.pages, RENEWED)]
        known = [one for one in found if one is not None]
        self.noise = known or self.noise
        return {"pictures that gave noise": len(known), "sigma": mean(one.sigma for one in self.noise)}

    def judge(self, method: Method) -> Scores:
        """PSNR as it is estimated on noisy pictures kept aside, whose noise is measured without the model."""
        facts = Facts("judged", "picture", channels=method.channels, multiple=method.multiple, least=method.least)
        parts = [centre(part, fitting(part.tile.shape[1], facts)) for part in self.aside]
        errors = [float(unbiased(method, part, facts, number)) for number, part in enumerate(parts)]
        return {"estimated_psnr": mean(-10 * math.log10(max(error, 10 ** (-BEST_DB / 10))) for error in errors)}


def cleaned(method: Method, tiles: Tensor) -> Tensor:
    """(T, C, side, side), one after the other; grey ones as equal colours."""
    height, width = tiles.shape[2:]
    with torch.no_grad():
        ready = padded_to(tiles.expand(-1, COLOURS, -1, -1), method.multiple, method.least)
        restored = torch.cat([method(tile[None]) for tile in ready])[..., :height, :width]
    return restored.mean(1, keepdim=True) if tiles.shape[1] == 1 else restored


def unpaired(clean: Path, noisy: Path, batch: int, patch: int, tell: Tell, seed: int = 0) -> UnpairedNoise:
    """Of two folders."""
    pages = pages_of(noisy, tell)
    known = [part for page in pages[::ASIDE] for part in parts_of(page) if part.patches is not None]
    if not known:
        raise UserError(f"{noisy}: too little of these pictures is flat, so that no noise is seen; add other ones.")
    training = [page for index, page in enumerate(pages) if index % ASIDE] or pages
    low, high = FIRST
    first = [
        Patches.gaussian(low + (high - low) * index / (STRENGTHS - 1), seed=seed + index) for index in range(STRENGTHS)
    ]
    return UnpairedNoise(Photographs.of(clean), training, evenly(known, JUDGED), batch, patch, first, seed)
