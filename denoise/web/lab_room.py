"""The noise lab: a law of noise is added to something clean and looked at, then taken out again and scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from denoise.batch.file import Tick
from denoise.batch.recipe import AUTO, Recipe
from denoise.errors import UserError
from denoise.media.find import kind_of, suffixes
from denoise.media.sound import open_sound
from denoise.noise.laws import found
from denoise.web.controls import (
    ONE_AT_A_TIME,
    Bar,
    Buttons,
    Shown,
    choices_for,
    key,
    seed_control,
    strength_control,
)
from denoise.web.fit_room import fit_room
from denoise.web.gate import at_home
from denoise.web.lab_controls import OWN, LawControls, choices
from denoise.web.lab_order import Added, noisy_file, portrait, scores
from denoise.web.limits import KINDS, refuse
from denoise.web.order import Order, Stops
from denoise.web.picture_views import put, seen
from denoise.web.player import player
from denoise.web.room import attempted
from denoise.web.shelf import download_of, examples_of, fresh, nothing_to_download, samples, shelf
from denoise.web.sound_views import presented, rate_of, start_of
from denoise.web.warm import warm
from denoise.web.words import refused, said, sentence
from denoise.zoo import SAMPLES

ROOM = "lab"
NOTHING = "No clean file yet; drop one above, or try an example."
FIRST_ADD = "Add noise first; then there is something to take out."
MOSAICS = (".npy",)


def lab_room(stops: Stops) -> None:
    with gr.Tabs():
        with gr.Tab("Add noise, and take it out"):
            Lab.drawn(stops)
        with gr.Tab("Fit a camera"):
            fit_room()


@dataclass(frozen=True)
class Lab:
    """One clean file, what was made of it, and where all is shown."""

    stops: Stops
    source: gr.File
    added: gr.State
    outcome: gr.HTML
    slider: gr.ImageSlider
    heard: gr.HTML
    seen: gr.HTML
    noisy: gr.DownloadButton
    charts: gr.HTML
    table: gr.HTML
    cleaned: gr.DownloadButton

    @classmethod
    def drawn(cls, stops: Stops) -> None:
        endings = sorted({*MOSAICS, *(ending for kind in KINDS for ending in suffixes(kind))})
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                label = "Clean picture, voice or raw mosaic"
                source = at_home(
                    gr.File(interactive=True, label=label, file_types=endings, height=120, elem_id=f"{ROOM}-upload")
                )
                examples_of(samples("picture", "audio", folder=SAMPLES / "clean"), source)
                known = choices()
                law = gr.Dropdown(known, value=known[0][1], label="Law of noise", interactive=True, filterable=False)
                place = gr.Column()
                model = gr.Dropdown(choices_for(KINDS), value=AUTO, label="Model", interactive=True, filterable=False)
                strength = strength_control()
                buttons = Buttons.drawn(ROOM, "Take it out, and score")
            with gr.Column(scale=3, min_width=320):
                lab = cls(stops, source, gr.State(None), *places())
        lab.adding(law, place)
        lab.cleaning(buttons, model, strength)

    def adding(self, law: gr.Dropdown, place: gr.Column) -> None:
        """The parameters of the chosen law, drawn anew for each."""
        results = [self.outcome, self.added, self.charts, self.noisy, self.table, self.cleaned, *self.shows]

        def draw(chosen: str) -> None:
            warm().wait()  # laws take torch, and the rooms before this one do not wait for it
            controls, seed = LawControls.drawn(found(chosen)), seed_control()
            button = gr.Button("Add the noise", variant="primary", elem_id=f"{ROOM}-add")

            def add(values: Shown) -> Shown:
                if not values[self.source]:
                    return {self.outcome: refused(NOTHING)}
                path = Path(values[self.source])
                return attempted(path, self.outcome, lambda: self.with_noise(path, chosen, controls, seed, values))

            asked = {self.source, seed, *controls.components}
            button.click(add, asked, results, show_progress_on=self.outcome, **ONE_AT_A_TIME)

        with place:
            gr.render(inputs=law, concurrency_limit=1, concurrency_id="drawing")(draw)

    def with_noise(self, path: Path, law: str, controls: LawControls, seed: gr.Number, values: Shown) -> Shown:
        if path.suffix.lower() not in MOSAICS:
            refuse(path, *KINDS)
        folder = fresh()
        made = noisy_file(
            path,
            law,
            controls.typed(values),
            int(values[seed] or 0),
            folder,
            [Path(one) for one in values[controls.files] or ()],
            camera=None if values[controls.camera] == OWN else values[controls.camera],
            snr_db=float(values[controls.snr]) if values[controls.snr].strip() else None,
        )
        shown = self.shown({"Clean": path, "Noisy": made.noisy}, folder)
        told = said(f"{sentence(made.described)} Seed {int(values[seed] or 0)}.", *made.notes)
        gone = {self.table: "", self.cleaned: gr.update(visible=False)}
        return (
            shown
            | gone
            | {
                self.outcome: told,
                self.added: made,
                self.charts: portrait(made),
                self.noisy: download_of(made.noisy),
            }
        )

    def cleaning(self, buttons: Buttons, model: gr.Dropdown, strength: gr.Slider) -> None:
        def fill(
            made: Added | None,
            chosen: str,
            share: float,
            request: gr.Request,
            progress: gr.Progress = gr.Progress(),  # noqa: B008
        ) -> Shown:
            if made is None:
                return {self.table: refused(FIRST_ADD)}
            bar = Bar(progress)
            tick = self.stops.watched(key(request, ROOM), bar.tick)
            recipe = Recipe(chosen, strength=share)
            return attempted(made.noisy, self.table, lambda: self.without_noise(made, recipe, tick, bar))

        asked, shown = [self.added, model, strength], [self.table, self.cleaned, *self.shows]
        buttons.start(self.stops, ROOM, fill, asked, shown, {self.table: ""}, show_progress_on=self.table)

    def without_noise(self, made: Added, recipe: Recipe, tick: Tick, bar: Bar) -> Shown:
        kind = kind_of(made.noisy)
        if kind is None:
            raise UserError(f"{made.noisy}: bare mosaics are cleaned as DNG; give a camera's raw file.")
        filled = Order(made.noisy, kind, recipe, shelf()).fill(tick, bar.say)
        shown = self.shown({"Clean": made.clean, "Noisy": made.noisy, "Cleaned": filled.target}, fresh())
        scored = said(*filled.lines) + scores(made, filled.target)
        return shown | {self.table: scored, self.cleaned: download_of(filled.target)}

    @property
    def shows(self) -> list[Any]:
        return [self.slider, self.heard, self.seen]

    def shown(self, files: dict[str, Path], folder: Path) -> Shown:
        """The last two beside each other on a slider, or all of them to be heard and seen."""
        kind = kind_of(files["Noisy"])
        if kind == "audio":
            versions = {name: start_of(open_sound(path).audio) for name, path in files.items()}
            played, drawn = presented(versions, rate_of(files["Noisy"]), folder, ROOM)
            return {self.slider: gr.update(visible=False), self.heard: played, self.seen: drawn}
        if kind is None:
            return {self.slider: gr.update(visible=False), self.heard: "", self.seen: ""}
        pair = [put(seen(path, None), folder / f"{name.lower()}.png") for name, path in list(files.items())[-2:]]
        names = " | ".join(list(files)[-2:])
        return {self.slider: gr.update(value=tuple(pair), label=names, visible=True), self.heard: "", self.seen: ""}


def places() -> list[Any]:
    """Where all is shown, from top to bottom."""
    outcome = gr.HTML(elem_id=f"{ROOM}-outcome", elem_classes="outcome")
    slider = gr.ImageSlider(
        label="Drag the line",
        type="filepath",
        format="png",
        interactive=False,
        elem_id=f"{ROOM}-slider",
        visible=False,
    )
    heard, drawn = player(ROOM), gr.HTML(elem_id=f"{ROOM}-seen")
    noisy = nothing_to_download(f"{ROOM}-noisy")
    charts = gr.HTML(elem_id=f"{ROOM}-charts")
    return [outcome, slider, heard, drawn, noisy, charts, gr.HTML(elem_id=f"{ROOM}-scores"), nothing_to_download(ROOM)]
