"""Pictures and camera raw: dropped, cleaned, compared with a slider, and given back in their own format and depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from denoise import zoo
from denoise.batch.recipe import AUTO
from denoise.media.find import kind_of
from denoise.media.picture import open_picture
from denoise.media.raw import open_raw
from denoise.restorer import Restorer
from denoise.web.controls import Shown
from denoise.web.order import Filled, Stops
from denoise.web.picture_views import BEFORE_AFTER, Place, Views, compared, looked_at, more_views, shrinking
from denoise.web.room import Desk
from denoise.web.shelf import download_of, fresh, nothing_to_download
from denoise.web.words import said, sentence

ROOM = "picture"


def picture_room(stops: Stops) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            desk = Desk.drawn(ROOM, ("picture", "raw"), stops, "Noisy picture, or camera raw")
        with gr.Column(scale=3, min_width=320):
            view = gr.Radio([BEFORE_AFTER], value=BEFORE_AFTER, label="View", elem_id=f"{ROOM}-view", visible=False)
            slider = gr.ImageSlider(
                label="Drag the line", type="filepath", format="png", interactive=False, elem_id=f"{ROOM}-slider"
            )
            closer = Closer.drawn()
            download = nothing_to_download(ROOM)
    views = gr.State({})

    def look(path: Path) -> Shown:
        found, words, large = looked_at(path, fresh()), *described(path)
        return {desk.about: said(*words), closer.row: gr.update(visible=large)} | offered(found)

    def offered(found: Views) -> Shown:
        chosen = gr.update(choices=list(found), value=BEFORE_AFTER, visible=len(found) > 1)
        return {views: found, view: chosen, slider: found[BEFORE_AFTER]}

    def show(filled: Filled) -> Shown:
        return {download: download_of(filled.target), closer.part: False} | offered(compared(filled, fresh()))

    def show_more(filled: Filled | None, found: Views) -> Shown:
        if filled is None or len(found) > 1:
            return {views: gr.skip()}
        every = more_views(filled, found, restorer_of(filled))
        return {views: every, view: gr.update(choices=list(every), visible=len(every) > 1)}

    def turned(found: Views, chosen: str) -> Any:
        return found.get(chosen, gr.skip())

    def closed_in(path: str | None, filled: Filled | None, part: bool, across: float, down: float) -> Shown:
        if not path:
            return {view: gr.skip()}
        place = Place(across, down) if part else None
        found = compared(filled, fresh(), place) if filled else looked_at(Path(path), fresh(), place)
        return offered(more_views(filled, found, restorer_of(filled), place) if filled else found)

    empty: Shown = {
        slider: None,
        views: {},
        view: gr.update(visible=False),
        download: gr.update(visible=False),
        closer.row: gr.update(visible=False),
        closer.part: False,
    }
    view.input(turned, [views, view], slider, show_progress="hidden", api_visibility="private")
    asked = [desk.source, desk.last, closer.part, closer.across, closer.down]
    moved = [closer.part.input, closer.across.release, closer.down.release]
    gr.on(moved, closed_in, asked, [views, view, slider], show_progress="hidden", api_visibility="private")
    desk.watch(look, empty)
    desk.connect([slider, views, view, download, closer.part], show)
    views.change(show_more, [desk.last, views], [views, view], show_progress="hidden", api_visibility="private")


class Closer:
    """A look at one part of a picture that is too large to be shown at its full size."""

    def __init__(self, row: gr.Row, part: gr.Checkbox, across: gr.Slider, down: gr.Slider) -> None:
        self.row, self.part, self.across, self.down = row, part, across, down

    @classmethod
    def drawn(cls) -> Closer:
        with gr.Row(visible=False) as row:
            part = gr.Checkbox(False, label="A part at its full size", min_width=160)
            across, down = (
                gr.Slider(0, 100, 50, step=1, label=label, info="% of the way", min_width=120)
                for label in ("Across", "Down")
            )
        return cls(row, part, across, down)


def restorer_of(filled: Filled) -> Restorer:
    """What cleaned it."""
    asked = filled.recipe.model
    return zoo.load(zoo.find(filled.work.model if asked == AUTO else asked), device="cpu")


def described(path: Path) -> tuple[list[str], bool]:
    """What it is, how noisy it is, what of it is shown, and whether that is less than there is."""
    return raw_in_words(path) if kind_of(path) == "raw" else picture_in_words(path)


def picture_in_words(path: Path) -> tuple[list[str], bool]:
    from denoise.noise.picture_level import estimate

    with open_picture(path) as opened:
        page = opened.page(0).picture
        pages = f"Of its {opened.pages} pages the first is shown; all are cleaned." if opened.pages > 1 else ""
        level = sentence(estimate(page).describe())
        size, small = shown_small(page.height, page.width)
        return [f"{opened.describe()}.", level, *opened.notes, pages, small], size > 1


def raw_in_words(path: Path) -> tuple[list[str], bool]:
    from denoise.measure.inspection import NOT_BAYER, noise_of
    from denoise.media.frames import frame_of

    raw = open_raw(path)
    level = noise_of(frame_of(raw))[0] if len(raw.cfa) == 4 else NOT_BAYER
    size, small = shown_small(*raw.photosites.shape)
    return [f"{sentence(raw.describe())}", sentence(level), *raw.notes, "Shown developed.", small], size > 1


def shown_small(height: int, width: int) -> tuple[int, str]:
    size = shrinking(height, width)
    return size, f"Shown at 1/{size} of its size; the download is whole." if size > 1 else ""
