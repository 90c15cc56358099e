"""The page without a browser: its limits, what it keeps to itself, and what programs may ask of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from pages import a_file, a_picture, answer, asked, by_command, files_of_the_page, no_look_ups, served, until, upload
from shelf import RATE, during, photo, tone, tree
from torch import Tensor

pytest.importorskip("gradio", reason="the web extra is not installed")

from denoise import seeds, zoo
from denoise.batch.recipe import Recipe
from denoise.errors import BadFile, Cancelled, UserError
from denoise.methods.method import Method, method
from denoise.noise.laws import laws, made
from denoise.web import app, controls, lab_controls, limits, page_folder, shelf
from denoise.web.folder_order import Folder
from denoise.web.lab_order import noisy_file, portrait
from denoise.web.limits import refuse, refuse_many
from denoise.web.order import Order, Stops, complaint
from denoise.web.sound_room import unsure

if TYPE_CHECKING:
    from gradio_client import Client

pytestmark = pytest.mark.filterwarnings("ignore::Warning:gradio")
MEGABYTE = 1 << 20
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module", autouse=True)
def page_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with files_of_the_page(tmp_path_factory.mktemp("web")) as place:
        yield place


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    during.clear()
    yield
    during.clear()


# Limits, stops, sentences


@pytest.mark.parametrize(("kind", "limit"), [("picture", "LARGEST_MEGAPIXELS"), ("audio", "LONGEST_MINUTES")])
def test_what_is_too_large_for_the_page_is_refused_in_a_sentence(
    kind: str, limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photo(tmp_path / "a.png", 100, 100) if kind == "picture" else tone(tmp_path / "a.wav", 6)
    size = 0.01 if kind == "picture" else 0.1
    monkeypatch.setattr(limits, limit, size)
    refuse(path, kind)
    monkeypatch.setattr(limits, limit, size * 0.99)
    with pytest.raises(UserError, match=rf"{size:g} (megapixels|minutes), and .* are the most"):
        refuse(path, kind)


def test_so_is_too_large_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [photo(tmp_path / f"{n}.png") for n in range(3)]
    refuse_many(paths)
    monkeypatch.setattr(limits, "MOST_FILES", 2)
    with pytest.raises(BadFile, match="3 files, and 2 are the most"):
        refuse_many(paths)
    monkeypatch.setattr(limits, "MOST_FILES", 3)
    monkeypatch.setattr(limits, "LARGEST_FOLDER_MB", 1e-6)
    with pytest.raises(BadFile, match="MB in all"):
        refuse_many(paths)


def test_each_room_takes_its_own_kinds_only(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a picture or a raw file is wanted"):
        refuse(tone(tmp_path / "a.wav"), "picture", "raw")
    with pytest.raises(UserError, match="a sound is wanted"):
        refuse(photo(tmp_path / "a.png"), "audio")
    with pytest.raises(UserError, match="toy-sound is not for pictures"):
        Order(photo(tmp_path / "a.png"), "picture", Recipe("toy-sound"), tmp_path).fill(lambda share: None)


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
    place = tmp_path / "shelf"
    place.mkdir()

    def tick(share: float) -> None:
        if share > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        Order(a_picture(tmp_path), "picture", Recipe(), place).fill(tick)
    assert tree(place) == {}


def test_a_stopped_folder_keeps_what_was_done(tmp_path: Path) -> None:
    files = [photo(tmp_path / "a.png"), a_picture(tmp_path, 700, 700, "b.png"), photo(tmp_path / "c.png")]
    place = tmp_path / "job"
    place.mkdir()
    folder = Folder(place, Recipe())
    seen: list[str] = []

    def stop(share: float) -> None:
        if len(folder.report.outcomes) == 1:
            raise Cancelled

    seen = list(folder.run(files, stop))
    assert folder.report.cancelled
    assert folder.report.waiting == 2
    assert [one.status for one in folder.report.outcomes] == ["cleaned"]
    assert "1 of 3 done" in seen[-1]


def test_files_of_one_name_do_not_hide_each_other(tmp_path: Path) -> None:
    files = [photo(tmp_path / part / "a.png", value=value) for part, value in (("x", 200), ("y", 100))]
    place = tmp_path / "job"
    place.mkdir()
    folder = Folder(place, Recipe())
    list(folder.run(files, lambda share: None))
    assert sorted(path.name for path in (place / "out").glob("*.png")) == ["a-2.png", "a.png"]


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


# Doubts


@method("toy_dice")
class ToyDice(Method):
    """Half of it, and noise of its own."""

    kind = "audio"
    channels = None
    piece = 6000
    seeded = True

    def forward(
        self, noisy: Tensor, survey: Tensor | None = None, seed: int = 0, start: int = 0, rate: float = RATE
    ) -> Tensor:
        return noisy / 2 + seeds.normal(seed, torch.arange(noisy.shape[-1]) + start) / 100


def test_where_a_diffusion_is_not_sure_is_drawn_and_can_be_stopped(tmp_path: Path) -> None:
    folder = Path(os.environ["DENOISE_MODELS"]) / "toy-dice"
    folder.mkdir()
    (folder / "model.toml").write_text('name = "toy-dice"\nkind = "audio"\nmethod = "toy_dice"\n')
    filled = Order(tone(tmp_path / "a.wav"), "audio", Recipe("toy-dice"), tmp_path).fill(lambda share: None)
    shares: list[float] = []
    assert 'alt="Spectrogram unsure' in unsure(filled, shares.append)
    assert shares[-1] == 1
    assert len(shares) >= 4

    def stop(share: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        unsure(filled, stop)
    shutil.rmtree(folder)


# Made from facts


def test_every_knob_of_every_model_has_a_control_that_gives_its_default() -> None:
    seen = 0
    for restorer in zoo.every_restorer():
        for knob in restorer.facts.knobs:
            component = controls.control(knob)
            assert knob.parse(str(component.value)) == knob.default
            assert component.label
            assert component.info == knob.help
            seen += 1
    assert seen


def test_every_parameter_of_every_law_has_a_control_that_begins_with_a_law() -> None:
    for entry in laws().values():
        own = [name for name in entry.parameters if name not in lab_controls.FROM_FILE]
        shown = {name: lab_controls.control(entry, name) for name in own}
        words = {name: lab_controls.spelled(one.value) for name, one in shown.items()}
        assert all(one.label for one in shown.values())
        if entry.made_of:
            continue
        known = {"rate": 16000} if "rate" in entry.parameters else {}
        assert made(entry, {name: text for name, text in words.items() if text}, known).describe()


def test_no_model_is_named_in_the_code_of_the_page() -> None:
    code = "".join(path.read_text() for path in Path(app.__file__).parent.glob("*.*") if path.is_file())
    assert [name for name in zoo.cards() if re.search(rf"\b{re.escape(name)}\b", code)] == []


# Noise in curves


def test_every_kind_of_noise_is_drawn(tmp_path: Path) -> None:
    mosaic = tmp_path / "clean.npy"
    np.save(mosaic, np.tile(np.linspace(0, 4000, 96, dtype=np.uint16), (64, 1)))
    cases = [
        (photo(tmp_path / "a.png", 64, 64), "poisson", {"peak": "60"}, {}, 3),
        (tone(tmp_path / "a.wav"), "coloured", {}, {"snr_db": 5.0}, 2),
        (mosaic, "camera", {"gain_dn_per_e": "2", "read_dn": "4"}, {}, 3),
    ]
    for number, (clean, law, words, more, charts) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        drawn = portrait(noisy_file(clean, law, words, 0, folder, **more))
        assert drawn.count("<svg") == charts
        assert "nan" not in drawn


def test_a_law_that_is_made_of_files_asks_for_them(tmp_path: Path) -> None:
    voice = tone(tmp_path / "a.wav")
    with pytest.raises(UserError, match="drop them into its box"):
        noisy_file(voice, "babble", {}, 0, tmp_path)
    others = [tone(tmp_path / "voices" / f"{n}.wav", level=0.1 * n) for n in (1, 2)]
    assert noisy_file(voice, "babble", {"talkers": "2"}, 0, tmp_path, others).noisy.is_file()


# Kept at home


@pytest.fixture(scope="module")
def looked_up() -> Iterator[list[str]]:
    with no_look_ups() as found:
        yield found


@pytest.fixture(scope="module")
def address(page_files: Path, looked_up: list[str]) -> Iterator[str]:
    with served() as found:
        yield found
    assert looked_up == []


@pytest.mark.parametrize("route", ["/gradio_api/file=", "/file="])
def test_no_file_of_this_machine_is_given_away(address: str, route: str, tmp_path: Path, page_files: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("my diary")
    around = page_files / ".." / ".." / secret.relative_to(page_files.parent.parent.parent)
    for path in (secret, around, Path("pyproject.toml").resolve(), Path("/etc/hostname")):
        status, text = answer(address, f"{route}{path}")
        assert status in (403, 404)
        assert "diary" not in text


def test_no_address_is_fetched(address: str, looked_up: list[str]) -> None:
    for route in ("/gradio_api/file=", "/file="):
        status, _ = answer(address, f"{route}http://example.com/a.png")
        assert status in (403, 404)
    assert looked_up == []


def test_a_program_cannot_name_a_path_or_an_address_as_its_upload(
    address: str, tmp_path: Path, looked_up: list[str]
) -> None:
    outside = photo(tmp_path / "private.png")
    for value in (a_file(outside), a_file("http://example.com/a.png"), a_file("HTTPS://example.com/a.png")):
        told = asked(address, value)
        assert '"success":false' in told.replace(" ", "")
        assert "32 × 24" not in told
    assert looked_up == []


def test_a_file_above_the_limit_is_not_taken(address: str) -> None:
    assert upload(address, bytes(MEGABYTE))[0] == 200
    assert upload(address, bytes(3 * MEGABYTE))[0] == 413


def test_no_name_leads_out_of_the_folder_of_the_page(address: str, tmp_path: Path, page_files: Path) -> None:
    status, text = upload(address, photo(tmp_path / "a.png").read_bytes(), name="../../../escaped.png")
    assert status in (200, 400)
    if status == 200:
        assert Path(json.loads(text)[0]).resolve().is_relative_to(page_files.resolve())
    assert not list(page_files.parent.parent.glob("**/escaped.png")) or status == 200


def test_what_is_old_is_deleted_and_what_is_new_stays(tmp_path: Path) -> None:
    old, new = tmp_path / "old" / "in", tmp_path / "new"
    for place in (old, new):
        place.mkdir(parents=True)
        (place / "a.png").write_bytes(b"x")
    time.sleep(0.6)
    (new / "b.png").write_bytes(b"x")
    shelf.sweep(tmp_path, 0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert len(list(new.iterdir())) == 2


def test_uploads_are_deleted_after_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "page"))
    monkeypatch.setattr(app, "SWEEP_SECONDS", 1)
    monkeypatch.setattr(app, "KEPT_SECONDS", 1)
    page = app.build()
    short_lived = app.serve(page, server_name="127.0.0.1", quiet=True, prevent_thread_lock=True).rstrip("/")
    kept = Path(json.loads(upload(short_lived, photo(tmp_path / "b.png", value=120).read_bytes())[1])[0])
    assert kept.exists()
    assert until(lambda: not kept.exists())
    page.close(verbose=False)


# Programs


@pytest.fixture(scope="module")
def client(address: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    from gradio_client import Client

    return Client(
        address, download_files=str(tmp_path_factory.mktemp("fetched")), verbose=False, analytics_enabled=False
    )


def test_a_program_gets_what_the_command_gives(client: Client, tmp_path: Path) -> None:
    from gradio_client import handle_file

    path = a_picture(tmp_path)
    result, report = client.predict(handle_file(path), "auto", 0.5, 0, "dim=0.2", 3, api_name="/clean")
    wanted = by_command(path, tmp_path / "command", "--strength", 0.5, "--set", "dim=0.2", "--passes", 3)
    assert Path(result).read_bytes() == wanted
    assert (report["model"], report["strength"], report["knobs"]) == ("toy-picture", 0.5, {"dim": 0.2})
    assert report["passes"] == 3
    found = client.predict(handle_file(path), api_name="/inspect")
    assert (found["kind"], found["file"]) == ("picture", "garden.png")
    assert str(tmp_path) not in json.dumps([report, found])


def test_a_program_is_told_in_a_sentence_what_is_wrong(client: Client, tmp_path: Path) -> None:
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    letter, picture = tmp_path / "letter.png", photo(tmp_path / "a.png")
    letter.write_text("Dear reader")
    folder = str(Path(os.environ["DENOISE_MODELS"]) / "toy-picture")
    wrong = [
        (letter, "auto", "", "text file"),
        (picture, "auto", "dim=7", "out of range"),
        (picture, folder, "", "choices"),
    ]
    for path, model, settings, words in wrong:
        with pytest.raises(AppError, match=words) as told:
            client.predict(handle_file(path), model, 1, 0, settings, api_name="/clean")
        assert str(shelf.shelf()) not in str(told.value)


def test_ten_at_once_are_served_one_after_the_other(client: Client, tmp_path: Path) -> None:
    from gradio_client import handle_file

    at_once, most = 0, 0

    def work() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.02)
        at_once -= 1

    during.append(work)
    paths = [photo(tmp_path / f"{n}.png", 40, 40 + n) for n in range(10)]
    with ThreadPoolExecutor(10) as visitors:
        jobs = [visitors.submit(client.predict, handle_file(path), api_name="/clean") for path in paths]
        results = [job.result()[0] for job in jobs]
    during.clear()
    assert [Path(result).read_bytes() for result in results] == [by_command(path, tmp_path / "out") for path in paths]
    assert most == 1


def test_what_a_program_leaves_out_is_as_usual_and_a_file_is_asked_for(client: Client, tmp_path: Path) -> None:
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    path = photo(tmp_path / "a.png")
    usual, left_out = (
        client.predict(handle_file(path), *more, api_name="/clean") for more in ((), (None, None, None, None))
    )
    assert Path(left_out[0]).read_bytes() == Path(usual[0]).read_bytes()
    for name, more in (("/clean", (None, None, None, None)), ("/inspect", ())):
        with pytest.raises(AppError, match="No file was given"):
            client.predict(None, *more, api_name=name)
    with pytest.raises(AppError, match=f"Seed {10**25} is out of range: choose a whole number from 0"):
        client.predict(handle_file(path), "auto", 1, 10**25, "", api_name="/clean")
    with pytest.raises(UserError, match="is out of range"):
        noisy_file(path, "gaussian", {}, 10**25, tmp_path)


class Watched:
    """Makes every piece take a while, and tells how many are worked on at once."""

    def __init__(self) -> None:
        self.pieces, self.at_once, self.most = 0, 0, 0

    def __call__(self) -> None:
        self.pieces, self.at_once = self.pieces + 1, self.at_once + 1
        self.most = max(self.most, self.at_once)
        time.sleep(0.2)
        self.at_once -= 1

    def begins(self) -> bool:
        before = self.pieces
        return until(lambda: self.pieces > before)

    def ends(self) -> bool:
        before = self.pieces
        time.sleep(1)
        return self.pieces <= before + 1


def test_what_a_program_cancels_ends_and_nothing_begins_beside_it(client: Client, tmp_path: Path) -> None:
    from gradio_client import handle_file

    during.append(work := Watched())
    large, small = photo(tmp_path / "large.png", 1000, 1000), photo(tmp_path / "a.png")
    for _ in range(3):
        job = client.submit(handle_file(large), api_name="/clean")
        assert work.begins()
        assert job.cancel()
    client.predict(handle_file(small), api_name="/clean")
    assert work.ends()
    assert work.most == 1


def test_what_nobody_waits_for_any_longer_ends(address: str, tmp_path: Path) -> None:
    during.append(work := Watched())
    uploaded = json.loads(upload(address, photo(tmp_path / "large.png", 2000, 2000).read_bytes())[1])[0]
    data = {"data": [a_file(uploaded), "auto", 1, 0, "", 1]}
    number = json.loads(answer(address, "/gradio_api/call/clean", json.dumps(data).encode())[1])["event_id"]
    with urllib.request.urlopen(f"{address}/gradio_api/call/clean/{number}", timeout=60):
        assert work.begins()
    assert until(work.ends)


# Served


def test_only_who_is_named_may_see_it() -> None:
    with served(auth=app.named("anna:secret")) as guarded:
        assert answer(guarded, "/config")[0] == 401
        assert answer(guarded, "/gradio_api/file=/etc/hostname")[0] in (401, 403)
        assert upload(guarded, b"x")[0] == 401
        assert answer(guarded, "/login", b"username=anna&password=guess", FORM)[0] == 400
        assert answer(guarded, "/login", b"username=anna&password=secret", FORM)[0] == 200


def test_the_world_is_let_in_with_a_password_only() -> None:
    with pytest.raises(UserError, match="give --auth"):
        app.main(share=True)
    with pytest.raises(UserError, match="NAME:PASSWORD"):
        app.named("anna")
    assert app.named(None) is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_is_served_until_interrupted_and_its_files_go(tmp_path: Path, number: int) -> None:
    code = "from denoise.web.app import main; main(port=0)"
    surroundings = os.environ | {"TMPDIR": str(tmp_path)}
    running = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=surroundings,
        preexec_fn=partial(signal.signal, number, signal.SIG_DFL),  # `nohup` has one of them ignored
    )
    try:
        assert running.stderr is not None
        line = next(line for line in running.stderr if "The page is at" in line)
        found = re.search(r"http://\S+", line)
        assert found is not None
        assert urlsplit(found[0]).hostname == "127.0.0.1"
        status, text = answer(found[0].rstrip("/;"), "/")
        assert status == 200
        assert "denoise" in text
        assert list(tmp_path.glob("denoise-page-*"))
        running.send_signal(number)
        running.wait(120)
    finally:
        running.kill()
    assert not list(tmp_path.glob("denoise-page-*"))


def test_what_a_killed_page_left_goes_with_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, another, young = (tmp_path / f"{page_folder.PREFIX}{name}" for name in ("left", "another", "young"))
    for folder in (left, another, young):
        folder.mkdir()
        (folder / "upload.png").write_bytes(b"x")
    for folder in (left, young):
        (folder / page_folder.LOCK).touch()
    with page_folder.page_folder() as served:
        long_ago = time.time() - 2 * page_folder.YOUNG_S
        for folder in (left, another, served):
            os.utime(folder, (long_ago, long_ago))
        with page_folder.page_folder() as beside:
            assert {*tmp_path.iterdir()} == {another, young, served, beside}
    assert {*tmp_path.iterdir()} == {another, young}


def test_an_address_of_another_machine_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", os.environ["GRADIO_TEMP_DIR"])
    for port in (None, 7861):
        with pytest.raises(UserError, match=r"--host 203\.0\.113\.7: that is no address of this machine"):
            app.main(host="203.0.113.7", port=port)
    assert all(app.is_here(host) for host in ("127.0.0.1", "localhost", "0.0.0.0"))


def test_a_port_that_is_taken_is_told_in_a_sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", os.environ["GRADIO_TEMP_DIR"])
    with pytest.raises(UserError, match="choose another --port"):
        app.main(port=urlsplit(address).port)
