"""The pixel proxy of PNNP (Feng et al., TPAMI 2026): two small networks of 1×1 convolutions that turn standard normal
numbers into the noise of single pixels, one before and one after the amplifier.

Kernels of one pixel keep the noise independent from place to place, so a branch is a function of one number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

THIRD_STOPS = tuple(
    float(iso)
    for iso in (
        *(50, 64, 80, 100, 125, 160, 200, 250, 320, 400, 500, 640, 800, 1000, 1250, 1600, 2000, 2500, 3200, 4000, 5000),
        *(6400, 8000, 10000, 12800, 16000, 20000, 25600, 32000, 40000, 51200),
    )
)
SONY_A7S2 = (0.0009546, -0.00193)  # DN per electron = slope × ISO + intercept


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.act(self.conv2(self.act(self.conv1(x))))
        return changed


def transfer(width: int, blocks: int, inputs: int = 1) -> nn.Sequential:
    """A learned function of one number, or a few, at every pixel."""
    middle = [Residual(width) for _ in range(blocks)]
    return nn.Sequential(nn.Conv2d(inputs, width, 1), nn.SiLU(), *middle, nn.Conv2d(width, 1, 1))


class PixelProxy(nn.Module):
    """Noise in DN = before(x) · K(ISO) · s(ISO) + after(y), with x and y standard normal.

    K(ISO) is a fixed line, s(ISO) a learned table. The four colour planes are the batch: (B, 1, H, W).
    """

    gain_line: Tensor

    def __init__(
        self,
        isos: Sequence[float] = THIRD_STOPS,
        gain_line: tuple[float, float] = SONY_A7S2,
        width: int = 16,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        self.isos = tuple(isos)
        self.register_buffer("gain_line", torch.tensor(gain_line))
        self.log_scale = nn.Parameter(torch.zeros(len(self.isos)))
        self.before, self.after = transfer(width, blocks), transfer(width, blocks)

    def forward(self, x: Tensor, y: Tensor, iso: float) -> Tensor:
        noise: Tensor = self.before(x) * self.gain(iso) + self.after(y)
        return noise

    def gain(self, iso: float) -> Tensor:
        """K(ISO) · s(ISO), DN."""
        slope, intercept = self.gain_line
        return (slope * iso + intercept) * self.scale(iso)

    def scale(self, iso: float) -> Tensor:
        table = self.log_scale.exp()
        left = self.left_of(iso)
        right = min(left + 1, len(self.isos) - 1)
        span = self.isos[right] - self.isos[left]
        share = (iso - self.isos[left]) / span if span else 0.0
        return table[left] + share * (table[right] - table[left])

    def left_of(self, iso: float) -> int:
        """Index of the last entry of the table at or below this ISO."""
        return max(sum(entry <= iso for entry in self.isos) - 1, 0)


class ReleasedProxy(PixelProxy):
    """As the authors' weights are used: between two entries of the table, s(ISO) is not interpolated but
    extrapolated downwards from the next two."""

    def left_of(self, iso: float) -> int:
        return min(sum(entry < iso for entry in self.isos), len(self.isos) - 1)


def released(state: Mapping[str, Tensor]) -> ReleasedProxy:
    """The proxy of a released checkpoint (its keys begin with `proxy_pixel.`)."""
    names = {"ISO2K": "gain_line", "scaler": "log_scale"}
    parts = {"nn_pre": "before", "nn_fol": "after"}
    own: dict[str, Tensor] = {}
    for key, value in state.items():
        head, *rest = key.removeprefix("proxy_pixel.").split(".")
        own[".".join([names.get(head, parts.get(head, head)), *(part for part in rest if part != "conv")])] = value
    width = own["before.0.weight"].shape[0]
    blocks = sum(name.startswith("before.") and name.endswith(".conv1.weight") for name in own)
    proxy = ReleasedProxy(width=width, blocks=blocks)
    proxy.load_state_dict(own)
    return proxy


@torch.no_grad()
def begin_as_identity(branch: nn.Sequential, spread: Tensor, shift: Tensor, height: float) -> None:
    """Sets a branch to f(x) = height · x, x being its first input, which a training can start from.

    silu(a) - silu(-a) = a, so half of the channels carry a = spread · x + shift and the other half -a.
    """
    first, last = branch[0], branch[-1]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    pairs = first.out_channels // 2
    first.weight.zero_()
    first.weight[:, :1] = torch.cat([spread, -spread]).reshape(-1, 1, 1, 1)
    first.bias.copy_(torch.cat([shift, -shift]))  # type: ignore[union-attr]
    share = height / (pairs * spread)
    last.weight.copy_(torch.cat([share, -share]).reshape(1, -1, 1, 1))
    last.bias.copy_(-(share * shift).sum().reshape(1))  # type: ignore[union-attr]
    for block in branch:
        if isinstance(block, Residual):
            nn.init.zeros_(block.conv2.weight)
            nn.init.zeros_(block.conv2.bias)  # type: ignore[arg-type]
