"""Developed photographs: a plain U-Net that is told how strong and how coarse the noise is, by a small network that
measures it (the two branches and the asymmetric loss of CBDNet, Guo et al., CVPR 2019, arXiv 1807.04686).

Noise that a camera has developed is coarser than a pixel: its slow part is as strong as white noise of two or three
times its standard deviation, and in colour it reaches over many pixels. So the map of the noise has four planes, at
a quarter of the resolution: brightness and colour, each as single pixels show it and as means over 4×4 pixels do.
The map is also a gate: where it shows no noise, nothing is taken away, whatever the other network finds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise import seeds
from denoise.blend import mirrored
from denoise.methods.idf import squared_error, usual_error
from denoise.methods.method import Method, method
from denoise.networks.residual_unet import ResidualUNet
from denoise.restorer import Knob

PLANES = ("brightness, fine", "brightness, coarse", "colour, fine", "colour, coarse")  # of the map
UNIT = 1 / 255  # standard deviation from which levels are logarithmic
VISIBLE = 2 / 255  # standard deviation for which half of what could be noise is taken for it
MOST = math.log1p(128)  # level; no noise is stronger
BLOCK = 4  # px that a value of the map stands for, and over which coarse noise is averaged
SEEN = 3 * (BLOCK**2 + 2)  # of every block: the mean, what differs from it, and the steps to two neighbours
ENLARGED = 4.0  # times: differences between neighbours, so that all that is shown is about equally large
AROUND = 11  # values of the map, over which the true noise is measured
RED, GREEN, BLUE = 0.299, 0.587, 0.114  # of brightness, as JPEG has it
CB, CR = 2 * (1 - BLUE), 2 * (1 - RED)  # blue less brightness, and red, per unit of Cb and Cr
FINE = 5  # px: detail is what differs from the mean over so many

TOLD = 0.25  # share of the pictures in training that come with their true map
OVER = 0.3  # weight of too high a level; of too low a one 1 - OVER
LEVELS = 0.5  # weight of the map's error
SMOOTH = 0.05  # weight of the map's total variation


@method("photo")
class Photo(Method):
    """A noise map is measured, may be turned, and says what is noise."""

    piece = 1024
    context = 96  # px
    bound = 4e-3
    knobs = (
        Knob("noise", 1, 0, 3, 0.1, "How much noise is assumed, of what was measured: more smooths more."),
        Knob("colour", 1, 0, 1, 0.05, "How much of the colour noise is taken away."),
        Knob("luminance", 1, 0, 1, 0.05, "How much of the brightness noise is taken away."),
        Knob("detail", 0, 0, 1, 0.05, "How much of the finest brightness structure is given back, grain with it."),
    )

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256),
        down: Sequence[int] | None = None,
        up: Sequence[int] | None = None,
        measuring: Sequence[int] = (16, 32, 64),
        leak: float = 0.0,
    ) -> None:
        """`widths`, `down` and `up` of the network that cleans, `measuring`: widths of the one that measures; `leak` of
        both."""
        super().__init__()
        self.cleaning = ResidualUNet(3 * 4 + len(PLANES), 3 * 4, widths, down, up, leak=leak)
        self.measuring = ResidualUNet(SEEN, len(PLANES), measuring, leak=leak)
        self.multiple = max(2 * self.cleaning.multiple, BLOCK * self.measuring.multiple)

    @property
    def core(self) -> nn.Module:
        return self.cleaning

    def forward(
        self,
        noisy: Tensor,
        survey: Tensor | None = None,
        noise: float | Tensor = 1.0,
        colour: float | Tensor = 1.0,
        luminance: float | Tensor = 1.0,
        detail: float | Tensor = 0.0,
    ) -> Tensor:
        seen = noisy.clamp(0, 1) - 0.5
        sigmas = deviations(self.levels(seen)) * noise
        brightness, colours = self.removed(seen, sigmas).split((1, 2), 1)
        if isinstance(detail, Tensor) or detail:
            brightness = brightness - detail * (brightness - smooth(brightness, FINE))
        removed = torch.cat([luminance * brightness, colour * colours], 1)
        restored = noisy - rgb(removed)
        return torch.maximum(torch.minimum(restored, noisy.clamp(min=1)), noisy.clamp(max=0))

    def noise_map(self, noisy: Tensor) -> Tensor:
        """Standard deviations, of 255, of the PLANES: (B, 4, H/4, W/4), rounded up. Coarse ones are those of the
        white noise that has as much left in means over 4×4 pixels."""
        height, width = noisy.shape[2:]
        padded = mirrored(noisy, [side + -side % self.multiple for side in (height, width)])
        found = 255 * deviations(self.levels(padded.clamp(0, 1) - 0.5))
        return found[..., : -(-height // BLOCK), : -(-width // BLOCK)]

    def levels(self, seen: Tensor) -> Tensor:
        """The map as the network measures it, in levels: (B, 4, H/4, W/4)."""
        return MOST * torch.sigmoid(self.measuring(unrest(seen)).float())

    def removed(self, seen: Tensor, sigmas: Tensor) -> Tensor:
        """What is noise in brightness, Cb and Cr, if there is so much of it."""
        told = F.interpolate(levels_of(sigmas) / MOST, scale_factor=BLOCK / 2, mode="bilinear", align_corners=False)
        found = F.pixel_shuffle(self.cleaning(torch.cat([whitened(seen), told], 1)), 2).float()
        gates = torch.stack([sigmas[:, :2].mean(1), sigmas[:, 2:].mean(1)], 1)
        gates = F.interpolate(gates / (gates + VISIBLE), scale_factor=BLOCK, mode="bilinear", align_corners=False)
        return found * torch.cat([gates, gates[:, 1:]], 1)

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        """Logarithmic error of the picture, and the error of the map, which learns from nothing else: so it says
        noise and not what suits the other network. That one is told the truth now and then, and believes it."""
        seen = noisy - 0.5
        true, found = levels_of(true_deviations(noisy - clean)), self.levels(seen)
        told = seeds.uniform(step, torch.arange(len(noisy), device=noisy.device)) < TOLD
        sigmas = deviations(torch.where(told[:, None, None, None], true, found.detach()))
        restored = noisy - rgb(self.removed(seen, sigmas))
        error = (squared_error(restored, clean) + usual_error(squared_error(noisy, clean))).log().mean()
        return error + LEVELS * asymmetric(found, true) + SMOOTH * variation(found)


def rgb(planes: Tensor) -> Tensor:
    """(B, 3, H, W) of brightness, Cb and Cr."""
    brightness, cb, cr = planes.split(1, 1)
    red, blue = brightness + CR * cr, brightness + CB * cb
    return torch.cat([red, brightness - (RED * CR * cr + BLUE * CB * cb) / GREEN, blue], 1)


def opponent(picture: Tensor) -> Tensor:
    """Brightness, Cb and Cr of (B, 3, H, W)."""
    red, green, blue = picture.split(1, 1)
    brightness = RED * red + GREEN * green + BLUE * blue
    return torch.cat([brightness, (blue - brightness) / CB, (red - brightness) / CR], 1)


def unrest(picture: Tensor) -> Tensor:
    """What every block shows of the noise in it: the mean of each plane, and in levels the sizes of its fifteen
    other Hadamard coefficients and of the steps to its neighbours. White noise is of its own level in all of them."""
    coefficients = hadamard(opponent(picture), BLOCK)
    means, details = coefficients[:, :3], coefficients[:, 3:]
    around = F.pad(means, (0, 1, 0, 1), mode="replicate")
    steps = torch.cat([around.diff(dim=2)[..., :-1], around.diff(dim=3)[:, :, :-1]], 1) * math.sqrt(0.5)
    return torch.cat([means / BLOCK, levels_of(torch.cat([details, steps], 1).abs())], 1)


def whitened(picture: Tensor) -> Tensor:
    """(B, 12, H/2, W/2): of every 2×2 pixels the means, and enlarged what differs from them, which is mostly noise."""
    coefficients = hadamard(picture, 2)
    return torch.cat([coefficients[:, :3] / 2, ENLARGED * coefficients[:, 3:]], 1)


def hadamard(planes: Tensor, side: int) -> Tensor:
    """Orthonormal transform of blocks: (B, 3, H, W) -> (B, 3·side², H/side, W/side); the three means come first."""
    blocks = F.pixel_unshuffle(planes, side)
    for _ in range(2 * (side.bit_length() - 1)):  # bits of a pixel's place in its block
        even, odd = blocks.unflatten(1, (-1, 2)).unbind(2)
        blocks = math.sqrt(0.5) * torch.cat([even + odd, even - odd], 1)
    return blocks


def true_deviations(noise: Tensor) -> Tensor:
    """The map that the noise itself gives, smoothed over its neighbourhood."""
    brightness, colour = opponent(noise).split((1, 2), 1)
    found = torch.cat(powers(brightness) + powers(colour), 1)
    return smooth(found, AROUND).sqrt()


def powers(planes: Tensor) -> list[Tensor]:
    """Fine and coarse, mean over the planes, one value for each block: (B, 1, H/4, W/4)."""
    fine, coarse = F.avg_pool2d(planes.square(), BLOCK), (BLOCK * F.avg_pool2d(planes, BLOCK)).square()
    return [part.mean(1, keepdim=True) for part in (fine, coarse)]


def smooth(planes: Tensor, side: int) -> Tensor:
    """Means over squares; at the border over what there is of them."""
    for window in ((1, side), (side, 1)):
        margin = (window[0] // 2, window[1] // 2)
        planes = F.avg_pool2d(planes, window, 1, margin, count_include_pad=False)
    return planes


def levels_of(sigmas: Tensor) -> Tensor:
    """Differences are absolute for noise that cannot be seen and relative for what can."""
    return torch.log1p(sigmas / UNIT)


def deviations(levels: Tensor) -> Tensor:
    return UNIT * torch.expm1(levels)


def asymmetric(found: Tensor, true: Tensor) -> Tensor:
    """Squared error in which too low a level weighs more: noise that was not seen stays in the picture."""
    low = (found < true).to(found.dtype)
    return ((OVER - low).abs() * (found - true).square()).mean()


def variation(levels: Tensor) -> Tensor:
    rows, columns = levels.diff(dim=2), levels.diff(dim=3)
    return rows.square().mean() + columns.square().mean()
