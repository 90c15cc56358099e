"""Linear raw light out of developed photographs (Brooks et al., Unprocessing Images for Learned Raw Denoising, 2019).

What a camera did is undone in reverse order, as some camera that is drawn: its tone curve, gamma, colours, white
balance and brightness. The result is a mosaic's four planes without noise: red, first green, second green, blue.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

GAMMA = 2.2
PROTECTED = 0.9  # of white: what is brighter keeps its brightness, so that white stays white
DIM = 0.1  # share of pictures that are five times darker
XYZ_OF_RGB = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
CAMERAS_OF_XYZ = (
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),
    ((0.4913, -0.0541, -0.0202), (-0.6130, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),
    ((0.8380, -0.2630, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.0970, 0.1581, 0.5181)),
)
"""Colour matrices of four cameras, as their DNG files state them."""


@dataclass(frozen=True)
class Developed:
    """What some camera did to its raw light."""

    matrix: Tensor  # (3, 3) camera from sRGB, both linear; rows sum to one
    red: float  # gains of white balance
    blue: float
    brightness: float

    @classmethod
    def drawn(cls, dice: Random) -> Developed:
        weights = torch.tensor([dice.random() + 1e-6 for _ in CAMERAS_OF_XYZ])
        camera = (torch.tensor(CAMERAS_OF_XYZ) * (weights / weights.sum())[:, None, None]).sum(0)
        matrix = camera @ torch.tensor(XYZ_OF_RGB)
        dim = 0.2 if dice.random() < DIM else 1.0
        return cls(
            matrix / matrix.sum(1, keepdim=True),
            dice.uniform(1.4, 2.5),
            dice.uniform(1.5, 2.4),
            max(dice.gauss(0.8, 0.1), 0.4) / dim,
        )

    def undone(self, picture: Tensor) -> Tensor:
        """(3, H, W), sRGB 0..1 -> linear camera light 0..1."""
        linear = without_curve(picture).clamp(min=1e-8) ** GAMMA
        light = torch.einsum("dc,chw->dhw", self.matrix, linear).clamp(0, 1)
        gains = torch.tensor([1 / self.red, 1.0, 1 / self.blue])[:, None, None] / self.brightness
        grey = light.mean(0, keepdim=True)
        bright = ((grey - PROTECTED).clamp(min=0) / (1 - PROTECTED)) ** 2
        return (light * torch.maximum(bright + (1 - bright) * gains, gains)).clamp(0, 1)


def without_curve(picture: Tensor) -> Tensor:
    """The inverse of the S-curve 3x² - 2x³."""
    return 0.5 - torch.sin(torch.asin(1 - 2 * picture.clamp(0, 1)) / 3)


def planes(light: Tensor) -> Tensor:
    """(3, H, W) of even sides -> (4, H/2, W/2): each site keeps its own colour."""
    red, green, blue = light
    return torch.stack([red[::2, ::2], green[::2, 1::2], green[1::2, ::2], blue[1::2, 1::2]])


def shrunk(picture: Tensor) -> Tensor:
    """Half as large: without the noise and the blur of its own camera."""
    return F.avg_pool2d(picture, 2)
