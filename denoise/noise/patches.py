"""Noise as it was seen in pictures: patches of it, and how strong it is at every brightness.

Of white noise only the strength need be seen. Other patches are taken where the picture is flat, so that no texture is
among them, and are drawn where the picture is about as bright as where they come from. Laid half over each other
behind windows whose squares add up to one, they make noise of any size with the strength and the grain of what was
seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from denoise import seeds
from denoise.noise import principal
from denoise.noise.picture_level import CLEAN, PictureNoise

SIDE = 24  # px of a patch
HOP = SIDE // 2
BRIGHTNESSES = 8  # at which the strength is measured, at most
FEWEST = 24  # patches, in all and of one brightness
FLATTEST = 0.15  # share of the places of one brightness that counts as flat
TOO_WEAK, TOO_STRONG = 0.4, 1.6  # times the usual variance of its brightness: outside, it is clipped or texture
BUSY = 4.0  # times the power of what was taken away: with more left, it is texture of which a part was taken
CLIPPED = 0.05  # share of samples at black or white above which a place says nothing
AGREEING = 1.2  # times
IN_FLAT_PLACES, CERTAIN = 0.35, 0.1  # share of the variance by which what was measured may be wrong
DARK, BRIGHT = 0.05, 0.95  # brightness between which noise is hardly clipped
MEDIAN_OF_NORMAL = 0.6745  # of the absolute values
NEAR = 0.25  # share of the patches, nearest in brightness, that one is drawn from
INDEPENDENT = 0.1  # correlation below which two pixels count as independent
LONGEST = 6  # px that a grain is followed
DEPENDENT = 0.2  # correlation of neighbours from which noise is called coarse

Strength = Callable[[Tensor], Tensor]
"""Variance of the noise at a brightness; white is 1 for both."""


@dataclass(frozen=True, eq=False)
class Patches:
    """Noise of one picture, or of several that are equally noisy. It is a law of noise for pictures (…, C, H, W)."""

    shapes: Tensor  # (N, C, SIDE, SIDE), each over the strength that is usual at its brightness
    brightness: Tensor  # (N,) 0..1
    levels: Tensor  # (K,) brightnesses at which the strength is known, rising
    variances: Tensor  # (K,) there, white is 1
    doubt: float = IN_FLAT_PLACES
    white: bool = False

    @classmethod
    def gaussian(cls, sigma: float, count: int = 64, colours: int = 3, seed: int = 0) -> Self:
        """White noise of that standard deviation, of 255."""
        return cls.known((torch.tensor([0.5]), torch.tensor([(sigma / 255) ** 2])), count, colours, seed)

    @classmethod
    def known(cls, curve: principal.Curve, count: int = 64, colours: int = 3, seed: int = 0) -> Self:
        """White noise as strong as the curve says."""
        shapes = seeds.normal(seed, seeds.positions((count, colours, SIDE, SIDE), 0))
        levels = curve[0][torch.arange(count) % len(curve[0])]
        return cls(shapes, levels, *principal.from_black_to_white(curve), white=True)

    def variance(self, clean: Tensor) -> Tensor:
        return between(clean, self.levels, self.variances)

    def sample(self, clean: Tensor, seed: int) -> Tensor:
        """With noise; `clean` may be noisy itself as long as its brightness is seen through a mean."""
        return clean + self.drawn(clean, seed)

    def drawn(self, clean: Tensor, seed: int) -> Tensor:
        """The noise alone; that of grey pictures is the same in all colours."""
        planes = clean.reshape(-1, *clean.shape[-3:])
        fields = [self.field(one, seed, number).expand_as(one) for number, one in enumerate(planes)]
        return self.variance(clean).sqrt() * torch.stack(fields).reshape(clean.shape)

    def field(self, clean: Tensor, seed: int, number: int = 0) -> Tensor:
        """Noise of unit strength for (C, H, W): patches of similar brightness, laid half over each other."""
        height, width = clean.shape[1:]
        around = padded(clean.mean(0, keepdim=True))
        below = F.avg_pool2d(around, SIDE, HOP).flatten()
        places = seeds.positions((len(below),), 0)
        turned = flipped(self.mixed(below, seed, 4 * number), seeds.words(seed, 4 * number + 3, places))
        size = (around.shape[1], around.shape[2])
        columns = (turned * window()).flatten(1).T[None]
        laid = F.fold(columns, size, SIDE, stride=HOP)[0]
        return laid[:, HOP : HOP + height, HOP : HOP + width]

    def mixed(self, brightness: Tensor, seed: int, stream: int) -> Tensor:
        """A patch for every place, (P, C, SIDE, SIDE), that was never drawn before, lest a network learn them by heart:
        white noise in another order, any other between two that were seen."""
        one = self.shapes[self.choice(brightness, seed, stream)]
        if self.white:
            return shuffled(one, seed, stream + 1)
        other = self.shapes[self.choice(brightness, seed, stream + 1)]
        angle = 2 * math.pi * seeds.uniform(seed, seeds.positions((len(one), 1, 1, 1), 0), stream + 2)
        return angle.cos() * one + angle.sin() * other

    def trusted(self) -> Patches:
        """By one who knows that flat places are flat, as paper is, or an empty background."""
        return replace(self, doubt=CERTAIN)

    def half(self, which: int) -> Patches:
        """Every second patch, so that what is judged by the others was not learnt from these."""
        return replace(self, shapes=self.shapes[which::2], brightness=self.brightness[which::2])

    def choice(self, brightness: Tensor, seed: int, stream: int) -> Tensor:
        """A patch for every place, (P,): one of those that are nearest in brightness."""
        near = min(len(self.brightness), max(FEWEST // 2, math.ceil(NEAR * len(self.brightness))))
        apart = (brightness[:, None] - self.brightness[None]).abs()
        nearest = apart.topk(near, dim=1, largest=False).indices
        drawn = seeds.uniform(seed, seeds.positions((len(brightness), 1), 0), stream) * near
        return nearest.gather(1, drawn.long())[:, 0]

    def correlation(self, lag: int) -> float:
        """Of pixels that lie so far apart in a row or a column."""
        power = float(self.shapes.square().mean())
        rows = float((self.shapes[..., lag:, :] * self.shapes[..., :-lag, :]).mean())
        columns = float((self.shapes[..., lag:] * self.shapes[..., :-lag]).mean())
        return (rows + columns) / (2 * power)

    @property
    def coarse(self) -> bool:
        return self.correlation(1) > DEPENDENT

    @property
    def grain(self) -> int:
        """Pixels after which noise says nothing of its neighbours; 1 where it is independent from pixel to pixel."""
        lags = range(1, LONGEST)
        return next((lag for lag in lags if abs(self.correlation(lag)) < INDEPENDENT), LONGEST)

    @property
    def sigma(self) -> float:
        """Of 255, mean over what was seen."""
        return 255 * float(self.variance(self.brightness).mean().sqrt())

    def describe(self) -> str:
        what = f"noise of sigma {self.sigma:.1f} of 255 in {len(self.shapes)} flat places"
        low, high = 255 * math.sqrt(self.variances[0]), 255 * math.sqrt(self.variances[-1])
        grain = f"in grains of {self.grain} px" if self.coarse else "independent from pixel to pixel"
        return f"{what}, {low:.1f} where it is darkest and {high:.1f} where it is brightest, {grain}"


def seen(pictures: Tensor, noise: PictureNoise) -> Patches | None:
    """What is noise in noisy pictures (T, C, H, W), from flat places; None where too few are flat.

    Whether it is flat somewhere, the neighbours say: what is looked at for its size is not chosen by its size. How
    strong it is was measured before; what is much stronger or weaker is texture or clipped. Where it is independent
    from pixel to pixel, so are the patches made.
    """
    curve = principal.curve_of(pictures)
    if curve is not None and agrees(curve, noise):
        if principal.has_colours(pictures):
            return replace(Patches.known(curve, colours=pictures.shape[1]), doubt=CERTAIN)
        return Patches.known(no_stronger(curve, noise), colours=pictures.shape[1])
    if noise.sigma is None:
        return None
    strength = strength_of(noise)
    blocks = cut(pictures)
    residuals = level(blocks)
    found = flat_places(residuals, blocks, neighbours(powers(residuals)))
    shapes = standard(found, strength(found.means))
    size = powers(shapes)
    kept = (size > TOO_WEAK) & (size < TOO_STRONG)
    if int(kept.sum()) < FEWEST:
        return None
    brightness = found.means[kept].mean(1)
    levels = torch.linspace(float(brightness.min()), float(brightness.max()), BRIGHTNESSES + 1)
    shapes, scale = shapes[kept] / size[kept].mean().sqrt(), size[kept].mean().clamp(max=1)
    if noise.white:
        shapes, scale = shuffled(shapes), torch.minimum(scale, finest(pictures, strength))
    return Patches(shapes, brightness, levels, scale * strength(levels), white=noise.white)


def agrees(curve: principal.Curve, noise: PictureNoise) -> bool:
    """With what was seen in flat places: where much more noise is there, it is that of all colours together."""
    found = 255 * float(curve[1].mean().sqrt())
    return found > CLEAN and (noise.sigma is None or noise.sigma < AGREEING * found)


def no_stronger(curve: principal.Curve, noise: PictureNoise) -> principal.Curve:
    """Than in flat places: pictures without colours have few directions, and fine texture lies in all of them."""
    levels, variances = curve
    flat = float(variances.mean()) if noise.sigma is None else (noise.sigma / 255) ** 2
    return levels, variances * min(1.0, flat / float(variances.mean()))


def finest(pictures: Tensor, strength: Strength) -> Tensor:
    """Power of the finest detail, usual over the whole picture, beside what was measured: 1 for white noise (Donoho and
    Johnstone, 1994). Less says that even the flat places were none."""
    height, width = (length // 2 * 2 for length in pictures.shape[-2:])
    even = pictures[..., :height, :width]
    a, b, c, d = even[..., ::2, ::2], even[..., ::2, 1::2], even[..., 1::2, ::2], even[..., 1::2, 1::2]
    mean = (a + b + c + d) / 4
    detail = (a - b - c + d).abs() / 2 / strength(mean).clamp(min=1e-12).sqrt()
    seen_there = detail[(mean > DARK) & (mean < BRIGHT)]
    return (seen_there.median() / MEDIAN_OF_NORMAL).square() if len(seen_there) else torch.tensor(1.0)


def shuffled(shapes: Tensor, seed: int = 0, stream: int = 0) -> Tensor:
    """The pixels of each patch in another order, all colours of a pixel together."""
    count, colours = shapes.shape[:2]
    order = seeds.uniform(seed, seeds.positions((count, SIDE * SIDE), 0), stream).argsort(dim=1, stable=True)
    return shapes.flatten(2).gather(2, order[:, None].expand(-1, colours, -1)).unflatten(-1, (SIDE, SIDE))


def strength_of(noise: PictureNoise) -> Strength:
    """As it was measured: a line over brightness, or the same everywhere."""
    gain, dark = (noise.line.gain, noise.line.read**2) if noise.line else (0.0, (noise.sigma or 0.0) ** 2)
    return lambda brightness: (255 * gain * brightness.clamp(0, 1) + dark) / 255**2


def left_over(noisy: Tensor, denoised: Tensor) -> Patches | None:
    """What a restorer took away where what it left is flat."""
    residuals, unrest = level(cut(noisy - denoised)), powers(level(cut(denoised)))
    busy = unrest > BUSY * powers(residuals)
    found = flat_places(residuals, cut(noisy), unrest.masked_fill(busy, math.inf))
    if len(found.noise) < FEWEST:
        return None
    levels, variances = curve(found.means.flatten(), found.noise.square().mean((-2, -1)).flatten())
    shapes = standard(found, between(found.means, levels, variances))
    kept = powers(shapes) < TOO_STRONG
    if int(kept.sum()) < FEWEST:
        return None
    shapes = shapes[kept]
    return Patches(shapes / shapes.square().mean().sqrt(), found.means[kept].mean(1), levels, variances)


class Flat(NamedTuple):
    """Noise in flat places and the brightness of each colour there."""

    noise: Tensor  # (N, C, SIDE, SIDE)
    means: Tensor  # (N, C)


def flat_places(residuals: Tensor, pictures: Tensor, unrest: Tensor) -> Flat:
    """The flattest of every brightness: blocks (T, R, K, C, SIDE, SIDE) and how restless it is there, (T, R, K)."""
    clipped = ((pictures <= principal.BLACK) | (pictures >= principal.WHITE)).float().mean((-3, -2, -1)) > CLIPPED
    usable = (~clipped & unrest.isfinite()).flatten()
    means = pictures.flatten(0, 2)[usable].mean((-2, -1))
    kept = flattest(means.mean(1), unrest.flatten()[usable])
    return Flat(residuals.flatten(0, 2)[usable][kept], means[kept])


def standard(flat: Flat, variance: Tensor) -> Tensor:
    """The noise over its strength (N, C)."""
    return flat.noise / variance.clamp(min=1e-12).sqrt()[..., None, None]


def powers(blocks: Tensor) -> Tensor:
    """Mean square of each patch."""
    return blocks.square().mean((-3, -2, -1))


def flattest(brightness: Tensor, unrest: Tensor) -> Tensor:
    """Which places are flat, among those that are about as bright."""
    order = brightness.argsort(stable=True)
    parts = max(1, min(BRIGHTNESSES, len(order) // (2 * FEWEST)))
    kept = [part[unrest[part].argsort(stable=True)[: enough(len(part))]] for part in order.tensor_split(parts)]
    return torch.cat(kept)


def enough(count: int) -> int:
    return min(count, max(FEWEST, round(FLATTEST * count)))


def curve(brightness: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Usual variance at up to eight brightnesses."""
    order = brightness.argsort(stable=True)
    parts = order.tensor_split(max(1, min(BRIGHTNESSES, len(order) // FEWEST)))
    levels = torch.stack([brightness[part].mean() for part in parts])
    variances = torch.stack([variance[part].median() for part in parts])
    return levels, variances.clamp(min=1e-12)


def between(brightness: Tensor, levels: Tensor, values: Tensor) -> Tensor:
    """Values at the brightnesses between; beyond the ends as there."""
    if len(levels) == 1:
        return values.expand(brightness.numel()).reshape(brightness.shape)
    above = torch.searchsorted(levels, brightness.contiguous()).clamp(1, len(levels) - 1)
    low, high = levels[above - 1], levels[above]
    share = ((brightness - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    return values[above - 1].lerp(values[above], share)


def cut(pictures: Tensor) -> Tensor:
    """(T, C, H, W) -> every patch, half over its neighbours: (T, R, K, C, SIDE, SIDE)."""
    return pictures.unfold(2, SIDE, HOP).unfold(3, SIDE, HOP).permute(0, 2, 3, 1, 4, 5)


def level(blocks: Tensor) -> Tensor:
    """Without the plane that fits each patch best."""
    planes = slopes()
    flat = blocks.flatten(-2)
    return (flat - (flat @ planes.T) @ planes).unflatten(-1, (SIDE, SIDE))


def slopes() -> Tensor:
    """(3, SIDE²), orthonormal, whose sums any plane is."""
    at, flat = torch.arange(SIDE) - (SIDE - 1) / 2, torch.ones(SIDE)
    planes = torch.stack([torch.outer(flat, flat), torch.outer(at, flat), torch.outer(flat, at)]).flatten(1)
    return planes / planes.norm(dim=1, keepdim=True)


def neighbours(variance: Tensor) -> Tensor:
    """Median of the four patches around each that do not overlap with it: (T, R, K); fewer places see none."""
    if min(variance.shape[1:]) < 3:
        return torch.full_like(variance, math.inf)
    around = F.pad(variance[:, None], (2, 2, 2, 2), mode="reflect")[:, 0]
    rows, columns = slice(2, -2), slice(2, -2)
    places = [around[:, :-4, columns], around[:, 4:, columns], around[:, rows, :-4], around[:, rows, 4:]]
    middle = torch.stack(places).sort(0).values
    return middle[1:3].mean(0)


def padded(plane: Tensor) -> Tensor:
    """(1, H, W) with what is needed for patches to lie over every pixel twice each way."""
    height, width = plane.shape[1:]
    below, right = HOP + -height % HOP, HOP + -width % HOP
    return F.pad(plane[None], (HOP, right, HOP, below), mode="replicate")[0]


def window() -> Tensor:
    """(SIDE, SIDE); its square, laid half over itself, adds up to one."""
    half = torch.sin(math.pi * (torch.arange(SIDE) + 0.5) / SIDE)
    return torch.outer(half, half)


def flipped(patches: Tensor, words: Tensor) -> Tensor:
    """Half of them upside down, half of them left to right."""
    for bit, axis in ((8, -1), (9, -2)):
        patches = torch.where(((words >> bit) & 1 == 1)[:, None, None, None], patches.flip(axis), patches)
    return patches
