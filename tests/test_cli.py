"""The commands: data on stdout, talk on stderr, exit codes, and nothing heavy before it is needed."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import tifffile
from PIL import Image
from shelf import RATE, denoise, during, photo, shelve, tone, tree

from denoise import zoo
from denoise.batch.recipe import Recipe
from denoise.report import as_json, as_table

HEAVY = {"torch", "numpy", "scipy", "av", "soundfile", "PIL", "rich", "onnxruntime", "gradio", "numba", "pydantic"}
COMMANDS = (
    "clean",
    "inspect",
    "compare",
    "measure",
    "models",
    "doctor",
    "bench",
    "import",
    "train",
    "fit",
    "export",
    "app",
)
START = [sys.executable, "-m", "denoise"]


@pytest.fixture(autouse=True)
def shelf(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = shelve(tmp_path_factory.mktemp("shelf"))
    monkeypatch.setenv("DENOISE_MODELS", str(place))
    during.clear()
    yield place
    during.clear()


# Help


@pytest.mark.parametrize("line", [["--help"], ["clean", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(line: list[str]) -> None:
    code = f"import sys\nfrom denoise.cli import app\ntry:\n    app({line})\nfinally:\n    print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(loaded.split("\n")[-2].split())


def test_help_answers_at_once() -> None:
    """Time of the processor, since other work on the machine is not ours."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*START, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) <= 0.3


def test_every_command_has_help() -> None:
    text = denoise("--help").stdout
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\S", text, re.M)
        assert denoise(command, "--help").exit_code == 0


def test_nothing_asked_is_wrong_use() -> None:
    assert denoise().exit_code == 2
    assert denoise("clean").exit_code == 2
    assert denoise("polish", "x").exit_code == 2


def test_version() -> None:
    from denoise import __version__

    assert denoise("--version").stdout.strip() == __version__


# clean


def test_clean_speaks_on_stderr_only(tmp_path: Path) -> None:
    result = denoise("clean", photo(tmp_path / "a.png"))
    assert result.stdout == ""
    done, effect = result.stderr.splitlines()
    assert re.fullmatch(r"\S+/a\.png -> \S+/a\.clean\.png \(toy-picture, \d\.\d s\)", done)
    assert effect.startswith("  Took away 92.4 of 255 (RMS)")


def test_the_report_says_with_what_each_file_was_cleaned(tmp_path: Path) -> None:
    sound = tone(tmp_path / "a b.wav")
    line = ["clean", sound, "--json", "--strength", 0.5, "--seed", 7, "--set", "dim=0.25", "--device", "cpu"]
    (file,) = json.loads(denoise(*line).stdout)["files"]
    assert file.pop("effect")["level_db"] == pytest.approx(-4.1, abs=0.1)
    assert file.pop("notes")[0] == "Took away 4.1 dB everywhere."
    assert file | {"seconds": 0} == {
        "input": str(sound),
        "output": str(tmp_path / "a b.clean.wav"),
        "status": "cleaned",
        "kind": "audio",
        "model": "toy-sound",
        "model_sha256": None,
        "engine": "torch",
        "device": "cpu",
        "provider": None,
        "seed": 7,
        "strength": 0.5,
        "passes": 1,
        "knobs": {"dim": 0.25, "floor": 0.0},
        "seconds": 0,
        "error": None,
    }
    assert file["seconds"] > 0
    before, after = (soundfile.read(path)[0] for path in (sound, file["output"]))
    assert np.allclose(after, before * 0.625, atol=1e-6)


def test_a_knob_goes_to_the_models_that_have_it(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    tone(tmp_path / "in" / "a.wav")
    result = denoise("clean", tmp_path / "in", "-o", tmp_path / "out", "--json", "--set", "floor=low")
    knobs = {file["kind"]: file["knobs"] for file in json.loads(result.stdout)["files"]}
    assert knobs == {"picture": {"dim": 0.5}, "audio": {"dim": 0.5, "floor": 1.0}}


def test_a_model_can_be_a_folder(tmp_path: Path) -> None:
    own = shelve(tmp_path / "own") / "toy-picture"
    card = (own / "model.toml").read_text().replace('name = "toy-picture"', 'name = "mine"')
    (own / "model.toml").write_text(card)
    result = denoise("clean", photo(tmp_path / "a.png"), "--model", own, "--json")
    assert json.loads(result.stdout)["files"][0]["model"] == "mine"


def test_all_pages_of_a_stack_are_cleaned(tmp_path: Path) -> None:
    import tifffile

    pages = np.random.default_rng(0).integers(0, 65535, (3, 20, 30), np.uint16)
    tifffile.imwrite(tmp_path / "s.tif", pages, photometric="minisblack")
    assert denoise("clean", tmp_path / "s.tif", "-o", tmp_path / "o.tif").exit_code == 0
    assert np.array_equal(tifffile.imread(tmp_path / "o.tif"), np.rint(pages / 2).astype(np.uint16))


def test_on_a_terminal_a_bar_shows_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "b.wav"):
        tone(tmp_path / "in" / name, 2)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    during.append(lambda: time.sleep(0.12))
    result = denoise("clean", tmp_path / "in", "-o", tmp_path / "out", "--json")
    shares = [int(share) for share in re.findall(r"(\d+)%", result.stderr)]
    assert len(set(shares)) > 3
    assert shares == sorted(shares)
    assert re.search(r"0:00:0\d", result.stderr), "the time left"
    assert json.loads(result.stdout)["totals"]["cleaned"] == 2


def test_not_on_a_terminal_there_is_no_bar(tmp_path: Path) -> None:
    assert "%" not in denoise("clean", photo(tmp_path / "a.png")).stderr


def hungry_once() -> None:
    """Memory runs out in the first piece."""
    tries: list[int] = []

    def hungry() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise MemoryError

    during.append(hungry)


def test_memory_that_runs_out_is_said_and_reported(tmp_path: Path) -> None:
    hungry_once()
    result = denoise("clean", photo(tmp_path / "a.png", 128, 128), "--json")
    assert result.exit_code == 0
    assert "Memory ran out; going on in pieces" in json.loads(result.stdout)["files"][0]["notes"][0]


def test_what_is_said_of_a_file_meanwhile_names_it_and_is_said_once(tmp_path: Path) -> None:
    hungry_once()
    path = photo(tmp_path / "a.png", 128, 128)
    told = denoise("clean", path).stderr
    assert told.count("Memory ran out") == 1
    assert told.startswith(f"{path}: Memory ran out; going on in pieces")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "denoise.web.app", None)
    monkeypatch.setattr("denoise.cli.EXTRAS", {"denoise.web.app": "web"})
    result = denoise("app")
    assert result.exit_code == 2
    assert "pip install 'denoise-kit[web]'" in result.stderr


# models, doctor, bench


def test_models_are_listed_without_loading_any() -> None:
    end = "finally:\n    print('torch' in sys.modules)"
    code = f"import sys\nfrom denoise.cli import app\ntry:\n    app(['models'])\n{end}"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.endswith("False\n")
    rows = {line.split("|")[1].strip() for line in shown.splitlines() if line.startswith("|")}
    assert {"toy-picture", "toy-sound"} <= rows


def test_models_as_data_and_one_in_words() -> None:
    found = {model["name"]: model for model in json.loads(denoise("models", "--json").stdout)}
    assert set(zoo.cards()) == set(found)
    assert found["toy-sound"]["scores"] == {"psnr_db": 31.5}
    words = denoise("models", "toy-sound").stdout
    for part in ("licence: MIT", "scores psnr_db: 31.5", "floor=none|low|middle|high", "# toy-sound"):
        assert part in words
    assert json.loads(denoise("models", "toy-sound", "--json").stdout)["name"] == "toy-sound"


def test_doctor_tries_things_and_prints_data_only() -> None:
    result = denoise("doctor", "--json")
    rows = json.loads(result.stdout)
    found = {(row["topic"], row["name"]): row for row in rows}
    assert found["device", "cpu"]["works"]
    assert found["onnx provider", "CPUExecutionProvider"]["works"]
    assert {"version", "processor", "device", "onnx provider", "codec", "resampler", "models"} <= {
        topic for topic, _ in found
    }
    assert ".wav" in found["files", "sound"]["detail"]
    assert "| onnx provider | CPUExecutionProvider" in denoise("doctor").stdout


def test_doctor_believes_no_list_of_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    from denoise.doctor import providers

    def session(*_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    (finding,) = providers()
    assert not finding.works
    assert "CPUExecutionProvider does the work" in finding.detail


def test_bench_calls_the_module_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from denoise.measure import bench

    (tmp_path / "bench_toy.py").write_text('"""How toys do.\n\nMore."""\n')
    monkeypatch.setattr(bench, "HERE", tmp_path)

    def run(wish: bench.Wish) -> Iterator[bench.Row]:
        wish.tell("one of two")
        yield {"method": wish.model, "psnr_db": 30.0, "limit": wish.limit}
        yield {"method": "noisy", "psnr_db": float("nan"), "limit": None}

    monkeypatch.setitem(sys.modules, "denoise.measure.bench_toy", SimpleNamespace(run=run))
    assert json.loads(denoise("bench", "--json").stdout) == [{"bench": "toy", "what": "How toys do."}]
    result = denoise("bench", "toy", "--json", "--model", "m", "--limit", 3)
    assert json.loads(result.stdout)[0] == {"method": "m", "psnr_db": 30.0, "limit": 3}
    assert json.loads(result.stdout)[1]["psnr_db"] is None
    assert "one of two" in result.stderr
    assert denoise("bench", "toy", "-m", "m").stdout.splitlines() == [
        "| method | psnr_db | limit |",
        "| ------ | ------: | ----: |",
        "| m      |   30.00 |       |",
        "| noisy  |         |       |",
    ]


def test_every_bench_says_in_a_line_what_it_is() -> None:
    from denoise.measure.bench import benches

    assert all(what.endswith(".") for what in benches().values())


def test_json_is_json_whatever_was_measured() -> None:
    data = {"a": float("nan"), "b": float("inf"), "c": np.float32(1.5), "d": Path("x"), "e": (1, None, True)}
    assert json.loads(as_json(data)) == {"a": None, "b": "inf", "c": 1.5, "d": "x", "e": [1, None, True]}


def test_a_table_lines_up() -> None:
    lines = as_table([{"a": "one", "b": 1.234567}, {"a": "twenty", "b": 0.01, "c": 5}]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2:] == ["| one    |   1.23 |   |", "| twenty | 0.0100 | 5 |"]


# inspect


def test_inspect_a_picture(tmp_path: Path) -> None:
    noisy = np.clip(128 + np.random.default_rng(0).normal(0, 20, (96, 96, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "a.png")
    found = json.loads(denoise("inspect", tmp_path / "a.png", "--json").stdout)
    assert (found["kind"], found["model"], found["device"]) == ("picture", "toy-picture", zoo_device())
    assert "96 × 96" in found["what"]
    assert found["noise"]
    assert 0 < found["seconds_to_clean"] < 5
    text = denoise("inspect", tmp_path / "a.png").stdout
    assert found["noise"] in text
    assert "toy-picture" in text


@pytest.fixture
def struck(shelf: Path, tmp_path: Path) -> Path:
    """A folder of two pictures, one of them with salt and pepper, for which toy-owl is better than the usual model."""
    shutil.copytree(shelf / "toy-picture", shelf / "toy-owl")
    cards = {name: shelf / name / "model.toml" for name in ("toy-picture", "toy-owl")}
    owl = cards["toy-picture"].read_text().replace("toy-picture", "toy-owl").replace("default", "other")
    cards["toy-owl"].write_text(owl)
    with cards["toy-picture"].open("a") as card:
        card.write('\n[struck]\nmodel = "toy-owl"\n')
    dice = np.random.default_rng(0)
    grey = np.full((96, 96, 3), 128, np.uint8)
    peppered = np.where(dice.random(grey.shape) < 0.05, 255 * dice.integers(0, 2, grey.shape), grey).astype(np.uint8)
    (tmp_path / "in").mkdir()
    for name, pixels in (("grey.png", grey), ("peppered.png", peppered)):
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    return tmp_path / "in"


def test_inspect_names_the_model_for_salt_and_pepper(struck: Path) -> None:
    found = [json.loads(denoise("inspect", path, "--json").stdout) for path in sorted(struck.iterdir())]
    assert [one["model"] for one in found] == ["toy-picture", "toy-owl"]
    assert "salt and pepper" in found[1]["noise"]


def cleaned(*words: object) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = json.loads(denoise("clean", *words, "--json").stdout)["files"]
    return files


def test_salt_and_pepper_is_left_to_the_model_for_it(struck: Path, tmp_path: Path) -> None:
    found = cleaned(struck, "-o", tmp_path / "out")
    assert [file["model"] for file in found] == ["toy-picture", "toy-owl"]
    assert [any("toy-owl cleans it" in note for note in file["notes"]) for file in found] == [False, True]
    assert [file["status"] for file in cleaned(struck, "-o", tmp_path / "out", "--set", "dim=0.5")] == ["skipped"] * 2
    assert [file["status"] for file in cleaned(struck, "-o", tmp_path / "out")] == ["skipped", "skipped"]
    pixels = np.asarray(Image.open(struck / "peppered.png"))
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([pixels, pixels[::-1]]), photometric="rgb")
    (file,) = cleaned(tmp_path / "stack.tif")
    assert file["model"] == "toy-owl"
    assert sum("toy-owl" in note for note in file["notes"]) == 1, "once for all pages"


@pytest.mark.parametrize("asked", [("--model", "toy-picture"), ("--set", "dim=0.3"), ("--passes", 2)])
def test_who_asks_for_something_else_is_told_of_the_model_for_salt_and_pepper(
    struck: Path, tmp_path: Path, asked: tuple[object, ...]
) -> None:
    found = cleaned(struck, "-o", tmp_path / "out", *asked)
    assert [file["model"] for file in found] == ["toy-picture"] * 2
    assert [any("--model toy-owl" in note for note in file["notes"]) for file in found] == [False, True]


def test_another_model_for_salt_and_pepper_makes_another_result(struck: Path, shelf: Path) -> None:
    before = [Recipe().signature("picture"), Recipe("toy-picture").signature("picture")]
    card = shelf / "toy-owl" / "model.toml"
    card.write_text('sha256 = "0"\n' + card.read_text())
    after = [Recipe().signature("picture"), Recipe("toy-picture").signature("picture")]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True]


def test_inspect_a_sound(tmp_path: Path) -> None:
    hiss = np.random.default_rng(0).normal(0, 0.01, 3 * RATE)
    soundfile.write(tmp_path / "a.wav", hiss, RATE)
    found = json.loads(denoise("inspect", tmp_path / "a.wav", "--json").stdout)
    assert (found["kind"], found["model"]) == ("audio", "toy-sound")
    assert "dB" in found["noise"]
    assert 0 < found["seconds_to_clean"] < 5


def zoo_device() -> str:
    from denoise.devices import usable

    return usable()[0]


@pytest.mark.parametrize(("given", "found"), [(None, "10000"), ("7", "7")])
def test_threads_of_the_command_do_not_wait_for_long_unless_told(given: str | None, found: str) -> None:
    """And that is settled before PyTorch comes."""
    code = (
        "import os, sys; sys.argv = ['denoise', '--version']\n"
        "from denoise.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    others = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    asked = others | ({"GOMP_SPINCOUNT": given} if given else {})
    done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{found} False"


def test_it_can_be_stopped_while_it_loads() -> None:
    code = (
        "import runpy, sys\n"
        "class Loading:\n"
        "    def __getattr__(self, name): raise KeyboardInterrupt\n"
        "sys.modules['denoise.cli'] = Loading()\n"
        "runpy.run_module('denoise', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "Cancelled.\n")


# compare


def compared(*words: object) -> dict[str, float]:
    return json.loads(denoise("compare", *words, "--json").stdout)


def test_compare_says_that_it_looks_at_the_first_page(tmp_path: Path) -> None:
    page = Image.new("RGB", (40, 30), (90, 80, 70))
    for name, more in (("a", 2), ("b", 2), ("c", 1)):
        page.save(tmp_path / f"{name}.tif", save_all=True, append_images=[page] * more)
    result = denoise("compare", tmp_path / "a.tif", tmp_path / "b.tif")
    assert "Of their 3 pages the first is compared." in result.stderr
    result = denoise("compare", tmp_path / "a.tif", tmp_path / "c.tif")
    assert result.exit_code == 2
    assert "has 3 page(s)" in result.stderr


def test_compare_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ramp = np.tile(np.linspace(50, 200, 600), (400, 1))[..., None].repeat(3, 2)
    noise = rng.normal(0, 10, ramp.shape)
    noise[:, :256] *= 0.1
    for name, pixels in (("noisy", ramp + noise), ("clean", ramp)):
        Image.fromarray(np.rint(pixels).astype(np.uint8)).save(tmp_path / f"{name}.png")
    numbers = compared(tmp_path / "noisy.png", tmp_path / "clean.png", "-o", tmp_path / "c.png")
    rms = np.sqrt(np.mean(np.square(noise)))
    assert numbers["removed_rms_of_255"] == pytest.approx(rms, rel=0.02)
    assert numbers["psnr_between_db"] == pytest.approx(20 * np.log10(255 / rms), abs=0.1)
    assert abs(numbers["brightness_change_of_255"]) < 0.1
    assert abs(numbers["removed_like_picture"]) < 0.01
    drawing = Image.open(tmp_path / "c.png")
    assert drawing.size == (3 * 256 + 4 * 8, 2 * (256 + 24) + 3 * 8)
    removed = [np.asarray(drawing.crop((536, top, 792, top + 256))).std() for top in (32, 320)]
    assert removed[0] > 5 * removed[1], "most changed above, least changed below"


def test_compare_shows_what_was_taken_of_the_picture_itself(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(50, 200, dtype=np.uint8), (100, 1))
    for name, pixels in (("noisy", ramp), ("dull", ramp // 2)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    numbers = compared(tmp_path / "noisy.png", tmp_path / "dull.png")
    assert numbers["removed_like_picture"] > 0.99
    assert numbers["brightness_change_of_255"] == pytest.approx(-62.5, abs=0.6)


def test_compare_what_was_not_changed(tmp_path: Path) -> None:
    picture, sound = photo(tmp_path / "a.png"), tone(tmp_path / "a.wav")
    assert compared(picture, picture)["psnr_between_db"] == "inf"
    assert compared(sound, sound) | {"removed_like_sound": None} == {
        "removed_energy_db": "-inf",
        "removed_share_of_energy": 0.0,
        "level_change_db": 0.0,
        "removed_peak_dbfs": "-inf",
        "removed_like_sound": None,
    }


@pytest.mark.parametrize("seconds", [0.3, 50.0])
def test_compare_sounds(tmp_path: Path, seconds: float) -> None:
    loud = tone(tmp_path / "loud.wav", seconds, 2, 0.5)
    soft = tone(tmp_path / "soft.wav", seconds, 2, 0.25)
    numbers = compared(loud, soft, "-o", tmp_path / "c.png")
    assert numbers["level_change_db"] == pytest.approx(-6.02, abs=0.01)
    assert numbers["removed_energy_db"] == pytest.approx(-6.02, abs=0.01)
    assert numbers["removed_share_of_energy"] == pytest.approx(0.25, abs=1e-4)
    assert numbers["removed_peak_dbfs"] == pytest.approx(-12.04, abs=0.01)
    assert numbers["removed_like_sound"] == pytest.approx(1, abs=1e-4)
    assert Image.open(tmp_path / "c.png").format == "PNG"


# measure


def test_measure_against_originals_and_their_mean(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, sigma in (("a", 5), ("b", 10)):
        clean = rng.integers(60, 190, (40, 40, 3))
        for folder, pixels in (("clean", clean), ("noisy", clean + rng.normal(0, sigma, clean.shape))):
            (tmp_path / folder / "sub").mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.rint(pixels).astype(np.uint8)).save(tmp_path / folder / "sub" / f"{name}.png")
    found = json.loads(denoise("measure", tmp_path / "noisy", "-r", tmp_path / "clean", "--json").stdout)
    psnr = {Path(file["file"]).stem: file["psnr"] for file in found["files"]}
    assert psnr == {"a": pytest.approx(34.1, abs=0.2), "b": pytest.approx(28.1, abs=0.2)}
    assert found["mean"]["psnr"] == pytest.approx(sum(psnr.values()) / 2)
    assert found["measured"] == 2
    table = denoise("measure", tmp_path / "noisy", "-r", tmp_path / "clean").stdout.splitlines()
    assert table[-1].startswith("| mean of 2")


def test_measure_finds_originals_of_marked_results_and_of_other_formats(tmp_path: Path) -> None:
    for name in ("clean/a.png", "clean/b.tif", "clean/c.bmp", "r/a.clean.png", "r/b.png", "r/c.clean.webp"):
        photo(tmp_path / name)
    found = json.loads(denoise("measure", tmp_path / "r", "-r", tmp_path / "clean", "--json").stdout)
    partners = {Path(file["file"]).name: Path(file["reference"]).name for file in found["files"]}
    assert partners == {"a.clean.png": "a.png", "b.png": "b.tif", "c.clean.webp": "c.bmp"}
    assert found["files"][0]["psnr"] == "inf"


def test_measure_takes_no_file_for_its_own_original(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    denoise("clean", tmp_path / "a.png")
    result = denoise("measure", tmp_path, "-r", tmp_path, "--json")
    files = json.loads(result.stdout)["files"]
    references = {Path(each["file"]).name: each["reference"] for each in files}
    assert references == {"a.clean.png": str(tmp_path / "a.png"), "a.png": None}
    assert f"no other a.png in {tmp_path}" in result.stderr
    assert result.exit_code == 3


def test_measure_goes_on_after_a_bad_file(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    result = denoise("measure", tmp_path, "-r", tmp_path / "a.png", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["measured"] == 1
    assert result.stderr.count("b.png") == 1


def test_measure_sound_without_an_original(tmp_path: Path) -> None:
    pytest.importorskip("speechmos")
    sound = tone(tmp_path / "a.wav", 2)
    (file,) = json.loads(denoise("measure", sound, "--json").stdout)["files"]
    assert set(file) == {"file", "reference", "error", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl"}
    assert 1 <= file["dnsmos_ovrl"] <= 5


def test_measure_says_which_scores_it_cannot_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("denoise.measure.files.NEEDS", {"pesq": "no_such_package", "dnsmos": "no_such_package"})
    sound = tone(tmp_path / "a.wav", 2)
    result = denoise("measure", sound, "-r", sound, "--json")
    assert "pesq is left out: it needs the package no_such_package" in result.stderr
    (file,) = json.loads(result.stdout)["files"]
    assert "pesq" not in file
    assert file["stoi"] > 0.99


# The real thing


def needs(name: str) -> None:
    if name not in zoo.cards():
        pytest.skip(f"the model {name} is not there")


def test_the_real_models_from_the_shell(tmp_path: Path) -> None:
    needs("speech-fast")
    needs("photo")
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", rng.normal(0, 0.05, (16000, 2)), 16000, "PCM_16")
    Image.fromarray(rng.integers(100, 140, (48, 40, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    own = {key: value for key, value in os.environ.items() if key != "DENOISE_MODELS"}
    line = [*START, "clean", tmp_path / "a.wav", tmp_path / "a.png", "-o", tmp_path / "out", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, env=own, check=True)
    report = json.loads(done.stdout)
    assert [file["model"] for file in report["files"]] == ["speech-fast", "photo"]
    assert len(report["files"][1]["model_sha256"]) == 64
    before, after = (soundfile.read(path)[0] for path in (tmp_path / "a.wav", tmp_path / "out" / "a.wav"))
    assert after.shape == before.shape
    assert after.std() < 0.5 * before.std()
    assert np.asarray(Image.open(tmp_path / "out" / "a.png")).std() < 6


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen([*START, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""


def test_ctrl_c_in_a_real_process_leaves_nothing_half_written(tmp_path: Path) -> None:
    needs("spectral")
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).normal(0, 0.05, 120 * 48000), 48000, "PCM_16")
    own = {key: value for key, value in os.environ.items() if key != "DENOISE_MODELS"}
    before = tree(tmp_path)
    with subprocess.Popen([*START, "clean", "long.wav"], stderr=subprocess.PIPE, cwd=tmp_path, env=own) as running:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) == 1 and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(list(tmp_path.iterdir())) == 2, "a draft lies beside the result to be"
        running.send_signal(signal.SIGINT)
        _, talk = running.communicate(timeout=60)
    assert running.returncode == 130
    assert b"Cancelled, nothing half-written" in talk
    assert tree(tmp_path) == before
