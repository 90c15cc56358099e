"""What a coder at a low bit rate leaves of a sound: through FFmpeg's own coders and back, in memory.

The coders and their containers say how much they put in front, and the readers drop it: the length is kept to the
sample, the place to 0.2 ms, which Opus shifts at its lowest rates. Nothing here is left to chance.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from denoise.errors import UserError
from denoise.noise.sound_colour import Block, want


@dataclass(frozen=True)
class Coder:
    encoder: str  # as FFmpeg calls it
    container: str
    kbps: Mapping[int, tuple[float, float]]  # of one channel, least and most, by rate in Hz from low to high

    @property
    def span(self) -> tuple[float, float]:
        least, most = zip(*self.kbps.values(), strict=True)
        return min(least), max(most)

    def rate_for(self, rate: float, kbps: float) -> int:
        """The nearest one from above that has this bit rate, else the highest that has."""
        possible = [own for own, (least, most) in self.kbps.items() if least <= kbps <= most]
        return next((own for own in possible if own >= rate), possible[-1])


CODERS = {
    "opus": Coder("libopus", "ogg", dict.fromkeys((8000, 12000, 16000, 24000, 48000), (6, 256))),
    "mp3": Coder(
        "libmp3lame",
        "mp3",
        dict.fromkeys((8000, 11025, 12000), (8, 64))  # MPEG 2.5
        | dict.fromkeys((16000, 22050, 24000), (8, 160))  # MPEG 2
        | dict.fromkeys((32000, 44100, 48000), (32, 320)),  # MPEG 1
    ),
}


@dataclass(frozen=True)
class Coded:
    rate: int
    coder: str = "opus"
    kbps: float = 12.0  # kilobits a second, of each channel

    def __post_init__(self) -> None:
        want(self.coder in CODERS, f"No coder is called {self.coder!r}; choose one of {', '.join(CODERS)}.")
        least, most = CODERS[self.coder].span
        given = f"{self.kbps:g} kbit/s cannot be coded as {self.coder}"
        want(least <= self.kbps <= most, f"{given}; {least:g} to {most:g} are wanted.")

    def sample(self, clean: Tensor, seed: int, start: int = 0) -> Tensor:
        if not clean.numel():
            return clean.clone()
        channels = [self.through(channel[None].numpy()) for channel in clean]
        return torch.from_numpy(np.concatenate(channels))

    def through(self, sound: Block) -> Block:
        """One channel there and back."""
        from denoise.resample import resample

        coder = CODERS[self.coder]
        rate = coder.rate_for(self.rate, self.kbps)
        given = resample(sound, self.rate, rate)
        back = decoded(encoded(given, rate, coder, self.kbps), coder, rate)
        return of_length(resample(of_length(back, given.shape[1]), rate, self.rate), sound.shape[1])

    def variance(self, clean: Tensor) -> Tensor:
        return torch.zeros_like(clean)

    def describe(self) -> str:
        return f"{self.coder} at {self.kbps:g} kbit/s a channel"


def encoded(sound: Block, rate: int, coder: Coder, kbps: float) -> bytes:
    import av

    memory = io.BytesIO()
    try:
        with av.open(memory, "w", format=coder.container) as container:
            stream: Any = container.add_stream(coder.encoder, rate=rate, layout="mono")
            stream.bit_rate = round(1000 * kbps)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout="mono")
            frame.sample_rate = rate
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        raise UserError(f"FFmpeg cannot encode with {coder.encoder} here ({error}); choose another coder.") from None
    return memory.getvalue()


def decoded(stream: bytes, coder: Coder, rate: int) -> Block:
    import av

    resampler = av.AudioResampler("fltp", "mono", rate)
    with av.open(io.BytesIO(stream), "r", format=coder.container) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([np.zeros((1, 0), np.float32), *(frame.to_ndarray() for frame in frames)], 1)


def of_length(sound: Block, count: int) -> Block:
    """The last frame of a coder may be longer than the sound, or a few samples short."""
    return np.pad(sound[:, :count], ((0, 0), (0, max(0, count - sound.shape[1]))))
