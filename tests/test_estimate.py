"""A slow cleaning says how long it is going to take, before it begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shelf import denoise, shelve, tone

from denoise.batch import estimate
from denoise.batch.recipe import Recipe, ready
from denoise.signals import Audio, Picture


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_MODELS", str(shelve(tmp_path / "models")))


def sound(seconds: float) -> Audio:
    return Audio.from_array(np.zeros((1, round(seconds * 8000)), np.float32), 8000)


def test_twice_as_long_takes_twice_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ready(Recipe("toy-sound"), ["audio"])["audio"]
    monkeypatch.setattr(estimate, "timed", lambda audio, ready: 2 * audio.seconds)
    assert estimate.foreseen_s(sound(60), made) == pytest.approx(2 * estimate.foreseen_s(sound(30), made))
    assert estimate.foreseen_s(sound(60), made) == pytest.approx(120)
    assert estimate.foreseen_s(sound(4), made) == 0


def test_what_only_loads_slowly_is_not_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    made, times = ready(Recipe("toy-sound"), ["audio"])["audio"], iter([30.0, 0.001])
    monkeypatch.setattr(estimate, "timed", lambda audio, ready: next(times))
    assert estimate.foreseen_s(sound(60), made) < 1


@pytest.mark.parametrize("slow", [True, False])
def test_it_is_said_only_where_it_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: bool) -> None:
    monkeypatch.setattr(estimate, "timed", lambda audio, ready: 100.0 * slow)
    said = denoise("clean", tone(tmp_path / "a.wav", 6.0), "-o", tmp_path / "out").stderr
    assert ("About 20 min for this one with toy-sound" in said) == slow


def test_a_picture_takes_as_long_as_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ready(Recipe("toy-picture"), ["picture"])["picture"]
    monkeypatch.setattr(estimate, "timed", lambda picture, ready: 1e-6 * picture.height * picture.width)
    sides = (600, 1200), (1200, 1200), (100, 120)
    once, twice, little = (Picture(np.zeros((*side, 3), np.uint8), 255) for side in sides)
    assert estimate.foreseen_picture_s(once, made) == pytest.approx(0.72)
    assert estimate.foreseen_picture_s(twice, made) == pytest.approx(1.44)
    assert estimate.foreseen_picture_s(little, made) == 0


def test_hours_are_told_as_hours() -> None:
    assert [estimate.duration(seconds) for seconds in (61, 3000, 7200)] == ["1 min", "50 min", "2.0 h"]
