"""Many files at once: a queue with the progress of each, and a ZIP of the results with a report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import copy, rmtree
from typing import Any

import gradio as gr

from denoise.batch.recipe import AUTO, Recipe
from denoise.media.find import suffixes
from denoise.web.controls import (
    AT_ONCE,
    ONE_AT_A_TIME,
    Buttons,
    Shown,
    choices_for,
    seed_control,
    strength_control,
)
from denoise.web.folder_order import ALL, INBOX, Folder
from denoise.web.gate import at_home
from denoise.web.order import Stops, excuse
from denoise.web.room import developing
from denoise.web.shelf import download_of, fresh, nothing_to_download, samples, shelf
from denoise.web.words import refused, said

ROOM = "folder"
NOTHING = "No files yet; drop some above, or try the examples."


def folder_room(stops: Stops) -> None:
    endings = sorted(ending for kind in ALL for ending in suffixes(kind))
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            files = gr.File(
                interactive=True,
                label="Noisy sounds, pictures and raw files",
                file_count="multiple",
                file_types=endings,
                height=180,
                elem_id=f"{ROOM}-upload",
            )
            at_home(files)
            examples = samples(*ALL)
            if examples:
                all_examples = gr.Button(f"Try the {len(examples)} examples", size="sm")
                all_examples.click(lambda: copies(examples), None, files, api_visibility="private")
            model = gr.Dropdown(choices_for(ALL), value=AUTO, label="Model", interactive=True, filterable=False)
            strength, seed, develop = strength_control(), seed_control(), developing(visible=True)
            residual = gr.Checkbox(False, label="Also what was taken away, as files of their own")
            buttons = Buttons.drawn(ROOM, "Clean them all")
        with gr.Column(scale=3, min_width=320):
            outcome = gr.HTML(elem_id=f"{ROOM}-outcome", elem_classes="outcome")
            download = nothing_to_download(ROOM)
            queue = gr.HTML(elem_id=f"{ROOM}-queue")

    def key(request: gr.Request) -> str:
        return f"{request.session_hash}/{ROOM}"

    def begin(request: gr.Request) -> list[Any]:
        stops.begin(key(request))
        return ["", "", *(gr.update(interactive=on) for on in (False, True)), gr.update(visible=False)]

    def end() -> list[Any]:
        return [gr.update(interactive=on) for on in (True, False)]

    def halt(request: gr.Request) -> None:
        stops.stop(key(request))

    def fill(values: Shown, request: gr.Request) -> Iterator[Shown]:
        if not values[files]:
            yield {outcome: refused(NOTHING)}
            return
        recipe = Recipe(values[model], strength=values[strength], seed=int(values[seed] or 0))
        folder = Folder(fresh(), recipe, values[residual], values[develop] or None)
        yield from cleaned(folder, values[files], stops.watched(key(request), lambda share: None))

    def cleaned(folder: Folder, paths: list[str], stop: Any) -> Iterator[Shown]:
        try:
            for table in folder.run(map(Path, paths), stop):
                yield {queue: table}
            if folder.trouble:
                raise folder.trouble
        except Exception as trouble:
            yield {outcome: refused(excuse(trouble, shelf()))}
            return
        finally:
            rmtree(folder.place / INBOX, ignore_errors=True)
        yield {outcome: said(folder.report.summary()), download: download_of(folder.packed())}

    shown = [outcome, queue, buttons.clean, buttons.stop, download]
    asked = {files, model, strength, seed, develop, residual}
    begun = buttons.clean.click(begin, None, shown, **AT_ONCE)
    done = begun.then(fill, asked, [outcome, queue, download], show_progress="hidden", **ONE_AT_A_TIME)
    done.then(end, None, [buttons.clean, buttons.stop], **AT_ONCE)
    buttons.stop.click(halt, **AT_ONCE)


def copies(paths: list[Path]) -> list[str]:
    place = fresh()
    return [str(copy(path, place)) for path in paths]
