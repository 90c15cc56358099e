"""What the rooms for one file share: it is looked at, cleaned by the model of choice, and shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from denoise import zoo
from denoise.batch.file import Say, Tick
from denoise.batch.recipe import AUTO
from denoise.errors import Cancelled, UserError
from denoise.media.find import kind_of, suffixes
from denoise.signals import Kind
from denoise.web.controls import (
    ONE_AT_A_TIME,
    Bar,
    Buttons,
    Shown,
    Wishes,
    choices_for,
    facts_for,
    key,
    strength_control,
)
from denoise.web.gate import at_home
from denoise.web.limits import refuse
from denoise.web.order import STOPPED, Filled, Order, Stops, complaint
from denoise.web.shelf import examples_of, samples, shelf
from denoise.web.warm import warm
from denoise.web.words import refused, said

QUICK_SECONDS = 5.0  # what took no longer is done again as soon as a control is moved

Show = Callable[[Filled], Shown]
Look = Callable[[Path], Shown]


@dataclass(frozen=True)
class Desk:
    """One room's file, its controls, and what is said about both."""

    room: str
    kinds: tuple[Kind, ...]
    stops: Stops
    source: gr.File
    about: gr.HTML  # the file
    kind: gr.State  # of the file
    model: gr.Dropdown
    strength: gr.Slider
    develop: gr.Dropdown  # what becomes of a raw file
    place: gr.Column  # of what depends on the model
    outcome: gr.HTML
    last: gr.State  # what was done with this file; None: nothing yet

    @classmethod
    def drawn(cls, room: str, kinds: tuple[Kind, ...], stops: Stops, label: str) -> Desk:
        endings = sorted(ending for kind in kinds for ending in suffixes(kind))
        source = at_home(
            gr.File(interactive=True, label=label, file_types=endings, height=140, elem_id=f"{room}-upload")
        )
        examples_of(samples(*kinds), source)
        about = gr.HTML(elem_id=f"{room}-about")
        zoo.default_for(kinds[0])  # without a model there is no room
        model = gr.Dropdown(choices_for(kinds[:1]), value=AUTO, label="Model", interactive=True, filterable=False)
        strength, develop = strength_control(), developing()
        place, outcome = gr.Column(), gr.HTML(elem_id=f"{room}-outcome", elem_classes="outcome")
        kind, last = gr.State(kinds[0]), gr.State(None)
        return cls(room, kinds, stops, source, about, kind, model, strength, develop, place, outcome, last)

    def watch(self, look: Look, empty: Shown) -> None:
        """What a new file shows before it is cleaned; what the last one showed goes."""

        def looked(path: str | None, kind: Kind) -> Shown:
            blank = empty | dict.fromkeys([self.about, self.outcome], "") | {self.last: None}
            if not path:
                return blank
            return blank | self.fitting(Path(path), kind) | self.attempted(path, look, self.about)

        shown = [self.about, self.outcome, self.last, self.kind, self.model, self.develop, *empty]
        asked = [self.source, self.kind]
        self.source.change(looked, asked, shown, show_progress_on=self.about, api_visibility="private")

    def fitting(self, path: Path, before: Kind) -> Shown:
        """The models for its kind, where that is another one than before."""
        kind = kind_of(path)
        if kind == before or kind not in self.kinds:
            return {}
        model = gr.update(choices=choices_for([kind]), value=AUTO)
        return {self.kind: kind, self.model: model, self.develop: gr.update(visible=kind == "raw")}

    def connect(self, results: list[Any], show: Show) -> None:
        """The knobs of the chosen model and the buttons that use them, drawn anew for each model."""

        def draw(chosen: str, kind: Kind) -> None:
            try:
                wishes = Wishes.drawn(facts_for(kind, chosen))
            except UserError as trouble:
                gr.HTML(refused(str(trouble)))
                return
            buttons = Buttons.drawn(self.room)

            def fill(values: Shown, request: gr.Request, progress: gr.Progress = gr.Progress()) -> Shown:  # noqa: B008
                bar = Bar(progress)
                return self.fill(values, wishes, self.stops.watched(self.key(request), bar.tick), bar.say, show)

            asked = {self.source, self.model, self.strength, self.develop, self.last, *wishes.components}
            shown, blank = [self.outcome, self.last, *results], {self.outcome: ""}
            more: dict[str, Any] = {"held": [self.model], "show_progress_on": self.outcome}
            buttons.start(self.stops, self.room, fill, asked, shown, blank, **more)
            self.again([self.strength, *wishes.components], fill, asked, shown)
            warm()

        with self.place:
            drawing = gr.render(inputs=[self.model, self.kind], concurrency_limit=1, concurrency_id="drawing")
            drawing(draw)  # all share a session

    def fill(self, values: Shown, wishes: Wishes, tick: Tick, say: Say, show: Show) -> Shown:
        def cleaned(path: Path) -> Shown:
            recipe = wishes.recipe(values, values[self.model], values[self.strength])
            kind = kind_of(path) or self.kinds[0]
            filled = Order(path, kind, recipe, shelf(), values[self.develop] or None).fill(tick, say)
            return {self.outcome: said(*filled.lines), self.last: filled} | show(filled)

        if not values[self.source]:
            return {self.outcome: refused("No file yet; drop one above, or try an example.")}
        return self.attempted(values[self.source], cleaned, self.outcome)

    def attempted(self, path: str, work: Look, where: gr.HTML) -> Shown:
        """With a file of the room's kinds."""

        def allowed() -> Shown:
            refuse(Path(path), *self.kinds)
            return work(Path(path))

        return attempted(Path(path), where, allowed)

    def again(self, moved: list[Any], fill: Callable[..., Shown], asked: set[Any], shown: list[Any]) -> None:
        """What was quick is done again as soon as a control is moved."""

        def refill(values: Shown, request: gr.Request, progress: gr.Progress = gr.Progress()) -> Shown:  # noqa: B008
            last: Filled | None = values[self.last]
            if last is None or last.seconds > QUICK_SECONDS:
                return {self.outcome: gr.skip()}
            self.stops.begin(self.key(request))
            return fill(values, request, progress)

        events = [one.release if isinstance(one, gr.Slider) else one.input for one in moved]
        more: dict[str, Any] = {"show_progress_on": self.outcome, "trigger_mode": "always_last", **ONE_AT_A_TIME}
        gr.on(events, refill, asked, shown, **more)

    def key(self, request: gr.Request) -> str:
        return key(request, self.room)


def developing(visible: bool = False) -> gr.Dropdown:
    """What becomes of camera raw; "" is a raw DNG."""
    from denoise.media.raw import RESULTS

    ways = [("a raw DNG, the mosaic itself", ""), *((f"{name} ({ending})", name) for name, ending in RESULTS.items())]
    return gr.Dropdown(ways, value="", label="A raw file becomes", visible=visible, interactive=True, filterable=False)


def attempted(path: Path, where: gr.HTML, work: Callable[[], Shown]) -> Shown:
    """What the work gives, or the sentence that says why it gives nothing."""
    try:
        return work()
    except Cancelled:
        return {where: said(STOPPED)}
    except Exception as trouble:  # whatever a decoder does with a damaged file, the page goes on
        return {where: refused(complaint(trouble, path, shelf()))}
