"""What programs may ask of the page, in the same queue as everybody: gradio_client, curl, or another page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from denoise.batch.recipe import AUTO, Recipe, knobs_of
from denoise.media.find import kind_of
from denoise.report import as_json
from denoise.web.controls import IN_TURN, choices_for
from denoise.web.gate import at_home
from denoise.web.limits import KINDS, refuse
from denoise.web.order import Order, complaint
from denoise.web.shelf import shelf
from denoise.web.turns import awaited, turn, untold

NO_FILE = "No file was given; upload one, and hand it over as `file`."


def offer() -> None:
    """`/clean` and `/inspect`; nobody sees their controls."""
    unseen: dict[str, Any] = {"visible": False, "interactive": True}
    file = at_home(gr.File(label="file", **unseen))
    model = gr.Dropdown(choices_for(KINDS), value=AUTO, label="model", **unseen)  # names alone: a folder is refused
    strength, seed = gr.Number(1, label="strength", **unseen), gr.Number(0, precision=0, label="seed", **unseen)
    settings = gr.Textbox("", label="settings", **unseen)
    passes = gr.Number(1, precision=0, label="passes", **unseen)
    result, report = gr.File(label="cleaned", visible=False), gr.JSON(label="report", visible=False)
    asking = gr.Button(visible=False)
    asking.click(clean, [file, model, strength, seed, settings, passes], [result, report], api_name="clean", **IN_TURN)
    asking.click(inspect, file, report, api_name="inspect", **IN_TURN)


def clean(
    file: str | None,
    model: str | None = AUTO,
    strength: float | None = 1,
    seed: int | None = 0,
    settings: str | None = "",
    passes: int | None = 1,
) -> tuple[str, Any]:
    """The cleaned file and a report, as `denoise clean FILE --model … --strength … --seed … --set … --passes …` makes
    them.

    Several settings are parted by spaces: "iterations=4 detail=0.2". What is null is as if it were left out.
    """
    path = given(file)
    try:
        share, knobs = 1 if strength is None else strength, knobs_of((settings or "").split())
        recipe = Recipe(
            model or AUTO, strength=share, seed=seed or 0, knobs=knobs, passes=1 if passes is None else passes
        )
        filled = Order(path, kind_of(path) or KINDS[0], recipe, shelf()).fill(awaited(untold))
    except Exception as trouble:
        raise gr.Error(complaint(trouble, path, shelf()), print_exception=False) from None
    return str(filled.target), json.loads(as_json(filled.outcome.as_data()))


def inspect(file: str | None) -> Any:
    """What a file is, how noisy it is, and what would clean it in which time."""
    from denoise.measure.inspection import inspect_file

    path = given(file)
    try:
        refuse(path, *KINDS)
        with turn(awaited(untold)):
            found = inspect_file(path).as_data()
    except Exception as trouble:
        raise gr.Error(complaint(trouble, path, shelf()), print_exception=False) from None
    found["file"] = Path(found.pop("path")).name  # a client would fetch whatever has a path
    return json.loads(as_json(found))


def given(file: str | None) -> Path:
    if not file:
        raise gr.Error(NO_FILE, print_exception=False)
    return Path(file)
