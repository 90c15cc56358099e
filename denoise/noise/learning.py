"""How noise is learned from dark frames: what is taken out of them, and the training of the two networks.

The papers describe the losses and kept the training to themselves; the recipe is this project's. The frames are
parted into rows, columns and pixels, each freed of what repeats from frame to frame. The PNNP proxy then learns the
law of the pixels by its two distribution losses. The LRD generator learns patches of all three together, against its
discriminator and by a likeness that stands where the paper, having pairs of pictures, has an L1 and a perceptual
loss: the quantiles of values, row means and column means, and the power spectrum.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from denoise import seeds
from denoise.errors import UserError
from denoise.networks.lrd import FourierDiscriminator, NoiseGenerator, gradient_penalty
from denoise.networks.pnnp import PixelProxy, begin_as_identity
from denoise.noise.distribution_loss import cdf, normal_levels, normal_points, quantiles, uniform_levels
from denoise.noise.learned import condition, in_cells, normals

Tell = Callable[[str], None]

LEAST_SIDE, MOST_SIDE = 64, 1024  # of the centre of a frame that is looked at
CLIPPED = 0.25  # share of the values at the lowest one, from which the black is cut off
TRUSTED = 6.0  # standard deviations; beyond them a value is an outlier and stays as it is
MOST_VALUES = 1 << 22  # that quantiles are taken of
REPORTS = 10  # lines of progress in a training
TRAIN_PIXELS, TRAIN_OTHERS, TRAIN_ROWS, TRAIN_COLUMNS, TRAIN_MIX, TRAIN_DITHER = range(16, 22)  # streams

BRANCH = 16  # width of a network that makes one number of another
TOLD_STEPS, TOLD_RATE = 400, 1e-2  # of its first lesson
AFTER_SHARE = 0.9  # of the variance at the least noisy ISO, behind the amplifier at the beginning
PROXY_STEPS, PROXY_RATE = 20_000, 1e-3
PROXY_SHAPE = (128, 256)  # values per step

GAN_STEPS, GENERATOR_RATE, CRITIC_RATE = 100_000, 4e-3, 3e-3
WIDTH, BLOCKS = 16, 3  # of the generator: a fit takes minutes on one core
CRITIC_WIDTH = 32
CELLS, BATCH = 16, 16  # side of a patch in 2×2 cells, and patches per step
SIDE = 2 * CELLS  # of a patch on the sensor
CRITIC_STEPS = 1  # per step of the generator; the paper, without the likeness below, has 5
PENALTY = 10.0
ADVERSARY = 0.05  # weight of the critic beside the likeness
QUICK = 8.0  # the few weights of linear correlation learn so many times faster
KEPT = 0.98  # of the averaged generator, per step


# Evidence


@dataclass(frozen=True)
class Evidence:
    """Dark frames of one ISO without what repeats in them, DN around 0."""

    iso: float
    pixels: Tensor  # (N, H, W), rows and columns taken off
    rows: Tensor  # (N, H)
    columns: Tensor  # (N, W)

    @property
    def whole(self) -> Tensor:
        return self.pixels + self.rows[:, :, None] + self.columns[:, None]

    @property
    def unit_dn(self) -> float:
        height, width = self.pixels.shape[1:]
        freedom = (1 - 1 / height) * (1 - 1 / width)
        return float(self.pixels.std()) / freedom**0.5

    @property
    def row_dn(self) -> float:
        """Row means hold what is left of the pixels in them, too."""
        return excess(self.rows, self.unit_dn**2 / self.pixels.shape[2])

    @property
    def column_dn(self) -> float:
        return excess(self.columns, self.unit_dn**2 / self.pixels.shape[1])


def excess(means: Tensor, known: float) -> float:
    count = means.shape[1]
    return max(float(means.square().mean()) * count / (count - 1) - known, 0.0) ** 0.5


def evidence(iso: float, darks: Sequence[Tensor], seed: int) -> Evidence:
    check(darks)
    frames = torch.stack([centre(frame) for frame in darks])
    if bool((frames == frames.round()).all()):
        frames = recovered(frames, seed)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        frames[:, row::2, column::2] -= frames[:, row::2, column::2].mean()
    frames -= frames.mean((1, 2), keepdim=True)
    rows, columns = frames.mean(2), frames.mean(1)
    pixels = frames - rows[:, :, None] - columns[:, None]
    return Evidence(iso, changing(pixels), changing(rows), changing(columns))


def check(darks: Sequence[Tensor]) -> None:
    if len(darks) < 2:
        given = "1 dark frame was" if len(darks) else "No dark frames were"
        raise UserError(f"{given} given; at least 2 are wanted to tell noise from what repeats: take some more.")
    for number, frame in enumerate(darks, 1):
        check_frame(f"Dark frame {number}", frame)
    sizes = {tuple(frame.shape): number for number, frame in enumerate(darks, 1)}
    if len(sizes) > 1:
        named = " and ".join(f"{height}×{width}" for height, width in sizes)
        raise UserError(f"The dark frames differ in size ({named}); give frames of one camera and one setting.")
    for (one, first), (other, second) in combinations(enumerate(darks, 1), 2):
        if torch.equal(first[:1], second[:1]) and torch.equal(first, second):
            raise UserError(f"Dark frames {one} and {other} are the same one; give exposures taken one after another.")


def check_frame(name: str, frame: Tensor) -> None:
    if frame.dtype in (torch.uint8, torch.int8):
        raise UserError(f"{name} has 8 bits per value, as a JPEG has; raw sensor data are wanted: give raw files.")
    if frame.ndim != 2:
        shape = "×".join(str(size) for size in frame.shape)
        raise UserError(f"{name} has the shape {shape}; a mosaic of rows and columns is wanted: do not develop it.")
    if min(frame.shape) < LEAST_SIDE:
        raise UserError(
            f"{name} has {frame.shape[0]}×{frame.shape[1]} values; a side of {LEAST_SIDE} at least is wanted."
        )
    check_values(name, frame.float())


def check_values(name: str, values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise UserError(f"{name} holds values that are no numbers; give it as the camera wrote it.")
    lowest = values.min()
    if bool(values.max() == lowest):
        raise UserError(
            f"{name} holds no noise, every value is {float(lowest):g}; give raw files with the lens capped."
        )
    share = float((values == lowest).float().mean())
    if share > CLIPPED:
        raise UserError(
            f"{name} is clipped: {100 * share:.0f} % of its values are the lowest one, {float(lowest):g}; "
            "frames that keep their black level are wanted."
        )


def centre(frame: Tensor) -> Tensor:
    """Whole 2×2 cells around the middle, the first of them a first of the sensor's."""
    sides = [min(size - size % 2, MOST_SIDE) for size in frame.shape]
    top, left = ((size - side) // 4 * 2 for size, side in zip(frame.shape, sides, strict=True))
    return frame[top : top + sides[0], left : left + sides[1]].float()


def recovered(frames: Tensor, seed: int) -> Tensor:
    """What rounding took away, drawn again frame by frame."""
    shape = (frames.shape[1], frames.shape[2])
    for index, frame in enumerate(frames):
        dither = torch.from_numpy(normals(seed & seeds.MASK, TRAIN_DITHER, index * MOST_SIDE, 0, *shape))
        uniform = torch.special.ndtr(dither.double())
        frame.copy_(high_bit(frame, uniform, float(frame.mean()), float(frame.std())))
    return frames


def high_bit(values: Tensor, uniform: Tensor, mean: float, sigma: float) -> Tensor:
    """Rounded values spread over their interval as the normal law is within it (high-bit recovery of SFRN, Zhang et
    al., ICCV 2021); outliers stay."""
    where = values.double() - mean
    low, high = (torch.special.ndtr((where + half) / sigma) for half in (-0.5, 0.5))
    spread = mean + sigma * torch.special.ndtri(low + uniform * (high - low))
    return torch.where(where.abs() < TRUSTED * sigma, spread, values).to(values.dtype)


def changing(values: Tensor) -> Tensor:
    """Without what repeats in all frames (N, …), as far as they agree on it, and with the spread that each frame has
    around it. Were the mean always taken off, a few frames would look more Gaussian than they are."""
    frames, mean = len(values), values.mean(0)
    temporal = float(values.var(0).mean())
    error = temporal / frames
    fixed = max(float(mean.square().mean()) - error, 0.0)
    rest = values - fixed / (fixed + error) * mean
    return rest * (temporal / float(rest.square().mean())) ** 0.5


# Training


@dataclass(frozen=True)
class Pace:
    minutes: float
    steps: int | None = None

    def walk(self, most: int) -> Iterator[tuple[int, float]]:
        """Steps, and the share of the training that is behind each: counted where steps are given, so that the same
        seed learns the same."""
        begin, step, late = time.monotonic(), 0, 0.0
        while step == 0 or (step < (self.steps or most) and late < 1):
            yield step, step / self.steps if self.steps else max(late, step / most)
            step, late = step + 1, (time.monotonic() - begin) / (60 * self.minutes)


class Told:
    """Says now and then how a training stands."""

    def __init__(self, tell: Tell) -> None:
        self.tell, self.next = tell, 1 / REPORTS

    def note(self, step: int, spent: float, words: str) -> None:
        if spent >= self.next:
            self.tell(f"{100 * spent:.0f} %, {step} steps: {words}")
            self.next += 1 / REPORTS


def cooled(optimiser: torch.optim.Optimizer, rate: float, spent: float) -> None:
    """Along a cosine to nothing; the first hundredth warms up."""
    for group in optimiser.param_groups:
        warm, left = min(1.0, 0.05 + 100 * spent), 0.5 + 0.5 * math.cos(math.pi * spent)
        group["lr"] = rate * group.get("times", 1.0) * warm * left + 1e-6


def drawn(shape: torch.Size, seed: int, stream: int) -> Tensor:
    return seeds.normal(seed, seeds.positions(shape, 0), 1000 + stream)


@torch.no_grad()
def begun(network: nn.Module, seed: int) -> None:
    """Random weights (Kaiming) of a seed and not of torch's own numbers; biases and what is zero stay zero."""
    for stream, (name, weight) in enumerate(network.named_parameters()):
        if weight.ndim > 1 and name.endswith("weight") and bool(weight.any()):
            weight.copy_(drawn(weight.shape, seed, stream) * (2 / weight[0].numel()) ** 0.5)
        elif name.endswith("bias"):
            weight.zero_()


# PNNP


def learn_proxy(found: Sequence[Evidence], seed: int, pace: Pace, tell: Tell) -> PixelProxy:
    """By the quantile loss and the CDF loss, one ISO per step."""
    unit_dn = min(item.unit_dn for item in found)
    proxy = begun_proxy(found, unit_dn, seed)
    levels, points = normal_levels(), normal_points()
    goals = [goal_of(item, levels, points) for item in found]
    optimiser, told = torch.optim.Adam(proxy.parameters()), Told(tell)
    for step, spent in pace.walk(PROXY_STEPS):
        turn = Random(f"{seed}/{step}").randrange(len(found))
        made = proxy(*proxy_numbers(seed, step), found[turn].iso) * (unit_dn / found[turn].unit_dn)
        far = distance(made, goals[turn], levels, points)
        cooled(optimiser, PROXY_RATE, spent)
        descend(optimiser, far)
        told.note(step, spent, f"distance {float(far.detach()):.4f}")
    return in_dn(proxy, unit_dn)


def begun_proxy(found: Sequence[Evidence], unit_dn: float, seed: int) -> PixelProxy:
    """The law of the noisiest ISO before the amplifier; behind it that of the least noisy, if there are several.
    In units of `unit_dn`, the least of all."""
    isos = [item.iso for item in found]
    proxy = PixelProxy(isos, gain_line=(1 / isos[-1], 0.0))
    begun(proxy, seed)
    begin_alike(proxy.before, [max(found, key=lambda item: item.unit_dn)], seed)
    behind = AFTER_SHARE if len(found) > 1 else 0.0
    begin_alike(proxy.after, [min(found, key=lambda item: item.unit_dn)], seed + 1)
    higher(proxy.after, behind**0.5)
    spread = torch.tensor([(item.unit_dn / unit_dn) ** 2 - behind for item in found]).sqrt()
    proxy.log_scale.data = (spread * isos[-1] / torch.tensor(isos)).log()
    return proxy


def begin_alike(branch: nn.Sequential, found: Sequence[Evidence], seed: int) -> None:
    """A function of a normal number that has the law of the pixels is their quantile function, and is told it."""
    spread, shift = (drawn(torch.Size([BRANCH // 2]), seed, 500 + part) for part in range(2))
    begin_as_identity(branch, 0.5 + spread.abs(), shift, 1.0)
    levels, inputs = normal_levels(), branch[0].weight.shape[1]  # type: ignore[index]
    x = torch.special.ndtri(levels)
    given = torch.stack([torch.stack([x, condition(item.iso).expand_as(x)])[:inputs] for item in found])[:, :, None]
    goal = torch.stack([quantiles(thinned(item.pixels), levels) / item.unit_dn for item in found])
    optimiser = torch.optim.Adam(branch.parameters())
    for step in range(TOLD_STEPS):
        cooled(optimiser, TOLD_RATE, step / TOLD_STEPS)
        descend(optimiser, (branch(given)[:, 0, 0] - goal).abs().mean())


@torch.no_grad()
def higher(branch: nn.Sequential, factor: float) -> None:
    for value in branch[-1].parameters():
        value.mul_(factor)


def goal_of(item: Evidence, levels: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    values = thinned(item.pixels) / item.unit_dn
    return quantiles(values, levels), cdf(values, points)


def thinned(values: Tensor) -> Tensor:
    flat = values.flatten()
    return flat[:: -(-len(flat) // MOST_VALUES)]


def proxy_numbers(seed: int, step: int) -> tuple[Tensor, Tensor]:
    x, y = (
        normals(seed & seeds.MASK, kind, step * PROXY_SHAPE[0], 0, *PROXY_SHAPE)
        for kind in (TRAIN_PIXELS, TRAIN_OTHERS)
    )
    return torch.from_numpy(x)[None, None], torch.from_numpy(y)[None, None]


def distance(made: Tensor, goal: tuple[Tensor, Tensor], levels: Tensor, points: Tensor) -> Tensor:
    return (quantiles(made, levels) - goal[0]).abs().mean() + (cdf(made, points) - goal[1]).abs().mean()


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


@torch.no_grad()
def in_dn(proxy: PixelProxy, unit_dn: float) -> PixelProxy:
    """The same noise, in DN where it was in units of `unit_dn`."""
    proxy.log_scale.add_(math.log(unit_dn))
    higher(proxy.after, unit_dn)
    return proxy


# LRD


@dataclass(frozen=True)
class Patches:
    """Real patches in units of their ISO's `unit_dn`, and a generator's numbers for as many; one ISO per batch."""

    frames: list[Tensor]  # per ISO (N, H, W)
    isos: list[float]
    halo: int
    seed: int

    def turn(self, step: int) -> int:
        return Random(f"{self.seed}/iso/{step}").randrange(len(self.frames))

    def condition(self, step: int) -> Tensor:
        return condition(self.isos[self.turn(step)]).expand(BATCH)

    def real(self, step: int) -> Tensor:
        """(B, 4, CELLS, CELLS)"""
        frames, dice = self.frames[self.turn(step)], Random(f"{self.seed}/{step}")
        cut = torch.stack([self.cut(frames, dice) for _ in range(BATCH)])
        return torch.pixel_unshuffle(cut[:, None], 2)

    def cut(self, frames: Tensor, dice: Random) -> Tensor:
        frame = frames[dice.randrange(len(frames))]
        top, left = (2 * dice.randrange((size - SIDE) // 2 + 1) for size in frame.shape)
        return frame[top : top + SIDE, left : left + SIDE]

    def numbers(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        side = SIDE + 4 * self.halo
        pixels, rows, columns = (
            torch.from_numpy(normals(self.seed & seeds.MASK, kind, step * BATCH * side, 0, BATCH * side, width))
            for kind, width in ((TRAIN_PIXELS, side), (TRAIN_ROWS, 1), (TRAIN_COLUMNS, 1))
        )
        packed = torch.pixel_unshuffle(pixels.reshape(BATCH, 1, side, side), 2)
        return packed, in_cells(rows.reshape(BATCH, side)), in_cells(columns.reshape(BATCH, side))

    def shares(self, step: int) -> Tensor:
        numbers = normals(self.seed & seeds.MASK, TRAIN_MIX, step, 0, 1, BATCH)
        return torch.special.ndtr(torch.from_numpy(numbers)[0])


@dataclass(frozen=True)
class Margin:
    """One kind of number in a patch (B, SIDE, SIDE), and its quantiles in the real ones."""

    of: Callable[[Tensor], Tensor]
    levels: Tensor
    goal: Tensor
    spread: float

    @classmethod
    def real(cls, patches: Tensor, of: Callable[[Tensor], Tensor], levels: Tensor) -> Margin:
        values = thinned(of(patches))
        return cls(of, levels, quantiles(values, levels), float(values.std()))

    def distance(self, made: Tensor) -> Tensor:
        return (quantiles(self.of(made), self.levels) - self.goal).abs().mean() / self.spread


@dataclass(frozen=True)
class Likeness:
    """What the patches of one ISO must have in common with the real ones, whatever the critic says."""

    margins: tuple[Margin, ...]  # values, row means, column means
    power: Tensor  # (SIDE, SIDE / 2 + 1)

    @classmethod
    def of(cls, frames: Tensor) -> Likeness:
        real, evenly = cut_up(frames), uniform_levels(100, 2)
        values = Margin.real(real, torch.flatten, normal_levels(400))
        rows = Margin.real(real, lambda patches: patches.mean(2), evenly)
        columns = Margin.real(real, lambda patches: patches.mean(1), evenly)
        return cls((values, rows, columns), spectrum(real))

    def distance(self, made: Tensor) -> Tensor:
        off: Tensor = (spectrum(made) / self.power - 1).abs().mean()
        return off + torch.stack([margin.distance(made) for margin in self.margins]).sum()


def cut_up(frames: Tensor) -> Tensor:
    """All patches (M, SIDE, SIDE) of the frames, side by side."""
    height, width = (size // SIDE * SIDE for size in frames.shape[1:])
    return frames[:, :height, :width].unflatten(2, (-1, SIDE)).unflatten(1, (-1, SIDE)).transpose(2, 3).flatten(0, 2)


def spectrum(patches: Tensor) -> Tensor:
    """Mean power of every frequency: what pixels have to do with their neighbours."""
    return torch.fft.rfft2(patches, norm="ortho").abs().square().mean(0)


def learn_generator(found: Sequence[Evidence], seed: int, pace: Pace, tell: Tell) -> NoiseGenerator:
    """WGAN with gradient penalty, held to the likeness of the frames; the average of its last weights."""
    generator, critic = begun_generator(found, seed), FourierDiscriminator(CELLS, width=CRITIC_WIDTH)
    begun(critic, seed + 1)
    patches = Patches([item.whole / item.unit_dn for item in found], [i.iso for i in found], generator.halo, seed)
    likeness = [Likeness.of(frames) for frames in patches.frames]
    makers, judges = adam(generator, quick=[generator.filter]), adam(critic)
    mean, told = {name: value.clone() for name, value in generator.state_dict().items()}, Told(tell)
    for step, spent in pace.walk(GAN_STEPS):
        turn = step * (CRITIC_STEPS + 1)
        cooled(judges, CRITIC_RATE, spent)
        cooled(makers, GENERATOR_RATE, spent)
        for critic_turn in range(turn + 1, turn + 1 + CRITIC_STEPS):
            descend(judges, critic_loss(generator, critic, patches, critic_turn))
        made = generator(*patches.numbers(turn), patches.condition(turn))
        off = likeness[patches.turn(turn)].distance(torch.pixel_shuffle(made, 2)[:, 0])
        descend(makers, off - ADVERSARY * critic(made, patches.condition(turn)).mean())
        follow(mean, generator)
        told.note(step, spent, f"distance {float(off.detach()):.4f}")
    generator.load_state_dict(mean)
    return generator


def adam(network: nn.Module, quick: Sequence[Tensor] = ()) -> torch.optim.Optimizer:
    """With the paper's betas, and a part that learns QUICK times as fast."""
    slow = [value for value in network.parameters() if not any(value is one for one in quick)]
    groups: list[dict[str, Any]] = [{"params": slow}, {"params": list(quick), "times": QUICK}]
    return torch.optim.Adam([group for group in groups if group["params"]], betas=(0.5, 0.999))


def begun_generator(found: Sequence[Evidence], seed: int) -> NoiseGenerator:
    """The law of the pixels at every ISO, without correlation; rows and columns as strong as they were found."""
    generator = NoiseGenerator(WIDTH, BLOCKS)
    begun(generator, seed)
    begin_alike(generator.law, found, seed)
    shares = [[item.row_dn / item.unit_dn, item.column_dn / item.unit_dn] for item in found]
    stated = [float(condition(item.iso)) for item in found]
    *slope, start = np.polyfit(stated, shares, min(1, len(found) - 1))
    generator.shares.weight.data = torch.tensor(slope[0] if slope else [0.0, 0.0], dtype=torch.float32)[:, None]
    generator.shares.bias.data = torch.tensor(start, dtype=torch.float32)
    return generator


def critic_loss(generator: NoiseGenerator, critic: FourierDiscriminator, patches: Patches, turn: int) -> Tensor:
    real, isos = patches.real(turn), patches.condition(turn)
    with torch.no_grad():
        made = generator(*patches.numbers(turn), isos)
    steep = gradient_penalty(critic, real, made, isos, patches.shares(turn))
    return critic(made, isos).mean() - critic(real, isos).mean() + PENALTY * steep


def follow(mean: Mapping[str, Tensor], network: nn.Module) -> None:
    for name, value in network.state_dict().items():
        mean[name].lerp_(value, 1 - KEPT)


LEARN: dict[str, Callable[[Sequence[Evidence], int, Pace, Tell], nn.Module]] = {
    "pnnp": learn_proxy,
    "lrd": learn_generator,
}
