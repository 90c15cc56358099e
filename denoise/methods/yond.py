"""YOND: raw pictures of any camera, with a network that has only ever seen white noise (Feng et al., arXiv 2506.03645).

The noise is measured in the picture, its photons are made even, a network that is told the level takes away what is
then white, and the way back matches expectations: it knows what the mean of the transforms of noisy values is. (The
paper corrects the noisy values before instead, which is off by a few hundredths of an electron in the dark.)
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from denoise.blend import mirrored
from denoise.methods.method import By, Method, method
from denoise.networks.guided_unet import GuidedUNet, sure
from denoise.noise.blind_mosaic import black_error
from denoise.noise.flat_areas import Line, Planes, bounded, coarse, fine, light_of
from denoise.noise.stabilise import MANY_E, SHIFT, bias_of_many, short_by
from denoise.restorer import Knob

STRONGEST = 50 / 255  # noise that the network was trained on
BRIGHTEST = 2.0  # roots of light that it is shown, in units of the light that all but a few places have
USUAL_LEVEL = 15 / 255
LEAST_SHOT = 1e-7  # of white: fewer than ten million electrons
FIRM = 100.0  # variances of photons at white that read noise has at most: beyond, digits are lost on the way back
MOST_READ_E = 10.0  # in the table; beyond, the series is good enough
LEAST_E = -0.3  # that the algebraic inverse can come to, about
NEWTON_STEPS = 4
ROOTS, READS = 257, 65  # of the table, over the cubic root of electrons and the square root of read noise


@method("yond")
class Yond(Method):
    kind = "raw"
    channels = 4
    multiple = GuidedUNet.multiple
    context = 64  # cells
    piece = 768
    bound = 5e-3
    surveys = True
    measures = True
    knobs = (Knob("noise", 1, 0.5, 2, 0.05, "How much noise is assumed, of what was measured: more smooths more."),)

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.network = GuidedUNet(width)
        self.register_buffer("table", table().clone(), persistent=False)
        self.table: Tensor

    @property
    def core(self) -> nn.Module:
        return self.network

    def forward(self, noisy: Tensor, survey: Tensor | None = None, noise: float | Tensor = 1.0) -> Tensor:
        """(B, 4, h, w), black is 0 and white is 1; survey (1 or B, 4, 4): shot, read and bias of each colour, and how
        much light there is. The network sees a dark picture as bright as others. The bias is no light, and goes."""
        known = self.survey([noisy]) if survey is None else survey
        shot, read, offset, most = (known[..., part, None, None] for part in range(4))
        read = read.clamp(min=0)
        shot = torch.maximum(shot.clamp(min=LEAST_SHOT), read / FIRM)
        read_e = read.sqrt() / shot
        z = even((noisy - offset) / shot, read_e)
        low, high = even(torch.zeros_like(shot), read_e), even(most / shot, read_e)
        span = (high - low).clamp(min=1 / STRONGEST)
        level = noise / span.mean(1, keepdim=True)
        seen = (z - low) / span
        shown = seen.clamp(max=BRIGHTEST)
        restored = ((seen + sure(level) * (self.white(shown, level) - shown)) * span + low).clamp(min=0)
        algebraic = restored.square() / 4 - SHIFT - read_e.square()
        light = shot * (algebraic + self.short_by(algebraic, read_e)).clamp(min=0)
        return unclipped(light, (shot + read).sqrt())

    @staticmethod
    def measured(signal: Tensor, restored: By) -> Tensor:
        """Black's error, and the noise line: coarsely from the mosaic (1, 4, h, w), finely beside what the first line
        restores; neither line above what can be noise."""
        offset = black_error(signal[0].cpu().numpy())
        lit = signal - offset
        planes = planes_of(lit)
        box, light = box_for(planes.shape), light_of(lit)
        first = bounded(coarse(planes, box), planes)
        beside = restored(padded(lit), told(first, 0.0, light).to(signal.device))
        twin = planes_of(beside[..., : lit.shape[2], : lit.shape[3]])
        return told(bounded(fine(planes, twin, first, box), planes), offset, light)

    def short_by(self, algebraic_e: Tensor, read_e: Tensor) -> Tensor:
        """What the algebraic inverse (B, 4, h, w) lacks of the mean number of electrons: from the table, or for many
        the series."""
        down = ((algebraic_e - LEAST_E).clamp(0.0, MANY_E - LEAST_E) / (MANY_E - LEAST_E)).pow(1 / 3) * (ROOTS - 1)
        row = down.floor().clamp(max=ROOTS - 2)
        at, curve = row.long().flatten(2), self.curve(read_e).expand(len(down), -1, -1)
        above, below = (curve.gather(2, rows).view_as(down) for rows in (at, at + 1))
        few = (algebraic_e < MANY_E) & (read_e < MOST_READ_E)
        found = above + (down - row) * (below - above)
        return torch.where(few, found, short_of_many(algebraic_e.clamp(min=0), read_e))

    def curve(self, read_e: Tensor) -> Tensor:
        """The column of the table for the read noise of each colour: (B, 4, 1, 1) -> (B, 4, ROOTS)."""
        across = (read_e.clamp(max=MOST_READ_E) / MOST_READ_E).sqrt().flatten(2) * (READS - 1)
        column = across.floor().clamp(max=READS - 2)
        left, right = (self.table.T[(column[..., 0] + more).long()] for more in (0, 1))
        return left + (across - column) * (right - left)

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        """The mean error for white noise, whose level is that of the noise that was drawn; strong noise does not
        drown out weak."""
        level = (noisy - clean).float().std((1, 2, 3), keepdim=True)
        return ((self.white(noisy, level).float() - clean).abs() * (USUAL_LEVEL / level).sqrt()).mean()

    def white(self, noisy: Tensor, level: Tensor) -> Tensor:
        """Without white noise of that standard deviation (B, 1, 1, 1)."""
        restored: Tensor = self.network(noisy, level, torch.ones_like(level))
        return restored


def even(x_e: Tensor, read_e: Tensor) -> Tensor:
    return 2 * (x_e + SHIFT + read_e.square()).clamp(min=0).sqrt()


def unclipped(light: Tensor, deviation: Tensor) -> Tensor:
    """Noise is cut off at white, which takes deviation·(u Φ(u) + φ(u)) - u from the mean of what lies u deviations
    below: solved for u, so that what was white is white (Foi, Clipped noisy images, 2009)."""
    lacking = ((1 - light) / deviation).clamp(min=0)
    u = lacking
    for _ in range(NEWTON_STEPS):
        chance, density = (1 + torch.erf(u * 0.5**0.5)) / 2, torch.exp(-u.square() / 2) / (2 * math.pi) ** 0.5
        u = (u - (u * chance + density - lacking) / chance).clamp(min=0)
    return torch.maximum(light, 1 - deviation * u)


def short_of_many(algebraic_e: Tensor, read_e: Tensor) -> Tensor:
    bias = bias_of_many(algebraic_e, read_e)
    return -bias * (algebraic_e + SHIFT + read_e.square()).sqrt() - bias.square() / 4


@cache
def table() -> Tensor:
    algebraic = LEAST_E + (MANY_E - LEAST_E) * np.linspace(0, 1, ROOTS) ** 3
    reads = MOST_READ_E * np.square(np.linspace(0, 1, READS))
    return torch.from_numpy(short_by(algebraic, reads.tolist())).float()


def told(line: Line, offset: float, light: float) -> Tensor:
    """The same for all colours: (1, 4, 4)."""
    known = torch.tensor([max(line.gain, 0.0), max(line.read_variance, 0.0), offset, max(light, 0.0)])
    return known.expand(1, 4, 4).contiguous()


def planes_of(sheet: Tensor) -> Planes:
    """(1, 4, h, w) -> (h, w, 4)."""
    return sheet[0].permute(1, 2, 0).cpu().double().numpy()


def box_for(shape: tuple[int, ...]) -> int:
    """29 pixels, or about a third of a small picture."""
    return int(max(3, min(29, min(shape[:2]) // 3 | 1)))


def padded(sheet: Tensor) -> Tensor:
    return mirrored(sheet, [side + -side % GuidedUNet.multiple for side in sheet.shape[2:]])
