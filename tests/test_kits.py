"""Kits for other programs: each is run, on graphs and golden vectors that are made here from the shipped models."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browser import opened, strangers
from numpy.typing import NDArray
from PIL import Image
from shelf import denoise

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnxscript", reason="the exporter is not installed")

pytestmark = pytest.mark.timeout(600)  # three graphs are made, and node's packages may have to be fetched
ROOT = Path(__file__).parents[1]
KITS = ROOT / "export"
MODELS = ("speech-fast", "speech-fast-live", "photo")
ALONE = "import runpy, sys; sys.modules.update(torch=None, denoise=None); sys.argv[:] = sys.argv[1:]; "
ALONE += "runpy.run_path(sys.argv[0], run_name='__main__')"
WAIT_MS = 120_000


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Graphs and golden vectors, a voice and a picture."""
    folder = tmp_path_factory.mktemp("kit")
    for words in (["speech-fast"], ["speech-fast", "--live"], ["photo"]):
        done = denoise("export", *words, "-o", folder, "--golden")
        assert done.exit_code == 0, done.stderr
    voice, rate = soundfile.read(ROOT / "samples" / "voice.wav", stop=20_000, dtype="int16")
    soundfile.write(folder / "noisy.wav", voice, rate)
    with Image.open(ROOT / "samples" / "photo.png") as photo:
        small = photo.convert("RGB").crop((100, 60, 161, 108))
    small.save(folder / "noisy.png")
    small.save(folder / "noisy.ppm")
    return folder


def test_a_kit_is_graphs_and_what_to_compare_with(kit: Path) -> None:
    names = {path.name for path in kit.iterdir() if path.suffix in (".onnx", ".json")}
    assert names == {f"{model}{ending}" for model in MODELS for ending in (".onnx", ".golden.json")}
    for model in MODELS:
        golden = json.loads((kit / f"{model}.golden.json").read_text())
        noisy, *restored = (unpacked(part) for part in (golden["noisy"], *(c["restored"] for c in golden["cases"])))
        assert [case["settings"]["strength"] for case in golden["cases"]] == [1, 0.5]
        for one in restored:
            assert one.shape == noisy.shape
            assert np.abs(one - noisy).max() > 0.02, "something was done"


def unpacked(values: dict[str, str]) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(values["data"]), "<f4").reshape(values["shape"])


def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=cwd, timeout=300)


def spoilt(kit: Path, model: str, folder: Path) -> Path:
    """Golden vectors of which one number is off by 0.001."""
    golden = json.loads((kit / f"{model}.golden.json").read_text())
    values = unpacked(golden["cases"][-1]["restored"]).copy()
    values.flat[-1] += 1e-3
    golden["cases"][-1]["restored"]["data"] = base64.b64encode(values.tobytes()).decode()
    (folder / "spoilt.json").write_text(json.dumps(golden))
    return folder / "spoilt.json"


def own_result(kit: Path, name: str, model: str, tmp_path: Path) -> Path:
    """What our own command makes of it."""
    target = tmp_path / f"own-{name}"
    done = denoise("clean", kit / name, "-o", target, "--model", model, "--strength", 0.75)
    assert done.exit_code == 0, done.stderr
    return target


def levels_apart(one: Path, other: Path) -> int:
    """Of two sounds of 16 bits, or two pictures of 8."""

    def values(path: Path) -> NDArray[np.int64]:
        if path.suffix == ".wav":
            return soundfile.read(path, dtype="int16")[0].astype(np.int64)
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"), np.int64)

    return int(np.abs(values(one) - values(other)).max())


# Python


def python(*words: object) -> subprocess.CompletedProcess[str]:
    """Without PyTorch, and without this package."""
    return run(sys.executable, "-c", ALONE, KITS / "python" / "clean.py", *words)


@pytest.mark.parametrize("model", MODELS)
def test_python_computes_what_pytorch_does(kit: Path, tmp_path: Path, model: str) -> None:
    good = python(kit / f"{model}.onnx", "--golden", kit / f"{model}.golden.json")
    assert good.returncode == 0, good.stdout + good.stderr
    bad = python(kit / f"{model}.onnx", "--golden", spoilt(kit, model, tmp_path))
    assert (bad.returncode, bad.stdout.split()[1]) == (1, "1.0e-03")


@pytest.mark.parametrize(
    ("model", "name", "own"),
    [
        ("speech-fast", "noisy.wav", "speech-fast"),
        ("speech-fast-live", "noisy.wav", "speech-fast"),
        ("photo", "noisy.png", "photo"),
    ],
)
def test_python_cleans_a_file(kit: Path, tmp_path: Path, model: str, name: str, own: str) -> None:
    done = python(kit / f"{model}.onnx", kit / name, tmp_path / name, "--set", "strength=0.75")
    assert done.returncode == 0, done.stderr
    assert levels_apart(tmp_path / name, own_result(kit, name, own, tmp_path)) <= (4 if name == "noisy.wav" else 1)
    assert levels_apart(tmp_path / name, kit / name) > 10


def test_python_says_what_is_wrong(kit: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", np.zeros(4800), 48_000)
    done = python(kit / "speech-fast.onnx", tmp_path / "fast.wav", tmp_path / "out.wav")
    assert done.returncode != 0
    assert "has 48000 Hz, and speech-fast works at 16000 Hz" in done.stderr
    done = python(kit / "photo.onnx", kit / "noisy.png", tmp_path / "out.png", "--set", "iteration=2")
    assert "has no iteration; it has noisy, strength, noise, colour, luminance, detail" in done.stderr
    assert not list(tmp_path.glob("out.*"))


# JavaScript


def node_packages(config: pytest.Config, package: str) -> Path:
    """The folder node_modules that has it: that of the kit, or one that is fetched once into pytest's cache."""
    own = KITS / "node" / "node_modules"
    if (own / package).is_dir():
        return own
    if shutil.which("npm") is None or config.cache is None:
        pytest.skip("npm is not installed")
    kept = config.cache.mkdir("kits")
    if not (kept / "node_modules" / package).is_dir():
        fetched = run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", kept, package)
        if fetched.returncode or not (kept / "node_modules" / package).is_dir():
            pytest.skip(f"{package} cannot be fetched here: {fetched.stderr.strip()[-200:]}")
    return kept / "node_modules"


@pytest.fixture(scope="module")
def node(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit for node, with its packages."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    packages = node_packages(pytestconfig, "onnxruntime-node")
    folder = tmp_path_factory.mktemp("node-kit")
    (folder / "node").mkdir()
    (folder / "web").mkdir()
    shutil.copy(KITS / "node" / "clean.mjs", folder / "node")
    shutil.copy(KITS / "web" / "denoise.mjs", folder / "web")
    (folder / "node" / "node_modules").symlink_to(packages)
    return folder / "node"


@pytest.mark.parametrize("model", MODELS)
def test_node_computes_what_pytorch_does(kit: Path, node: Path, tmp_path: Path, model: str) -> None:
    good = run("node", "clean.mjs", kit / f"{model}.onnx", "--golden", kit / f"{model}.golden.json", cwd=node)
    assert good.returncode == 0, good.stdout + good.stderr
    bad = run("node", "clean.mjs", kit / f"{model}.onnx", "--golden", spoilt(kit, model, tmp_path), cwd=node)
    assert (bad.returncode, bad.stdout.split()[1]) == (1, "1.0e-3")


@pytest.mark.parametrize(("model", "name"), [("speech-fast", "noisy.wav"), ("photo", "noisy.ppm")])
def test_node_cleans_a_file(kit: Path, node: Path, tmp_path: Path, model: str, name: str) -> None:
    words = [kit / f"{model}.onnx", kit / name, tmp_path / name, "strength=0.75"]
    done = run("node", "clean.mjs", *words, cwd=node)
    assert done.returncode == 0, done.stderr
    like = name.replace(".ppm", ".png")
    assert levels_apart(tmp_path / name, own_result(kit, like, model, tmp_path)) <= (4 if name == "noisy.wav" else 1)


def in_another_way(kit: Path, folder: Path, subtype: str, format: str) -> Path:
    """The voice in a WAV of another kind."""
    voice, rate = soundfile.read(kit / "noisy.wav", dtype="float32")
    soundfile.write(folder / f"{subtype}-{format}.wav", voice, rate, subtype, format=format)
    return folder / f"{subtype}-{format}.wav"


READ = [("FLOAT", "WAV"), ("FLOAT", "WAVEX"), ("PCM_16", "WAVEX")]
REFUSED = [("PCM_32", "WAV"), ("PCM_32", "WAVEX"), ("PCM_24", "WAV")]


def test_node_takes_no_whole_numbers_for_floats(kit: Path, node: Path, tmp_path: Path) -> None:
    words, out = ("node", "clean.mjs", kit / "speech-fast.onnx"), tmp_path / "out.wav"
    for kind in REFUSED:
        done = run(*words, in_another_way(kit, tmp_path, *kind), out, cwd=node)
        assert done.returncode == 2, kind
        assert "a WAV of 16 bits or of 32-bit floats is wanted" in done.stderr
    assert not out.exists()
    assert run(*words, kit / "noisy.wav", tmp_path / "usual.wav", cwd=node).returncode == 0
    for kind in READ:
        assert run(*words, in_another_way(kit, tmp_path, *kind), out, cwd=node).returncode == 0, kind
        assert levels_apart(out, tmp_path / "usual.wav") == 0


# C++


@pytest.fixture(scope="module")
def cpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, made from the kit and the library that the Python package brings along."""
    import onnxruntime

    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    libraries = [*(Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")]
    if not libraries:
        pytest.skip("this ONNX Runtime brings no libonnxruntime.so")
    folder = tmp_path_factory.mktemp("cpp-kit")
    (folder / "libonnxruntime.so.1").symlink_to(libraries[0])
    words = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", KITS / "cpp" / "clean.cpp"]
    made = run(compiler, *words, "-o", folder / "clean", folder / "libonnxruntime.so.1", "-Wl,-rpath,$ORIGIN")
    assert made.returncode == 0, made.stderr
    return folder / "clean"


@pytest.mark.parametrize("model", MODELS)
def test_cpp_computes_what_pytorch_does(kit: Path, cpp: Path, tmp_path: Path, model: str) -> None:
    good = run(cpp, kit / f"{model}.onnx", "--golden", kit / f"{model}.golden.json")
    assert good.returncode == 0, good.stdout + good.stderr
    bad = run(cpp, kit / f"{model}.onnx", "--golden", spoilt(kit, model, tmp_path))
    assert (bad.returncode, bad.stdout.split()[1]) == (1, "1.0e-03")


@pytest.mark.parametrize(
    ("model", "name"), [("speech-fast", "noisy.wav"), ("speech-fast-live", "noisy.wav"), ("photo", "noisy.ppm")]
)
def test_cpp_cleans_a_file(kit: Path, cpp: Path, tmp_path: Path, model: str, name: str) -> None:
    done = run(cpp, kit / f"{model}.onnx", kit / name, tmp_path / name, "strength=0.75")
    assert done.returncode == 0, done.stderr
    own = own_result(kit, name.replace(".ppm", ".png"), model.removesuffix("-live"), tmp_path)
    assert levels_apart(tmp_path / name, own) <= (4 if name == "noisy.wav" else 1)
    assert levels_apart(tmp_path / name, kit / name) > 10


def test_cpp_says_what_is_wrong(kit: Path, cpp: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", np.zeros(4800), 48_000)
    model, out = kit / "speech-fast.onnx", tmp_path / "out.wav"
    cases = {
        "has 48000 Hz, and the model works at 16000 Hz": (model, tmp_path / "fast.wav", out),
        "speech-fast has no iterations": (model, kit / "noisy.wav", out, "iterations=2"),
        "a WAV of 16 bits or of 32-bit floats is wanted": (model, kit / "noisy.png", out),
        "cannot be read": (model, tmp_path / "none.wav", out),
    }
    for sentence, words in cases.items():
        done = run(cpp, *words)
        assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    assert not out.exists()


def test_cpp_takes_no_whole_numbers_for_floats(kit: Path, cpp: Path, tmp_path: Path) -> None:
    model, out = kit / "speech-fast.onnx", tmp_path / "out.wav"
    for kind in REFUSED:
        done = run(cpp, model, in_another_way(kit, tmp_path, *kind), out)
        assert done.returncode == 2, kind
        assert "a WAV of 16 bits or of 32-bit floats is wanted" in done.stderr
    assert not out.exists()
    assert run(cpp, model, kit / "noisy.wav", tmp_path / "usual.wav").returncode == 0
    for kind in READ:
        assert run(cpp, model, in_another_way(kit, tmp_path, *kind), out).returncode == 0, kind
        assert levels_apart(out, tmp_path / "usual.wav") == 0


# The browser


class Quiet(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(pytestconfig: pytest.Config, kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page with its runtime and the kit beside it, on this machine alone."""
    runtime = node_packages(pytestconfig, "onnxruntime-web") / "onnxruntime-web" / "dist"
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(KITS / "web", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("ort"))
    (folder / "ort").mkdir()
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        os.symlink(runtime / name, folder / "ort" / name)
    os.symlink(kit, folder / "kit")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


GOLDEN = """async (model) => {
  const ort = await import("/ort/ort.wasm.min.mjs");
  const { Graph, largestDifference } = await import("/denoise.mjs");
  ort.env.wasm.wasmPaths = "/ort/";
  const bytes = new Uint8Array(await (await fetch(`/kit/${model}.onnx`)).arrayBuffer());
  const graph = await Graph.open(ort, bytes);
  return largestDifference(graph, await (await fetch(`/kit/${model}.golden.json`)).json());
}"""
SOUND = """async () => {
  const bytes = await (await fetch(document.querySelectorAll("audio")[1].src)).arrayBuffer();
  return Array.from(new Float32Array(bytes.slice(44)));
}"""
PIXELS = """() => {
  const after = document.querySelectorAll("canvas")[1];
  return Array.from(after.getContext("2d").getImageData(0, 0, after.width, after.height).data);
}"""


@pytest.mark.browser
def test_the_page_computes_what_pytorch_does_and_sends_nothing(kit: Path, site: str, tmp_path: Path) -> None:
    with opened() as browser:
        page = browser.new_page()
        away, faults = strangers(page), []
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.goto(f"{site}/index.html")
        for model in MODELS:
            assert page.evaluate(GOLDEN, model) <= 1e-4, model

        page.set_input_files("#graph", kit / "speech-fast.onnx")
        page.get_by_text("speech-fast is ready").wait_for(timeout=WAIT_MS)
        page.set_input_files("#file", kit / "noisy.wav")
        page.get_by_text("noisy.wav was cleaned").wait_for(timeout=WAIT_MS)
        sound = np.array(page.evaluate(SOUND))
        own = tmp_path / "own.wav"
        assert denoise("clean", kit / "noisy.wav", "-o", own).exit_code == 0
        assert np.abs(sound - soundfile.read(own)[0]).max() <= 2e-4

        page.set_input_files("#file", [])
        page.set_input_files("#graph", kit / "photo.onnx")
        page.set_input_files("#file", kit / "noisy.png")
        page.get_by_text("noisy.png was cleaned").wait_for(timeout=WAIT_MS)
        pixels = np.array(page.evaluate(PIXELS)).reshape(48, 61, 4)[..., :3]
        own = tmp_path / "own.png"
        assert denoise("clean", kit / "noisy.png", "-o", own).exit_code == 0
        with Image.open(own) as image:
            assert np.abs(pixels - np.asarray(image.convert("RGB"), int)).max() <= 1
        assert (away, faults) == ([], [])


def test_what_is_kept_here_is_small() -> None:
    tracked = run("git", "ls-files", "-z", "export", cwd=ROOT).stdout.split("\0")
    assert all((ROOT / name).stat().st_size < 200_000 for name in tracked if name)
    for kit in (name for name in tracked if name.endswith((".py", ".mjs", ".cpp", ".hpp"))):
        assert len((ROOT / kit).read_text().splitlines()) <= 150
