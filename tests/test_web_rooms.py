"""The rooms of the page in a real browser: what a visitor gets is what the command gives, bit for bit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import browser
import numpy as np
import pytest
import raws
import soundfile
import tifffile
from pages import Slow, Visit, a_picture, by_command, files_of_the_page, no_look_ups, served, until
from PIL import Image
from shelf import denoise, during, photo, tone, tree

pytest.importorskip("gradio", reason="the web extra is not installed")

from denoise.web import shelf

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::Warning:gradio")]


@pytest.fixture(scope="module", autouse=True)
def page_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with files_of_the_page(tmp_path_factory.mktemp("web")) as place:
        yield place


@pytest.fixture(scope="module")
def address(page_files: Path) -> Iterator[str]:
    with no_look_ups() as looked_up, served() as found:
        yield found
    assert looked_up == []


@pytest.fixture(scope="module")
def chrome() -> Iterator[browser.Browser]:
    with browser.opened() as found:
        yield found


@pytest.fixture(scope="module")
def window(chrome: browser.Browser, address: str) -> Iterator[Visit]:
    sheet = chrome.new_page(viewport={"width": 1280, "height": 900})
    yield Visit(sheet, address)
    sheet.close()


@pytest.fixture
def visit(window: Visit) -> Iterator[Visit]:
    """The same page for most tests, since loading it takes longer than they do."""
    during.clear()
    window.enter("picture")
    yield window
    during.clear()
    assert window.left == []
    window.reset()


# Pictures


def test_a_picture_comes_back_as_the_command_gives_it(visit: Visit, tmp_path: Path) -> None:
    path = a_picture(tmp_path)
    assert "150 × 100" in visit.give("picture", path)
    assert "toy-picture" in visit.clean("picture")
    slider = visit.sheet.locator("#picture-slider img")
    assert slider.count() == 2
    shown = [visit.sheet.request.get(slider.nth(n).get_attribute("src") or "").body() for n in (0, 1)]
    fetched = visit.download("picture", tmp_path / "page")
    assert fetched.name == "garden.clean.png"
    assert fetched.read_bytes() == by_command(path, tmp_path / "command")
    for png, file in zip(shown, (path, fetched), strict=True):
        (tmp_path / "shown.png").write_bytes(png)
        assert (np.asarray(Image.open(tmp_path / "shown.png")) == np.asarray(Image.open(file))).all(), "lossless"


def test_a_control_that_is_moved_works_at_once_and_reaches_the_model(visit: Visit, tmp_path: Path) -> None:
    path = a_picture(tmp_path)
    visit.give("picture", path)
    visit.set("Strength", 0.45)
    visit.clean("picture")
    visit.forget("#picture-outcome")
    visit.set("Dim", 0.2)
    visit.said("#picture-outcome")
    wanted = by_command(path, tmp_path / "command", "--strength", 0.45, "--set", "dim=0.2")
    assert visit.download("picture", tmp_path / "page").read_bytes() == wanted
    assert wanted != by_command(path, tmp_path / "usual")


def test_passes_reach_the_model(visit: Visit, tmp_path: Path) -> None:
    visit.give("picture", a_picture(tmp_path))
    visit.set("Passes", 4)
    seen: list[int] = []
    during.append(lambda: seen.append(1))
    visit.clean("picture")
    during.clear()
    assert len(seen) == 4 * 2, "it is cut in two"


def test_what_was_removed_can_be_seen(visit: Visit, tmp_path: Path) -> None:
    visit.give("picture", a_picture(tmp_path))
    visit.clean("picture")
    visit.sheet.get_by_label("After | removed").check()
    right = visit.sheet.locator("#picture-slider img").nth(1)
    assert until(lambda: str(right.get_attribute("src")).endswith("removed.png"))


# Sound


def test_a_sound_comes_back_as_the_command_gives_it(visit: Visit, tmp_path: Path, page_files: Path) -> None:
    path = tone(tmp_path / "bell.wav", seconds=1.5, channels=2)
    visit.enter("audio")
    assert "24-bit" in visit.give("audio", path)
    assert "toy-sound" in visit.clean("audio")
    for name in ("before", "after", "removed"):
        visit.sheet.get_by_alt_text(f"Spectrogram {name}: 0 to 4 kHz over 1.5 s").wait_for()
    fetched = visit.download("audio", tmp_path / "page")
    assert soundfile.info(fetched).subtype == "PCM_24"
    assert fetched.read_bytes() == by_command(path, tmp_path / "command")
    newest = max(page_files.glob("*/removed.wav"), key=lambda found: found.stat().st_mtime_ns)
    removed, noisy = (soundfile.read(found)[0] for found in (newest, path))
    assert np.abs(removed - noisy / 2).max() < 1e-4, "the toy halves the sound"


HEARD = """
() => [...document.querySelectorAll('#audio-player audio')].map(one => [one.currentTime, !one.muted && one.volume > 0])
"""


def test_another_version_is_heard_from_the_same_place(visit: Visit, tmp_path: Path) -> None:
    visit.enter("audio")
    visit.give("audio", tone(tmp_path / "long.wav", seconds=8))
    visit.clean("audio")
    visit.sheet.evaluate("document.querySelector('#audio-player audio').currentTime = 2")
    visit.sheet.evaluate("document.querySelector('#audio-player audio').play()")
    visit.sheet.wait_for_function("document.querySelector('#audio-player audio').currentTime > 2.2")
    for number, name in enumerate(("Before", "After", "Removed")):
        visit.sheet.locator("#audio-player").get_by_label(name, exact=True).first.check()
        assert until(lambda chosen=number: heard_alone(visit, chosen), seconds=5)


def heard_alone(visit: Visit, chosen: int) -> bool:
    """That version and no other, all of them at one place beyond that where it began."""
    places, audible = zip(*visit.sheet.evaluate(HEARD), strict=True)
    return audible == tuple(n == chosen for n in range(3)) and min(places) > 2 and max(places) - min(places) < 0.2


# Folder


def test_a_folder_comes_back_as_the_command_gives_it(visit: Visit, tmp_path: Path) -> None:
    noisy = tmp_path / "noisy"
    files = [photo(noisy / "b.png"), tone(noisy / "c.wav"), tone(noisy / "d.flac")]
    broken = noisy / "e.png"
    broken.write_text("Dear reader")
    visit.enter("folder")
    visit.sheet.set_input_files("#folder-upload input[type=file]", [*files, broken])
    visit.sheet.locator("#folder-upload").get_by_text("e", exact=True).first.wait_for()
    visit.set("Strength", 0.5)
    visit.set("Passes", 3)
    assert visit.clean("folder") == "3 cleaned, 1 failed."
    rows = visit.sheet.locator("#folder-queue tbody tr").all_inner_texts()
    assert len(rows) == 4
    assert sum("cleaned" in row and "toy" in row for row in rows) == 3
    assert "text file" in next(row for row in rows if "e.png" in row)
    result = denoise("clean", noisy, "-o", tmp_path / "command", "--strength", 0.5, "--passes", 3)
    assert result.exit_code == 3
    with ZipFile(visit.download("folder", tmp_path / "page")) as archive:
        for path in files:
            assert archive.read(path.name) == (tmp_path / "command" / path.name).read_bytes()
        assert sorted(archive.namelist()) == sorted([*(path.name for path in files), "report.json", "report.md"])
        report = json.loads(archive.read("report.json"))
        assert report["totals"]["cleaned"] == 3
        assert {one["input"]: one["passes"] for one in report["files"] if one["passes"]} == {
            "b.png": 3,
            "c.wav": 1,
            "d.flac": 1,
        }
        assert str(tmp_path) not in archive.read("report.json").decode() + archive.read("report.md").decode()
        assert "denoise-" not in json.dumps([one["input"] for one in report["files"]])


# Noise lab


def test_noise_is_added_and_scored_as_the_command_does_it(visit: Visit, tmp_path: Path) -> None:
    clean = photo(tmp_path / "scene.png", 64, 80)
    visit.enter("lab")
    visit.sheet.set_input_files("#lab-upload input[type=file]", clean)
    visit.sheet.get_by_label("Sigma", exact=True).fill("12")
    visit.sheet.click("#lab-add")
    assert "Gaussian, sigma 12 of 255" in visit.said("#lab-outcome")
    assert visit.sheet.locator("#lab-charts svg").count() == 3
    noisy = visit.download("lab-noisy", tmp_path / "page")
    wanted = tmp_path / "wanted.png"
    assert denoise("noise", "add", "gaussian", clean, "-o", wanted, "--set", "sigma=12").exit_code == 0
    assert noisy.read_bytes() == wanted.read_bytes()
    visit.sheet.click("#lab-clean")
    assert "toy-picture" in visit.said("#lab-scores")
    assert visit.sheet.locator("#lab-scores tbody tr").count() == 2
    cleaned = visit.download("lab", tmp_path / "page")
    assert cleaned.read_bytes() == by_command(noisy, tmp_path / "command")


def test_a_camera_is_measured(visit: Visit, tmp_path: Path) -> None:
    visit.enter("lab")
    visit.sheet.get_by_role("tab", name="Fit a camera").click()
    visit.sheet.get_by_role("button", name="Try a virtual camera").click()
    visit.sheet.get_by_text("dark-0").first.wait_for()
    visit.sheet.click("#fit-start")
    visit.sheet.locator("#fit-curve svg").wait_for()
    told = visit.sheet.inner_text("#fit-words")
    gain = float(re.search(r"gain\s+([0-9.]+)", told)[1])  # type: ignore[index]
    assert abs(gain / 1.5 - 1) < 0.05
    visit.sheet.get_by_role("tab", name="Add noise").click()


def test_a_model_that_has_gone_is_told_and_another_can_be_chosen(visit: Visit, tmp_path: Path) -> None:
    visit.choose("Model", "gone")
    visit.sheet.get_by_role("alert").get_by_text("Unknown model 'gone'").wait_for()
    visit.choose("Model", "toy-picture")
    visit.give("picture", a_picture(tmp_path))
    assert "toy-picture" in visit.clean("picture")
    visit.choose("Model", "auto (toy-picture)")


PASTE = """
async () => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 21, height: 13});
  const png = await new Promise(done => canvas.toBlob(done, 'image/png'));
  const data = new DataTransfer();
  data.items.add(new File([png], 'pasted.png', {type: 'image/png'}));
  document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}));
}
"""


def test_a_picture_can_be_pasted(visit: Visit) -> None:
    visit.sheet.evaluate(PASTE)
    assert "21 × 13" in visit.said("#picture-about")


# Depth


def test_sixteen_bits_stay_sixteen_bits(visit: Visit, tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, np.random.default_rng(1).integers(0, 65536, (40, 50, 3), np.uint16))
    assert "16-bit" in visit.give("picture", path)
    visit.clean("picture")
    fetched = visit.download("picture", tmp_path / "page")
    assert tifffile.imread(fetched).dtype == np.uint16
    assert fetched.read_bytes() == by_command(path, tmp_path / "command")


def test_camera_raw_is_shown_developed_and_comes_back_as_a_mosaic(visit: Visit, tmp_path: Path) -> None:
    path = raws.dng(tmp_path / "scene.dng")
    assert "Raw mosaic, 80×64" in visit.give("picture", path)
    visit.sheet.get_by_label("number input for Detail").wait_for()  # of the model for raw
    assert "toy-raw" in visit.clean("picture")
    assert visit.sheet.locator("#picture-slider img").count() == 2
    fetched = visit.download("picture", tmp_path / "page")
    assert fetched.name == "scene.clean.dng"
    assert fetched.read_bytes() == by_command(path, tmp_path / "command")
    visit.choose("A raw file becomes", "tiff (.tif)")
    visit.clean("picture")
    developed = visit.download("picture", tmp_path / "page")
    assert developed.read_bytes() == by_command(path, tmp_path / "developed", "--develop", "tiff")
    assert tifffile.imread(developed).dtype == np.uint16
    visit.clear("picture")
    visit.give("picture", photo(tmp_path / "a.png"))
    visit.sheet.get_by_label("number input for Dim").locator("visible=true").wait_for()
    assert "toy-picture" in visit.clean("picture")


# What goes wrong


@pytest.mark.parametrize(("room", "name"), [("picture", "letter.png"), ("audio", "letter.wav")])
def test_a_letter_is_no_picture_and_no_sound(visit: Visit, room: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("Dear reader,\nthis is a letter.\n")
    visit.enter(room)
    sentence = visit.give(room, path)
    assert sentence.startswith(f"{name}: ")
    assert "text" in sentence
    assert "/" not in sentence
    assert visit.sheet.locator(f"#{room}-about [role=alert]").count() == 1
    assert visit.clean(room) == sentence
    assert "Traceback" not in visit.sheet.inner_text("body")
    assert not visit.sheet.locator(f"#{room}-download").is_visible()


def test_without_a_file_there_is_a_hint(visit: Visit) -> None:
    for room, words in (("picture", "No file yet"), ("folder", "No files yet")):
        visit.enter(room)
        for button in visit.sheet.locator(f"#{room}-upload").get_by_label("Clear").all():
            button.click()
        assert words in visit.clean(room)
    visit.enter("lab")
    visit.sheet.get_by_role("tab", name="Fit a camera").click()
    for button in visit.sheet.locator("#fit-darks-upload").get_by_label("Clear").all():
        button.click()
    visit.forget("#fit-outcome")
    visit.sheet.click("#fit-start")
    assert "No dark frames yet" in visit.said("#fit-outcome")
    visit.sheet.get_by_role("tab", name="Add noise").click()


# Stopping


@pytest.mark.parametrize("room", ["picture", "folder"])
def test_stop_really_stops_and_nothing_stays(visit: Visit, room: str, tmp_path: Path, page_files: Path) -> None:
    slow, path = Slow(), a_picture(tmp_path, 700, 700, f"{room}.png")
    visit.enter(room)
    visit.sheet.set_input_files(f"#{room}-upload input[type=file]", path)
    visit.sheet.locator(f"#{room}-upload").get_by_text(room, exact=True).first.wait_for()
    during.append(slow)
    visit.forget(f"#{room}-outcome")
    visit.sheet.click(f"#{room}-clean")
    assert until(lambda: slow.pieces > 0)
    visit.sheet.click(f"#{room}-stop")
    assert re.search("Stopped|Cancelled", visit.said(f"#{room}-outcome"))
    assert slow.stands_still()
    assert slow.pieces < 36
    assert [found for found in tree(page_files) if f"{room}.clean" in found or f"out/{room}" in found] == []


# For everybody


@pytest.mark.parametrize(("room", "name"), [("picture", "photo.png"), ("audio", "tape.flac")])
def test_an_example_works_at_one_click(visit: Visit, room: str, name: str, tmp_path: Path) -> None:
    if not shelf.SAMPLES.is_dir():
        pytest.skip("samples/ is not there")
    before = tree(shelf.SAMPLES)
    visit.enter(room)
    visit.sheet.locator("button", has_text=f"Try {name}").locator("visible=true").click()
    assert re.search(r"noise of sigma \d+|dBFS", visit.said(f"#{room}-about"), re.IGNORECASE)
    visit.clean(room)
    wanted = by_command(shelf.SAMPLES / name, tmp_path / "command")
    assert visit.download(room, tmp_path / "page").read_bytes() == wanted
    assert tree(shelf.SAMPLES) == before


NAMELESS = """
() => [...document.querySelectorAll('input, button, select, textarea, audio')].filter(
  one => one.checkVisibility() && one.type !== 'hidden' && !(one.getAttribute('aria-label') || one.innerText.trim()
    || one.title || one.labels?.length || one.getAttribute('aria-labelledby'))).map(one => one.outerHTML.slice(0, 200))
"""


@pytest.fixture(scope="module")
def phone(chrome: browser.Browser, address: str) -> Iterator[Visit]:
    context = chrome.new_context(permissions=["microphone"], viewport={"width": 360, "height": 740})
    visit = Visit(context.new_page(), address)
    yield visit
    assert visit.left == []
    context.close()


def test_on_a_phone_it_fits_and_everything_has_a_name(phone: Visit, tmp_path: Path) -> None:
    for room, path in {"picture": photo(tmp_path / "a.png"), "audio": tone(tmp_path / "a.wav")}.items():
        phone.enter(room)
        phone.give(room, path)
        phone.clean(room)
        fits(phone)
    phone.enter("folder")
    phone.sheet.set_input_files("#folder-upload input[type=file]", tmp_path / "a.png")
    phone.sheet.locator("#folder-upload").get_by_text("a", exact=True).first.wait_for()
    phone.clean("folder")
    fits(phone)
    phone.enter("lab")
    phone.wait("#lab-add")
    fits(phone)


def fits(visit: Visit) -> None:
    assert visit.sheet.evaluate("document.documentElement.scrollWidth") <= 360
    assert visit.sheet.evaluate(NAMELESS) == []


def test_the_keyboard_is_enough(visit: Visit, tmp_path: Path) -> None:
    visit.give("picture", a_picture(tmp_path))
    visit.forget("#picture-outcome")
    visit.sheet.locator("#picture-clean").focus()
    visit.sheet.keyboard.press("Enter")
    assert "toy-picture" in visit.said("#picture-outcome")
    visit.sheet.get_by_label("Before | after").focus()
    visit.sheet.keyboard.press("Tab")
    visit.sheet.keyboard.press("Space")
    assert until(visit.sheet.get_by_label("After | removed").is_checked)


def test_the_microphone_gives_a_file_to_clean(phone: Visit) -> None:
    phone.enter("audio")
    phone.clear("audio")
    phone.sheet.get_by_role("button", name="Record").click()
    phone.sheet.get_by_role("button", name="Record", exact=True).last.click()
    phone.sheet.wait_for_timeout(1500)
    phone.sheet.get_by_role("button", name="Stop", exact=True).first.click()
    assert "kHz" in phone.said("#audio-about")
    assert "toy-sound" in phone.clean("audio")


def test_the_work_stops_when_the_visitor_leaves(phone: Visit, tmp_path: Path) -> None:
    slow = Slow()
    phone.enter("picture")
    phone.clear("picture")
    phone.give("picture", a_picture(tmp_path, 700, 700))
    during.append(slow)
    phone.sheet.click("#picture-clean")
    assert until(lambda: slow.pieces > 0)
    phone.sheet.close()
    assert until(slow.stands_still)
    assert slow.pieces < 36
    during.clear()
