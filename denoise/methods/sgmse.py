"""SGMSE: speech enhanced by a diffusion in the complex spectrogram (Welker et al. 2022, Richter et al. 2023, 2025).

A process leads from clean to noisy speech; a network knows the way back. Everything that a way back through
spectrograms shares, whatever guides it, is in `SpectralDiffusion`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from denoise import seeds
from denoise.errors import UserError
from denoise.methods.method import Method, Official, method
from denoise.networks.bands import Bands
from denoise.networks.loudness import worse_by
from denoise.networks.ncsnpp import NCSNpp, shaped, sizes_of
from denoise.networks.spectrogram import Spectrogram, mirrored
from denoise.processes import Count, Model, Noise, over
from denoise.processes.bridge import SBVE
from denoise.processes.ouve import OUVE
from denoise.processes.readings import Reading, score_from_clean
from denoise.processes.samplers import BridgeFlow, BridgeOde, BridgeSde, BridgeWalk, Flow, PredictorCorrector, Times
from denoise.restorer import Knob, unknown

RATES = (8_000, 192_000)  # Hz that speech is worked on at
PIECE_S, CONTEXT_S = 8.0, 1.5
SILENT = 1e-9  # a peak below which there is nothing to enhance
ACTIVE = 3e-3  # of the power of the loudest frame: somebody speaks
FRAME_BITS = 32  # of a counter of noise; above them draw, part and frequency
LOSS_STREAM = 1

Settings = Mapping[str, Any]
State = tuple[Tensor, ...]
Repeat = Callable[[Callable[..., Tensor], Callable[..., State], State], State]
Sampler = PredictorCorrector | Flow | BridgeOde | BridgeSde | BridgeFlow | BridgeWalk
NOTHING: Settings = MappingProxyType({})
PROCESSES: dict[str, type[OUVE | SBVE]] = {"ouve": OUVE, "sbve": SBVE}
SAMPLERS: dict[str, dict[str, type[Any]]] = {
    "ouve": {"pc": PredictorCorrector, "ode": Flow},
    "sbve": {"ode": BridgeOde, "sde": BridgeSde, "flow": BridgeFlow, "walk": BridgeWalk},
}


class SpectralDiffusion(Method):
    """Peak, spectrogram, a process with its sampler, noise by its place in time, the mean of several draws."""

    kind = "audio"
    channels = None  # all share one gain and the same noise, so that a stereo image stays where it is
    surveys = True
    placed = True  # frames lie on the grid of the whole sound
    bound = 0.02

    def __init__(
        self,
        rate: int = 16_000,
        process: Settings = NOTHING,
        spectrogram: Settings = NOTHING,
        reading: Settings = NOTHING,
        sampler: Settings = NOTHING,
        steps: int = 30,
        last: float = 0.03,
        even: bool = False,
        padding: str = "zeros",
        l1: float = 0.001,
        heard: float = 0.0,
        late: float = 1.0,
    ) -> None:
        """`last` is the paper's t_eps; `padding` fills up frames by zeros or by reflection ("reflect"). Where clean
        speech is predicted, `l1` weighs the error of the sound, and `heard` what of it is heard, in place of the
        paper's PESQ loss. Training draws times evenly, as the paper, or more of the later ones, where most is to be
        done (`late` above 1). For `even` see `Times`."""
        super().__init__()
        self.rate = checked_rate(rate)
        self.piece, self.context = round(PIECE_S * rate), round(CONTEXT_S * rate)
        self.spectrogram = Spectrogram(**spectrogram)
        kind, self.process = chosen("process", process, PROCESSES)
        _, self.sampler = chosen("sampler", sampler, SAMPLERS[kind])
        self.reading = Reading(**reading)
        if kind == "sbve" and self.reading.predicts != "data_prediction":
            raise UserError("A bridge leads to a clean signal that is predicted: reading.predicts = data_prediction.")
        self.steps, self.last, self.even, self.padding = steps, last, even, padding
        self.l1, self.heard, self.late = l1, heard, late
        self.seeded = not isinstance(self.sampler, BridgeOde | BridgeFlow)
        self.knobs = self.knobs_from(1)

    def knobs_from(self, least: int) -> tuple[Knob, ...]:
        counted = Knob("steps", self.steps, least, 100, 1, "In how many steps noise is taken away; more take longer.")
        drawn = Knob("samples", 1, 1, 16, 1, "How many results are drawn; what comes out is their mean.")
        return (counted, drawn) if self.seeded else (counted,)

    @property
    def frame_multiple(self) -> int:
        """What the number of frames must be divisible by."""
        raise NotImplementedError

    @property
    def local(self) -> bool:
        """Whether frames far away count for nothing. If not, their number has to be that of the papers' code."""
        raise NotImplementedError

    def guided(self, y: Tensor) -> tuple[Tensor, Model]:
        """The end of the process that the way back begins at, and the network that knows the way."""
        raise NotImplementedError

    # Sound and spectrograms

    def survey(self, pieces: Iterable[Tensor], **knobs: float) -> Tensor:
        """The peak over all channels: (B, 1)."""
        return reduce(torch.maximum, (peak_of(piece) for piece in pieces))

    def forward(
        self,
        noisy: Tensor,
        survey: Tensor | None = None,
        steps: float | None = None,
        samples: float = 1,
        *,
        seed: int = 0,
        start: int = 0,
    ) -> Tensor:
        """(B, C, samples); `start` is where it begins in the whole sound."""
        peak = peak_of(noisy) if survey is None else survey
        return self.restored(
            noisy, peak, int(self.steps if steps is None else steps), int(samples), int(seed), int(start), plainly
        )

    def restored(
        self,
        noisy: Tensor,
        peak: Tensor,
        steps: Count,
        samples: Count,
        seed: Count,
        start: Count,
        repeat: Repeat,
    ) -> Tensor:
        """The mean of that many draws."""
        peak = peak[:, :, None]
        sound = (noisy / torch.where(peak > SILENT, peak, 1)).flatten(0, 1)
        block = self.spectrogram.hop * self.frame_multiple
        offset = start % block  # networks halve time on the grid of the whole
        exact = isinstance(offset, int) and not self.local
        y = self.spectra(sound, offset, int(offset) if exact else block - 1)
        noise = self.noise(seed, (start - offset) // self.spectrogram.hop, y)
        clean = self.sampled(y, steps, samples, noise, repeat)
        wave = self.spectrogram.synthesised(clean, sound.shape[1], offset)
        return wave.unflatten(0, noisy.shape[:2]) * peak

    def spectra(self, sound: Tensor, offset: Count = 0, most: int = 0) -> Tensor:
        """(N, samples) -> (N, 2, F, T), compressed, padded at its end; with room for offsets up to `most`."""
        block = self.spectrogram.hop * self.frame_multiple
        frames = self.frame_multiple * ((sound.shape[1] + most + block) // block)  # one quotient: graphs divide by it
        spectrum = self.spectrogram.compressed(self.spectrogram.analysed(sound, frames, offset))
        last = self.spectrogram.frames(sound.shape[1], offset) - 1
        at = torch.arange(frames, device=sound.device)
        if self.padding == "reflect":
            return spectrum[..., mirrored(at, last)]
        return spectrum * (at <= last)

    def noise(self, seed: Count, first: Count, like: Tensor) -> Noise:
        """Standard complex numbers by draw, frequency and absolute frame, the same for all channels and items."""
        parts, bins, frames = like.shape[1:]
        rows = torch.arange(parts * bins, device=like.device).view(parts, bins, 1)
        at = torch.arange(frames, device=like.device) + first

        def draw(number: Count) -> Tensor:
            counter = (rows + number * (parts * bins) << FRAME_BITS) + at
            return seeds.normal(seed, counter[None]) * 0.5**0.5

        return draw

    # The way back

    def sampled(self, y: Tensor, steps: Count, samples: Count, noise: Noise, repeat: Repeat) -> Tensor:
        """The mean of that many draws, no longer compressed; without steps, where the way back would begin."""
        end, model = self.guided(y)
        step = self.sampler.step(self.process, model, end, Times(steps, self.last, self.even))
        draws = 1 + steps * self.sampler.draws

        def follows(number: Tensor, x: Tensor, total: Tensor) -> Tensor:
            return number < steps * samples

        def body(number: Tensor, x: Tensor, total: Tensor) -> State:
            at, sample = number % steps, number // steps
            ours: Noise = lambda draw: noise(sample * draws + draw)  # noqa: E731
            x = torch.where(at == 0, self.process.prior(end, ours), x)
            mean, x = step(x, at, ours)
            return number + 1, x.clone(), total + torch.where(at == steps - 1, self.spectrogram.expanded(mean), 0)

        first = torch.zeros((), dtype=torch.int64, device=y.device)
        _, _, total = repeat(follows, body, (first, end.clone(), torch.zeros_like(end)))
        walked = torch.as_tensor(steps * samples, device=y.device) > 0
        return torch.where(walked, total / samples, self.spectrogram.expanded(end))

    def understood(self, network: nn.Module, x: Tensor, beside: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """What the sampler wants of the network: the score, or on a bridge the clean signal; t is () or (N)."""
        found = self.read(network, x, beside, t)
        if self.reading.predicts == "data_prediction" and isinstance(self.process, OUVE):
            return score_from_clean(self.process, found, x, end, t)
        return found

    def read(self, network: nn.Module, x: Tensor, beside: Tensor, t: Tensor) -> Tensor:
        t = t.to(x)
        sigma = self.process.std(t)
        shown = self.reading.scaled(torch.cat([x, beside], 1), sigma)
        return self.reading.read(network(shown, t.expand(x.shape[0])).float(), x, t, sigma)

    # Training

    def compared(self, noisy: Tensor, clean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Clean and noisy spectrograms of a batch (B, C, samples), by the noisy peak, and which frames count."""
        with torch.autocast(noisy.device.type, enabled=False):
            peak = peak_of(noisy).clamp(min=SILENT)[:, :, None]
            x0, y = (self.spectra((sound / peak).flatten(0, 1)) for sound in (clean, noisy))
        frames = self.spectrogram.frames(noisy.shape[-1])
        return x0, y, (torch.arange(y.shape[-1], device=y.device) < frames).float()

    def drawn(self, like: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Times between the last one and 1, and standard complex noise, of that step of training."""
        chance = seeds.uniform_like(like[:, 0, 0, 0], step, LOSS_STREAM)
        late = 1 - (1 - chance) ** self.late
        return late * (1 - self.last) + self.last, seeds.normal_like(like, step, LOSS_STREAM + 1) * 0.5**0.5

    def errors(self, read: Model, x0: Tensor, end: Tensor, t: Tensor, z: Tensor) -> Tensor:
        """Half the error of every bin (N, F, T) at the times t, and for data prediction that of the sound besides."""
        sigma, mean = self.process.std(t), self.process.mean(x0, end, t)
        x = mean + over(sigma, z) * z
        found = read(x, t)
        errors = self.reading.error_of(found, x, z, x0, mean, sigma)
        if self.reading.predicts != "data_prediction":
            return errors
        with torch.autocast(x0.device.type, enabled=False):
            found, clean = self.spectrogram.expanded(found), self.spectrogram.expanded(x0)
            beside = self.l1 * self.wave_error(found, clean) if self.l1 else 0.0
            beside = beside + self.heard * self.heard_error(found, clean) if self.heard else beside
        return errors + over(torch.as_tensor(beside), errors)

    def wave_error(self, found: Tensor, clean: Tensor) -> Tensor:
        """Half the mean absolute difference of the sounds: (N)."""
        length = (clean.shape[-1] - 1) * self.spectrogram.hop
        one, other = (self.spectrogram.synthesised(part, length) for part in (found, clean))
        return 0.5 * (one - other).abs().mean(1)

    def heard_error(self, found: Tensor, clean: Tensor) -> Tensor:
        """About how many MOS worse it sounds: (N); nothing where nobody speaks."""
        assert self.rate is not None
        ours, true = (part.square().sum(1).transpose(1, 2) for part in (found, clean))
        return worse_by(ours, true, speaking(true), self.rate)

    def graph(self) -> nn.Module:
        return Graph(self)


class Graph(nn.Module):
    """The same for one sound, with the number of steps decided while it runs. A survey of zero is none."""

    def __init__(self, whole: SpectralDiffusion) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, noisy: Tensor, survey: Tensor, **controls: Tensor) -> tuple[Tensor, Tensor]:
        known, here = survey, peak_of(noisy)
        peak = torch.where(known > 0, known, here)
        usual = {"steps": self.whole.steps, "samples": 1, "seed": 0, "start": 0}
        steps, samples, seed, start = (
            controls[name].to(torch.int64) if name in controls else torch.tensor(value) for name, value in usual.items()
        )
        restored = self.whole.restored(noisy, peak, steps, samples, seed, start, torch.while_loop)
        return restored, torch.maximum(known, here)


def speaking(powers: Tensor) -> Tensor:
    """The mean power of the frames (N, T, F) in which somebody speaks: (N, 1, 1); infinite where nobody does."""
    frames = powers.sum(2)
    active = frames > ACTIVE * frames.amax(1, keepdim=True).clamp(min=SILENT)
    mean = (frames * active).sum(1) / active.sum(1).clamp(min=1)
    return torch.where(mean > SILENT, mean, torch.inf)[:, None, None]


def plainly(follows: Callable[..., Tensor], body: Callable[..., State], state: State) -> State:
    while bool(follows(*state)):
        state = body(*state)
    return state


def peak_of(sound: Tensor) -> Tensor:
    """(B, C, samples) -> (B, 1)"""
    return sound.abs().flatten(1).amax(1, keepdim=True)


def checked_rate(rate: int) -> int:
    low, high = RATES
    if not isinstance(rate, int) or not low <= rate <= high:
        raise UserError(f"Rate {rate!r}: whole Hz from {low} to {high} are wanted, such as 16000.")
    return rate


def chosen(what: str, settings: Settings, known: Mapping[str, type[Any]]) -> tuple[str, Any]:
    """The kind that a table of settings names, the first one if none, made with the rest of them."""
    rest = dict(settings)
    kind = str(rest.pop("kind", next(iter(known))))
    if kind not in known:
        raise UserError(unknown(what, kind, list(known), "there are"))
    return kind, known[kind](**rest)


def network_of(backbone: Settings, usual: str, **fixed: Any) -> NCSNpp | Bands:
    rest = dict(backbone)
    variant = str(rest.pop("variant", usual))
    if variant == "bands":
        return Bands(**rest | fixed)
    return NCSNpp(shaped(variant, rest | fixed))


@method("sgmse")
class SGMSE(SpectralDiffusion):
    """One network, which sees where the way back is and the noisy speech."""

    def __init__(self, backbone: Settings = NOTHING, **shared: Any) -> None:
        super().__init__(**shared)
        self.dnn = network_of(backbone, "ncsnpp")

    @property
    def core(self) -> nn.Module:
        return self.dnn

    @property
    def frame_multiple(self) -> int:
        return self.dnn.multiple

    @property
    def local(self) -> bool:
        return self.dnn.local

    def guided(self, y: Tensor) -> tuple[Tensor, Model]:
        return y, lambda x, t: self.understood(self.dnn, x, y, y, t)

    def loss(self, noisy: Tensor, clean: Tensor, step: int) -> Tensor:
        x0, y, counts = self.compared(noisy, clean)
        errors = self.errors(lambda x, t: self.read(self.dnn, x, y, t), x0, y, *self.drawn(y, step))
        return (errors * counts).mean()

    @classmethod
    def from_official(cls, state: dict[str, Tensor], around: Settings) -> Official | None:
        if not (has_networks(state, "dnn.") and knows_time(state, "dnn.")):
            return None
        said, ours = hyper_parameters(around), official_weights(state, around, "dnn.")
        variant, storm = str(said.get("backbone", "ncsnpp")), bool(STORM_SAYS & set(said))
        variant = "ncsnpp" if storm else variant  # whose other names tell sizes, and those are read from the weights
        backbone = {"variant": variant, "centered": bool(said.get("centered", not storm)), **sizes(ours, "dnn.")}
        settings = official_settings(said, variant) | ({"even": True} if storm else {})
        return {"backbone": backbone, "reading": official_reading(said, variant), **settings}, ours


# The papers' own checkpoints


def hyper_parameters(around: Settings) -> dict[str, Any]:
    """What a checkpoint says of how it was trained; nothing where it says nothing."""
    said = around.get("hyper_parameters", {})
    said = said if isinstance(said, Mapping) else getattr(said, "state", None)
    return {str(name): value for name, value in said.items()} if isinstance(said, Mapping) else {}


def has_networks(state: Mapping[str, Tensor], *prefixes: str) -> bool:
    return all(f"{prefix}output_layer.weight" in state and f"{prefix}all_modules.0.W" in state for prefix in prefixes)


def knows_time(state: Mapping[str, Tensor], prefix: str) -> bool:
    """Whether the network begins with the two linear layers that take in the time."""
    second = state.get(f"{prefix}all_modules.1.weight")
    return second is not None and second.ndim == 2


STORM_SAYS = {"discriminative", "input_channels", "sde_n", "spatial_channels"}
"""Names that only StoRM's code gives: it maps its inputs and times its steps otherwise."""


def official_weights(state: Mapping[str, Tensor], around: Settings, *prefixes: str) -> dict[str, Tensor]:
    """The weights that the papers evaluate: the running average, a list in the order of the parameters. It is right
    in files saved in the middle of an evaluation as well, where the other weights have changed places with it."""
    raw = {name: value.float() for name, value in state.items() if name.startswith(prefixes)}
    ema = around.get("ema")
    if not isinstance(ema, Mapping) or not ema.get("shadow_params"):
        return raw
    shadow = ema["shadow_params"]
    trained = [name for name in raw if not name.endswith("all_modules.0.W")]  # the frozen ones are not in older lists
    names = next((names for names in (list(raw), trained) if len(names) == len(shadow)), None)
    if names is None:
        raise UserError(f"Its running average holds {len(shadow)} tensors, and {len(raw)} weights are wanted.")
    averaged = dict(zip(names, (value.float() for value in shadow), strict=True))
    wrong = [name for name, value in averaged.items() if value.shape != raw[name].shape]
    if wrong:
        raise UserError(f"Its running average does not fit its weights; the first that differs is {wrong[0]}.")
    return raw | averaged


def sizes(state: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    inner = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    try:
        return sizes_of(inner)
    except (IndexError, KeyError, ValueError, ZeroDivisionError):
        first = ", ".join(list(state)[:4])
        raise UserError(f"Not the architecture of NCSN++; its first weights are called {first}.") from None


WIDE: Settings = {"sr": 48_000, "n_fft": 1534, "hop_length": 384, "spec_factor": 0.065, "spec_abs_exponent": 0.667}
USUAL: Settings = {
    "sr": 16_000, "n_fft": 510, "hop_length": 128, "window": "hann", "transform_type": "exponent", "spec_factor": 0.15,
    "spec_abs_exponent": 0.5, "sde": "ouve", "theta": 1.5, "sigma_min": 0.05, "sigma_max": 0.5, "k": 2.6, "c": 0.4,
    "eps": 1e-8, "t_eps": 0.03, "l1_weight": 0.001,
}  # fmt: skip
"""What was the default when older files, which do not say it, were written."""


def official_settings(given: Settings, variant: str) -> dict[str, Any]:
    said: dict[str, Any] = {**USUAL, **(WIDE if variant == "ncsnpp_48k" else {})} | {
        k: v for k, v in given.items() if v is not None
    }
    bridge = said["sde"] == "sbve"
    process = ("k", "c", "eps") if bridge else ("theta", "sigma_min", "sigma_max")
    kind = said.get("sampler_type", "ode") if bridge else "pc"
    return {
        "rate": int(said["sr"]),
        "process": {"kind": said["sde"]} | {name: float(said[name]) for name in process},
        "spectrogram": {
            "n_fft": int(said["n_fft"]),
            "hop": int(said["hop_length"]),
            "window": said["window"],
            "transform": said["transform_type"],
            "factor": float(said["spec_factor"]),
            "exponent": float(said["spec_abs_exponent"]),
        },
        "sampler": {"kind": kind},
        "steps": min(int(said.get("N", 50 if bridge else 30)), 100),
        "last": float(said["t_eps"]),
        "padding": "zeros" if variant == "ncsnpp" else "reflect",
        "l1": float(said["l1_weight"]),
    }


def official_reading(said: Settings, variant: str) -> dict[str, Any]:
    if variant != "ncsnpp_v2":
        return {}
    names = ("c_in", "c_out", "c_skip", "sigma_data")
    return {
        "predicts": {"mse": "score_matching"}.get(str(said.get("loss_type")), said.get("loss_type", "score_matching")),
        "network_scaling": said.get("network_scaling") or "1",
        "weighting": said.get("loss_weighting", "1"),
        "c_out": "1",
    } | {name: said[name] for name in names if said.get(name) is not None}
