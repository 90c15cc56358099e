"""The page in a real browser: what a visitor gets is what the command gives, and nothing leaves this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from PIL import Image
from shelf import denoise, during, photo, shelve, tone, tree

pytest.importorskip("gradio", reason="the web extra is not installed")
import browser
from browser import HERE, strangers

from denoise import zoo
from denoise.errors import Cancelled, UserError
from denoise.web import app, order, room
from denoise.web.order import Order, Stops, complaint, refuse

pytestmark = pytest.mark.filterwarnings("ignore::Warning:gradio")
UPLOAD = "#{}-upload input[type=file]"
PATIENCE_MS = 60_000  # machines differ in speed
MEGABYTE = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def page_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the page keeps its files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DENOISE_MODELS", str(shelve(tmp_path_factory.mktemp("shelf"))))
        folder = tmp_path_factory.mktemp("page")
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    during.clear()
    yield
    during.clear()


def until(true: Callable[[], bool], seconds: float = 20) -> bool:
    ends = time.monotonic() + seconds
    while not true() and time.monotonic() < ends:
        time.sleep(0.05)
    return true()


# The order: limits, stops, sentences


def a_picture(folder: Path, height: int = 100, width: int = 150) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    path = folder / "garden.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(("kind", "limit"), [("picture", "LARGEST_MEGAPIXELS"), ("audio", "LONGEST_MINUTES")])
def test_what_is_too_large_for_the_page_is_refused_in_a_sentence(
    kind: str, limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photo(tmp_path / "a.png", 100, 100) if kind == "picture" else tone(tmp_path / "a.wav", 6)
    size = 0.01 if kind == "picture" else 0.1
    monkeypatch.setattr(order, limit, size)
    refuse(path, kind)
    monkeypatch.setattr(order, limit, size * 0.99)
    with pytest.raises(UserError, match=rf"{size:g} (megapixels|minutes), and .* are the most"):
        refuse(path, kind)


def test_each_room_takes_its_own_kind_only(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a picture is wanted"):
        refuse(tone(tmp_path / "a.wav"), "picture")
    with pytest.raises(UserError, match="a sound is wanted"):
        refuse(photo(tmp_path / "a.png"), "audio")


def test_a_stop_ends_the_work_of_one_visitor_in_one_room() -> None:
    stops, heard = Stops(), list[float]()
    for key in ("anna/picture", "anna/audio", "bert/picture"):
        stops.begin(key)
    ticks = {key: stops.watched(key, heard.append) for key in stops.asked}
    stops.stop("anna/picture")
    with pytest.raises(Cancelled):
        ticks["anna/picture"](0.5)
    ticks["anna/audio"](0.6)
    stops.leave("anna")
    with pytest.raises(Cancelled):
        ticks["anna/audio"](0.7)
    with pytest.raises(Cancelled):
        stops.watched("anna/audio", heard.append)(0.8)
    ticks["bert/picture"](0.9)
    stops.begin("anna/picture")
    stops.watched("anna/picture", heard.append)(1.0)
    assert heard == [0.6, 0.9, 1.0]


def test_a_cancelled_order_leaves_nothing_behind(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    recipe = order.Recipe()

    def tick(share: float) -> None:
        if share > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        Order(a_picture(tmp_path), "picture", recipe, shelf).fill(tick)
    assert tree(shelf) == {}


def test_sentences_tell_no_path_and_surprises_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.png"
    told = complaint(UserError(f"{path}: it is empty."), path, tmp_path)
    assert told == "a.png: it is empty."
    told = complaint(UserError(f"Cannot write {tmp_path}/x1/a.clean.png: the disk is full."), path, tmp_path)
    assert told == "a.png: Cannot write a.clean.png: the disk is full."
    assert not caplog.records
    told = complaint(ZeroDivisionError("by zero"), path, tmp_path)
    assert told.startswith("a.png: ")
    assert str(tmp_path) not in told
    assert caplog.records[0].exc_info


# Made from facts


def test_every_knob_of_every_model_has_a_control_that_gives_its_default() -> None:
    seen = 0
    for restorer in zoo.every_restorer():
        for knob in restorer.facts.knobs:
            component = room.control(knob)
            assert knob.parse(str(component.value)) == knob.default
            assert component.label
            assert component.info == knob.help
            seen += 1
    assert seen


def test_no_model_is_named_in_the_code_of_the_page() -> None:
    code = "".join(path.read_text() for path in Path(app.__file__).parent.glob("*.py"))
    assert [name for name in zoo.cards() if re.search(rf"\b{re.escape(name)}\b", code)] == []


# The page


@pytest.fixture(scope="module")
def looked_up() -> Iterator[list[str]]:
    """Names of other machines that this process asked for."""
    found: list[str] = []
    ask = socket.getaddrinfo

    def asking(host: str | bytes | None, *rest: object, **more: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in HERE | {None, "", "0.0.0.0"}:
            found.append(str(name))
            raise socket.gaierror(f"{name} is not looked up in tests")
        return ask(host, *rest, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", asking)
        yield found


@pytest.fixture(scope="module")
def address(page_files: Path, looked_up: list[str]) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "LARGEST_UPLOAD_MB", 2)
        gone = Path(os.environ["DENOISE_MODELS"]) / "gone"
        gone.mkdir()
        (gone / "model.toml").write_text('name = "gone"\nkind = "picture"\nmethod = "gone"\n')
        page = app.build()
        shutil.rmtree(gone)
        yield app.serve(page, server_name="127.0.0.1", quiet=True, prevent_thread_lock=True).rstrip("/")
        page.close(verbose=False)
    assert looked_up == []


def answer(address: str, path: str, data: bytes | None = None, kind: str = "application/json") -> tuple[int, str]:
    request = urllib.request.Request(f"{address}{path}", data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode(errors="replace")


@pytest.mark.parametrize("route", ["/gradio_api/file=", "/file="])
def test_no_file_of_this_machine_is_given_away(address: str, route: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("my diary")
    for path in (secret, Path("pyproject.toml").resolve(), Path("/etc/hostname")):
        status, text = answer(address, f"{route}{path}")
        assert status in (403, 404)
        assert "diary" not in text


def test_no_address_is_fetched(address: str, looked_up: list[str]) -> None:
    for route in ("/gradio_api/file=", "/file="):
        status, _ = answer(address, f"{route}http://example.com/a.png")
        assert status in (403, 404)
    assert looked_up == []


def asked(address: str, value: object, kind: str = "picture") -> str:
    """What the page tells a program that hands it this value in the place of an uploaded file."""
    config = json.loads(answer(address, "/config")[1])
    upload = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == f"{kind}-upload")
    number = next(
        entry["id"] for entry in config["dependencies"] if [upload, "change"] in [list(t) for t in entry["targets"]]
    )
    order = {"data": [value], "fn_index": number, "session_hash": "robot"}
    status, text = answer(address, "/gradio_api/queue/join?", json.dumps(order).encode())
    assert status == 200, text
    return answer(address, "/gradio_api/queue/data?session_hash=robot")[1]


def a_file(path: object) -> dict[str, object]:
    return {"path": str(path), "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}


def test_a_program_cannot_name_a_path_or_an_address_as_its_upload(
    address: str, tmp_path: Path, looked_up: list[str]
) -> None:
    outside = photo(tmp_path / "private.png")
    for value in (a_file(outside), a_file("http://example.com/a.png"), a_file("HTTPS://example.com/a.png")):
        told = asked(address, value)
        assert '"success":false' in told.replace(" ", "")
        assert "32 × 24" not in told
    assert looked_up == []


def upload(address: str, content: bytes) -> tuple[int, str]:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    return answer(address, "/gradio_api/upload", head + content + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")


def test_a_program_may_upload_a_file_like_everybody(address: str, tmp_path: Path) -> None:
    status, text = upload(address, photo(tmp_path / "a.png").read_bytes())
    assert status == 200
    told = asked(address, a_file(json.loads(text)[0]))
    assert "32 \\u00d7 24" in told or "32 × 24" in told


def test_a_file_above_the_limit_is_not_taken(address: str) -> None:
    assert upload(address, bytes(MEGABYTE))[0] == 200
    assert upload(address, bytes(3 * MEGABYTE))[0] == 413


def test_uploads_are_deleted_after_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "page"))
    monkeypatch.setattr(app, "SWEEP_SECONDS", 1)
    monkeypatch.setattr(app, "KEPT_SECONDS", 1)
    page = app.build()
    short_lived = app.serve(page, server_name="127.0.0.1", quiet=True, prevent_thread_lock=True).rstrip("/")
    kept = Path(json.loads(upload(short_lived, photo(tmp_path / "b.png", value=120).read_bytes())[1])[0])
    assert kept.exists()
    asked(short_lived, a_file(kept))
    assert until(lambda: not kept.exists())
    page.close(verbose=False)


# In the browser


class Visit:
    """One visitor's page, in words of what he does there."""

    def __init__(self, sheet: browser.Page, address: str) -> None:
        self.sheet = sheet
        self.left = strangers(sheet)
        sheet.set_default_timeout(PATIENCE_MS)
        sheet.goto(address)
        self.wait("#picture-clean")

    def wait(self, selector: str) -> None:
        self.sheet.wait_for_selector(selector)

    def enter(self, name: str) -> None:
        self.sheet.get_by_role("tab", name=name).click()

    def reset(self) -> None:
        """As it was when it was opened."""
        for name, kind in (("Picture", "picture"), ("Sound", "audio")):
            self.enter(name)
            for button in self.sheet.locator(f"#{kind}-upload").get_by_label("Clear").all():
                button.click()
            self.sheet.wait_for_selector(f"#{kind}-about p", state="detached")
            for button in self.sheet.get_by_label("Reset to default value").locator("visible=true").all():
                button.click()

    def give(self, kind: str, path: Path) -> str:
        """What is said of the file."""
        self.sheet.set_input_files(UPLOAD.format(kind), path)
        return self.said(f"#{kind}-about")

    def said(self, selector: str) -> str:
        self.wait(f"{selector} p:not([data-old])")
        return self.sheet.inner_text(selector)

    def clean(self, kind: str) -> str:
        """What is said when it is done; what was said before does not count."""
        said_before = self.sheet.locator(f"#{kind}-outcome p")
        said_before.evaluate_all("old => old.forEach(line => line.dataset.old = '')")
        self.sheet.click(f"#{kind}-clean")
        return self.said(f"#{kind}-outcome")

    def download(self, kind: str, folder: Path) -> Path:
        with self.sheet.expect_download() as fetched:
            self.sheet.click(f"#{kind}-download")
        target = folder / fetched.value.suggested_filename
        fetched.value.save_as(target)
        return target

    def choose(self, model: str) -> None:
        self.sheet.get_by_role("combobox", name="Model").locator("visible=true").click()
        self.sheet.get_by_role("option", name=model, exact=True).click()

    def set(self, label: str, value: object) -> None:
        self.sheet.get_by_label(f"number input for {label}").locator("visible=true").fill(str(value))
        self.sheet.keyboard.press("Tab")


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
    window.enter("Picture")
    yield window
    assert window.left == []
    window.reset()


def by_command(path: Path, folder: Path, *more: object) -> bytes:
    result = denoise("clean", path, "-o", f"{folder}/", *more)
    assert result.exit_code == 0, result.output
    return (folder / path.name).read_bytes()


@pytest.mark.browser
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


@pytest.mark.browser
def test_strength_and_knobs_reach_the_model(visit: Visit, tmp_path: Path) -> None:
    path = a_picture(tmp_path)
    visit.give("picture", path)
    visit.set("Strength", 0.45)
    visit.set("Dim", 0.2)
    visit.clean("picture")
    wanted = by_command(path, tmp_path / "command", "--strength", 0.45, "--set", "dim=0.2")
    assert visit.download("picture", tmp_path / "page").read_bytes() == wanted
    assert wanted != by_command(path, tmp_path / "usual")


@pytest.mark.browser
def test_sixteen_bits_stay_sixteen_bits(visit: Visit, tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, np.random.default_rng(1).integers(0, 65536, (40, 50, 3), np.uint16))
    assert "16-bit" in visit.give("picture", path)
    visit.clean("picture")
    fetched = visit.download("picture", tmp_path / "page")
    assert tifffile.imread(fetched).dtype == np.uint16
    assert fetched.read_bytes() == by_command(path, tmp_path / "command")


@pytest.mark.browser
def test_a_sound_comes_back_as_the_command_gives_it(visit: Visit, tmp_path: Path) -> None:
    path = tone(tmp_path / "bell.wav", seconds=1.5, channels=2)
    visit.enter("Sound")
    assert "24-bit" in visit.give("audio", path)
    assert "toy-sound" in visit.clean("audio")
    for name in ("before", "after", "removed"):
        visit.sheet.locator(f"#audio-{name} [data-testid^=waveform]").first.wait_for()
    for name in ("before", "after"):
        visit.sheet.get_by_alt_text(f"Spectrogram {name}: 0 to 4 kHz over 1.5 s").wait_for()
    fetched = visit.download("audio", tmp_path / "page")
    assert soundfile.info(fetched).subtype == "PCM_24"
    assert fetched.read_bytes() == by_command(path, tmp_path / "command")


@pytest.mark.browser
def test_what_was_removed_is_before_without_after(visit: Visit, tmp_path: Path, page_files: Path) -> None:
    path = tone(tmp_path / "chime.wav", seconds=1)
    visit.enter("Sound")
    visit.give("audio", path)
    visit.clean("audio")
    newest = max(page_files.glob("*/removed.wav"), key=lambda found: found.stat().st_mtime_ns)
    removed, noisy = (soundfile.read(found)[0] for found in (newest, path))
    assert np.abs(removed - noisy / 2).max() < 1e-4, "the toy halves the sound"


@pytest.mark.browser
@pytest.mark.parametrize(("kind", "name"), [("picture", "letter.png"), ("audio", "letter.wav")])
def test_a_letter_is_no_picture_and_no_sound(visit: Visit, kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("Dear reader,\nthis is a letter.\n")
    visit.enter({"picture": "Picture", "audio": "Sound"}[kind])
    sentence = visit.give(kind, path)
    assert sentence.startswith(f"{name}: ")
    assert "text" in sentence
    words = visit.sheet.inner_text("body")
    assert "Traceback" not in words
    assert "/" not in sentence
    assert visit.sheet.locator(f"#{kind}-about [role=alert]").count() == 1
    assert visit.clean(kind) == sentence
    assert not visit.sheet.locator(f"#{kind}-download").is_visible()


@pytest.mark.browser
def test_a_model_that_has_gone_is_told_and_another_can_be_chosen(visit: Visit, tmp_path: Path) -> None:
    visit.choose("gone")
    visit.sheet.get_by_role("alert").get_by_text("Unknown model 'gone'").wait_for()
    visit.choose("toy-picture")
    visit.give("picture", a_picture(tmp_path))
    assert "toy-picture" in visit.clean("picture")
    visit.choose("auto (toy-picture)")


@pytest.mark.browser
def test_without_a_file_there_is_a_hint(visit: Visit) -> None:
    assert "No file yet" in visit.clean("picture")


class Slow:
    """Makes every piece take a while, and counts them."""

    def __init__(self) -> None:
        self.pieces = 0
        self.begun = threading.Event()

    def __call__(self) -> None:
        self.pieces += 1
        self.begun.set()
        time.sleep(0.1)

    def stands_still(self) -> bool:
        before = self.pieces
        time.sleep(0.5)
        return self.pieces == before


@pytest.mark.browser
def test_stop_really_stops_and_nothing_stays(visit: Visit, tmp_path: Path, page_files: Path) -> None:
    slow = Slow()
    visit.give("picture", a_picture(tmp_path, 700, 700))
    files = len(tree(page_files))
    during.append(slow)
    visit.sheet.click("#picture-clean")
    visit.wait("#picture-outcome .progress-bar, #picture-outcome .progress-level")
    assert slow.begun.wait(20)
    visit.sheet.click("#picture-stop")
    assert "Stopped" in visit.said("#picture-outcome")
    assert slow.stands_still()
    assert slow.pieces < 100
    left = [path for path in list(tree(page_files))[files:] if "garden.clean" in path]
    assert left == []
    during.clear()
    assert "toy-picture" in visit.clean("picture"), "and it can begin again"


@pytest.mark.browser
def test_the_work_stops_when_the_visitor_leaves(chrome: browser.Browser, address: str, tmp_path: Path) -> None:
    slow = Slow()
    visit = Visit(chrome.new_page(), address)
    visit.give("picture", a_picture(tmp_path, 700, 700))
    during.append(slow)
    visit.sheet.click("#picture-clean")
    assert slow.begun.wait(20)
    visit.sheet.close()
    assert until(slow.stands_still)
    assert slow.pieces < 100


@pytest.mark.browser
def test_visitors_are_served_one_after_the_other(
    visit: Visit, chrome: browser.Browser, address: str, tmp_path: Path
) -> None:
    at_once, most = 0, 0

    def work() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.1)
        at_once -= 1

    other = Visit(chrome.new_page(), address)
    for each in (visit, other):
        each.give("picture", a_picture(tmp_path, 300, 300))
    during.append(work)
    for each in (visit, other):
        each.sheet.click("#picture-clean")
    for each in (visit, other):
        assert "toy-picture" in each.said("#picture-outcome")
    assert most == 1
    other.sheet.close()


@pytest.mark.browser
def test_another_file_clears_what_the_last_one_showed(visit: Visit, tmp_path: Path) -> None:
    visit.give("picture", a_picture(tmp_path))
    visit.clean("picture")
    assert visit.sheet.is_visible("#picture-download")
    visit.sheet.locator("#picture-upload").get_by_label("Clear").click()
    visit.sheet.wait_for_selector("#picture-download", state="hidden")
    assert "32 × 24" in visit.give("picture", photo(tmp_path / "b.png"))
    assert visit.sheet.inner_text("#picture-outcome").strip() == ""


@pytest.mark.browser
@pytest.mark.parametrize(
    ("tab", "kind", "name", "words"),
    [
        ("Picture", "picture", "photo.png", r"384 × 384(.|\n)*sigma [0-9.]+ of 255"),
        ("Sound", "audio", "tape.flac", r"48 kHz stereo"),
    ],
)
def test_an_example_works_at_one_click(
    visit: Visit, tab: str, kind: str, name: str, words: str, tmp_path: Path
) -> None:
    if not room.SAMPLES.is_dir():
        pytest.skip("samples/ is not there")
    before = tree(room.SAMPLES)
    visit.enter(tab)
    visit.sheet.get_by_role("button", name=f"Try {name}").click()
    assert re.search(words, visit.said(f"#{kind}-about"))
    visit.clean(kind)
    wanted = by_command(room.SAMPLES / name, tmp_path / "command")
    assert visit.download(kind, tmp_path / "page").read_bytes() == wanted
    assert tree(room.SAMPLES) == before


@pytest.mark.browser
def test_the_microphone_gives_a_file_to_clean(chrome: browser.Browser, address: str) -> None:
    allowed = chrome.new_context(permissions=["microphone"])
    visit = Visit(allowed.new_page(), address)
    visit.enter("Sound")
    visit.sheet.get_by_role("button", name="Record").click()
    visit.sheet.get_by_role("button", name="Record", exact=True).last.click()
    time.sleep(1.5)
    visit.sheet.get_by_role("button", name="Stop", exact=True).first.click()
    assert "kHz" in visit.said("#audio-about")
    assert "toy-sound" in visit.clean("audio")
    allowed.close()
    assert visit.left == []


NAMELESS = """
() => [...document.querySelectorAll('input, button, select, textarea')].filter(
  one => one.checkVisibility() && one.type !== 'hidden' && !(one.getAttribute('aria-label') || one.innerText.trim()
    || one.title || one.labels?.length || one.getAttribute('aria-labelledby'))).map(one => one.outerHTML.slice(0, 200))
"""


@pytest.mark.browser
def test_on_a_phone_it_fits_and_everything_has_a_name(chrome: browser.Browser, address: str, tmp_path: Path) -> None:
    visit = Visit(chrome.new_page(viewport={"width": 360, "height": 740}), address)
    rooms = {"Picture": ("picture", photo(tmp_path / "a.png")), "Sound": ("audio", tone(tmp_path / "a.wav"))}
    for name, (kind, path) in rooms.items():
        visit.enter(name)
        visit.give(kind, path)
        visit.clean(kind)
        assert visit.sheet.evaluate("document.documentElement.scrollWidth") <= 360
        assert visit.sheet.evaluate(NAMELESS) == []
        seen = tmp_path / f"{kind}-phone.png"
        visit.sheet.screenshot(path=seen, full_page=True)
        assert len(np.unique(np.asarray(Image.open(seen)))) > 100
    visit.sheet.close()
    assert visit.left == []


# Served


def test_it_is_served_until_interrupted_and_its_files_go(tmp_path: Path) -> None:
    code = "from denoise.web.app import main; main(port=0)"
    surroundings = os.environ | {"TMPDIR": str(tmp_path)}
    served = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings
    )
    try:
        assert served.stderr is not None
        line = next(line for line in served.stderr if "The page is at" in line)
        found = re.search(r"http://\S+", line)
        assert found is not None
        assert urlsplit(found[0]).hostname == "127.0.0.1"
        status, text = answer(found[0].rstrip("/;"), "/")
        assert status == 200
        assert "denoise" in text
        assert list(tmp_path.glob("denoise-page-*"))
        served.send_signal(signal.SIGINT)
        served.wait(30)
    finally:
        served.kill()
    assert not list(tmp_path.glob("denoise-page-*"))


def test_a_port_that_is_taken_is_told_in_a_sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", os.environ["GRADIO_TEMP_DIR"])
    with pytest.raises(UserError, match="choose another --port"):
        app.main(port=urlsplit(address).port)
