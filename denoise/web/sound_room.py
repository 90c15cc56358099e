"""Sound: uploaded or recorded, cleaned, heard and seen before and after, and given back in its own format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from denoise.batch.file import Tick
from denoise.batch.plan import beside
from denoise.batch.recipe import ready
from denoise.errors import Cancelled
from denoise.measure.comparison import CROP_SECONDS
from denoise.measure.inspection import beginning
from denoise.media.sound import open_sound
from denoise.web.controls import ONE_AT_A_TIME, Bar, Shown
from denoise.web.gate import at_home
from denoise.web.live_room import live_room
from denoise.web.order import STOPPED, Filled, Stops
from denoise.web.player import player
from denoise.web.room import Desk
from denoise.web.shelf import download_of, fresh, nothing_to_download
from denoise.web.sound_views import SCALE, compared, looked_at, painted, report, words
from denoise.web.turns import turn
from denoise.web.words import said

ROOM = "audio"
UNSURE = "What {} results with other seeds differ by, in the first {} s: bright is unsure."


def sound_room(stops: Stops) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            with gr.Accordion("Record", open=False):
                voice = gr.Audio(sources=["microphone"], type="filepath", format="wav", label="Microphone")
                microphone = at_home(voice)
            live = gr.Column()
            desk = Desk.drawn(ROOM, ("audio",), stops, "Noisy sound, or a video with some")
            with live:
                live_room(desk)
        with gr.Column(scale=3, min_width=320):
            shown = Results.drawn(desk)
    microphone.change(
        lambda path: (path or gr.skip(), None), microphone, [desk.source, microphone], api_visibility="private"
    )
    shown.connect(stops)


@dataclass(frozen=True)
class Results:
    """What is heard and seen of the sound at the desk."""

    desk: Desk
    player: gr.HTML
    painting: gr.HTML
    download: gr.DownloadButton
    doubt: gr.Button
    doubts: gr.HTML

    @classmethod
    def drawn(cls, desk: Desk) -> Results:
        heard, painting = player(ROOM), gr.HTML(elem_id=f"{ROOM}-seen")
        download = nothing_to_download(ROOM)
        doubt = gr.Button("Where is it not sure?", visible=False, size="sm", elem_id=f"{ROOM}-doubt")
        doubts = gr.HTML(elem_id=f"{ROOM}-doubts")
        gr.Markdown(SCALE, elem_classes="quiet")
        return cls(desk, heard, painting, download, doubt, doubts)

    def connect(self, stops: Stops) -> None:
        def ask(filled: Filled | None, request: gr.Request, progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008
            if filled is None:
                return ""
            stops.begin(self.desk.key(request))
            try:
                return unsure(filled, stops.watched(self.desk.key(request), Bar(progress).tick))
            except Cancelled:
                return said(STOPPED)

        unseen = gr.update(visible=False)
        empty: Shown = {self.player: "", self.painting: "", self.doubts: "", self.download: unseen, self.doubt: unseen}
        self.doubt.click(ask, self.desk.last, self.doubts, **ONE_AT_A_TIME)
        self.desk.watch(self.look, empty)
        self.desk.connect(list(empty), self.show)

    def look(self, path: Path) -> Shown:
        """What was said live has its result beside it."""
        result = beside(path)
        if result.exists():
            return self.told(path) | self.pair(path, result)
        played, painting = looked_at(path, fresh(), ROOM)
        return self.told(path) | {self.player: played, self.painting: painting}

    def told(self, path: Path) -> Shown:
        return {self.desk.about: said(*words(open_sound(path)))}

    def pair(self, noisy: Path, cleaned: Path, *lines: str) -> Shown:
        played, painting = compared(noisy, cleaned, fresh(), ROOM)
        taken = report(*(open_sound(path).audio for path in (noisy, cleaned)))
        told: Shown = {self.desk.outcome: said(*lines, taken), self.download: download_of(cleaned)}
        return told | {self.player: played, self.painting: painting}

    def show(self, filled: Filled) -> Shown:
        seeded = ready(filled.recipe, ["audio"])["audio"].restorer.facts.seeded
        shown = self.pair(filled.source, filled.target, *filled.lines)
        return shown | {self.doubt: gr.update(visible=seeded), self.doubts: ""}


def unsure(filled: Filled, tick: Tick) -> str:
    """Several results of a model that draws random numbers, as the spectrogram of what they differ by."""
    from denoise.measure.draws import COUNT, Draws

    restoring = ready(filled.recipe, ["audio"])["audio"]
    audio = open_sound(filled.source).audio
    samples = beginning(audio, CROP_SECONDS * audio.rate)
    with turn(tick):
        apart = Draws(restoring.restorer, restoring.options, tick).of_sound(samples, audio.rate)
    return said(UNSURE.format(COUNT, CROP_SECONDS)) + painted(apart, audio.rate, "Unsure")
