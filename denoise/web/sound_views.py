"""What is heard and seen of a sound: its beginning as a file that every browser plays, and its spectrogram."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denoise.measure.comparison import both, sound_numbers, sums
from denoise.measure.inspection import beginning
from denoise.measure.spectrogram import LOUD_DBFS, QUIET_DBFS, spectrogram_image, with_axes
from denoise.media.recording import SoundFile, in_words
from denoise.media.sound import open_sound
from denoise.signals import Audio
from denoise.web.player import playing
from denoise.web.words import sentence

SHOWN_SECONDS = 180.0
HEIGHT_PX, WIDTH_PX = 180, 640
SCALE = f"Spectrograms: kHz over seconds, {QUIET_DBFS:g} dBFS dark to {LOUD_DBFS:g} dBFS bright."

Floats = NDArray[np.floating]


def words(opened: SoundFile) -> list[str]:
    """What it is, how noisy it is, and how much of it is shown."""
    from denoise.noise.sound_level import describe_noise

    short = f"Its first {in_words(SHOWN_SECONDS)} are shown and played; the download is whole."
    return [
        f"{opened.describe()}.",
        sentence(describe_noise(opened.audio).describe()),
        *opened.notes,
        short if opened.audio.seconds > SHOWN_SECONDS else "",
    ]


def report(before: Audio, after: Audio) -> str:
    """What was taken, and how much that resembles what was left; nothing where all was silent."""
    numbers = sound_numbers(np.stack([sums(*pair) for pair in both(before, after, before.rate)]))
    share, peak = numbers["removed_share_of_energy"], numbers["removed_peak_dbfs"]
    if math.isnan(share):
        return ""
    return (
        f"Level changed by {numbers['level_change_db']:+.1f} dB. "
        f"Removed: {share:.0%} of the energy, peak {peak:.1f} dBFS, "
        f"likeness to what was kept {numbers['removed_like_sound']:+.2f} (0: noise, 1: the sound itself)."
    )


def looked_at(path: Path, folder: Path, room: str) -> tuple[str, str]:
    return presented({"Before": start_of(open_sound(path).audio)}, rate_of(path), folder, room)


def compared(noisy: Path, cleaned: Path, folder: Path, room: str) -> tuple[str, str]:
    first, second = (start_of(open_sound(path).audio) for path in (noisy, cleaned))
    versions = {"Before": first, "After": second, "Removed": first - second}
    return presented(versions, rate_of(noisy), folder, room)


def rate_of(path: Path) -> int:
    return open_sound(path).audio.rate


def start_of(audio: Audio) -> Floats:
    return beginning(audio, round(SHOWN_SECONDS * audio.rate))


def presented(versions: Mapping[str, Floats], rate: int, folder: Path, room: str) -> tuple[str, str]:
    """To be heard and to be seen."""
    files = {name: written(samples, rate, folder / f"{name.lower()}.wav") for name, samples in versions.items()}
    return playing(files, room), "".join(painted(samples, rate, name) for name, samples in versions.items())


def written(samples: Floats, rate: int, target: Path) -> Path:
    """As WAV of 16 bit, which every browser plays."""
    import soundfile

    soundfile.write(target, samples.T, rate, subtype="PCM_16")
    return target


def painted(samples: Floats, rate: int, name: str) -> str:
    """The spectrogram as an element of the page, with words for those who cannot see it."""
    from PIL import Image

    image = spectrogram_image(samples.astype(np.float32), rate, HEIGHT_PX, WIDTH_PX)
    content = BytesIO()
    Image.fromarray(with_axes(image, rate, samples.shape[1] / rate)).save(content, "PNG")
    coded = b64encode(content.getvalue()).decode()
    words = f"Spectrogram {name.lower()}: 0 to {rate / 2000:g} kHz over {in_words(samples.shape[1] / rate)}"
    picture = f'<img class="spectrogram" alt="{words}" src="data:image/png;base64,{coded}">'
    return f"<figure><figcaption>{name}</figcaption>{picture}</figure>"
