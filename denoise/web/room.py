"""What every room has: a choice of models, their knobs made from Facts, a way to start and one to stop."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from tempfile import mkdtemp
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from denoise import zoo
from denoise.batch.file import Tick
from denoise.batch.recipe import AUTO, Recipe
from denoise.errors import Cancelled, UserError
from denoise.media.find import kind_of, suffixes
from denoise.restorer import Facts, Knob
from denoise.signals import Kind
from denoise.web.gate import at_home
from denoise.web.order import STOPPED, Filled, Order, Stops, complaint, refuse

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
# Each cleaning uses every core and much memory.
ONE_AT_A_TIME: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "cleaning", "api_visibility": "private"}
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
HOW_MUCH = "How much of the noise goes; 1 is all of it."
SAME_AGAIN = "Same seed, same result."

Shown = dict[Any, Any]  # what each component is to show


@dataclass(frozen=True)
class Desk:
    """One room's file, its controls, and what is said about both."""

    kind: Kind
    stops: Stops
    source: gr.File
    about: gr.HTML  # the file
    model: gr.Dropdown
    strength: gr.Slider
    place: gr.Column  # of what depends on the model
    outcome: gr.HTML

    @classmethod
    def drawn(cls, kind: Kind, stops: Stops, label: str) -> Desk:
        endings = sorted(suffixes(kind))
        source = at_home(gr.File(label=label, file_types=endings, height=140, elem_id=f"{kind}-upload"))
        examples_of(kind, source)
        about = gr.HTML(elem_id=f"{kind}-about")
        model = gr.Dropdown(choices_for(kind), value=AUTO, label="Model", filterable=False)
        strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", info=HOW_MUCH, interactive=True)
        return cls(kind, stops, source, about, model, strength, gr.Column(), outcome_of(kind))

    def watch(self, look: Callable[[Path], Shown], empty: Shown) -> None:
        """What a new file shows before it is cleaned; what the last one showed goes."""

        def looked(path: str | None) -> Shown:
            blank = empty | dict.fromkeys([self.about, self.outcome], "")
            return blank | spoken(path, self.kind, look, self.about) if path else blank

        shown = [self.about, self.outcome, *empty]
        self.source.change(looked, self.source, shown, show_progress_on=self.about, api_visibility="private")

    def connect(self, results: list[Any], show: Callable[[Filled], Shown]) -> None:
        """The knobs of the chosen model and the buttons that use them, drawn anew for each model."""

        def draw(chosen: str) -> None:
            try:
                wishes = Wishes.drawn(facts_for(self.kind, chosen))
            except UserError as trouble:
                gr.HTML(refused(str(trouble)))
                return
            buttons = Buttons.drawn(self.kind)

            def fill(values: Shown, request: gr.Request, progress: gr.Progress = gr.Progress()) -> Shown:  # noqa: B008
                tick = self.stops.watched(self.key(request), with_time_left(progress))
                return self.fill(values, wishes, tick, show)

            self.wire(buttons, fill, {self.source, self.model, self.strength, *wishes.components}, results)

        with self.place:
            gr.render(inputs=self.model, concurrency_limit=1, concurrency_id="drawing")(draw)  # they share a session

    def fill(self, values: Shown, wishes: Wishes, tick: Tick, show: Callable[[Filled], Shown]) -> Shown:
        def cleaned(path: Path) -> Shown:
            recipe = wishes.recipe(values, values[self.model], values[self.strength])
            filled = Order(path, self.kind, recipe, shelf()).fill(tick)
            return {self.outcome: said(*filled.lines)} | show(filled)

        if not values[self.source]:
            return {self.outcome: refused("No file yet; drop one above, or try an example.")}
        return spoken(values[self.source], self.kind, cleaned, self.outcome)

    def wire(self, buttons: Buttons, fill: Callable[..., Shown], asked: set[Any], results: list[Any]) -> None:
        busy = [buttons.clean, buttons.stop, self.model]

        def begin(request: gr.Request) -> list[Any]:
            self.stops.begin(self.key(request))
            return ["", *(gr.update(interactive=on) for on in (False, True, False))]

        def end() -> list[Any]:
            return [gr.update(interactive=on) for on in (True, False, True)]

        def halt(request: gr.Request) -> None:
            self.stops.stop(self.key(request))

        begun = buttons.clean.click(begin, None, [self.outcome, *busy], **AT_ONCE)
        done = begun.then(fill, asked, [self.outcome, *results], show_progress_on=self.outcome, **ONE_AT_A_TIME)
        done.then(end, None, busy, **AT_ONCE)
        buttons.stop.click(halt, **AT_ONCE)

    def key(self, request: gr.Request) -> str:
        return f"{request.session_hash}/{self.kind}"


@dataclass(frozen=True)
class Wishes:
    """What can be asked of one model, made from its facts."""

    seed: gr.Number
    knobs: dict[str, Any]

    @classmethod
    def drawn(cls, facts: Facts) -> Wishes:
        gr.Markdown(story(facts), elem_classes="quiet")
        knobs = {knob.name: control(knob) for knob in facts.knobs}
        seed = gr.Number(
            0, precision=0, minimum=0, label="Seed", info=SAME_AGAIN, visible=facts.seeded, interactive=True
        )
        return cls(seed, knobs)

    @property
    def components(self) -> list[Any]:
        return [self.seed, *self.knobs.values()]

    def recipe(self, values: Shown, model: str, strength: float) -> Recipe:
        typed = {name: str(values[turned]) for name, turned in self.knobs.items()}
        return Recipe(model, strength=strength, seed=int(values[self.seed] or 0), knobs=typed)


@dataclass(frozen=True)
class Buttons:
    clean: gr.Button
    stop: gr.Button

    @classmethod
    def drawn(cls, kind: Kind) -> Buttons:
        with gr.Row():
            clean = gr.Button("Remove the noise", variant="primary", elem_id=f"{kind}-clean", scale=2, min_width=160)
            stop = gr.Button("Stop", variant="stop", elem_id=f"{kind}-stop", interactive=False, min_width=80)
        return cls(clean, stop)


def spoken(path: str, kind: Kind, work: Callable[[Path], Shown], where: gr.HTML) -> Shown:
    """What the work gives, or the sentence that says why it gives nothing."""
    try:
        refuse(Path(path), kind)
        return work(Path(path))
    except Cancelled:
        return {where: said(STOPPED)}
    except Exception as trouble:  # whatever a decoder does with a damaged file, the page goes on
        return {where: refused(complaint(trouble, Path(path), shelf()))}


def choices_for(kind: Kind) -> list[tuple[str, str]]:
    fitting = [card.name for card in zoo.cards().values() if card.kind == kind]
    return [(f"auto ({zoo.default_for(kind).name})", AUTO), *((name, name) for name in fitting)]


def facts_for(kind: Kind, chosen: str) -> Facts:
    card = zoo.default_for(kind) if chosen == AUTO else zoo.find(chosen)
    return zoo.load(card, device="cpu").facts


def story(facts: Facts) -> str:
    licence = facts.card.get("licence")
    return " ".join([str(facts.card.get("summary", "")), f"Licence: {licence}." if licence else ""])


def control(knob: Knob) -> Any:
    """The component that turns it; its value, as text, is what the command line takes."""
    words: dict[str, Any] = {"label": knob.name.replace("_", " ").capitalize(), "info": knob.help, "interactive": True}
    if knob.choices:
        return gr.Radio(list(knob.choices), value=knob.choices[int(knob.default)], **words)
    return gr.Slider(knob.low, knob.high, knob.default, step=knob.step, **words)


def with_time_left(progress: gr.Progress) -> Callable[[float], None]:
    begun = time.monotonic()

    def tick(share: float) -> None:
        left = (time.monotonic() - begun) * (1 - share) / share if share else 0
        progress(share, desc=f"about {left:.0f} s left" if left >= 1 else "working")

    return tick


def shelf() -> Path:
    """Where the page keeps files: uploads, results and what is shown of them."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def outcome_of(kind: Kind) -> gr.HTML:
    return gr.HTML(elem_id=f"{kind}-outcome", elem_classes="outcome")


def nothing_to_download(kind: Kind) -> gr.DownloadButton:
    return gr.DownloadButton("Download", visible=False, variant="primary", elem_id=f"{kind}-download")


def download_of(filled: Filled) -> Any:
    megabytes = filled.target.stat().st_size / 1e6
    return gr.update(label=f"Download {filled.target.name} ({megabytes:.1f} MB)", value=filled.target, visible=True)


def examples_of(kind: Kind, source: gr.File) -> None:
    """What samples/ holds, where it is there: each click takes a fresh copy, since copies are deleted in time."""
    found = [path for path in sorted(SAMPLES.glob("*.*")) if kind_of(path) == kind]
    with gr.Row(visible=bool(found)):
        for path in found:
            button = gr.Button(f"Try {path.name}", size="sm", min_width=100)
            button.click(copier(path), None, source, api_visibility="private")


def copier(path: Path) -> Callable[[], str]:
    return lambda: str(copy(path, mkdtemp(dir=shelf())))


def said(*lines: str) -> str:
    return f'<div role="status">{paragraphs(*lines)}</div>'


def refused(why: str) -> str:
    return f'<div role="alert" class="refused">{paragraphs(why)}</div>'


def paragraphs(*lines: str) -> str:
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines if line)


def sentence(words: str) -> str:
    return words[:1].upper() + words[1:].rstrip(".") + "." * bool(words)
