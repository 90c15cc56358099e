"""Peak memory of an hour of sound and of a 100-megapixel picture, each through `denoise clean` in a fresh process.

--model takes another model for its kind only. --limit makes it that many minutes and that many megapixels, for a
quick look. The files are made in the folder for temporary files and removed: 1.5 GB at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denoise import zoo
from denoise.errors import UserError
from denoise.measure.bench import Row, Wish
from denoise.signals import Kind

RATE, CHANNELS, MINUTES = 48_000, 2, 60
MEGAPIXELS = 100
ROWS = 256  # of a picture made at a time
GIGABYTE = 1e9
CHILD = "from denoise.measure.bench_memory import child; child()"


@dataclass(frozen=True)
class Trial:
    """A file that is large, and how much memory it may take to clean it."""

    kind: Kind
    what: str  # with a place for its size
    size: int
    suffix: str
    ceiling_gb: float
    make: Callable[[Path, int], None]


def run(wish: Wish) -> Iterator[Row]:
    for trial in TRIALS:
        card = zoo.find(wish.model) if wish.model else zoo.default_for(trial.kind)
        if card.kind == trial.kind:
            yield tried(trial, card.name, min(wish.limit or trial.size, trial.size), wish)


def tried(trial: Trial, model: str, size: int, wish: Wish) -> Row:
    what = trial.what.format(size)
    with TemporaryDirectory(prefix="denoise-bench-") as folder:
        path = Path(folder) / f"large{trial.suffix}"
        wish.tell(f"Making {what}")
        trial.make(path, size)
        wish.tell(f"Cleaning it with {model}")
        words = ["clean", str(path), "-o", str(Path(folder) / "out"), "--model", model]
        words += ["--engine", wish.engine, "--device", wish.device]
        found = in_fresh_process(words)
    return {
        "what": what,
        "model": model,
        "engine": wish.engine,
        "peak_gb": round(found["peak_bytes"] / GIGABYTE, 2),
        "ceiling_gb": trial.ceiling_gb,
        "below": "yes" if found["peak_bytes"] <= trial.ceiling_gb * GIGABYTE else "no",
        "seconds": round(found["seconds"], 1),
    }


def in_fresh_process(words: list[str]) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", CHILD, *words], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise UserError(f"`denoise {' '.join(words)}` failed: {said[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def child() -> None:
    """The command as any user runs it; then, on the last line, what it took."""
    from denoise.cli import app

    begin, code = time.perf_counter(), 0
    try:
        app(sys.argv[1:])
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stdout.write(json.dumps({"peak_bytes": peak_bytes(), "seconds": time.perf_counter() - begin}) + "\n")
    sys.exit(code)


def peak_bytes() -> int:
    """The most memory that this process held. Linux counts its parent's too in ru_maxrss, so that is second best."""
    import resource

    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(lines["VmHWM"].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# Large files, made piece by piece


def hour(path: Path, minutes: int) -> None:
    """A chord that comes and goes, in noise."""
    import soundfile

    with soundfile.SoundFile(path, "w", RATE, CHANNELS, "PCM_16") as sound:
        for second in range(60 * minutes):
            sound.write(chord(second))


def chord(second: int) -> NDArray[np.float32]:
    at = second + np.arange(RATE) / RATE
    tones = sum(np.sin(2 * np.pi * pitch * at) for pitch in (220.0, 277.2, 329.6)) * np.abs(np.sin(at))
    noise = np.random.default_rng(second).standard_normal((RATE, CHANNELS), np.float32)
    both: NDArray[np.float32] = (0.1 * tones[:, None] + 0.02 * noise).astype(np.float32)
    return both


def panorama(path: Path, megapixels: int) -> None:
    """Soft hills in noise, 16 bits, three colours, in strips."""
    import tifffile

    side = round(sqrt(megapixels * 1e6))
    strips = (hills(top, min(ROWS, side - top), side) for top in range(0, side, ROWS))
    tifffile.imwrite(
        path, strips, shape=(side, side, 3), dtype=np.uint16, rowsperstrip=ROWS, photometric="rgb", bigtiff=False
    )


def hills(top: int, rows: int, width: int) -> NDArray[np.uint16]:
    down, across = np.ogrid[top : top + rows, :width]
    height = (np.sin(down / 211) * np.cos(across / 307))[..., None] * np.array([0.2, 0.25, 0.3]) + 0.5
    noise = np.random.default_rng(top).standard_normal((rows, width, 3), np.float32)
    levels: NDArray[np.uint16] = np.clip(65535 * (height + 0.05 * noise), 0, 65535).astype(np.uint16)
    return levels


TRIALS = (
    Trial("audio", "{} minutes of 48 kHz stereo, 16-bit WAV", MINUTES, ".wav", 1.5, hour),
    Trial("audio", "{} minutes of 48 kHz stereo, 16-bit FLAC", MINUTES, ".flac", 1.5, hour),
    Trial("picture", "{} megapixels, 16-bit RGB TIFF", MEGAPIXELS, ".tif", 3.0, panorama),
)
