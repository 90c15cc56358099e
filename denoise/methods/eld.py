"""ELD: raw pictures taken in far too little light, by a U-net that has seen all noises of calibrated cameras (Wei et
al., CVPR 2020, TPAMI 2021, arXiv 2108.02158).

The paper brightens the dark exposure, cuts it off at white and writes a bright picture. Here the result keeps the
exposure of its file, whose levels and tags tell of it: a converter brightens it. The network has no biases, so that it
need not be told how dark the picture is, and it learns what is to be taken away.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from denoise.methods.method import Method, method
from denoise.networks.unet_seeindark import UNetSeeInDark
from denoise.restorer import Knob

USUAL_LEVEL, LEAST_LEVEL = 0.1, 0.01  # of white, of the brightened noise


@method("eld")
class Eld(Method):
    kind = "raw"
    channels = 4
    multiple = UNetSeeInDark.multiple
    context = 64  # cells
    piece = 768
    bound = 5e-3
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

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.network = UNetSeeInDark(width, bias=False)

    @property
    def core(self) -> nn.Module:
        return self.network

    def forward(self, noisy: Tensor, survey: Tensor | None = None, ratio: float | Tensor = 1.0) -> Tensor:
        """(B, 4, h, w), black is 0 and white is 1."""
        seen = noisy * ratio
        cut = torch.where(torch.as_tensor(ratio > 1, device=noisy.device), seen.clamp(max=1), seen)
        return noisy + self.network(cut) / ratio

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        """The mean error of the brightened picture, in which strong noise does not drown out weak, as in the paper's:
        a phone's at a hundredth of the light is ten times that of a large sensor."""
        errors = (noisy.float() + self.network(noisy).float() - clean).abs().mean((1, 2, 3))
        level = (noisy - clean).float().std((1, 2, 3)).clamp(min=LEAST_LEVEL)
        return (errors * (USUAL_LEVEL / level).sqrt()).mean()
