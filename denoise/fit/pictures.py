"""Training pairs from clean photographs: a crop, its augmentation, a noise law drawn for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from denoise.errors import UserError
from denoise.fit import developed
from denoise.fit.developed import Pair, Pairing, log_uniform, softened, tinted
from denoise.noise.law import PictureLaw
from denoise.noise.photograph import Photograph, Response
from denoise.noise.picture_laws import (
    Correlated,
    Gaussian,
    Jpeg,
    Mixed,
    Poisson,
    SaltAndPepper,
    Speckle,
    eight_bit,
)

Draw = Callable[[Random], PictureLaw]


def grain(dice: Random) -> PictureLaw:
    """As cameras leave it: coarse, coloured, and three times in four gone through a JPEG."""
    film = Correlated(
        sigma=dice.uniform(2, 14),
        luma_blur=dice.uniform(0, 1.2),
        chroma_blur=log_uniform(dice, 0.5, 4),
        chroma=dice.uniform(0.3, 1.5),
        coarse=dice.uniform(0, 1),
        read=dice.uniform(0, 1),
    )
    jpeg = Jpeg(dice.randint(75, 98), dice.random() < 0.5)
    return Mixed((film, jpeg)) if dice.random() < 0.75 else film


def any_two(dice: Random) -> Mixed:
    kinds = [name for name in LAWS if name != "mixed"]
    return Mixed(tuple(LAWS[name](dice) for name in dice.sample(kinds, 2)))


LAWS: dict[str, Draw] = {
    "gaussian": lambda dice: Gaussian(dice.triangular(0, 55, 15)),
    "poisson": lambda dice: Poisson(log_uniform(dice, 15, 3000)),
    "speckle": lambda dice: Speckle(log_uniform(dice, 0.001, 0.1)),
    "salt_and_pepper": lambda dice: SaltAndPepper(log_uniform(dice, 0.002, 0.05)),
    "grain": grain,
    "mixed": any_two,
}


def by_law(draw: Draw) -> Pairing:
    def pair(clean: Tensor, dice: Random) -> Pair:
        return eight_bit(draw(dice).sample(clean, dice.randrange(1 << 31))), clean

    return pair


PAIRINGS: dict[str, Pairing] = {name: by_law(draw) for name, draw in LAWS.items()} | developed.PAIRINGS


@dataclass(frozen=True)
class Photographs:
    """Clean photographs in memory, a part of them kept aside for validation."""

    training: list[Tensor]  # (3, H, W) uint8
    validation: list[Tensor]

    @classmethod
    def of(cls, folder: Path, kept_aside: float = 0.07) -> Photographs:
        from PIL import Image

        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; name one with a few dozen photographs.")
        training: list[Tensor] = []
        validation: list[Tensor] = []
        for path in sorted(folder.glob("*.jpg")) + sorted(folder.glob("*.png")):
            with Image.open(path) as image:
                pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
            share = int(hashlib.sha256(path.name.encode()).hexdigest()[:8], 16) / 2**32
            (validation if share < kept_aside else training).append(pixels)
        if not training or not validation:
            raise UserError(f"{folder}: too few photographs to train on; a few dozen JPEG or PNG are wanted.")
        return cls(training, validation)


@dataclass(frozen=True)
class Pairs:
    """Batches of (noisy, clean), a pure function of the seed and the step."""

    photographs: Photographs
    mix: dict[str, float]  # share of every one of the PAIRINGS
    batch: int
    patch: int
    seed: int = 0
    soft: Mapping[str, float] = field(default_factory=dict)  # by noise, share of crops as soft as large photographs
    tinted: float = 0.0  # share of the crops with slow waves of colour over them

    def __post_init__(self) -> None:
        least = min((tuple(photo.shape[1:]) for photo in self.photographs.training), key=min)
        if min(least) < self.patch:
            size = "×".join(map(str, reversed(least)))
            raise UserError(f"A photograph of {size} px is among them; at least {self.patch} px each way are wanted.")

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        dice = Random(f"{self.seed}/{step}")
        noisy, clean = zip(*(self.pair(dice) for _ in range(self.batch)), strict=True)
        return torch.stack(noisy), torch.stack(clean)

    def pair(self, dice: Random) -> Pair:
        (noise,) = dice.choices(list(self.mix), weights=list(self.mix.values()))
        return PAIRINGS[noise](self.crop(dice, self.soft.get(noise, 0.0)), dice)

    def crop(self, dice: Random, soft: float = 0.0) -> Tensor:
        """Half of them shrunk, half of them the busiest of a few: photographs are judged where there is detail.
        Large photographs are mostly flat, and soft ones all shrunk first, which takes their own grain away."""
        if dice.random() < soft:
            picture = softened(recoloured(turned(self.cut(dice, 2), dice), dice), dice)
        else:
            tries = [self.cut(dice, dice.choice((1, 2))) for _ in range(dice.choice((1, 4)))]
            picture = recoloured(turned(max(tries, key=busyness), dice), dice)
        return tinted(picture, dice) if dice.random() < self.tinted else picture

    def cut(self, dice: Random, shrink: int) -> Tensor:
        photo = dice.choice(self.photographs.training)
        side = self.patch * shrink
        if min(photo.shape[1:]) < side:
            side, shrink = self.patch, 1
        top = dice.randrange(photo.shape[1] - side + 1)
        left = dice.randrange(photo.shape[2] - side + 1)
        part = photo[:, top : top + side, left : left + side].float() / 255
        if shrink == 2:
            part = F.avg_pool2d(part, 2)
        return part


def busyness(picture: Tensor) -> float:
    return float((picture[:, 1:] - picture[:, :-1]).abs().mean() + (picture[..., 1:] - picture[..., :-1]).abs().mean())


def turned(picture: Tensor, dice: Random) -> Tensor:
    picture = torch.rot90(picture, dice.randrange(4), (1, 2))
    return picture.flip(2) if dice.random() < 0.5 else picture


def recoloured(picture: Tensor, dice: Random) -> Tensor:
    """Other colours and exposures: channels exchanged, saturation and gamma changed, some grey."""
    picture = picture[dice.sample(range(3), 3)]
    grey = picture.mean(0, keepdim=True)
    if dice.random() < 0.1:
        return eight_bit(grey.expand_as(picture))
    if dice.random() < 0.5:
        picture = grey + log_uniform(dice, 0.5, 2.5) * (picture - grey)
    if dice.random() < 0.3:
        picture = picture.clamp(0, 1) ** log_uniform(dice, 0.6, 1.8)
    return eight_bit(picture)


VALIDATION: dict[str, PictureLaw | None] = {
    "s15": Gaussian(15),
    "s25": Gaussian(25),
    "s50": Gaussian(50),
    "grain": Mixed((Correlated(6.0, 0.6, 1.5), Jpeg(92))),
    "speckle": Speckle(0.04),
    "salt": SaltAndPepper(0.02),
    "compact": Mixed((Correlated(4.5, 0.7, 1.5, chroma=0.7, coarse=0.9, read=0.5), Jpeg(90))),
    "night": Mixed((Correlated(10.0, 0.45, 2.5, chroma=0.9, coarse=0.6, read=0.2), Jpeg(82, halved=False))),
    "sensor": Photograph(shot=0.03, read=0.006, response=Response(2.2, 0.35), mosaic="GRBG", quality=93),
    "clean": None,
}
SOFT = "soft "  # before the name of one of them: over pictures as soft as cameras leave them
USUAL = ("s15", "s25", "s50", "grain", "speckle", "salt")


def validation_pairs(
    photographs: Photographs, count: int, side: int = 192, names: Sequence[str] = USUAL
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(law, noisy, clean) batches: the centres of the busiest photographs kept aside; soft ones of those in between."""
    centres = sorted((centre(photo, side) for photo in photographs.validation), key=busyness)
    middle = centres[max(0, len(centres) - count) // 2 :][:count]
    soft = [softened(part, Random(i)) for i, part in enumerate(middle)]
    for name in names:
        law, chosen = VALIDATION[name.removeprefix(SOFT)], soft if name.startswith(SOFT) else centres[-count:]
        noisy, clean = zip(*(judged(law, part, 100 + i) for i, part in enumerate(chosen)), strict=True)
        yield name, torch.stack(noisy), torch.stack(clean)


def judged(law: PictureLaw | None, clean: Tensor, seed: int) -> Pair:
    """What a camera shows of it without noise is what is to be found."""
    if law is None:
        return clean, clean
    target = eight_bit(law.noiseless(clean)) if isinstance(law, Photograph) else clean
    return eight_bit(law.sample(clean, seed)), target


def centre(photo: Tensor, side: int) -> Tensor:
    top, left = (photo.shape[1] - side) // 2, (photo.shape[2] - side) // 2
    return photo[:, top : top + side, left : left + side].float() / 255
