"""Sound: uploaded or recorded, cleaned, heard and seen before and after, and given back in its own format."""

from __future__ import annotations

import math
from base64 import b64encode
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from denoise.measure.comparison import both, sound_numbers, sums
from denoise.measure.inspection import beginning
from denoise.measure.spectrogram import LOUD_DBFS, QUIET_DBFS, spectrogram_image, with_axes
from denoise.media.recording import SoundFile, in_words
from denoise.media.sound import open_sound
from denoise.signals import Audio
from denoise.web.gate import at_home
from denoise.web.order import Filled, Stops
from denoise.web.room import Desk, Shown, download_of, nothing_to_download, said, sentence, shelf

SHOWN_SECONDS = 180.0
HEIGHT_PX, WIDTH_PX = 200, 640
SCALE = f"Spectrograms: kHz over seconds, {QUIET_DBFS:g} dBFS dark to {LOUD_DBFS:g} dBFS bright."


def sound_room(stops: Stops) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            with gr.Accordion("Record", open=False):
                voice = gr.Audio(sources=["microphone"], type="filepath", format="wav", label="Microphone")
                microphone = at_home(voice)
            desk = Desk.drawn("audio", stops, "Noisy sound, or a video with some")
        with gr.Column(scale=3, min_width=320):
            before = [player("Before"), spectrogram("Before")]
            after = [player("After"), spectrogram("After")]
            download = nothing_to_download("audio")
            removed = player("What was removed")
            gr.Markdown(SCALE, elem_classes="quiet")

    def look(path: Path) -> Shown:
        opened = open_sound(path)
        shown = presented(start_of(opened.audio), opened.audio.rate, Path(mkdtemp(dir=shelf())), "before")
        return {desk.about: said(*words(opened))} | dict(zip(before, shown, strict=True))

    def show(filled: Filled) -> Shown:
        noisy, cleaned = (open_sound(path).audio for path in (filled.source, filled.target))
        first, second = start_of(noisy), start_of(cleaned)
        folder = filled.target.parent
        shown = presented(second, noisy.rate, folder, "after")
        taken = written(first - second, noisy.rate, folder / "removed.wav")
        told: Shown = {desk.outcome: said(*filled.lines, report(noisy, cleaned)), download: download_of(filled)}
        return told | {removed: taken} | dict(zip(after, shown, strict=True))

    empty: Shown = dict.fromkeys([*after, removed]) | {download: gr.update(visible=False)}
    microphone.change(lambda path: (path or gr.skip(), None), microphone, [desk.source, microphone])
    desk.watch(look, dict.fromkeys(before) | empty)
    desk.connect([*after, removed, download], show)


def player(label: str) -> gr.Audio:
    return gr.Audio(
        label=label, type="filepath", interactive=False, buttons=[], elem_id=f"audio-{label.split()[-1].lower()}"
    )


def spectrogram(label: str) -> gr.HTML:
    return gr.HTML(elem_id=f"audio-{label.lower()}-seen")


def words(opened: SoundFile) -> list[str]:
    """What it is, how noisy it is, and how much of it is shown."""
    short = f"Its first {in_words(SHOWN_SECONDS)} are shown and played; the download is whole."
    return [
        f"{opened.describe()}.",
        noise_in_words(opened.audio),
        *opened.notes,
        short if opened.audio.seconds > SHOWN_SECONDS else "",
    ]


def noise_in_words(audio: Audio) -> str:
    if find_spec("denoise.noise.sound_level") is None:
        return ""
    from denoise.noise.sound_level import describe_noise

    return sentence(describe_noise(audio).describe())


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


def start_of(audio: Audio) -> NDArray[np.float32]:
    return beginning(audio, round(SHOWN_SECONDS * audio.rate))


def presented(samples: NDArray[np.float32], rate: int, folder: Path, name: str) -> tuple[Path, str]:
    """To be heard and to be seen."""
    return written(samples, rate, folder / f"{name}.wav"), painted(samples, rate, name)


def written(samples: NDArray[np.float32], rate: int, target: Path) -> Path:
    """As WAV of 16 bit, which every browser plays."""
    import soundfile

    soundfile.write(target, samples.T, rate, subtype="PCM_16")
    return target


def painted(samples: NDArray[np.float32], rate: int, name: str) -> str:
    """The spectrogram as an element of the page, with words for those who cannot see it."""
    from PIL import Image

    image = spectrogram_image(samples, rate, HEIGHT_PX, WIDTH_PX)
    content = BytesIO()
    Image.fromarray(with_axes(image, rate, samples.shape[1] / rate)).save(content, "PNG")
    coded = b64encode(content.getvalue()).decode()
    words = f"Spectrogram {name}: 0 to {rate / 2000:g} kHz over {in_words(samples.shape[1] / rate)}"
    return f'<img class="spectrogram" alt="{words}" src="data:image/png;base64,{coded}">'
