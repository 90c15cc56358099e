"""Live: what comes in bit by bit is cleaned as the whole would be, and a visitor can hear, see and keep it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import browser
import numpy as np
import pytest
import soundfile
from pages import Visit, answer, by_command, files_of_the_page, no_look_ups, served, until

pytest.importorskip("gradio", reason="the web extra is not installed")

from denoise import zoo
from denoise.errors import UserError
from denoise.resample import resample
from denoise.run import Options, restore_sound
from denoise.signals import Audio, Block
from denoise.web import app, limits, live_takes
from denoise.web.live_sound import LiveSound, chosen, live_models
from denoise.web.live_takes import Take, Takes, coded, decoded
from denoise.zoo import SAMPLES

pytestmark = pytest.mark.filterwarnings("ignore::Warning:gradio")
STEP = 2.0**-23  # of 24 bits
RATE = 48_000


@pytest.fixture(scope="module", autouse=True)
def page_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with files_of_the_page(tmp_path_factory.mktemp("live")) as place:
        yield place


def voice(rate: int, seconds: float) -> Block:
    found, own = soundfile.read(SAMPLES / "voice.wav", dtype="float32", always_2d=True)
    return resample(found.T[:1], own, rate)[:, : round(seconds * rate)]


def whole(model: str, noisy: Block, rate: int, strength: float) -> Block:
    audio = Audio(
        rate, 1, noisy.shape[1], lambda count: (noisy[:, at : at + count] for at in range(0, len(noisy[0]), count))
    )
    return np.concatenate(list(restore_sound(audio, zoo.load(model, device="cpu"), Options(strength))), 1)


def parts(sound: Block, longest_s: float, rate: int) -> list[Block]:
    """Of odd sizes, some of them empty."""
    sizes = np.random.default_rng(0).integers(0, round(longest_s * rate), 1000)
    cuts = np.cumsum(sizes)
    return np.split(sound, cuts[cuts < sound.shape[1]], 1)


# Laws


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 8_000])
def test_bit_by_bit_it_is_what_the_command_makes_of_the_whole(rate: int) -> None:
    noisy = voice(rate, 1.23)
    for model in live_models() if rate == RATE else list(live_models())[:1]:
        live = LiveSound(chosen(model), rate)
        heard = [live.push(part, 0.8) for part in parts(noisy, 0.1, rate)]
        together = np.concatenate([*heard, live.last(0.8)], 1)
        wanted = whole(model, noisy, rate, 0.8)
        assert together.shape == wanted.shape
        assert np.abs(together - wanted).max() < 1e-5
        assert np.abs(wanted - noisy).max() > 0.01


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_an_answer_is_no_later_than_is_said(rate: int) -> None:
    live, came, went = LiveSound(chosen("auto"), rate), 0, 0
    for part in parts(voice(rate, 1), 0.03, rate):
        came, went = came + part.shape[1], went + live.push(part).shape[1]
        assert came - went <= live.late_s * rate
    assert live.late_s < 0.1


def test_nothing_goes_where_the_strength_is_none() -> None:
    live, noisy = LiveSound(chosen("auto"), RATE), voice(RATE, 0.5)
    same = np.concatenate([live.push(noisy, 0.0), live.last(0.0)], 1)
    assert np.abs(same - noisy).max() < 1e-6


def test_less_than_a_frame_comes_back_as_long_as_it_was() -> None:
    for rate, count in ((16_000, 1), (RATE, 1), (RATE, 100), (44_100, 441), (8_000, 0)):
        live, few = LiveSound(chosen("auto"), rate), np.full((1, count), 0.1, np.float32)
        assert live.push(few).shape[1] + live.last().shape[1] == count


# Who may


def test_a_model_that_must_see_more_is_refused_with_one_that_need_not() -> None:
    with pytest.raises(UserError, match=f"toy-sound cannot work live.*{next(iter(live_models()))}"):
        chosen("toy-sound")
    with pytest.raises(UserError, match="cannot work live"):
        chosen("/etc")


def test_what_is_too_much_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    takes = Takes()
    with pytest.raises(UserError, match="has 100 Hz"):
        takes.begin("auto", 100)
    monkeypatch.setattr(limits, "MOST_LIVE", 1)
    monkeypatch.setattr(limits, "LONGEST_LIVE_MINUTES", 0.01)
    word, take = takes.begin("auto", RATE)
    with pytest.raises(UserError, match="1 visitors are live already"):
        takes.begin("auto", RATE)
    take.hear(voice(RATE, 0.5), 1.0)
    with pytest.raises(UserError, match=r"0\.01 minutes are the most"):
        take.hear(voice(RATE, 0.5), 1.0)
    with pytest.raises(UserError, match="not numbers"):
        take.hear(np.full((1, 9), np.nan, np.float32), 1.0)
    take.end()
    with pytest.raises(UserError, match="has ended"):
        take.hear(voice(RATE, 0.01), 1.0)
    assert takes.forget(word) == take.place
    with pytest.raises(UserError, match="has ended"):
        takes.take(word)


def test_no_more_are_live_than_may_be_even_if_all_begin_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_takes, "warm", lambda model, rate: time.sleep(0.5))
    monkeypatch.setattr(limits, "MOST_LIVE", 2)
    takes = Takes()

    def begins(rate: int = RATE) -> bool:
        with suppress(UserError):
            return bool(takes.begin("auto", rate))
        return False

    assert not any(begins(rate=100) for _ in range(3)), "who is refused takes no place"
    with ThreadPoolExecutor(6) as visitors:
        assert sum(visitors.map(lambda _: begins(), range(6))) == len(takes.going) == 2
    takes.forget(next(iter(takes.going)))
    assert begins()
    assert not begins()


def test_only_samples_are_taken_and_not_too_many() -> None:
    sound = voice(RATE, 0.2)
    assert (decoded(coded(sound), RATE) == sound).all()
    for wrong in ("%%%", "AAA=", coded(sound)[:-3]):
        with pytest.raises(UserError, match="no sound"):
            decoded(wrong, RATE)
    with pytest.raises(UserError, match="5 s of sound are the most"):
        decoded(coded(np.zeros((1, 6 * RATE), np.float32)), RATE)


def test_who_says_nothing_for_long_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LONGEST_SILENCE_S", 0.5)
    takes = Takes()
    word, take = takes.begin("auto", RATE)
    until(lambda: bool(take.hear(voice(RATE, 0.01), 1.0).shape[1] < 0), seconds=0.7)  # longer than that in all
    assert takes.take(word) is take
    assert until(lambda: not takes.going, seconds=5)
    assert until(lambda: take.cleaned.closed, seconds=5)


# On the page


@pytest.fixture(scope="module")
def address(page_files: Path) -> Iterator[str]:
    with no_look_ups() as looked_up, served() as found:
        yield found
    assert looked_up == []


def called(address: str, name: str, data: object) -> tuple[int, str]:
    config = answer(address, "/config")
    parts = json.loads(config[1]).get("components", []) if config[0] == 200 else []
    panel = next((part["id"] for part in parts if part["props"].get("elem_id") == "live"), 1)
    body = {"data": data, "fn_name": name, "component_id": panel, "session_hash": "robot"}
    return answer(address, "/gradio_api/component_server", json.dumps(body).encode())


def test_a_program_is_told_what_is_wrong_and_nothing_of_this_machine(address: str) -> None:
    for name, data, words in [
        ("live_begin", {"model": "../models", "rate": RATE}, "cannot work live"),
        ("live_begin", {"model": "auto", "rate": 1}, "has 1 Hz"),
        ("live_hear", {"take": "guessed", "strength": 1, "sound": ""}, "has ended"),
        ("live_end", {"take": "guessed", "strength": 1}, "has ended"),
        ("live_begin", {}, ""),
    ]:
        status, text = called(address, name, data)
        assert status == 200
        assert words in json.loads(text)["trouble"]
        assert str(SAMPLES.parent) not in text


def test_only_who_is_named_may_be_live() -> None:
    with served(auth=app.named("anna:secret")) as guarded:
        assert called(guarded, "live_begin", {"model": "auto", "rate": RATE})[0] == 401


LISTENING = """
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to === this.context.destination) connect.call(this, window.played = this.context.createAnalyser());
    return connect.call(this, to, ...rest);
  };
"""
PEAK = """
() => { const heard = new Float32Array(2048); window.played.getFloatTimeDomainData(heard);
        return Math.max(...heard.map(Math.abs)); }
"""
START = "#live [data-is=start]"


@pytest.fixture(scope="module")
def visit(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    said = tmp_path_factory.mktemp("said") / "said.wav"
    soundfile.write(said, voice(RATE, 7).T, RATE, "PCM_16")
    with browser.opened(f"--use-file-for-fake-audio-capture={said}") as chrome:
        sheet = chrome.new_page(viewport={"width": 1280, "height": 900}, permissions=["microphone"])
        sheet.add_init_script(LISTENING)
        found = Visit(sheet, address)
        found.enter("audio")
        sheet.click("#live-accordion button")
        yield found
        assert found.left == []


def live_for(visit: Visit, seconds: float) -> None:
    """Until so much was answered."""
    visit.forget("#live")
    visit.sheet.click(START)
    visit.sheet.wait_for_function(f"""
        () => Number(document.querySelector('#live [data-is=clock]').textContent.split(':')[1]) >= {seconds}""")


@pytest.mark.browser
def test_a_visitor_hears_and_keeps_what_was_cleaned_live(visit: Visit, page_files: Path, tmp_path: Path) -> None:
    model = next(iter(live_models()))
    visit.set("Strength", 0.9)
    live_for(visit, 2)
    assert visit.sheet.evaluate(PEAK) == 0
    visit.sheet.get_by_label("Let me hear it").check()
    visit.sheet.wait_for_function(f"() => ({PEAK})() > 0.001")
    visit.sheet.get_by_label("Original").locator("visible=true").check()
    visit.sheet.wait_for_function(f"() => ({PEAK})() > 0.001")
    assert f"Live by {model}" in visit.said("#live")
    assert re.search(r"Delay \d+ ms, measured", visit.sheet.inner_text("#live"))
    visit.sheet.click(START)
    visit.sheet.get_by_alt_text("Spectrogram removed").wait_for()
    assert "before and after" in visit.sheet.inner_text("#live")
    fetched = visit.download("audio", tmp_path / "page")
    assert re.fullmatch(r"live-[\d-]+\.clean\.wav", fetched.name)
    noisy = next(page_files.glob(f"*/{fetched.name.replace('.clean', '')}"))
    wanted = by_command(noisy, tmp_path / "command", "--model", model, "--strength", 0.9)
    (tmp_path / "wanted.wav").write_bytes(wanted)
    (mine, rate), (theirs, _), (before, _) = (
        soundfile.read(path) for path in (fetched, tmp_path / "wanted.wav", noisy)
    )
    assert len(mine) == len(before) > rate
    assert np.abs(mine - theirs).max() < 1e-5 + STEP
    assert quiet_db(mine, rate) < quiet_db(before, rate) - 6


def quiet_db(sound: np.ndarray, rate: int) -> float:
    """The level of its quietest tenth, by parts of 20 ms."""
    frames = sound[: len(sound) // (rate // 50) * (rate // 50)].reshape(-1, rate // 50)
    powers = np.square(frames).mean(1)
    return float(10 * np.log10(np.quantile(powers[powers > 1e-12], 0.1)))


@pytest.mark.browser
def test_a_machine_that_is_too_slow_says_so_and_keeps_what_was_said(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear = Take.hear

    def slowly(take: Take, samples: Block, strength: float) -> Block:
        time.sleep(2.5)
        return hear(take, samples, strength)

    monkeypatch.setattr(Take, "hear", slowly)
    visit.forget("#audio-about")
    visit.forget("#live")
    visit.sheet.click(START)
    visit.sheet.get_by_text("too slow to clean live").wait_for()
    assert "kHz mono" in visit.said("#audio-about")


@pytest.mark.browser
def test_without_a_microphone_there_is_a_sentence(visit: Visit) -> None:
    visit.sheet.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('none')); }")
    visit.sheet.click(START)
    assert "gives this page no microphone" in visit.sheet.locator("#live .refused").inner_text()
    assert visit.sheet.inner_text(START) == "Live"


@pytest.mark.browser
def test_it_fits_on_a_phone(visit: Visit) -> None:
    visit.sheet.set_viewport_size({"width": 360, "height": 740})
    assert visit.sheet.locator(START).is_visible()
    assert visit.sheet.evaluate("document.documentElement.scrollWidth") <= 360
