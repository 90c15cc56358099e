"""Everything a user can do wrong: one clear sentence, exit code 2, nothing written."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tifffile
from shelf import RATE, denoise, during, photo, shelve, tone, tree
from typer.testing import Result

from denoise.media.find import files_below


@pytest.fixture(autouse=True)
def shelf(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DENOISE_MODELS", str(shelve(tmp_path_factory.mktemp("shelf"))))
    during.clear()
    yield
    during.clear()


def refused(result: Result, *words: str, code: int = 2) -> str:
    """One line on stderr that holds all these words, nothing on stdout."""
    assert result.exit_code == code, result.stderr or result.exception
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


def refused_and_untouched(folder: Path, words: tuple[str, ...], *command: object) -> None:
    before = tree(folder)
    refused(denoise(*command), *words)
    assert tree(folder) == before


# Files that are not what they should be


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_that_says(width: int, height: int) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def halved(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)


def cut_picture(path: Path) -> None:
    from PIL import Image

    Image.fromarray(noise(64, 64)).save(path)
    halved(path)


def cut_sound(path: Path) -> None:
    soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, RATE), RATE)
    halved(path)


def whole_sound_called(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        tone(path.with_suffix(name)).rename(path)

    return make


def picture_called_a_sound(path: Path) -> None:
    photo(path.with_suffix(".png")).rename(path)


def samples(*values: float, subtype: str = "FLOAT") -> Callable[[Path], None]:
    return lambda path: soundfile.write(path, np.array(values), RATE, subtype)


def many_then_nan(path: Path) -> None:
    """The last piece is bad, the first ones are restored before."""
    values = np.full(5 * RATE, 0.25)
    values[-1] = np.inf
    soundfile.write(path, values, RATE, "FLOAT")


def nan_picture(path: Path) -> None:
    tifffile.imwrite(path, np.full((16, 16, 3), np.nan, np.float32), photometric="rgb")


def text(path: Path) -> None:
    path.write_text("Dear reader,\nthis is a letter.\n")


FILES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "empty.png": (Path.touch, ("empty",)),
    "empty.jpg": (Path.touch, ("empty",)),
    "empty.tif": (Path.touch, ("empty",)),
    "empty.wav": (Path.touch, ("empty",)),
    "empty.flac": (Path.touch, ("empty",)),
    "empty.mp4": (Path.touch, ("empty",)),
    "cut.png": (cut_picture, ("cut.png",)),
    "cut.jpg": (cut_picture, ("cut.jpg",)),
    "cut.tif": (cut_picture, ("cut.tif",)),
    "cut.webp": (cut_picture, ("cut.webp",)),
    "cut.wav": (cut_sound, ("cut short",)),
    "cut.flac": (cut_sound, ("cut.flac",)),
    "letter.txt": (text, ("neither a sound nor a picture", ".wav", ".png")),
    "letter": (text, ("neither a sound nor a picture",)),
    "letter.png": (text, ("text",)),
    "letter.wav": (text, ("text",)),
    "picture.wav": (picture_called_a_sound, ("picture.wav",)),
    "sound.png": (whole_sound_called(".wav"), ("sound.png",)),
    "flat.png": (lambda path: path.write_bytes(png_that_says(0, 100)), ("0 × 100",)),
    "thin.png": (lambda path: path.write_bytes(png_that_says(100, 0)), ("100 × 0",)),
    "bomb.png": (lambda path: path.write_bytes(png_that_says(30000, 30000)), ("30000 × 30000",)),
    "none.wav": (samples(), ("0 samples",)),
    "one.wav": (samples(0.5), ("1 sample",)),
    "one.flac": (samples(0.5, subtype="PCM_16"), ("1 sample",)),
    "nan.wav": (samples(*[np.nan] * 4000), ("not numbers",)),
    "late.wav": (many_then_nan, ("not numbers",)),
    "nan.tif": (nan_picture, ("not numbers",)),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_one_sentence_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    make, words = FILES[name]
    bad = tmp_path / "in" / name
    bad.parent.mkdir()
    make(bad)
    refused_and_untouched(tmp_path, (name, *words), "clean", bad)
    refused_and_untouched(tmp_path, (name, *words), "clean", bad, "-o", tmp_path / "deep" / "out")


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_never_stops_a_good_one(tmp_path: Path, name: str) -> None:
    bad = tmp_path / "in" / name
    photo(bad.parent / "good.png")
    FILES[name][0](bad)
    result = denoise("clean", bad, bad.parent / "good.png", "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert (tmp_path / "out" / "good.png").is_file()
    assert not (tmp_path / "out" / name).exists()


@pytest.mark.parametrize("command", ["inspect", "measure"])
@pytest.mark.parametrize("name", ["empty.wav", "cut.png", "letter.txt", "letter.wav", "bomb.png", "one.wav"])
def test_the_other_commands_say_the_same(tmp_path: Path, command: str, name: str) -> None:
    FILES[name][0](tmp_path / name)
    refused_and_untouched(tmp_path, (name,), command, tmp_path / name)


def test_silence_is_written_as_it_is_and_said(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros((RATE, 2)), RATE, "PCM_16")
    result = denoise("clean", tmp_path / "s.wav")
    assert result.exit_code == 0
    assert "all silent" in result.stderr
    assert (tmp_path / "s.clean.wav").read_bytes() == (tmp_path / "s.wav").read_bytes()


# Paths


def test_what_is_not_there(tmp_path: Path) -> None:
    refused_and_untouched(tmp_path, ("gone.wav", "no such file or folder"), "clean", tmp_path / "gone.wav")
    for command in ("inspect", "measure"):
        refused_and_untouched(tmp_path, ("gone.wav", "no such file"), command, tmp_path / "gone.wav")
    refused_and_untouched(
        tmp_path, ("gone.wav", "no such file"), "compare", tmp_path / "gone.wav", tmp_path / "gone.wav"
    )


def test_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "l.wav").symlink_to(tmp_path / "gone.wav")
    refused_and_untouched(tmp_path, ("l.wav", "link to a file that is not there"), "clean", tmp_path / "l.wav")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.wav")
    refused(denoise("clean", tmp_path / "p.wav"), "p.wav", "not a regular file")


@pytest.mark.parametrize("name", ["folder", "folder.wav"])
def test_a_folder_without_media(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "sub").mkdir(parents=True)
    text(tmp_path / name / "sub" / "letter.txt")
    result = denoise("clean", tmp_path / name, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "neither sound nor picture in this folder" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_with_nothing_for_the_chosen_model(tmp_path: Path) -> None:
    tone(tmp_path / "in" / "a.wav")
    result = denoise("clean", tmp_path / "in", "--model", "toy-picture")
    assert result.exit_code == 2
    assert "no picture in this folder" in result.stderr


def test_a_file_that_the_chosen_model_is_not_for(tmp_path: Path) -> None:
    sound = tone(tmp_path / "a.wav")
    refused_and_untouched(tmp_path, ("this is a sound", "--model auto"), "clean", sound, "-m", "toy-picture")


def test_results_inside_the_input(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    for out in ("in/out", "in/sub/out", "in/../in/out"):
        words = ("lies inside", "choose -o outside")
        refused_and_untouched(tmp_path, words, "clean", tmp_path / "in", "-o", tmp_path / out)


def test_results_inside_the_input_through_a_link(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "in", target_is_directory=True)
    refused_and_untouched(tmp_path, ("lies inside",), "clean", tmp_path / "in", "-o", tmp_path / "link" / "out")


def test_input_and_output_are_one(tmp_path: Path) -> None:
    picture = photo(tmp_path / "in" / "a.png")
    (tmp_path / "link.png").symlink_to(picture)
    os.link(picture, tmp_path / "hard.png")
    for out in (picture, tmp_path / "in", tmp_path / "link.png", tmp_path / "hard.png"):
        refused_and_untouched(tmp_path, ("both input and output", "--in-place"), "clean", picture, "-o", out)
    refused_and_untouched(tmp_path, ("both input and output",), "clean", tmp_path / "in", "-o", tmp_path / "in")


def test_a_result_that_is_another_input(tmp_path: Path) -> None:
    first, second = photo(tmp_path / "a.png"), photo(tmp_path / "b.png", value=90)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to(second)
    words = ("a.png", "is itself an input")
    refused_and_untouched(tmp_path, words, "clean", first, second, "-o", tmp_path / "out", "--overwrite")


def test_two_results_of_one_name(tmp_path: Path) -> None:
    one, two = photo(tmp_path / "1" / "a.png"), photo(tmp_path / "2" / "a.png")
    words = ("would both become", "two folders")
    refused_and_untouched(tmp_path, words, "clean", one, two, "-o", tmp_path / "out")


def test_a_file_where_a_folder_is_wanted(tmp_path: Path) -> None:
    photos = [photo(tmp_path / name) for name in ("a.png", "b.png")]
    text(tmp_path / "out")
    refused_and_untouched(tmp_path, ("is a file", "folder"), "clean", *photos, "-o", tmp_path / "out")
    refused_and_untouched(tmp_path, ("is a file",), "clean", photos[0], "-o", tmp_path / "out" / "sub")


def test_an_output_of_another_kind(tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png")
    for name in ("a.wav", "a.xyz", "a.gif"):
        refused_and_untouched(tmp_path, (name[1:], ".png"), "clean", picture, "-o", tmp_path / name)


def test_elsewhere_and_in_place_at_once(tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png")
    refused_and_untouched(tmp_path, ("--in-place", "-o"), "clean", picture, "-o", tmp_path / "o", "--in-place")


# Wishes


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (("--model", "toy-pictur"), ("Unknown model 'toy-pictur'", "did you mean toy-picture?")),
        (("--set", "dimm=0.5"), ("Unknown knob 'dimm'", "did you mean dim?")),
        (("--set", "gauge=0.5"), ("Unknown knob 'gauge'", "toy-picture has: dim")),
        (("--set", "dim=1.5"), ("dim = 1.5 is out of range", "from 0 to 1")),
        (("--set", "dim=nan"), ("out of range",)),
        (("--set", "dim=much"), ("a number from 0 to 1 is wanted",)),
        (("--set", "dim"), ("knob=value is wanted",)),
        (("--set", "=1"), ("knob=value is wanted",)),
        (("--strength", "1.2"), ("Strength 1.2 is out of range", "from 0 to 1")),
        (("--strength", "-0.1"), ("out of range",)),
        (("--strength", "nan"), ("out of range",)),
        (("--seed", "-1"), ("Seed -1", "from 0")),
        (("--seed", "100000000000000000000"), ("Seed 100000000000000000000", "from 0 to 9223372036854775807")),
        (("--engine", "onx"), ("Unknown engine 'onx'", "did you mean onnx?")),
        (("--device", "tpu"), ("'tpu'", "usable: ", "cpu")),
    ],
)
def test_a_wish_that_cannot_be_granted(tmp_path: Path, wish: tuple[str, ...], words: tuple[str, ...]) -> None:
    picture = photo(tmp_path / "a.png")
    refused_and_untouched(tmp_path, words, "clean", picture, *wish)


def test_a_choice_that_a_knob_does_not_have(tmp_path: Path) -> None:
    sound = tone(tmp_path / "a.wav")
    words = ("floor", "none or low or middle or high")
    refused_and_untouched(tmp_path, words, "clean", sound, "--set", "floor=deep")
    assert denoise("clean", sound, "--set", "floor=middle").exit_code == 0


@pytest.mark.parametrize("command", [("models", "toy-sond"), ("bench", "speeech"), ("export", "toy-sond", "-o", "x")])
def test_unknown_names_elsewhere(command: tuple[str, ...]) -> None:
    refused(denoise(*command), "Unknown", command[1])


@pytest.mark.parametrize("line", [("--strength", "much"), ("--seed", "1.5"), ("--colour",)])
def test_a_line_that_cannot_be_understood(tmp_path: Path, line: tuple[str, ...]) -> None:
    before = tree(tmp_path)
    result = denoise("clean", photo(tmp_path / "a.png"), *line)
    assert result.exit_code == 2
    assert line[0] in result.stderr
    assert set(tree(tmp_path)) - set(before) == {"a.png"}


# Disks and rights

OVERRIDE, SEARCH = 1, 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: what lets root ignore rights


@contextmanager
def ordinary_rights() -> Iterator[None]:
    """The kernel asks for rights, though this process may be root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    head, held = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if not sys.platform.startswith("linux") or libc.capget(head, held):
        pytest.skip("rights can be given up for a while on Linux only")
    effective = held[0]
    held[0] = effective & ~(1 << OVERRIDE | 1 << SEARCH)
    assert libc.capset(head, held) == 0
    try:
        yield
    finally:
        held[0] = effective
        assert libc.capset(head, held) == 0


@pytest.mark.parametrize("make", [photo, tone])
def test_a_file_that_may_not_be_read(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / ("a.png" if make is photo else "a.wav"))
    path.chmod(0)
    with ordinary_rights():
        refused(denoise("clean", path), path.name, "no permission")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "closed" / "b.png")
    (tmp_path / "in" / "closed").chmod(0)
    with ordinary_rights():
        result = denoise("clean", tmp_path / "in", "-o", tmp_path / "out")
    (tmp_path / "in" / "closed").chmod(0o755)
    assert result.exit_code == 3
    assert "closed: this folder cannot be read" in result.stderr
    assert (tmp_path / "out" / "a.png").is_file()


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a picture in it that nobody may enter."""
    folder = photo(tmp_path / "locked" / "a.png").parent
    folder.chmod(0)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)  # would answer for root
    yield folder
    folder.chmod(0o755)


@pytest.mark.parametrize("command", ["clean", "inspect", "measure"])
def test_a_file_in_a_folder_that_may_not_be_entered(locked: Path, command: str) -> None:
    with ordinary_rights():
        refused(denoise(command, locked / "a.png"), "a.png", "no permission")


def test_an_output_folder_that_may_not_be_entered(tmp_path: Path, locked: Path) -> None:
    picture = photo(tmp_path / "a.png")
    with ordinary_rights():
        for out in ("out", "out.png"):
            refused(denoise("clean", picture, "-o", locked / out), out, "no permission")


@pytest.mark.parametrize("name", ["locked", "locked/a.png"])
def test_what_may_not_be_read_never_stops_a_good_file(tmp_path: Path, locked: Path, name: str) -> None:
    picture = photo(tmp_path / "b.png")
    with ordinary_rights():
        result = denoise("clean", tmp_path / name, picture)
    assert result.exit_code == 3, result.stderr or result.exception
    assert (tmp_path / "b.clean.png").is_file()


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png")
    (tmp_path / "out").mkdir(mode=0o555)
    with ordinary_rights():
        for out in ("out", "out/deeper"):
            refused_and_untouched(tmp_path, ("out", "no permission to write"), "clean", picture, "-o", tmp_path / out)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    from PIL import Image

    picture, sound = tmp_path / "a.png", tone(tmp_path / "a.wav", seconds=10)
    Image.fromarray(noise(300, 300)).save(picture)
    photo(tmp_path / "small.png")
    for path in (picture, sound):
        refused(denoise("clean", path, "-o", small_disk / "out", "--set", "dim=1"), "the disk is full")
        assert tree(small_disk) == {}
    result = denoise("clean", picture, tmp_path / "small.png", sound, "-o", small_disk)
    assert result.exit_code == 3
    assert [path.name for path in small_disk.iterdir() if not path.name.startswith(".")] == ["small.png"]


# compare and measure


def test_compare_wants_two_of_a_kind(tmp_path: Path) -> None:
    picture, sound = photo(tmp_path / "a.png"), tone(tmp_path / "a.wav")
    other = photo(tmp_path / "b.png", 10, 10)
    longer, slower = tone(tmp_path / "l.wav", 0.7), tmp_path / "s.wav"
    soundfile.write(slower, np.zeros(4000), 16000)
    for one, two, word in (
        (picture, sound, "two of a kind"),
        (picture, other, "of one size"),
        (sound, longer, "of one length"),
        (sound, slower, "of one shape"),
    ):
        refused_and_untouched(tmp_path, (word,), "compare", one, two, "-o", tmp_path / "c.png")


def test_compare_never_draws_over_anything(tmp_path: Path) -> None:
    a, b = photo(tmp_path / "a.png"), photo(tmp_path / "b.png", value=90)
    old = photo(tmp_path / "old.png")
    refused_and_untouched(tmp_path, ("one of the files",), "compare", a, b, "-o", b, "--overwrite")
    refused_and_untouched(tmp_path, ("is there already",), "compare", a, b, "-o", old)
    refused_and_untouched(tmp_path, ("ends with .png",), "compare", a, b, "-o", tmp_path / "c.pdf")


def test_measure_wants_originals_that_fit(tmp_path: Path) -> None:
    a, b = photo(tmp_path / "1" / "a.png"), photo(tmp_path / "2" / "a.png", 10, 10)
    sound = tone(tmp_path / "2" / "v.wav")
    for reference, word in ((b, "of one size"), (sound, "its reference is a sound"), (tmp_path / "x", "no such file")):
        refused_and_untouched(tmp_path, (word,), "measure", a, "-r", reference)
    refused_and_untouched(tmp_path, ("no b.png in",), "measure", photo(tmp_path / "b.png"), "-r", tmp_path / "2")


def test_pipes_are_no_files(tmp_path: Path) -> None:
    """Whoever opens one waits for ever."""
    os.mkfifo(tmp_path / "a.png")
    photo(tmp_path / "b.png")
    assert [path.name for path in files_below(tmp_path, pytest.fail)] == ["b.png"]


def test_names_that_are_too_long_are_said_to_be(tmp_path: Path) -> None:
    long = "ん" * 84  # 252 bytes; 255 are the most
    photo(tmp_path / f"{long[:82]}.png")
    photo(tmp_path / "short.png")
    ran = denoise("clean", tmp_path)
    assert ran.exit_code == 3, ran.stderr
    assert "that name is too long" in ran.stderr
    assert (tmp_path / "short.clean.png").exists()
    for command in ("clean", "inspect", "measure"):
        refused(denoise(command, f"{long}.png"), "that name is too long; choose a shorter one.")
