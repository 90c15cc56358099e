"""A classical spectral restorer for any sound: noise that is tracked, and one gain per time and frequency.

1. The power of the noise is tracked in every frequency by the probability that something else is there
   (Gerkmann and Hendriks 2012), forwards and backwards in time, so that it needs no stretch of noise alone.
2. Where the tracked noise has the narrow peaks of held notes, it has begun to take music for noise. It is then
   lowered, and levelled to what lies between the peaks.
3. The a-priori SNR is smoothed in the cepstrum (Breithaupt, Gerkmann and Martin 2008), again both ways: the
   coarse shape of a spectrum and its pitch follow at once, all the rest is slow. Outliers that would sound as
   musical noise do not survive this, and the harmonics of a voice do.
4. A Wiener gain, never below the floor, the same for all channels, so that the stereo image stays where it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from denoise.methods.method import Method, method
from denoise.noise.tracking import TINY, Grid, tracked
from denoise.restorer import Knob

HOP_S = 0.012  # time between frames; a frame is four hops long

PEAK_HZ = 250.0  # half width of the surroundings of a narrow peak
MUSIC_BAND_HZ = (830.0, 2080.0)  # where peaks in the tracked noise tell of music
MUSIC_S = 5.0  # over so long a time
MUSIC_EVERY = 8  # frames are looked at
MUSIC_PEAKS = 0.09  # mean height, in nepers of power beyond 0.3, at which it is as likely music as not
MUSIC_DOUBT = 0.015  # how much more or less makes it about sure
MUSIC_CAP = 1.5  # of the level between the peaks
MUSIC_CAUTION = 0.35  # factor on the noise of music

XI_LEAST = 10**-2.2
BIAS = 0.3  # of the mean logarithm, in nepers
COARSE_S = 0.25e-3  # quefrencies below: the shape of the spectrum, not smoothed
MIDDLE_S = 0.5e-3  # quefrencies below: smoothed for 0.15 of the time
PITCH_HZ = (70.0, 300.0)
PITCH_SALIENCE = 0.2  # least cepstral peak that counts as a pitch
PITCH_KEEPS = 0.2  # weight of the frame before, around the pitch


@method("spectral")
class Spectral(Method):
    """Tracked noise, cepstrally smoothed SNR, a linked Wiener gain. No weights, any rate, any channels."""

    kind = "audio"
    no_graph = "it follows the noise frame by frame in compiled code, which is no network"
    rate = None
    channels = None
    context = 6 * 48_000  # at 48 kHz, as all samples of a method for any rate
    piece = 40 * 48_000
    bound = 0.02  # at rare places, where the noise was guessed anew; 50 dB below the sound in the mean
    knobs = (
        Knob("floor", -18.0, -60.0, 0.0, 1.0, "Lowest gain in dB: how much of the noise may stay, so that it is even."),
        Knob("smoothing", 100.0, 0.0, 500.0, 5.0, "Over how many ms the fine gain is averaged; 0 may tinkle."),
    )

    def forward(
        self,
        noisy: Tensor,
        survey: Tensor | None = None,
        *,
        floor: float = -18.0,
        smoothing: float = 100.0,
        rate: float = 48_000.0,
        start: int = 0,
    ) -> Tensor:
        """(B, C, T) at `rate` Hz; `start` is where it begins in the whole signal, so that all pieces share frames."""
        frames = Frames(rate, noisy.shape[-1], start)
        lowest = 10 ** (floor / 20)
        return torch.stack([self.restored(sound, frames, lowest, smoothing / 1000) for sound in noisy])

    def restored(self, sound: Tensor, frames: Frames, lowest: float, smoothing_s: float) -> Tensor:
        spectra = [frames.analysed(channel) for channel in sound.cpu().float()]
        power = sum_of_powers(spectra)
        gain = torch.from_numpy(gains(power, frames, lowest, smoothing_s))
        return torch.stack([frames.synthesised(spectrum * gain) for spectrum in spectra]).to(sound)


class Frames:
    """Overlapping frames of a sound and back; what nothing was done to comes back as it was."""

    def __init__(self, rate: float, length: int, start: int = 0) -> None:
        self.rate, self.length = rate, length
        self.hop = 8 * max(1, round(HOP_S * rate / 8))
        self.size = 4 * self.hop
        self.before = self.size + start % self.hop  # frames begin at multiples of the hop in the whole signal
        self.count = -(-(self.before + length) // self.hop) + 1

    @property
    def hop_s(self) -> float:
        return self.hop / self.rate

    @property
    def bins(self) -> int:
        return self.size // 2 + 1

    def bin(self, hz: float) -> int:
        return min(round(hz * self.size / self.rate), self.bins)

    def quefrency(self, seconds: float) -> int:
        return min(round(seconds * self.rate), self.bins)

    def per_hop(self, seconds: float) -> float:
        """Weight of the past, in a recursion of that time constant."""
        return math.exp(-self.hop_s / seconds) if seconds > 0 else 0.0

    @property
    def window(self) -> Tensor:
        return torch.hann_window(self.size).sqrt() / math.sqrt(2)  # squares of four of them sum to one

    def analysed(self, channel: Tensor) -> Tensor:
        """(T) -> (frames, bins); before its beginning and after its end a sound is its own mirror image."""
        whole = channel[mirrored(self.before, self.length, (self.count + 3) * self.hop)]
        spectrum: Tensor = torch.fft.rfft(whole.unfold(0, self.size, self.hop) * self.window)
        return spectrum

    def synthesised(self, spectrum: Tensor) -> Tensor:
        pieces = torch.fft.irfft(spectrum, self.size) * self.window
        quarters = pieces.view(self.count, 4, self.hop)
        out = torch.zeros(self.count + 3, self.hop)
        for quarter in range(4):
            out[quarter : quarter + self.count] += quarters[:, quarter]
        return out.view(-1)[self.before : self.before + self.length]


def mirrored(before: int, length: int, total: int) -> Tensor:
    """Indices of `total` samples of a sound that begins after `before` and is reflected at both ends for ever."""
    period = max(2 * (length - 1), 1)
    at = (torch.arange(total) - before) % period
    return torch.minimum(at, period - at).clamp(max=length - 1)


def sum_of_powers(spectra: list[Tensor]) -> Grid:
    power = sum((spectrum.real**2 + spectrum.imag**2 for spectrum in spectra), torch.zeros(()))
    total: Grid = (power + TINY).numpy()
    return total


def gains(power: Grid, frames: Frames, lowest: float, smoothing_s: float) -> Grid:
    noise = spared_music(tracked(power, frames.hop_s), frames)
    xi = smoothed_snr(power, noise, frames, smoothing_s)
    gain: Grid = np.maximum(xi / (1 + xi), np.float32(lowest))
    gain[:, 0] = gain[:, :2].min(1)  # drift is too slow to look like noise; no sound is that low without a second bin
    return gain


# Noise


def spared_music(noise: Grid, frames: Frames) -> Grid:
    """Less noise than was tracked, where its narrow peaks are those of held notes."""
    some = slice(None, None, MUSIC_EVERY)
    height = around(peaks(noise[some], frames), MUSIC_S / (MUSIC_EVERY * frames.hop_s))
    music = 0.5 + 0.5 * np.tanh((height - MUSIC_PEAKS) / MUSIC_DOUBT)
    everywhere = np.arange(len(noise))
    share = np.interp(everywhere, everywhere[some], music).astype(np.float32)[:, None]
    careful = np.minimum(noise, MUSIC_CAP * between_peaks(noise, frames.bin(PEAK_HZ))) * MUSIC_CAUTION
    return np.asarray(noise * (careful / noise) ** share, np.float32)


def peaks(noise: Grid, frames: Frames) -> NDArray[np.float64]:
    """How far the noise rises above its median in frequency: nepers of power beyond 0.3, mean over the band."""
    reach, low, high = (frames.bin(hz) for hz in (PEAK_HZ, *MUSIC_BAND_HZ))
    if high + reach >= frames.bins:  # the rate is too low to tell
        return np.zeros(len(noise))
    logarithm = np.log(noise[:, low - reach : high + reach].astype(np.float64))
    medians = np.median(sliding_window_view(logarithm, 2 * reach, axis=1)[:, :-1], axis=2)
    return np.asarray(np.maximum(logarithm[:, reach:-reach] - medians - 0.3, 0).mean(1))


@njit(cache=True)
def between_peaks(noise: Any, reach: int) -> Any:
    """The level of the surroundings in frequency, which a few high bins do not raise: a mean of inverse roots."""
    frames, bins = noise.shape
    out = np.empty((frames, bins), np.float32)
    roots = np.zeros(bins + 1)
    for t in range(frames):
        for k in range(bins):
            roots[k + 1] = roots[k] + 1 / math.sqrt(noise[t, k])
        for k in range(bins):
            low, high = max(k - reach, 0), min(k + reach + 1, bins)
            out[t, k] = ((high - low) / (roots[high] - roots[low])) ** 2
    return out


def around(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Means over a bell of that width, of what there is."""
    bell = np.hanning(2 * math.ceil(width / 2) + 1)
    reach = len(bell) // 2
    summed = np.convolve(values, bell)[reach : reach + len(values)]
    return np.asarray(summed / np.convolve(np.ones(len(values)), bell)[reach : reach + len(values)])


# A-priori SNR


def smoothed_snr(power: Grid, noise: Grid, frames: Frames, smoothing_s: float) -> Grid:
    """Smoothed over time in the cepstrum of the estimated signal, forwards and backwards."""
    signal = np.maximum(power - noise, np.float32(XI_LEAST) * noise)
    cepstra = torch.fft.irfft(torch.from_numpy(np.log(signal)), frames.size)[:, : frames.bins].numpy()
    keep = keeps(frames, smoothing_s)
    pitch = frames.quefrency(1 / PITCH_HZ[1]), frames.quefrency(1 / PITCH_HZ[0])
    calm = smooth(cepstra, keep, *pitch) + smooth(cepstra[::-1], keep, *pitch)[::-1]
    logarithm = torch.fft.hfft(torch.from_numpy(calm / 2), frames.size)[:, : frames.bins].numpy()
    xi: Grid = np.maximum(np.exp(logarithm + np.float32(BIAS)) / noise, np.float32(XI_LEAST))
    return xi


def keeps(frames: Frames, smoothing_s: float) -> NDArray[np.float32]:
    """Weight of the past for every quefrency."""
    keep = np.full(frames.bins, frames.per_hop(smoothing_s), np.float32)
    keep[: frames.quefrency(MIDDLE_S)] = frames.per_hop(0.15 * smoothing_s)
    keep[: frames.quefrency(COARSE_S)] = 0
    return keep


@njit(cache=True)
def smooth(cepstra: Any, keep: Any, low: int, high: int) -> Any:
    """A recursion over frames, quicker around the pitch of each."""
    frames, quefrencies = cepstra.shape
    out = np.empty((frames, quefrencies), np.float32)
    past = cepstra[0].copy()
    for t in range(frames):
        pitch = low
        for q in range(low, high):
            if cepstra[t, q] > cepstra[t, pitch]:
                pitch = q
        voiced = high > low and cepstra[t, pitch] > PITCH_SALIENCE
        for q in range(quefrencies):
            weight = min(keep[q], PITCH_KEEPS) if voiced and abs(q - pitch) <= 2 else keep[q]
            past[q] = weight * past[q] + (1 - weight) * cepstra[t, q]
            out[t, q] = past[q]
    return out
