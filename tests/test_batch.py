"""Folders: structure kept, done work skipped, one bad file never stops the rest, nothing half-written."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from shelf import denoise, during, photo, shelve, tone, tree

from denoise.batch.folder import Watch, clean_all
from denoise.batch.journal import NAME as JOURNAL
from denoise.batch.journal import parsed, read
from denoise.batch.plan import plan
from denoise.batch.recipe import Recipe
from denoise.errors import Cancelled, UserError
from denoise.report import Outcome, Report


@pytest.fixture(autouse=True)
def shelf(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DENOISE_MODELS", str(shelve(tmp_path_factory.mktemp("shelf"))))
    during.clear()
    yield
    during.clear()


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """Sounds, pictures and others, at three depths."""
    folder = tmp_path / "in"
    photo(folder / "a.png")
    tone(folder / "b" / "voice one.wav")
    tone(folder / "b" / "c" / "тест-音.flac", channels=2)
    (folder / "b" / "notes.txt").write_text("not for us")
    (folder / ".hidden").mkdir()
    photo(folder / ".hidden" / "x.png")
    return folder


def report_of(*words: object) -> dict:
    return json.loads(denoise(*words, "--json").stdout)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


# Passes


def test_passes_are_for_the_pictures_among_others(noisy: Path, tmp_path: Path) -> None:
    found = report_of("clean", noisy, "-o", tmp_path / "out", "--passes", 5)
    assert {file["kind"]: file["passes"] for file in found["files"]} == {"picture": 5, "audio": 1}
    seen: list[int] = []
    during.append(lambda: seen.append(1))
    denoise("clean", noisy / "a.png", "--passes", 5)
    assert len(seen) == 5
    once = report_of("clean", noisy, "-o", tmp_path / "out")["files"]
    assert {file["kind"]: bool(file["notes"]) for file in once} == {"picture": True, "audio": False}


@pytest.mark.parametrize("passes", [0, 9])
def test_so_many_passes_are_refused(noisy: Path, tmp_path: Path, passes: int) -> None:
    result = denoise("clean", noisy, "-o", tmp_path / "out", "--passes", passes)
    assert (result.exit_code, "from 1 to 8" in result.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


def test_passes_are_refused_where_no_picture_is(noisy: Path, tmp_path: Path) -> None:
    result = denoise("clean", noisy / "b", "-o", tmp_path / "out", "--passes", 2)
    assert (result.exit_code, "2 passes are for pictures" in result.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


# Structure


def test_a_mixed_folder_is_cleaned_in_its_own_shape(noisy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = report_of("clean", noisy, "-o", out)
    assert {str(Path(each["output"]).relative_to(out)) for each in report["files"]} == {
        "a.png",
        "b/voice one.wav",
        "b/c/тест-音.flac",
    }
    assert report["totals"] | {"seconds": 0} == {
        "cleaned": 3,
        "skipped": 0,
        "failed": 0,
        "left_alone": 1,
        "waiting": 0,
        "seconds": 0,
    }
    assert {each["kind"]: each["model"] for each in report["files"]} == {
        "picture": "toy-picture",
        "audio": "toy-sound",
    }
    assert np.array_equal(pixels(out / "a.png"), np.rint(pixels(noisy / "a.png") / 2))
    samples, rate = soundfile.read(out / "b/c/тест-音.flac")
    assert (samples.shape, rate) == ((4000, 2), 8000)
    assert np.abs(samples).max() == pytest.approx(0.25, abs=1e-3)


def test_without_a_folder_for_results_they_lie_beside_and_are_not_cleaned_again(noisy: Path) -> None:
    assert denoise("clean", noisy).exit_code == 0
    before = tree(noisy)
    assert {"a.clean.png", "b/voice one.clean.wav", "b/c/тест-音.clean.flac"} <= set(before)
    again = report_of("clean", noisy)
    assert again["totals"]["skipped"] == 3
    assert again["totals"]["left_alone"] == 4
    assert tree(noisy) == before


def test_files_named_one_by_one_with_their_old_results_give_no_results_of_results(tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png")
    denoise("clean", picture)
    report = report_of("clean", picture, tmp_path / "a.clean.png", "--overwrite")
    assert (report["totals"]["cleaned"], report["totals"]["left_alone"]) == (1, 1)
    assert not (tmp_path / "a.clean.clean.png").exists()


@pytest.mark.parametrize("out", ["new.png", "folder/", "folder"])
def test_for_one_file_the_name_says_whether_it_is_a_file_or_a_folder(tmp_path: Path, out: str) -> None:
    picture = photo(tmp_path / "a.png")
    assert denoise("clean", picture, "-o", f"{tmp_path}/{out}").exit_code == 0
    assert (tmp_path / (out if out.endswith(".png") else "folder/a.png")).is_file()


def test_what_cannot_be_written_as_it_was_gets_a_second_ending(tmp_path: Path) -> None:
    Image.new("P", (20, 20), 3).save(tmp_path / "logo.gif")
    photo(tmp_path / "logo.png")
    report = report_of("clean", tmp_path, "-o", tmp_path.parent / f"{tmp_path.name}-out")
    assert {Path(each["output"] or "").name for each in report["files"]} == {"logo.gif.png", "logo.png"}


def test_three_hundred_folders_deep(tmp_path: Path) -> None:
    deep = tmp_path / "in"
    for _ in range(300):
        deep = deep / "d"
    photo(deep / "p.png")
    assert denoise("clean", tmp_path / "in", "-o", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / deep.relative_to(tmp_path / "in") / "p.png").is_file()


def test_links_that_go_round_in_circles_are_walked_once(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "sub" / "p.png")
    (tmp_path / "in" / "sub" / "up").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "self").symlink_to("self")
    (tmp_path / "in" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    result = denoise("clean", tmp_path / "in", "-o", tmp_path / "out", "--json")
    statuses = {Path(each["input"]).name: each["status"] for each in json.loads(result.stdout)["files"]}
    assert statuses == {"p.png": "cleaned", "gone.png": "failed"}


def test_linked_folders_are_entered(tmp_path: Path) -> None:
    photo(tmp_path / "elsewhere" / "p.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    denoise("clean", tmp_path / "in", "-o", tmp_path / "out")
    assert (tmp_path / "out" / "link" / "p.png").is_file()


def test_one_kind_of_a_mixed_folder_when_a_model_is_named(noisy: Path, tmp_path: Path) -> None:
    report = report_of("clean", noisy, "-o", tmp_path / "out", "--model", "toy-picture")
    assert (report["totals"]["cleaned"], report["totals"]["left_alone"]) == (1, 3)


@given(
    names=st.lists(
        st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='/\\:*?"<>|'), max_size=12),
        min_size=1,
        max_size=6,
    )
)
def test_no_two_files_ever_share_a_result(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("names")
    for name in names:
        for suffix in (".png", ".gif", ".gif.png", ".clean.png", ".PNG"):
            (folder / f"n{name}{suffix}").touch()
    for out in (None, str(folder) + "-out"):
        try:
            jobs = plan([folder], out).jobs
        except UserError:  # refused, with nothing written
            continue
        targets = [os.path.abspath(job.target) for job in jobs]
        assert len(set(targets)) == len(targets)
        assert not set(targets) & {os.path.abspath(job.source) for job in jobs}


def test_a_file_named_twice_is_cleaned_once(noisy: Path, tmp_path: Path) -> None:
    report = report_of("clean", noisy, noisy / "a.png", noisy / ".." / "in", "-o", tmp_path / "out")
    assert report["totals"]["cleaned"] == 3


# Fail and continue


def test_one_bad_file_never_stops_the_rest(noisy: Path, tmp_path: Path) -> None:
    (noisy / "b" / "broken.wav").write_bytes(b"RIFF\x10\0\0\0WAVEfmt ")
    (noisy / "empty.png").touch()
    result = denoise("clean", noisy, tmp_path / "missing.wav", "-o", tmp_path / "out", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 3
    assert (report["totals"]["cleaned"], report["totals"]["failed"]) == (3, 3)
    failed = [each for each in report["files"] if each["status"] == "failed"]
    assert all(each["error"] and each["output"] is None for each in failed)
    assert {Path(each["input"]).name for each in failed} == {"broken.wav", "empty.png", "missing.wav"}


def test_a_surprise_inside_a_decoder_is_that_files_failure_only(
    noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from denoise.media import picture

    def surprise(path: Path) -> None:
        raise KeyError("tile 7")

    monkeypatch.setattr(picture, "open_picture", surprise)
    result = denoise("clean", noisy, "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "a.png: it could not be cleaned (KeyError: 'tile 7'); is it damaged?" in result.stderr


def test_when_every_file_fails_it_was_wrong_input(tmp_path: Path) -> None:
    for name in ("a.png", "b.wav"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).touch()
    result = denoise("clean", tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


@given(st.lists(st.sampled_from(["cleaned", "skipped", "failed"])), st.booleans())
def test_the_exit_code_is_a_law_of_the_outcomes(statuses: list, cancelled: bool) -> None:
    code = Report([Outcome(Path("x"), status) for status in statuses], cancelled=cancelled).exit_code
    if cancelled:
        assert code == 130
    elif "failed" not in statuses:
        assert code == 0
    else:
        assert code == (2 if set(statuses) == {"failed"} else 3)


# Resume


def test_what_is_done_is_skipped_and_no_model_is_loaded_for_it(
    noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    denoise("clean", noisy, "-o", out)
    before = tree(out)
    monkeypatch.setattr("denoise.zoo.load", None)
    again = report_of("clean", noisy, "-o", out)
    assert again["totals"]["skipped"] == 3
    assert all(not each["notes"] for each in again["files"])
    assert tree(out) == before


def test_a_stopped_run_goes_on_where_it_was(noisy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    denoise("clean", noisy, "-o", out)
    (out / "b/voice one.wav").unlink()
    again = report_of("clean", noisy, "-o", out)
    assert [Path(each["input"]).name for each in again["files"] if each["status"] == "cleaned"] == ["voice one.wav"]


def test_overwrite_makes_everything_anew(noisy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    denoise("clean", noisy, "-o", out)
    again = report_of("clean", noisy, "-o", out, "--overwrite", "--strength", 0)
    assert again["totals"]["cleaned"] == 3
    assert np.array_equal(pixels(out / "a.png"), pixels(noisy / "a.png"))


def test_results_of_other_settings_or_inputs_are_kept_and_said(noisy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    denoise("clean", noisy, "-o", out)
    photo(noisy / "a.png", value=100)
    outdated = report_of("clean", noisy, "-o", out)["files"]
    assert {Path(each["input"]).name: bool(each["notes"]) for each in outdated} == {
        "a.png": True,
        "voice one.wav": False,
        "тест-音.flac": False,
    }
    other = report_of("clean", noisy, "-o", out, "--set", "dim=0.4")["files"]
    assert all("--overwrite" in each["notes"][0] for each in other)


@pytest.mark.parametrize("setting", ["dmi=0.4", "dim=9", "dim=much"])
def test_a_knob_is_refused_though_all_is_there_already(noisy: Path, tmp_path: Path, setting: str) -> None:
    denoise("clean", noisy, "-o", tmp_path / "out")
    result = denoise("clean", noisy, "-o", tmp_path / "out", "--set", setting)
    assert result.exit_code == 2
    assert "dim" in result.stderr


def test_a_knob_of_one_kind_is_no_mistake_where_only_another_kind_waits(noisy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    denoise("clean", noisy, "-o", out)
    (out / "a.png").unlink()
    again = report_of("clean", noisy, "-o", out, "--set", "floor=low")
    assert again["totals"]["cleaned"] == 1


@pytest.mark.parametrize("setting", ["dim=0.5", "dim=.50", "dim=5e-1"])
def test_a_knob_that_is_set_to_where_it_stands_changes_nothing(noisy: Path, tmp_path: Path, setting: str) -> None:
    denoise("clean", noisy, "-o", tmp_path / "out")
    again = report_of("clean", noisy, "-o", tmp_path / "out", "--set", setting)["files"]
    assert not any(each["notes"] for each in again)


def test_a_knob_is_signed_by_its_value_and_not_by_how_it_was_typed(shelf: None) -> None:
    def signature(**knobs: str) -> str:
        return Recipe(knobs=knobs).signature("audio")

    assert signature(dim="0.40") == signature(dim=".4") != signature(dim="0.41")
    assert signature(floor="low") == signature(floor="1") != signature()


def test_a_residual_that_is_missing_is_made_of_what_is_there(
    noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoise("clean", noisy, "-o", tmp_path / "at once", "--residual")
    denoise("clean", noisy, "-o", tmp_path / "out")
    monkeypatch.setattr("denoise.zoo.load", None)
    later = report_of("clean", noisy, "-o", tmp_path / "out", "--residual")
    assert (later["totals"]["skipped"], later["totals"]["failed"]) == (3, 0)
    assert all("What was taken away" in each["notes"][0] for each in later["files"])
    at_once, out = tree(tmp_path / "at once"), tree(tmp_path / "out")
    assert {name: out[name] for name in out if name != JOURNAL} == {
        name: at_once[name] for name in at_once if name != JOURNAL
    }


def test_of_a_result_made_with_other_settings_no_residual_is_made(noisy: Path, tmp_path: Path) -> None:
    denoise("clean", noisy, "-o", tmp_path / "out")
    before = tree(tmp_path / "out")
    report_of("clean", noisy, "-o", tmp_path / "out", "--residual", "--strength", 0.5)
    assert tree(tmp_path / "out") == before


def test_a_residual_that_cannot_be_made_fails_for_that_file_only(noisy: Path, tmp_path: Path) -> None:
    denoise("clean", noisy, "-o", tmp_path / "out")
    (tmp_path / "out" / "a.png").write_bytes(b"no picture")
    later = report_of("clean", noisy, "-o", tmp_path / "out", "--residual")
    assert (later["totals"]["skipped"], later["totals"]["failed"]) == (2, 1)


def test_where_no_journal_tells_how_a_result_was_made_overwriting_is_offered_once(noisy: Path) -> None:
    assert "--overwrite" not in denoise("clean", noisy).stderr
    assert denoise("clean", noisy, "--strength", 0.5).stderr.count("--overwrite") == 1


def test_a_file_that_only_its_time_changed_is_still_done(noisy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    denoise("clean", noisy, "-o", out)
    os.utime(noisy / "a.png", (1, 1))
    assert not any(each["notes"] for each in report_of("clean", noisy, "-o", out)["files"])


def test_a_journal_that_was_cut_off_or_spoilt_is_read_as_far_as_it_goes(noisy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    denoise("clean", noisy, "-o", out)
    whole = (out / JOURNAL).read_bytes()
    assert len(list(read(out / JOURNAL))) == 3
    (out / JOURNAL).write_bytes(b'[1]\n{"output": "x"}\n\xff\n' + whole[:-20])
    assert len(list(read(out / JOURNAL))) == 2
    assert denoise("clean", noisy, "-o", out).exit_code == 0


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_line_of_a_journal_can_break_a_run(line: bytes) -> None:
    assert parsed(line) is None


def test_a_journal_that_cannot_be_written_costs_a_note_and_not_the_result(noisy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / JOURNAL).mkdir(parents=True)
    report = report_of("clean", noisy, "-o", out)
    assert report["totals"]["cleaned"] == 3
    assert all("journal" in each["notes"][-1] for each in report["files"])


# In place


def test_in_place_cleans_once_however_often_it_is_run(noisy: Path) -> None:
    original = pixels(noisy / "a.png")
    report_of("clean", noisy, "--in-place")
    once = tree(noisy)
    assert np.array_equal(pixels(noisy / "a.png"), np.rint(original / 2))
    again = report_of("clean", noisy, "--in-place")
    assert again["totals"]["skipped"] == 3
    assert tree(noisy) == once


def test_in_place_cleans_what_has_changed_since(noisy: Path) -> None:
    report_of("clean", noisy, "--in-place")
    photo(noisy / "a.png", value=90)
    again = report_of("clean", noisy, "--in-place")
    assert [Path(each["input"]).name for each in again["files"] if each["status"] == "cleaned"] == ["a.png"]


def test_in_place_one_file(tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png")
    original = pixels(picture)
    assert denoise("clean", picture, "--in-place").exit_code == 0
    assert np.array_equal(pixels(picture), np.rint(original / 2))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_in_place_through_a_link_cleans_the_file_and_keeps_the_link(tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to(picture)
    original = pixels(picture)
    assert denoise("clean", tmp_path / "link.png", "--in-place").exit_code == 0
    assert np.array_equal(pixels(picture), np.rint(original / 2))
    assert (tmp_path / "link.png").is_symlink()


# Cancel


class Impatient(Watch):
    """Stops at the first tick of the file of that name."""

    def __init__(self, name: str) -> None:
        self.name, self.now = name, ""

    def start(self, path: Path, size: int) -> None:
        self.now = path.name

    def tick(self, share: float) -> None:
        if self.now == self.name:
            raise Cancelled


@pytest.mark.parametrize("name", ["a.png", "voice one.wav", "тест-音.flac"])
def test_cancelled_in_the_middle_of_a_file_nothing_of_it_is_there(noisy: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    done = []
    with pytest.raises(Cancelled):
        done.extend(clean_all(plan([noisy], str(out)), Recipe(), Impatient(name)))
    left = [path for path in out.rglob("*") if path.is_file() and path.name != JOURNAL] if out.exists() else []
    assert all(path.name != name and not path.name.startswith(".") for path in left)
    assert all(any(path.iterdir()) for path in out.rglob("*") if path.is_dir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_whole_files_only_and_says_what_was_done(noisy: Path, tmp_path: Path, number: int) -> None:
    out = tmp_path / "out"
    photo(noisy / "a.png", 40, 40)
    pieces = []

    def press() -> None:
        pieces.append(1)
        if len(pieces) == 3:
            signal.raise_signal(number)

    during.append(press)
    handler = signal.getsignal(number)
    result = denoise("clean", noisy, "-o", out, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 130
    assert report["cancelled"]
    assert report["totals"]["cleaned"] == 1
    assert report["totals"]["waiting"] == 2
    assert "Cancelled, nothing half-written: 1 cleaned, 1 left alone, 2 not begun or not finished." in result.stderr
    assert {path.name for path in out.rglob("*") if path.is_file()} == {"a.png", JOURNAL}
    assert signal.getsignal(number) is handler


def test_an_interrupt_that_a_decoder_swallowed_is_seen_by_the_next_tick(noisy: Path, tmp_path: Path) -> None:
    def press() -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    during.append(press)
    assert denoise("clean", noisy, "-o", tmp_path / "out").exit_code == 130


def test_a_second_ctrl_c_does_not_disturb_the_tidying_up(noisy: Path, tmp_path: Path) -> None:
    def press() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)

    during.append(press)
    result = denoise("clean", noisy, "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert not (tmp_path / "out").exists()
