"""What a picture model learns from noisy pictures alone, and how its error on others is estimated without a clean one.

What the noise of a picture is, its flat places show, and where it is white, its colours everywhere. More of the same
is drawn, never the same twice: the model sees the picture with some of it added, and is asked for the picture with the
opposite of it taken on (recorrupted to recorrupted, Pang et al., CVPR 2021). Both are of the same clean picture, and
what is wrong with the one says nothing of what is wrong with the other; also where noise is in grains of many pixels,
for then so is what is drawn.

Where it cannot be told, pixels are masked (Noise2Void, Krull et al., CVPR 2019): each is replaced by another one
near it, and what was there is asked for; with as many of their neighbours as their noise has in common with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import mean

import torch
import torch.nn.functional as F
from torch import Tensor

from denoise.fit.own_pages import FEWEST_TILES, LEAST_SIDE, Page, evenly, is_clean
from denoise.methods.method import Method
from denoise.noise.patches import Patches
from denoise.restorer import Facts
from denoise.run import coloured

FEWEST_PAGES = 5  # fewer are divided into tiles, and every fourth tile is kept aside
ASIDE = 4  # every so many
JUDGED = 8  # tiles
CROP, BATCH = 64, 4
COLOURS = 3  # of every picture, for a model that takes any number
RECORRUPTED = (0.3, 0.8)  # how much of the noise is added, of what is there
PROBE = 0.25  # of the noise, by which the error is estimated
BRIGHTNESS = 7  # px over which brightness is averaged
CLEAR = 2.0  # deviations of the noise, to black and to white
ENOUGH = 0.2  # share of a part that is so
MASKED = 0.06  # share of the pixels
MASKINGS = 4  # of every part that is judged
MOST_GRAIN, DEPENDENT = 4, 0.2  # px, and correlation, of what a model takes away


@dataclass(frozen=True, eq=False)
class Part:
    """A tile (C, side, side) and the noise of its picture."""

    tile: Tensor
    patches: Patches | None


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learnt from and what it is judged by; what both are made of is a function of the seed alone."""

    training: list[Part]
    aside: list[Part]
    facts: Facts
    pictures: int
    kept_aside: str
    grain: int  # px after which noise says nothing of its neighbours
    noise: str
    masks: bool  # because the noise of too few pictures could be measured
    seed: int

    @property
    def taught_by(self) -> str:
        if not self.masks:
            return "more of the same noise"
        around = f" with all that lie less than {self.grain} px from them" if self.grain > 1 else ""
        return f"masked pixels{around}"

    @property
    def judged_by(self) -> str:
        return "masked pixels" if self.masks else "SURE, noise as it was measured"

    @property
    def doubt(self) -> float:
        """Share of the variance by which the noise of what judges may be other than it was measured."""
        known = [part.patches.doubt for part in self.aside if part.patches is not None]
        return 0.0 if self.masks else max(known)

    def describe(self) -> str:
        grain = f"in grains of {self.grain} px" if self.grain > 1 else "independent from pixel to pixel"
        what = f"{count_of(self.pictures, 'picture')}, {self.noise}, {grain}"
        return f"{what}; taught by {self.taught_by}; {self.kept_aside} kept aside."

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """(what is shown, what is asked for); nothing is asked for where that is not a number."""
        dice = Random(f"{self.seed}/{step}")
        pairs = [self.pair(dice) for _ in range(BATCH)]
        shown, asked = (torch.cat([coloured(one, self.facts) for one in side]) for side in zip(*pairs, strict=True))
        return shown, asked

    def pair(self, dice: Random) -> tuple[Tensor, Tensor]:
        part = dice.choice(self.training)
        crop = Part(cropped(part.tile, fitting(CROP, self.facts), dice), part.patches)
        shown, asked = self.masked(crop, dice) if self.masks else recorrupted(crop, dice)
        return turned(shown, asked, dice)

    def masked(self, part: Part, dice: Random) -> tuple[Tensor, Tensor]:
        hidden, seen_there = holes(part.tile, self.grain, dice)
        return hidden, torch.where(seen_there, part.tile, math.nan)

    @property
    def judges(self) -> list[Part]:
        parts = [centre(part, fitting(LEAST_SIDE, self.facts)) for part in self.aside]
        return evenly(parts if self.masks else [part for part in parts if is_clear(part)] or parts, JUDGED)

    def errors(self, method: Method, doubts: float = 0) -> Tensor:
        """Estimated mean squared error of every part kept aside; with masks, of what is behind these and its noise.
        `doubts`: how often its doubt the noise is stronger than it was measured."""
        if self.masks:
            return torch.stack([self.behind_masks(method, part, number) for number, part in enumerate(self.judges)])
        return torch.stack(
            [
                unbiased(method, stronger(part, doubts), self.facts, 1000 * self.seed + number)
                for number, part in enumerate(self.judges)
            ]
        )

    def taken(self, method: Method) -> float:
        """Mean square of what the method takes away of the parts kept aside."""
        given = [coloured(part.tile, self.facts) for part in self.judges]
        return float(torch.stack([(method(one) - one).square().mean() for one in given]).mean())

    def behind_masks(self, method: Method, part: Part, number: int) -> Tensor:
        dice = Random(f"{self.seed}/aside/{number}")
        shown, asked = zip(*(self.masked(part, dice) for _ in range(MASKINGS)), strict=True)
        restored = torch.cat([method(coloured(one, self.facts)) for one in shown])
        wanted = torch.cat([coloured(one, self.facts) for one in asked])
        return (restored - wanted).square().nanmean()


def lesson_of(pages: Sequence[Page], method: Method, facts: Facts, seed: int) -> Lesson:
    noisy = [page for page in pages if not is_clean(page)]
    known = [page for page in noisy if is_known(page)]
    masks = sum(len(page.tiles) for page in known) < FEWEST_TILES
    used = noisy if masks else known
    training, aside, kept_aside = divided(used, seed)
    grains = [page.patches.grain for page in known if page.patches is not None and page.patches.coarse]
    grain = round(mean(grains)) if 2 * len(grains) > len(known) else 1
    if masks:
        grain = grain_of_residual(method, facts, aside)
    coloured_facts = replace(facts, channels=facts.channels or COLOURS)
    return Lesson(training, aside, coloured_facts, len(used), kept_aside, grain, noise_of(known), masks, seed)


def noise_of(known: Sequence[Page]) -> str:
    """In words, over all pictures."""
    sigmas = [page.patches.sigma for page in known if page.patches is not None]
    if not sigmas:
        return "whose noise cannot be measured (too little of them is flat)"
    return f"noise of sigma {mean(sigmas):.1f} of 255 ({min(sigmas):.1f} to {max(sigmas):.1f})"


def divided(pages: Sequence[Page], seed: int) -> tuple[list[Part], list[Part], str]:
    """Whole pictures are kept aside, or of few ones some tiles of each."""
    if len(pages) >= FEWEST_PAGES:
        kept = [index % ASIDE == seed % ASIDE for index in range(len(pages))]
        training = [part for page, aside in zip(pages, kept, strict=True) for part in parts_of(page) if not aside]
        aside_parts = [part for page, aside in zip(pages, kept, strict=True) for part in parts_of(page) if aside]
        return training, aside_parts, count_of(sum(kept), "picture")
    parts = [part for page in pages for part in parts_of(page)]
    training = [with_half(part, 0) for index, part in enumerate(parts) if index % ASIDE != seed % ASIDE]
    aside_parts = [with_half(part, 1) for index, part in enumerate(parts) if index % ASIDE == seed % ASIDE]
    return training, aside_parts, f"{count_of(len(aside_parts), 'part')} of them"


def count_of(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def with_half(part: Part, which: int) -> Part:
    return replace(part, patches=part.patches and part.patches.half(which))


def parts_of(page: Page) -> list[Part]:
    return [Part(tile, page.patches) for tile in page.tiles]


def unbiased(method: Method, part: Part, facts: Facts, seed: int) -> Tensor:
    """Stein's unbiased risk estimate, for noise of any grain: |f(y) - y|² - |n|² + 2 n·(∂f/∂y) n; where none of it is
    clipped."""
    noise = drawn(part, seed)
    given, probe = coloured(part.tile, facts), coloured(PROBE * noise, facts)
    response = (method(given + probe) - method(given - probe)) / 2
    risk = (method(given) - given).square() + (2 * response - probe) * probe / PROBE**2
    return risk[coloured(unclipped(part).float(), facts) > 0.5].mean()


def stronger(part: Part, doubts: float) -> Part:
    if part.patches is None:
        return part
    times = 1 + doubts * part.patches.doubt
    return replace(part, patches=replace(part.patches, variances=times * part.patches.variances))


def recorrupted(part: Part, dice: Random) -> tuple[Tensor, Tensor]:
    noise, share = drawn(part, dice.randrange(1 << 31)), dice.uniform(*RECORRUPTED)
    return part.tile + share * noise, torch.where(unclipped(part), part.tile - noise / share, math.nan)


def drawn(part: Part, seed: int) -> Tensor:
    """Noise like that of the tile; how bright it is, its own noise must not say."""
    return patches_of(part).drawn(blurred(part.tile), seed)


def patches_of(part: Part) -> Patches:
    if part.patches is None:
        raise ValueError("the noise of this picture is not known")
    return part.patches


def unclipped(part: Part) -> Tensor:
    """Where black and white are far from what is seen, or nothing ends at them: clipped noise is brighter or darker in
    the mean than none, and that cannot be learnt from it."""
    brightness, (low, high) = blurred(part.tile), part.tile.aminmax()
    reach = CLEAR * patches_of(part).variance(brightness).sqrt()
    return ((brightness > reach) | (low < 0)) & ((brightness < 1 - reach) | (high > 1))


def is_clear(part: Part) -> bool:
    return float(unclipped(part).float().mean()) > ENOUGH


def is_known(page: Page) -> bool:
    """Whether its noise could be measured, and is not clipped nearly everywhere."""
    return page.patches is not None and any(is_clear(part) for part in parts_of(page))


def blurred(tile: Tensor) -> Tensor:
    return F.avg_pool2d(tile, BRIGHTNESS, 1, BRIGHTNESS // 2, count_include_pad=False)


def holes(tile: Tensor, grain: int, dice: Random) -> tuple[Tensor, Tensor]:
    """With pixels, and those less than a grain from them, replaced by others near them; and which pixels these are."""
    height, width = tile.shape[1:]
    generator = torch.Generator().manual_seed(dice.randrange(1 << 31))
    reach = 2 * grain - 1
    centres = (torch.rand(1, height, width, generator=generator) < MASKED / reach**2).float()
    hidden = F.max_pool2d(centres, reach, 1, reach // 2) > 0
    away = dice.choice([(reach, 0), (-reach, 0), (0, reach), (0, -reach)])
    return torch.where(hidden, torch.roll(tile, away, (1, 2)), tile), centres.bool()


def grain_of_residual(method: Method, facts: Facts, parts: Sequence[Part]) -> int:
    """Pixels after which what the model takes away has nothing in common with itself."""
    with torch.no_grad():
        given = [coloured(centre(part, fitting(LEAST_SIDE, facts)).tile, facts) for part in evenly(parts, 4)]
        taken = torch.cat([one - method(one) for one in given])
    return next((lag for lag in range(1, MOST_GRAIN) if alike(taken, lag) < DEPENDENT), MOST_GRAIN)


def alike(planes: Tensor, lag: int) -> float:
    """Correlation of pixels so far apart in a row or a column."""
    rows = (planes[..., lag:, :] * planes[..., :-lag, :]).mean()
    columns = (planes[..., lag:] * planes[..., :-lag]).mean()
    return float((rows + columns) / (2 * planes.square().mean()).clamp(min=1e-12))


def cropped(tile: Tensor, side: int, dice: Random) -> Tensor:
    top, left = dice.randrange(tile.shape[1] - side + 1), dice.randrange(tile.shape[2] - side + 1)
    return tile[:, top : top + side, left : left + side]


def centre(part: Part, side: int) -> Part:
    top, left = ((length - side) // 2 for length in part.tile.shape[1:])
    return Part(part.tile[:, top : top + side, left : left + side], part.patches)


def fitting(side: int, facts: Facts) -> int:
    """About that side, as the model takes it."""
    return max(side, facts.least) // facts.multiple * facts.multiple


def turned(shown: Tensor, asked: Tensor, dice: Random) -> tuple[Tensor, Tensor]:
    both = torch.rot90(torch.stack([shown, asked]), dice.randrange(4), (2, 3))
    one, other = both.flip(3) if dice.random() < 0.5 else both
    return one, other
