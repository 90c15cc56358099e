"""StoRM: a network predicts the clean speech, and a diffusion begins there (Lemercier et al. 2023, arXiv 2212.11851).

Without steps the prediction is the result.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from denoise.errors import UserError
from denoise.methods.method import Official, method
from denoise.methods.sgmse import (
    NOTHING,
    Repeat,
    Settings,
    SpectralDiffusion,
    has_networks,
    hyper_parameters,
    knows_time,
    network_of,
    official_settings,
    official_weights,
    sizes,
)
from denoise.methods.subband import FRAME, HOP, Subband
from denoise.networks.bands import Bands
from denoise.networks.ncsnpp import NCSNpp
from denoise.networks.spectrogram import Spectrogram
from denoise.processes import Count, Model, Noise
from denoise.processes.readings import distance

CONDITIONS = {"both": (True, True), "noisy": (True, False), "post_denoiser": (False, True)}
"""Whether the second network sees the noisy speech, and the prediction."""


@method("storm")
class StoRM(SpectralDiffusion):
    """A predictor and a score network, or the predictor `alone`. `joint` is its weight in the loss of both, `frozen`
    leaves it as it is."""

    def __init__(
        self,
        predictor: Settings = NOTHING,
        backbone: Settings = NOTHING,
        condition: str = "both",
        alone: bool = False,
        joint: float = 0.5,
        frozen: bool = False,
        predictor_error: str = "mse",
        even: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(even=even, **shared)
        if condition not in CONDITIONS:
            raise UserError(f"Condition {condition!r}: one of {', '.join(CONDITIONS)} is wanted.")
        self.sees = CONDITIONS[condition]
        self.denoiser_net = predictor_of(predictor, self.spectrogram)
        self.score_net = None if alone else network_of(backbone, "ncsnpp", inputs=2 + 2 * sum(self.sees))
        self.joint, self.frozen, self.predictor_error = joint, frozen, predictor_error
        self.seeded = self.seeded and not alone
        self.knobs = () if alone else self.knobs_from(0)

    @property
    def core(self) -> nn.Module:
        return self.score_net or self.denoiser_net

    @property
    def networks(self) -> list[NCSNpp | Bands | Causal]:
        return [network for network in (self.denoiser_net, self.score_net) if network]

    @property
    def frame_multiple(self) -> int:
        return max(network.multiple for network in self.networks)

    @property
    def local(self) -> bool:
        return all(network.local for network in self.networks)

    def predicted(self, y: Tensor) -> Tensor:
        return self.denoiser_net(y, y.new_ones(y.shape[0])).float()

    def beside(self, y: Tensor, predicted: Tensor) -> Tensor:
        """What the score network sees beside the place of the way back."""
        return torch.cat([part for part, seen in zip((y, predicted), self.sees, strict=True) if seen], 1)

    def sampled(self, y: Tensor, steps: Count, samples: Count, noise: Noise, repeat: Repeat) -> Tensor:
        if self.score_net is None:
            return self.spectrogram.expanded(self.predicted(y))
        return super().sampled(y, steps, samples, noise, repeat)

    def guided(self, y: Tensor) -> tuple[Tensor, Model]:
        score_net = self.score_net
        assert score_net is not None
        predicted = self.predicted(y)
        beside = self.beside(y, predicted)
        return predicted, lambda x, t: self.understood(score_net, x, beside, predicted, t)

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        x0, y, counts = self.compared(noisy, clean)
        t, z = self.drawn(y, step)
        return (self.both_errors(x0, y, t, z) * counts).mean()

    def both_errors(self, x0: Tensor, y: Tensor, t: Tensor, z: Tensor) -> Tensor:
        """The weighted sum of both networks' errors in every bin (N, F, T)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            predicted = self.predicted(y)
        missed = self.predictor_errors(predicted, x0)
        if self.score_net is None:
            return missed
        return self.joint * missed + (1 - self.joint) * self.score_errors(x0, y, predicted, t, z)

    def predictor_errors(self, predicted: Tensor, x0: Tensor) -> Tensor:
        return distance(predicted - x0, self.predictor_error)

    def score_errors(self, x0: Tensor, y: Tensor, predicted: Tensor, t: Tensor, z: Tensor) -> Tensor:
        score_net, beside = self.score_net, self.beside(y, predicted)
        assert score_net is not None
        return self.errors(lambda x, at: self.read(score_net, x, beside, at), x0, predicted, t, z)

    @classmethod
    def from_official(cls, state: dict[str, Tensor], around: Settings) -> Official | None:
        if has_networks(state, "denoiser_net.", "score_net."):
            return official_pair(state, around)
        if has_networks(state, "dnn.") and not knows_time(state, "dnn."):
            return official_predictor(state, around)
        return None


class Causal(nn.Module):
    """The network of `speech-fast` as a predictor: (N, 2, 257, T) compressed spectra in and out."""

    multiple = 1
    local = True

    def __init__(self, spectrogram: Spectrogram, **sizes: int) -> None:
        super().__init__()
        self.spectrogram = spectrogram
        self.fast = Subband(**sizes)

    def forward(self, y: Tensor, time: Tensor) -> Tensor:
        spectra = self.spectrogram.expanded(y).permute(3, 0, 2, 1)
        cleaned, _ = self.fast.cleaned(spectra, self.fast.no_spectra(spectra))
        return self.spectrogram.compressed(cleaned.permute(1, 3, 2, 0))


def predictor_of(settings: Settings, spectrogram: Spectrogram) -> NCSNpp | Bands | Causal:
    rest = dict(settings)
    if rest.pop("variant", None) != "subband":
        return network_of(settings, "ncsnpp_predictor")
    if (spectrogram.n_fft, spectrogram.hop, spectrogram.window) != (FRAME, HOP, "sqrthann"):
        raise UserError(f"Predictor subband: n_fft = {FRAME}, hop = {HOP} and window = 'sqrthann' are wanted.")
    return Causal(spectrogram, **rest)


def official_pair(state: dict[str, Tensor], around: Settings) -> Official:
    said, ours = hyper_parameters(around), official_weights(state, around, "denoiser_net.", "score_net.")
    backbone = sizes(ours, "score_net.")
    condition = "both" if backbone.pop("inputs") == 6 else str(said.get("condition", "noisy"))
    settings = official_settings(said, "ncsnpp") | {"condition": condition, "joint": joint_of(said)}
    if said.get("mode") == "regen-freeze-denoiser":
        settings["frozen"] = True
    return {
        "predictor": official_predictor_sizes(ours),
        "backbone": backbone | {"centered": False},
        **settings,
    }, ours


def official_predictor(state: dict[str, Tensor], around: Settings) -> Official:
    ours = official_weights(state, around, "dnn.")
    ours = {name.replace("dnn.", "denoiser_net.", 1): value for name, value in ours.items()}
    settings = official_settings(hyper_parameters(around), "ncsnpp")
    return {"alone": True, "predictor": official_predictor_sizes(ours), **settings}, ours


def official_predictor_sizes(state: dict[str, Tensor]) -> dict[str, Any]:
    return sizes(state, "denoiser_net.") | {"centered": False}


def joint_of(said: Settings) -> float:
    return float(said.get("weighting_denoiser_to_score", 0.5))
