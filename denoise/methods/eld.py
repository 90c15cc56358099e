"""ELD: raw pictures taken in far too little light, by a U-net that has seen all noises of calibrated cameras (Wei et
al., CVPR 2020, TPAMI 2021, arXiv 2108.02158).

The paper brightens the dark exposure, cuts it off at white and writes a bright picture. Here the result keeps the
exposure of its file, whose levels and tags tell of it: a converter brightens it. The network is shown every picture as
bright as others and told how much noise is in it, as YOND's is, and so may begin as that; the paper's own is told
nothing.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise.methods.method import By, Method, method
from denoise.networks.guided_unet import GuidedUNet, sure
from denoise.networks.unet_seeindark import UNetSeeInDark
from denoise.noise.blind_mosaic import black_error
from denoise.noise.flat_areas import light_of, usual_variance
from denoise.restorer import Knob

USUAL_LEVEL, LEAST_LEVEL = 0.1, 0.01  # of white, of the brightened noise
BLOCK = 8  # cells, side of what noise is measured in
LEAST_LIGHT = 1e-6  # of white


@method("eld")
class Eld(Method):
    kind = "raw"
    channels = 4
    multiple = GuidedUNet.multiple
    context = 64  # cells
    piece = 768
    bound = 5e-3
    surveys = True
    measures = True
    knobs = (
        Knob(
            "ratio",
            1,
            1,
            300,
            1,
            "How many times too dark it was taken; what is brighter than white / ratio, as lamps are, stays as it is.",
        ),
    )

    def __init__(self, width: int = 16, network: Literal["guided", "paper"] = "guided") -> None:
        super().__init__()
        self.network = UNetSeeInDark(width, bias=False) if network == "paper" else GuidedUNet(width)

    @property
    def core(self) -> nn.Module:
        return self.network

    def forward(self, noisy: Tensor, survey: Tensor | None = None, ratio: float | Tensor = 1.0) -> Tensor:
        """(B, 4, h, w), black is 0 and white is 1; survey as YOND's (1 or B, 4, 4): shot, read and bias of each colour,
        and how much light there is. The bias is no light, and goes."""
        offset, level, light = self.told(self.survey([noisy]) if survey is None else survey)
        seen = (noisy - offset) * ratio
        cut = torch.where(torch.as_tensor(ratio > 1, device=noisy.device), seen.clamp(max=1), seen)
        return (seen + self.lacking(cut, level * ratio, light * ratio)) / ratio

    def told(self, survey: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1 or B, 4 or 1, 1, 1): bias, noise at half of the light, and the light; noise at most as strong as that."""
        offset, light = survey[..., 2, None, None], survey[..., 3, None, None].mean(1, keepdim=True)
        level = usual_variance(survey).clamp(min=0).sqrt()[:, None, None, None]
        return offset, level, torch.maximum(light, level).clamp(min=LEAST_LIGHT)

    def lacking(self, cut: Tensor, level: Tensor, light: Tensor) -> Tensor:
        """What is to be added; nothing is known of what was cut off."""
        if isinstance(self.network, UNetSeeInDark):
            change: Tensor = self.network(cut)
            return change
        restored: Tensor = self.network(cut, level, light)
        return sure(level / light) * (restored - cut)

    @staticmethod
    def measured(signal: Tensor, restored: By) -> Tensor:
        return surveyed(signal, black_error(signal[0].cpu().numpy()))

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        """The mean error of the brightened picture, in which strong noise does not drown out weak, as in the paper's:
        a phone's at a hundredth of the light is ten times that of a large sensor. A crop does not tell black's error,
        so that the network learns of it."""
        _, level, light = self.told(torch.cat([surveyed(one, 0.0) for one in noisy.split(1)]))
        restored = noisy + self.lacking(noisy.clamp(max=1), level, light).float()
        strength = (noisy - clean).float().std((1, 2, 3)).clamp(min=LEAST_LEVEL)
        return ((restored - clean).abs().mean((1, 2, 3)) * (USUAL_LEVEL / strength).sqrt()).mean()


def surveyed(cells: Tensor, offset: float) -> Tensor:
    """(1, 4, 4), as if all noise were read noise, which it is not: the network has learnt what this measure means."""
    found = torch.tensor([0.0, float(noise_of(cells)) ** 2, offset, light_of(cells - offset)])
    return found.expand(len(cells), 4, 4).contiguous().to(cells.device)


def noise_of(cells: Tensor) -> Tensor:
    """Mean over all blocks of their deviations between diagonal neighbours: little texture gets into it."""
    if min(cells.shape[2:]) < 2:
        return torch.zeros(())
    apart = (cells[..., 1:, 1:] - cells[..., :-1, :-1]).float().square() / 2
    return F.avg_pool2d(apart, min(BLOCK, *apart.shape[2:])).sqrt().mean()
