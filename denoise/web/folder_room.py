"""Many files at once: a queue with the progress of each, and a ZIP of the results with a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copy, rmtree
from typing import Any

import gradio as gr

from denoise.batch.file import Tick
from denoise.batch.recipe import AUTO, Recipe
from denoise.errors import UserError
from denoise.media.find import suffixes
from denoise.web.controls import Buttons, Shown, choices_for, key, passes_control, seed_control, strength_control
from denoise.web.folder_order import INBOX, Folder
from denoise.web.gate import at_home
from denoise.web.limits import KINDS
from denoise.web.order import Stops, excuse
from denoise.web.room import developing
from denoise.web.shelf import download_of, fresh, nothing_to_download, samples, shelf
from denoise.web.turns import untold
from denoise.web.words import refused, said

ROOM = "folder"
NOTHING = "No files yet; drop some above, or try the examples."


def folder_room(stops: Stops) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            form = Form.drawn()
            buttons = Buttons.drawn(ROOM, "Clean them all")
        with gr.Column(scale=3, min_width=320):
            results = Results.drawn()

    def fill(values: Shown, request: gr.Request) -> Iterator[Shown]:
        paths = [Path(path) for path in values[form.files] or ()]
        if not paths:
            yield {results.outcome: refused(NOTHING)}
            return
        try:
            folder = form.folder(values)
        except UserError as trouble:
            yield {results.outcome: refused(str(trouble))}
            return
        yield from results.of(folder, paths, stops.watched(key(request, ROOM), untold))

    blank = {results.outcome: "", results.queue: "", results.download: gr.update(visible=False)}
    buttons.start(stops, ROOM, fill, form.asked, list(blank), blank, show_progress="hidden")


@dataclass(frozen=True)
class Form:
    """Which files, and what is to be done with all of them."""

    files: gr.File
    model: gr.Dropdown
    strength: gr.Slider
    seed: gr.Number
    passes: gr.Slider
    develop: gr.Dropdown
    residual: gr.Checkbox

    @classmethod
    def drawn(cls) -> Form:
        files = at_home(dropping())
        offered(samples(*KINDS), files)
        model = gr.Dropdown(choices_for(KINDS), value=AUTO, label="Model", interactive=True, filterable=False)
        strength, seed, passes, develop = strength_control(), seed_control(), passes_control(), developing(visible=True)
        residual = gr.Checkbox(False, label="Also what was taken away, as files of their own")
        return cls(files, model, strength, seed, passes, develop, residual)

    @property
    def asked(self) -> set[Any]:
        return {self.files, self.model, self.strength, self.seed, self.passes, self.develop, self.residual}

    def folder(self, values: Shown) -> Folder:
        seed, passes = int(values[self.seed] or 0), int(values[self.passes])
        recipe = Recipe(values[self.model], strength=values[self.strength], seed=seed, passes=passes)
        return Folder(fresh(), recipe, values[self.residual], values[self.develop] or None)


def dropping() -> gr.File:
    return gr.File(
        interactive=True,
        label="Noisy sounds, pictures and raw files",
        file_count="multiple",
        file_types=sorted(ending for kind in KINDS for ending in suffixes(kind)),
        height=180,
        elem_id=f"{ROOM}-upload",
    )


def offered(examples: list[Path], files: gr.File) -> None:
    if examples:
        button = gr.Button(f"Try the {len(examples)} examples", size="sm")
        button.click(lambda: copies(examples), None, files, api_visibility="private")


@dataclass(frozen=True)
class Results:
    """What became of them."""

    outcome: gr.HTML
    download: gr.DownloadButton
    queue: gr.HTML

    @classmethod
    def drawn(cls) -> Results:
        outcome = gr.HTML(elem_id=f"{ROOM}-outcome", elem_classes="outcome")
        return cls(outcome, nothing_to_download(ROOM), gr.HTML(elem_id=f"{ROOM}-queue"))

    def of(self, folder: Folder, paths: list[Path], stop: Tick) -> Iterator[Shown]:
        """The queue while it is worked on, then all that came of it."""
        try:
            for table in folder.run(paths, stop):
                yield {self.queue: table}
            if folder.trouble:
                raise folder.trouble
        except Exception as trouble:
            yield {self.outcome: refused(excuse(trouble, shelf()))}
            return
        finally:
            rmtree(folder.place / INBOX, ignore_errors=True)
        yield {self.outcome: said(folder.report.summary()), self.download: download_of(folder.packed())}


def copies(paths: list[Path]) -> list[str]:
    place = fresh()
    return [str(copy(path, place)) for path in paths]
