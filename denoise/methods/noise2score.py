"""Noise2Score (Kim and Ye, NeurIPS 2021, arXiv 2106.07009), and its noise-adaptive successor (arXiv 2112.03696).

A network learns the score of noisy pictures from noisy pictures alone; Tweedie's formula makes clean ones of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise import seeds
from denoise.methods.method import Method, Official, method
from denoise.networks.score_unet import ScoreUNet
from denoise.networks.shared_unet import SharedUNet
from denoise.processes import ardae, thinning, tweedie, tweedie_level
from denoise.restorer import Knob

AVERAGE = "shadow_params."  # and the place of a parameter
AROUND = 17  # px
TYPICAL = 0.1  # deviation of the noise, of white
LEAST_BRIGHTNESS = 0.05  # of white; darker pictures count no more than such


@method("noise2score")
class Noise2Score(Method):
    """y + variance × score for Gaussian noise, and its like for Poisson and gamma noise."""

    piece = 640
    context = 112
    bound = 1e-3
    surveys = True
    knobs = (
        Knob("family", 0, 0, 3, 1, "Kind of noise; auto: found in the picture.", ("auto", *tweedie.FAMILIES)),
        Knob(
            "level",
            0,
            0,
            1000,
            0.1,
            "Noise level, 0: found in the picture. Gaussian: sigma, of 255 (at most 100); Poisson: photons at white; "
            "gamma: looks.",
        ),
    )

    def __init__(
        self,
        colours: int = 3,
        network: Literal["small", "paper"] = "small",
        widths: Sequence[int] = (32, 64, 128, 256),
        sigma_a: tuple[float, float] = (1.0, 0.1),
        of_noise: bool = True,
        epoch: int = 0,
        blocks: int = 1,
        share: float = 0.0,
        leak: float = 0.0,
    ) -> None:
        """It learns from `share` of what a noisy picture measured, asked for the rest; or where that is 0, what small
        noise was added: `sigma_a` from largest to smallest, in units of the noise itself or of white; log-uniform, or
        annealed over every epoch of so many images."""
        super().__init__()
        self.network = SharedUNet(colours) if network == "paper" else ScoreUNet(colours, widths, blocks, leak)
        self.channels = colours
        self.multiple = self.least = self.network.multiple
        self.sigma_a, self.of_noise, self.epoch, self.share = sigma_a, of_noise, epoch, share

    def score(self, noisy: Tensor) -> Tensor:
        found: Tensor = self.network(noisy)
        return found

    def padded(self, picture: Tensor) -> Tensor:
        """With sides that the network takes; what is found in a picture is found with them."""
        height, width = picture.shape[2:]
        return F.pad(picture, (0, -width % self.multiple, 0, -height % self.multiple), mode="reflect")

    def forward(self, noisy: Tensor, survey: Tensor | None = None, family: float = 0, level: float = 0) -> Tensor:
        score = self.score(padded := self.padded(noisy))
        if survey is None:
            survey = self.noise(padded, score, torch.tensor(family), torch.tensor(level))
        return self.restored(noisy, score, survey.expand(len(noisy), -1, -1))

    def restored(self, noisy: Tensor, score: Tensor, noise: Tensor) -> Tensor:
        """With family and dispersion of its noise, (B, 1, 2); the score may be that of a larger picture."""
        power, dispersion = noise[:, 0].unbind(1)
        seen = score[..., : noisy.shape[2], : noisy.shape[3]]
        return tweedie.estimate(noisy, seen, power, dispersion).clamp(0, 1)

    def noise(self, noisy: Tensor, score: Tensor, family: Tensor, level: Tensor) -> Tensor:
        """(B, 1, 2): family and dispersion, as asked for or else as found."""
        power = tweedie_level.power(tweedie_level.smoothest_by_brightness(noisy, score))
        kind = torch.where(family > 0, family - 1, tweedie_level.family(power)).to(noisy)
        found = tweedie_level.smoothest(noisy, score, kind)
        asked = [unit.to_dispersion(level.to(noisy)).clamp(max=unit.most).expand(len(noisy)) for unit in tweedie.UNITS]
        dispersion = torch.where(level > 0, tweedie.chosen(kind, asked), found)
        return torch.stack([kind, dispersion], 1)[:, None]

    def survey(self, pieces: Iterable[Tensor], **knobs: float) -> Tensor:
        """Family and dispersion of the whole: (1, 1, 2)."""
        (whole,) = pieces
        asked = (torch.tensor(knobs.get(name, 0.0)) for name in ("family", "level"))
        padded = self.padded(whole)
        return self.noise(padded, self.score(padded), *asked)

    def graph(self) -> nn.Module:
        return Graph(self)

    @property
    def core(self) -> nn.Module:
        return self.network

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        """`clean` is no picture: family and dispersion of the noise, (B, 1, 2)."""
        return self.of_the_rest(noisy, clean, step) if self.share else self.of_what_was_added(noisy, step)

    def of_the_rest(self, noisy: Tensor, noise: Tensor, step: int) -> Tensor:
        """Tweedie's estimate from a share of the light against the rest of it: the score that makes it right is the
        score. What is left of strong noise grows about as its deviation does: so all levels count alike."""
        family, dispersion = noise[:, 0].unbind(1)
        shown, rest = (alike(noisy, one) for one in thinning.divided(noisy, family, dispersion, self.share, step))
        restored = tweedie.estimate(shown, self.score(shown).float(), family, dispersion / self.share)
        brightness = noisy.mean((1, 2, 3)).clamp(min=LEAST_BRIGHTNESS)
        deviation = (dispersion / self.share * brightness**family).sqrt()
        return ((restored - rest).square().mean((1, 2, 3)) / (TYPICAL * deviation)).mean()

    def of_what_was_added(self, noisy: Tensor, step: int) -> Tensor:
        probe = alike(noisy, seeds.normal_like(noisy, step))
        sigma_a = self.sigma_of(noisy, step)
        score = self.score(noisy + sigma_a * probe)
        return ardae.objective(score.float(), probe, sigma_a)

    def sigma_of(self, noisy: Tensor, step: int) -> Tensor:
        """sigma_a for every picture of a batch, (B, 1, 1, 1), or for each of its pixels, so that noise that grows with
        brightness is made stronger everywhere alike."""
        count = len(noisy)
        if self.epoch:
            sigma = torch.full((count,), ardae.annealed(step * count % self.epoch, *self.sigma_a))
        else:
            sigma = ardae.log_uniform(step, count, *self.sigma_a)
        sigma = sigma.to(noisy).reshape(-1, 1, 1, 1)
        return sigma * roughness(noisy) if self.of_noise else sigma

    @classmethod
    def from_official(cls, state: dict[str, Tensor], around: Mapping[str, Any]) -> Official | None:
        """The plain weights, or their running average: a list in the order of the parameters."""
        plain = {key.removeprefix("module."): value.float() for key, value in state.items()}
        last = plain.get("_block6.4.bias", plain.get(f"{AVERAGE}{len(plain) - 1}"))
        if last is None or len(last) not in (1, 3):
            return None
        named = {f"{AVERAGE}{place}": name for place, name in enumerate(SharedUNet(len(last)).state_dict())}
        ours = {f"network.{named.get(key, key)}": value for key, value in plain.items()}
        return {"colours": len(last), "network": "paper"}, ours


class Graph(nn.Module):
    """The method with what it found; where nothing is known of the noise, the survey has no rows."""

    def __init__(self, whole: Noise2Score) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, noisy: Tensor, survey: Tensor, family: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        score = self.whole.score(padded := self.whole.padded(noisy))
        known = torch.ones_like(survey).sum() > 0
        operands = (survey, padded, score, family, level)
        noise: Tensor = torch.cond(known, first_row, self.found, operands)
        return self.whole.restored(noisy, score, noise), noise

    def found(self, survey: Tensor, noisy: Tensor, score: Tensor, family: Tensor, level: Tensor) -> Tensor:
        return self.whole.noise(noisy, score, family, level)


def first_row(survey: Tensor, noisy: Tensor, score: Tensor, family: Tensor, level: Tensor) -> Tensor:
    """Of what is known; (1, 1, 2) also where nothing is."""
    return survey[:, :1].sum(1, keepdim=True)


def roughness(noisy: Tensor) -> Tensor:
    """Standard deviation of the noise, and of some texture, around every pixel: (B, 1, H, W)."""
    energy = F.pad(tweedie_level.rough(noisy).square().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    around = F.avg_pool2d(energy, AROUND, 1, AROUND // 2, count_include_pad=False)
    return around.sqrt() / tweedie_level.ROUGHNESS


def alike(noisy: Tensor, probe: Tensor) -> Tensor:
    """The same for all colours of a picture that has none: its noise is the same in them too."""
    grey = (noisy == noisy[:, :1]).all(1, keepdim=True).all(2, keepdim=True).all(3, keepdim=True)
    return torch.where(grey, probe[:, :1], probe)
