"""The page is there before what only cleaning needs, and says the same as if it had been there all the time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import files_of_the_page

pytest.importorskip("gradio", reason="the web extra is not installed")

from denoise import zoo
from denoise.noise.laws import laws
from denoise.web import app, facts, lab_controls
from denoise.web.live_sound import live_models
from denoise.web.warm import warm

pytestmark = pytest.mark.filterwarnings("ignore::Warning:gradio")

FOR_CLEANING = {"torch", "numba", "scipy", "kornia", "soundfile", "rawpy", "av", "onnxruntime", "matplotlib.pyplot"}
STARTED = """
import json, os, sys
opened = []
sys.addaudithook(lambda event, about: event == "open" and opened.append(str(about[0])))
from denoise.web import app, controls
app.build()
controls.facts_for("picture", "auto"), controls.facts_for("audio", "auto")
try:
    import matplotlib
    matplotlib.get_backend()  # as gradio does before each event
except ImportError:
    pass
there = sorted(sys.modules)
from denoise.web.warm import warm
warm().wait()
print(json.dumps({"there": there, "later": sorted(sys.modules), "opened": opened}))
"""


@pytest.fixture(scope="module", autouse=True)
def page_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with files_of_the_page(tmp_path_factory.mktemp("start")) as place:
        yield place


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "denoise" / "page"


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DENOISE_MODELS")


def asked_once() -> None:
    """All that the rooms want to know, as a first start finds it out."""
    assert facts.any_live() == bool(live_models())
    assert facts.kinds_of_laws() == {name: entry.kind for name, entry in laws().items()}
    for card in zoo.cards().values():
        facts.facts_of(card)


@pytest.mark.usefixtures("shipped", "cache")
def test_routes_are_made_once_the_page_is_served() -> None:
    from gradio.routes import App

    before = App.create_app
    assert app.build().app is None
    assert App.create_app is before


def test_a_page_that_was_there_before_needs_nothing_that_only_cleaning_needs() -> None:
    asked_once()
    ran = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, env=os.environ, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert FOR_CLEANING & set(found["there"]) == set()
    assert {"torch", "denoise.run"} < set(found["later"]), "and it is warm soon"
    assert [path for path in found["opened"] if path.endswith(".pyi")] == [], "nothing is written beside gradio's code"


@pytest.mark.usefixtures("cache")
def test_what_was_kept_of_a_model_is_what_it_tells_when_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = zoo.cards()
    loaded = {name: zoo.load(card, device="cpu").facts for name, card in cards.items()}
    assert {name: facts.facts_of(card) for name, card in cards.items()} == loaded
    monkeypatch.setattr(zoo, "load", lambda *card, **more: pytest.fail("it was loaded again"))
    assert {name: facts.facts_of(card) for name, card in cards.items()} == loaded


@pytest.mark.usefixtures("cache")
def test_the_laws_are_offered_in_their_order() -> None:
    asked_once()
    assert lab_controls.choices() == [(f"{entry.name} ({entry.kind})", name) for name, entry in laws().items()]


@pytest.mark.usefixtures("cache")
def test_it_is_looked_up_anew_when_the_code_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["old", "new"])
    assert [facts.remembered("age", lambda: next(answers)) for _ in range(2)] == ["old", "old"]
    monkeypatch.setattr(facts, "code_digest", lambda: "another code")
    assert facts.remembered("age", lambda: next(answers)) == "new"


def test_a_card_that_was_changed_is_another_model(tmp_path: Path) -> None:
    card = zoo.find("toy-picture")
    changed = zoo.Card(tmp_path, card.entries | {"facts": {"piece": 64}})
    assert facts.named(changed) != facts.named(card)


def test_what_is_damaged_is_looked_up_anew(cache: Path) -> None:
    assert facts.remembered("age", lambda: 7) == 7
    (kept,) = cache.glob("age-*.json")
    kept.write_text("{")
    assert facts.remembered("age", lambda: 8) == 8
    assert json.loads(kept.read_text()) == 8


def test_where_nothing_can_be_kept_it_is_found_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    answers = iter([1, 2])
    assert [facts.remembered("age", lambda: next(answers)) for _ in range(2)] == [1, 2]


def test_it_is_warmed_once() -> None:
    assert warm() is warm()
    assert warm().wait(60)
