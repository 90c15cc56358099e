"""Live: what is said into the microphone is heard without noise a moment later, and can be kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from denoise.web import limits
from denoise.web.facts import any_live
from denoise.web.live_takes import Takes, coded, decoded
from denoise.web.order import excuse
from denoise.web.room import Desk
from denoise.web.shelf import shelf

ROOM = "live"
HERE = Path(__file__).parent
PANEL, STYLE, SCRIPT = ((HERE / f"live.{ending}").read_text() for ending in ("html", "css", "js"))
ASKED = "(model, strength) => { window.denoiseLive = {model, strength}; return []; }"  # looked at by the script

Said = dict[str, Any]


def live_room(desk: Desk) -> None:
    """Nothing where no model can work live."""
    if not any_live():
        return
    with gr.Accordion("Live", open=False, elem_id=f"{ROOM}-accordion"):
        takes = Takes()
        looks: dict[str, Any] = {"html_template": PANEL, "css_template": STYLE, "js_on_load": SCRIPT}
        panel = gr.HTML(elem_id=ROOM, server_functions=served(takes), **looks)

    def kept(ended: gr.EventData) -> Any:
        return str(takes.forget(str(ended.take)) or gr.skip())

    panel.submit(kept, None, desk.source, api_visibility="private")
    for control in (desk.model, desk.strength):
        control.change(None, [desk.model, desk.strength], None, js=ASKED, api_visibility="private")


def served(takes: Takes) -> list[Callable[[Said], Said]]:
    """What the script asks of the server; whatever goes wrong comes back as a sentence."""

    def live_begin(asked: Said) -> Said:
        return spoken(lambda: begun(takes, asked))

    def live_hear(asked: Said) -> Said:
        return spoken(lambda: heard(takes, asked))

    def live_end(asked: Said) -> Said:
        return spoken(lambda: ended(takes, asked))

    return [live_begin, live_hear, live_end]


def spoken(work: Callable[[], Said]) -> Said:
    try:
        return work()
    except Exception as trouble:
        return {"trouble": excuse(trouble, shelf())}


def begun(takes: Takes, asked: Said) -> Said:
    word, take = takes.begin(str(asked["model"]), int(asked["rate"]))
    longest_s = limits.LONGEST_LIVE_MINUTES * 60
    return {"take": word, "model": take.model.name, "late_s": take.sound.late_s, "longest_s": longest_s}


def heard(takes: Takes, asked: Said) -> Said:
    begun_at, take = time.perf_counter(), takes.take(str(asked["take"]))
    cleaned = take.hear(decoded(str(asked["sound"]), take.rate), strength_of(asked))
    return {"sound": coded(cleaned), "took_s": time.perf_counter() - begun_at}


def ended(takes: Takes, asked: Said) -> Said:
    takes.take(str(asked["take"])).end(strength_of(asked))
    return {}


def strength_of(asked: Said) -> float:
    return min(max(float(asked["strength"]), 0.0), 1.0)
