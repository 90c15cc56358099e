"""What can be asked of a model, made from its facts, and the buttons that ask it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from denoise import zoo
from denoise.batch.recipe import AUTO, MOST_PASSES, Recipe
from denoise.restorer import Facts, Knob
from denoise.signals import Kind
from denoise.web.facts import facts_of
from denoise.web.order import Stops

HOW_MUCH = "How much of the noise goes; 1 is all of it."
FINER = "Each sees the picture turned or mirrored another way; their mean is finer, and takes so many times as long."
SAME_AGAIN = "Same seed, same result."
# Each cleaning uses every core and much memory.
IN_TURN: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "cleaning"}
ONE_AT_A_TIME: dict[str, Any] = IN_TURN | {"api_visibility": "private"}
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

Shown = dict[Any, Any]  # what each component is to show


@dataclass(frozen=True)
class Wishes:
    """What can be asked of one model."""

    seed: gr.Number
    passes: gr.Slider
    knobs: dict[str, Any]

    @classmethod
    def drawn(cls, facts: Facts) -> Wishes:
        gr.Markdown(story(facts), elem_classes="quiet")
        knobs = {knob.name: control(knob) for knob in facts.knobs}
        return cls(seed_control(facts.seeded), passes_control(facts.takes_passes), knobs)

    @property
    def components(self) -> list[Any]:
        return [self.seed, self.passes, *self.knobs.values()]

    def recipe(self, values: Shown, model: str, strength: float) -> Recipe:
        typed = {name: str(values[turned]) for name, turned in self.knobs.items()}
        seed, passes = int(values[self.seed] or 0), int(values[self.passes])
        return Recipe(model, strength=strength, seed=seed, knobs=typed, passes=passes)


@dataclass(frozen=True)
class Buttons:
    clean: gr.Button
    stop: gr.Button

    @classmethod
    def drawn(cls, room: str, words: str = "Remove the noise") -> Buttons:
        with gr.Row():
            clean = gr.Button(words, variant="primary", elem_id=f"{room}-clean", scale=2, min_width=160)
            stop = gr.Button("Stop", variant="stop", elem_id=f"{room}-stop", interactive=False, min_width=80)
        return cls(clean, stop)

    def start(
        self,
        stops: Stops,
        room: str,
        fill: Callable[..., Any],
        asked: set[Any] | list[Any],
        shown: list[Any],
        blank: Mapping[Any, Any],
        held: Sequence[Any] = (),
        **shows: Any,
    ) -> None:
        """The first fills what is shown, after what was said before was made blank; the other stops it.

        What is held cannot be changed meanwhile.
        """
        busy = [self.clean, self.stop, *held]

        def begin(request: gr.Request) -> Shown:
            stops.begin(key(request, room))
            return dict(blank) | {one: gr.update(interactive=one is self.stop) for one in busy}

        def end() -> Shown:
            return {one: gr.update(interactive=one is not self.stop) for one in busy}

        def halt(request: gr.Request) -> None:
            stops.stop(key(request, room))

        begun = self.clean.click(begin, None, [*blank, *busy], **AT_ONCE)
        done = begun.then(fill, asked, shown, **shows, **ONE_AT_A_TIME)
        done.then(end, None, busy, **AT_ONCE)
        self.stop.click(halt, **AT_ONCE)


def key(request: gr.Request, room: str) -> str:
    """Whose work it is, and where."""
    return f"{request.session_hash}/{room}"


def seed_control(visible: bool = True) -> gr.Number:
    return gr.Number(0, precision=0, minimum=0, label="Seed", info=SAME_AGAIN, visible=visible, interactive=True)


def passes_control(visible: bool = True) -> gr.Slider:
    return gr.Slider(1, MOST_PASSES, 1, step=1, label="Passes", info=FINER, visible=visible, interactive=True)


def strength_control() -> gr.Slider:
    return gr.Slider(0, 1, 1, step=0.05, label="Strength", info=HOW_MUCH, interactive=True)


def choices_for(kinds: Sequence[Kind]) -> list[tuple[str, str]]:
    """`auto` names what it stands for, where that is one model."""
    fitting = [card.name for card in zoo.cards().values() if card.kind in kinds]
    usual = f"auto ({zoo.default_for(kinds[0]).name})" if len(kinds) == 1 and fitting else AUTO
    return [(usual, AUTO), *((name, name) for name in fitting)]


def facts_for(kind: Kind, chosen: str) -> Facts:
    card = zoo.default_for(kind) if chosen == AUTO else zoo.find(chosen)
    return facts_of(card)


def story(facts: Facts) -> str:
    licence = facts.card.get("licence")
    return " ".join([str(facts.card.get("summary", "")), f"Licence: {licence}." if licence else ""])


def control(knob: Knob) -> Any:
    """The component that turns it; its value, as text, is what the command line takes."""
    words: dict[str, Any] = {"label": knob.name.replace("_", " ").capitalize(), "info": knob.help, "interactive": True}
    if knob.choices:
        return gr.Radio(list(knob.choices), value=knob.choices[int(knob.default)], **words)
    return gr.Slider(knob.low, knob.high, knob.default, step=knob.step, **words)


class Bar:
    """The progress bar, with the time that is left, or what was said before anything was done."""

    def __init__(self, progress: gr.Progress) -> None:
        self.progress, self.begun, self.told = progress, time.monotonic(), "working"

    def tick(self, share: float) -> None:
        left = (time.monotonic() - self.begun) * (1 - share) / share if share else 0
        self.progress(share, desc=f"about {left:.0f} s left" if left >= 1 else self.told)

    def say(self, text: str) -> None:
        self.told = text
        self.progress(0, desc=text)
