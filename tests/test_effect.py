"""What is said of a cleaning is what it did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tifffile
from PIL import Image
from shelf import denoise, photo, shelve, tree

from denoise.measure.effect import Listener, Onlooker, sound_effect
from denoise.media.picture import white_of
from denoise.signals import Audio, Picture

RATE = 16_000


def bursts(level: float = 0.3, floor: float = 0.01, seconds: float = 4) -> tuple[np.ndarray, np.ndarray]:
    """(1, T) a tone that comes and goes in noise, and where it is."""
    at = np.arange(round(seconds * RATE))
    on = at // RATE % 2 == 0
    noise = floor * np.random.default_rng(3).standard_normal(len(at))
    return (noise + on * level * np.sin(0.3 * at))[None].astype(np.float32), on[None]


def heard(noisy: np.ndarray, cleaned: np.ndarray, size: int = 777) -> Listener:
    listener = Listener(Audio.from_array(noisy, RATE))
    for _ in listener.audio.blocks(size):
        pass
    for _ in listener.written(Audio.from_array(cleaned, RATE).blocks(size + 100)):
        pass
    return listener


def test_what_pauses_lost_and_what_the_content_lost_are_told_apart() -> None:
    noisy, on = bursts()
    effect = heard(noisy, np.where(on, 0.9, 0.1).astype(np.float32) * noisy).effect
    assert effect.removed_pauses_db == pytest.approx(20, abs=0.1)
    assert effect.removed_heard_db == pytest.approx(-20 * np.log10(0.9), abs=0.1)
    assert effect.level_db == pytest.approx(20 * np.log10(0.9), abs=0.1)
    assert effect.contrast_db == pytest.approx(10 * np.log10((0.3**2 / 2 + 1e-4) / 1e-4), abs=0.3)
    assert list(effect.lines()) == ["Took away 20.0 dB in pauses, 0.9 dB where something is heard."]


def test_a_change_of_level_is_said() -> None:
    noisy, _ = bursts()
    (_, much, line) = heard(noisy, noisy / 2).effect.lines()
    assert much.startswith("That is much: listen to it")
    assert line == "The level of its loudest parts changed by -6.0 dB."
    assert not any("That is much" in line for line in heard(noisy, noisy * 0.8).effect.lines())


def test_a_sound_that_is_clean_already_can_be_left_alone() -> None:
    noisy, _ = bursts(floor=1e-4)
    assert any("can be left alone" in line for line in heard(noisy, noisy).effect.lines())
    loud, _ = bursts(floor=1e-2)
    assert not any("can be left alone" in line for line in heard(loud, loud).effect.lines())


def test_samples_beyond_full_scale_are_counted_unless_they_were_there_before() -> None:
    noisy, _ = bursts(level=0.5)
    assert heard(noisy, 3 * noisy).effect.clipped == np.count_nonzero(np.abs(3 * noisy) > 1)
    assert heard(3 * noisy, 3 * noisy).effect.clipped == 0


def test_silence_says_nothing_and_is_no_number_that_is_none() -> None:
    still = heard(np.zeros((2, RATE), np.float32), np.zeros((2, RATE), np.float32))
    assert still.silent
    assert list(still.effect.lines()) == []
    assert json.dumps(still.effect.as_data())


@pytest.mark.parametrize("length", [0, 1, 100])
def test_a_sound_of_hardly_a_sample_has_no_effect(length: int) -> None:
    assert sound_effect(np.ones(length), np.ones(length)).removed_pauses_db is None


def test_a_sound_that_goes_on_beyond_what_was_restored_is_compared_as_far_as_that() -> None:
    noisy, on = bursts()
    quieter = np.where(on, 0.9, 0.1).astype(np.float32) * noisy
    assert heard(noisy, quieter[:, :-5000]).effect.removed_pauses_db == pytest.approx(20, abs=0.1)


def test_a_sound_that_is_read_twice_counts_once() -> None:
    noisy, _ = bursts()
    listener = Listener(Audio.from_array(noisy, RATE))
    for _ in range(2):
        for _ in listener.audio.blocks(1000):
            pass
    assert listener.before.samples == noisy.shape[1]


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_a_picture_tells_what_went_and_whether_its_colours_moved(dtype, white) -> None:
    seen = Onlooker()
    before = np.full((300, 40, 3), 0.4 * white).astype(dtype)
    after = before + np.array([0, white / 51, 0]).astype(dtype)
    seen.add(Picture(before, white), after)
    assert seen.effect.colour_shift == pytest.approx(5, rel=1e-3)
    assert seen.effect.removed == pytest.approx(5 / np.sqrt(3), rel=1e-3)


# Through the command, with models that halve everything


@pytest.fixture
def shelf(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = shelve(tmp_path_factory.mktemp("shelf"))
    monkeypatch.setenv("DENOISE_MODELS", str(place))
    return place


@pytest.mark.usefixtures("shelf")
def test_the_report_holds_the_effect_and_the_residual_is_what_is_missing(tmp_path: Path) -> None:
    noisy, _ = bursts()
    soundfile.write(tmp_path / "bursts.wav", noisy[0], RATE, subtype="FLOAT")
    (file,) = json.loads(denoise("clean", tmp_path / "bursts.wav", "--residual", "--json").stdout)["files"]
    assert file["effect"]["removed_pauses_db"] == pytest.approx(6, abs=0.1)
    assert file["effect"]["level_db"] == pytest.approx(-6, abs=0.1)
    taken, _ = soundfile.read(tmp_path / "bursts.clean.residual.wav")
    assert np.abs(taken - noisy[0] / 2).max() < 1e-6


@pytest.mark.parametrize(("dim", "said"), [("0.5", True), ("0.8", False)])
def test_where_much_is_taken_away_the_model_for_other_sounds_is_named(
    dim: str, said: bool, shelf: Path, tmp_path: Path
) -> None:
    with (shelf / "toy-sound" / "model.toml").open("a") as card:
        card.write('\n[not_a_voice]\nmodel = "owl"\n')
    soundfile.write(tmp_path / "bursts.wav", bursts()[0][0], RATE)
    shown = denoise("clean", tmp_path / "bursts.wav", "--set", f"dim={dim}").stderr
    assert ("owl is made for that: --model owl." in shown) == ("That is much" in shown) == said


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("name", ["wall.png", "wall.tif"])
def test_the_residual_of_a_picture_lies_around_grey_and_is_not_cleaned_by_the_next_run(
    tmp_path: Path, name: str
) -> None:
    noisy = np.random.default_rng(0).integers(90, 160, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / name)
    assert denoise("clean", tmp_path, "--residual").exit_code == 0
    (place,) = tmp_path.glob("wall.clean.residual.*")
    taken = np.asarray(Image.open(place)).astype(float)
    assert np.abs(taken - (noisy / 2 + 127.5)).max() <= 1
    before = tree(tmp_path)
    assert denoise("clean", tmp_path, "--residual").exit_code == 0
    assert tree(tmp_path) == before


@pytest.mark.usefixtures("shelf")
def test_counts_are_compared_in_one_scale(tmp_path: Path) -> None:
    """No float file says what is white; of two that are compared, one must say it for both."""
    noisy = np.random.default_rng(0).uniform(0, 4000, (40, 50)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", noisy)
    assert denoise("clean", tmp_path / "a.tif", "--residual").exit_code == 0
    taken, cleaned = (tifffile.imread(tmp_path / f"a.clean{kind}.tif") for kind in (".residual", ""))
    assert np.allclose(taken - taken.mean(), (noisy - cleaned) - (noisy - cleaned).mean(), atol=1)
    white = white_of(noisy[..., None])
    expected = -20 * np.log10(np.sqrt(np.mean((noisy - cleaned) ** 2)) / white)
    for words in (["compare", tmp_path / "a.tif"], ["measure", "-r", tmp_path / "a.tif"]):
        numbers = json.loads(denoise(*words, tmp_path / "a.clean.tif", "--json").stdout)
        found = numbers.get("psnr_between_db") or numbers["mean"]["psnr"]
        assert found == pytest.approx(expected, abs=0.05)


def test_a_residual_needs_the_noisy_file(tmp_path: Path) -> None:
    ran = denoise("clean", photo(tmp_path / "a.png"), "--residual", "--in-place")
    assert ran.exit_code == 2
    assert "--in-place writes over it" in ran.stderr


@pytest.mark.usefixtures("shelf")
def test_a_residual_never_falls_on_an_input(tmp_path: Path) -> None:
    photo(tmp_path / "a.png"), photo(tmp_path / "a.residual.png")
    ran = denoise("clean", tmp_path, "-o", tmp_path, "--residual")
    assert ran.exit_code == 2
