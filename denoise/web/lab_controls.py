"""The parameters of a law of noise as controls, made from what the law says of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import gradio as gr

from denoise.noise.laws import CHOICES, RANGES, SIGNED, Entry, parts_of
from denoise.web.controls import Shown
from denoise.web.facts import kinds_of_laws
from denoise.web.gate import at_home

OWN = ""  # no published camera: what is typed counts
FROM_FILE = ("rate",)  # what a file tells itself


@dataclass(frozen=True)
class LawControls:
    entry: Entry
    words: dict[str, Any]  # by the name of a parameter
    camera: gr.Dropdown
    snr: gr.Textbox
    files: gr.File

    @classmethod
    def drawn(cls, entry: Entry) -> LawControls:
        from denoise.noise.cameras import known as cameras

        gr.Markdown(entry.story, elem_classes="quiet")
        files = gr.File(
            label=entry.made_of[:1].upper() + entry.made_of[1:] or "Files",
            file_count="multiple",
            visible=bool(entry.made_of),
            interactive=True,
            height=120,
        )
        published = [("as typed here", OWN), *((one.title, name) for name, one in cameras().items())]
        of_camera = entry.kind == "raw" and not entry.made_of
        camera = gr.Dropdown(
            published, value=OWN, label="Camera", visible=of_camera, interactive=True, filterable=False
        )
        words = {name: control(entry, name) for name in entry.parameters if name not in FROM_FILE}
        snr = gr.Textbox(
            "", label="SNR, dB", info="Over active speech; empty: the level above.", visible=entry.kind == "audio"
        )
        return cls(entry, words, camera, snr, at_home(files))

    @property
    def components(self) -> list[Any]:
        return [*self.words.values(), self.camera, self.snr, self.files]

    def typed(self, values: Shown) -> dict[str, str]:
        """As they would be typed on the command line; a published camera knows its own."""
        if values[self.camera] != OWN:
            return {}
        found = {name: spelled(values[one]) for name, one in self.words.items()}
        return {
            name: text
            for name, text in found.items()
            if text != spelled(self.entry.beginning(name)) or needed(self.entry, name)
        }


def needed(entry: Entry, name: str) -> bool:
    return f"{name}=…" in entry.usage


def control(entry: Entry, name: str) -> Any:
    """A box to tick, a choice, a slider where both ends are known, a number, or words."""
    hint, start = parts_of(entry.hint(name)), entry.beginning(name)
    words: dict[str, Any] = {"label": label_of(entry, name), "interactive": True}
    if hint == (bool,):
        return gr.Checkbox(start, **words)
    if name in CHOICES:
        return gr.Dropdown(list(CHOICES[name]), value=start, filterable=False, **words)
    if hint not in ((float,), (int,)) or start is None:
        return gr.Textbox(spelled(start), info="none, or a value" if start is None else None, **words)
    low, _, high = RANGES.get(name, (0.0, True, math.inf))
    if math.isfinite(high):
        return gr.Slider(low, high, start, step=1 if hint == (int,) else 0.01, **words)
    signed = any(name.endswith(ending) for ending in SIGNED)
    return gr.Number(start, precision=0 if hint == (int,) else None, minimum=None if signed else 0, **words)


def label_of(entry: Entry, name: str) -> str:
    unit = entry.unit(name)
    return " ".join([entry.bare(name).replace("_", " ").capitalize(), f"({unit})" if unit else ""]).strip()


def spelled(value: Any) -> str:
    """A value as the command line takes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(f"{part:g}" for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def choices() -> list[tuple[str, str]]:
    """Every law there is, with what it is for."""
    return [(f"{name} ({kind})", name) for name, kind in kinds_of_laws().items()]
