"""Sound: uploaded or recorded, cleaned, heard and seen before and after, and given back in its own format."""

from __future__ import annotations

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
from denoise.web.words import said

ROOM = "audio"
UNSURE = f"What {{}} results with other seeds differ by, in the first {CROP_SECONDS} s: bright is unsure."


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
            heard, drawn = player(ROOM), gr.HTML(elem_id=f"{ROOM}-seen")
            download = nothing_to_download(ROOM)
            doubt = gr.Button("Where is it not sure?", visible=False, size="sm", elem_id=f"{ROOM}-doubt")
            doubts = gr.HTML(elem_id=f"{ROOM}-doubts")
            gr.Markdown(SCALE, elem_classes="quiet")

    def look(path: Path) -> Shown:
        """What was said live has its result beside it."""
        result = beside(path)
        if result.exists():
            return told(path) | pair(path, result)
        played, painting = looked_at(path, fresh(), ROOM)
        return told(path) | {heard: played, drawn: painting}

    def told(path: Path) -> Shown:
        return {desk.about: said(*words(open_sound(path)))}

    def pair(noisy: Path, cleaned: Path, *lines: str) -> Shown:
        played, painting = compared(noisy, cleaned, fresh(), ROOM)
        taken = report(*(open_sound(path).audio for path in (noisy, cleaned)))
        shown: Shown = {desk.outcome: said(*lines, taken), download: download_of(cleaned)}
        return shown | {heard: played, drawn: painting}

    def show(filled: Filled) -> Shown:
        seeded = ready(filled.recipe, ["audio"])["audio"].restorer.facts.seeded
        shown = pair(filled.source, filled.target, *filled.lines)
        return shown | {doubt: gr.update(visible=seeded), doubts: ""}

    def ask(filled: Filled | None, request: gr.Request, progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008
        if filled is None:
            return ""
        stops.begin(desk.key(request))
        try:
            return unsure(filled, stops.watched(desk.key(request), Bar(progress).tick))
        except Cancelled:
            return said(STOPPED)

    unseen = gr.update(visible=False)
    empty: Shown = {heard: "", drawn: "", doubts: "", download: unseen, doubt: unseen}
    microphone.change(
        lambda path: (path or gr.skip(), None), microphone, [desk.source, microphone], api_visibility="private"
    )
    doubt.click(ask, desk.last, doubts, **ONE_AT_A_TIME)
    desk.watch(look, empty)
    desk.connect([heard, drawn, download, doubt, doubts], show)


def unsure(filled: Filled, tick: Tick) -> str:
    """Several results of a model that draws random numbers, as the spectrogram of what they differ by."""
    from denoise.measure.draws import COUNT, Draws

    restoring = ready(filled.recipe, ["audio"])["audio"]
    audio = open_sound(filled.source).audio
    samples = beginning(audio, CROP_SECONDS * audio.rate)
    apart = Draws(restoring.restorer, restoring.options, tick).of_sound(samples, audio.rate)
    return said(UNSURE.format(COUNT)) + painted(apart, audio.rate, "Unsure")
