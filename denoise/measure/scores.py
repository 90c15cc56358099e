"""How good is a result: pure functions of arrays, and the table that names them.

Pictures are C×H×W where white is 1; sounds are one channel, T samples. A score that has no meaning for its
input (silence, too short, too small) is NaN and never an exception.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from denoise.signals import Kind

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.floating[Any]]

SAME_DB = 50.0  # PSNR of pictures as good as equal
WIDEBAND = 16000  # Hz, what PESQ-WB and DNSMOS listen at
DNSMOS_SECONDS = 9.01  # length of sound that its network sees at once
SSIM_WINDOW = 11  # pixels, Gaussian of sigma 1.5
SSIM_STRIP = 512  # rows at a time, so that a large picture needs no large memory
NAN = float("nan")


def psnr(clean: Array, restored: Array) -> float:
    """Peak signal-to-noise ratio in dB, white is 1; infinite for equal pictures."""
    error = float(np.mean(np.square(np.asarray(restored, np.float64) - np.asarray(clean, np.float64))))
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def mean_psnr(clean: Iterable[Tensor], restored: Iterable[Tensor], best: float = SAME_DB) -> float:
    """Of several pictures; none counts for more than `best` dB."""
    return fmean(min(psnr(truth.numpy(), one.cpu().numpy()), best) for truth, one in zip(clean, restored, strict=True))


def ssim(clean: Array, restored: Array) -> float:
    """Structural similarity (Wang et al. 2004), Gaussian window, mean over colours and whole windows only."""
    if min(clean.shape[-2:]) < SSIM_WINDOW:
        return NAN
    rows = clean.shape[-2] - SSIM_WINDOW + 1
    strips = [slice(top, min(top + SSIM_STRIP, rows) + SSIM_WINDOW - 1) for top in range(0, rows, SSIM_STRIP)]
    windows = clean.shape[0] * rows * (clean.shape[2] - SSIM_WINDOW + 1)
    return math.fsum(_ssim_sum(clean[:, strip], restored[:, strip]) for strip in strips) / windows


def _ssim_sum(clean: Array, restored: Array) -> float:
    import torch
    from kornia.metrics import ssim as ssim_map

    one, other = (torch.from_numpy(np.array(part, np.float32))[None] for part in (clean, restored))
    return float(ssim_map(one, other, SSIM_WINDOW, padding="valid").double().sum())


def si_sdr(clean: Array, restored: Array) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), means not removed."""
    clean, restored = np.asarray(clean, np.float64), np.asarray(restored, np.float64)
    energy = float(clean @ clean)
    if energy == 0 or not restored.any():
        return NAN
    target = clean * (float(restored @ clean) / energy)
    noise = float(np.sum(np.square(restored - target)))
    return float("inf") if noise == 0 else float(10 * np.log10(float(target @ target) / noise + 1e-30))


def pesq_wb(clean: Array, restored: Array, rate: float) -> float:
    """Wide-band PESQ (ITU-T P.862.2), 1 to 4.6."""
    from pesq import BufferTooShortError, NoUtterancesError, pesq

    if not (np.any(clean) and np.any(restored)):
        return NAN
    try:
        return float(pesq(WIDEBAND, wideband(clean, rate), wideband(restored, rate), "wb"))
    except (BufferTooShortError, NoUtterancesError):
        return NAN


def stoi(clean: Array, restored: Array, rate: float, *, extended: bool = False) -> float:
    """Short-time objective intelligibility, 0 to 1 (Taal et al. 2011; extended: Jensen and Taal 2016)."""
    from pystoi import stoi as intelligibility

    shortest = 31 * 128 / 10000  # s: the thirty frames it needs
    if len(clean) < shortest * rate or not (np.any(clean) and np.any(restored)):
        return NAN
    value = float(intelligibility(clean, restored, int(rate), extended=extended))
    return NAN if value == 1e-5 else value  # its answer when too little is left after the silences


def estoi(clean: Array, restored: Array, rate: float) -> float:
    """STOI extended to noise that comes and goes."""
    return stoi(clean, restored, rate, extended=True)


def dnsmos(restored: Array, rate: float) -> dict[str, float]:
    """DNSMOS P.835 (Reddy et al. 2022): what listeners would say of the voice, the background and all, 1 to 5."""
    if not np.any(restored):
        return {"sig": NAN, "bak": NAN, "ovrl": NAN}
    sound = np.clip(wideband(restored, rate), -1, 1)
    size = int(DNSMOS_SECONDS * WIDEBAND)
    while len(sound) < size:  # doubled like this in the published measure
        sound = np.append(sound, sound)
    hops = range(int(len(sound) // WIDEBAND - DNSMOS_SECONDS) + 1)
    pieces = [sound[hop * WIDEBAND : hop * WIDEBAND + size] for hop in hops]
    session = _dnsmos_session()
    answers = [session.run(None, {"input_1": piece[None]})[0][0] for piece in pieces if len(piece) == size]
    sig, bak, ovrl = np.array(answers, np.float64).T
    return {
        "sig": float(np.mean(np.polyval([-0.08397278, 1.22083953, 0.0052439], sig))),
        "bak": float(np.mean(np.polyval([-0.13166888, 1.60915514, -0.39604546], bak))),
        "ovrl": float(np.mean(np.polyval([-0.06766283, 1.11546468, 0.04602535], ovrl))),
    }


@lru_cache(maxsize=1)
def _dnsmos_session() -> Any:
    """The network out of the speechmos package; its own Python needs packages that it does not declare."""
    import onnxruntime

    package = find_spec("speechmos")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No module named 'speechmos'", name="speechmos")
    graph = Path(package.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    return onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])


def wideband(sound: Array, rate: float) -> NDArray[np.float32]:
    """One channel at 16 kHz."""
    from denoise.resample import resample

    heard: NDArray[np.float32] = resample(np.asarray(sound, np.float32)[None], int(rate), WIDEBAND)[0]
    return heard


def aligned(clean: Array, restored: Array, rate: float, within_s: float = 0.05) -> tuple[Array, int]:
    """`restored` moved back by its own delay, and that delay in samples (positive: it came late).

    The delay is where the cross-correlation is largest, so a turned polarity is not taken for a delay.
    """
    limit = min(round(within_s * rate), len(clean) - 1)
    size = 1 << (2 * len(clean) - 1).bit_length()
    spectrum = np.fft.rfft(restored, size) * np.conj(np.fft.rfft(clean, size))
    correlation = np.fft.irfft(spectrum, size)
    lags = np.arange(-limit, limit + 1)
    delay = int(lags[np.argmax(correlation[lags])])
    moved = np.zeros_like(restored)
    if delay >= 0:
        moved[: len(moved) - delay] = restored[delay:]
    else:
        moved[-delay:] = restored[:delay]
    return moved, delay


@dataclass(frozen=True)
class Score:
    """One row of the table: more is better in all of them."""

    measure: Callable[..., float | dict[str, float]]
    kind: Kind
    unit: str
    reference: bool = True  # wants the clean signal first
    rate: bool = False  # wants the sample rate last


SCORES: dict[str, Score] = {
    "psnr": Score(psnr, "picture", "dB"),
    "ssim": Score(ssim, "picture", "0..1"),
    "si_sdr": Score(si_sdr, "audio", "dB"),
    "pesq": Score(pesq_wb, "audio", "MOS", rate=True),
    "stoi": Score(stoi, "audio", "0..1", rate=True),
    "estoi": Score(estoi, "audio", "0..1", rate=True),
    "dnsmos": Score(dnsmos, "audio", "MOS", reference=False, rate=True),
}


def measured(
    kind: Kind,
    restored: Array,
    clean: Array | None = None,
    rate: float | None = None,
    names: Iterable[str] | None = None,
) -> dict[str, float]:
    """Every score of this kind that can be had, by name; `dnsmos` becomes dnsmos_sig, dnsmos_bak, dnsmos_ovrl.

    A picture is C×H×W; a sound C×T, the mean over its channels is given.
    """
    wanted = SCORES if names is None else {name: SCORES[name] for name in names}
    rows: dict[str, float] = {}
    for name, score in wanted.items():
        if score.kind == kind and not (score.reference and clean is None):
            rows |= _named(name, _value(score, restored, clean, rate))
    return rows


def _value(score: Score, restored: Array, clean: Array | None, rate: float | None) -> float | dict[str, float]:
    extra = [rate] if score.rate else []
    signals = [clean, restored] if score.reference else [restored]
    if score.kind == "picture":
        return score.measure(*signals, *extra)
    return _mean([score.measure(*channel, *extra) for channel in zip(*signals, strict=True)])


def _mean(values: list[Any]) -> float | dict[str, float]:
    if isinstance(values[0], dict):
        return {key: float(np.mean([value[key] for value in values])) for key in values[0]}
    return float(np.mean(values))


def _named(name: str, value: float | dict[str, float]) -> dict[str, float]:
    if isinstance(value, dict):
        return {f"{name}_{part}": number for part, number in value.items()}
    return {name: value}
