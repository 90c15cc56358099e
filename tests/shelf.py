"""A shelf with two tiny models, so that commands can be tried without weights: each makes its signal half as large."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner, Result

from denoise.cli import app
from denoise.methods.method import Method, method
from denoise.restorer import Knob

DIM = Knob("dim", 0.5, 0, 1, 0.1, "What the signal is multiplied by.")
RATE = 8000
during: list[Callable[[], None]] = []
"""What is to happen while a piece is restored: a place to press Ctrl-C, or to break."""


@method("toy_picture")
class ToyPicture(Method):
    channels = None
    piece = 128
    knobs = (DIM,)

    def forward(self, noisy: Tensor, survey: Tensor | None = None, dim: float = 0.5) -> Tensor:
        for act in during:
            act()
        return noisy * dim


@method("toy_sound")
class ToySound(Method):
    kind = "audio"
    channels = None
    piece = 6000  # at 48 kHz
    knobs = (DIM, Knob("floor", 0, 0, 3, 1, "Does nothing.", ("none", "low", "middle", "high")))

    def forward(
        self, noisy: Tensor, survey: Tensor | None = None, dim: float = 0.5, floor: float = 0, rate: float = RATE
    ) -> Tensor:
        for act in during:
            act()
        return noisy * dim


def shelve(shelf: Path) -> Path:
    """The folder that DENOISE_MODELS is to name."""
    for name, kind in (("toy-picture", "picture"), ("toy-sound", "audio")):
        (shelf / name).mkdir(parents=True)
        card = f'name = "{name}"\nkind = "{kind}"\nmethod = "{name.replace("-", "_")}"\ndefault = true\n'
        more = 'summary = "Half of it."\nlicence = "MIT"\n\n[scores]\npsnr_db = 31.5\n'
        (shelf / name / "model.toml").write_text(card + more)
        (shelf / name / "README.md").write_text(f"# {name}\nFor tests.\n")
    return shelf


def denoise(*words: object) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def photo(path: Path, height: int = 24, width: int = 32, value: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.full((height, width, 3), value, np.uint8) - np.arange(width, dtype=np.uint8)[None, :, None]
    Image.fromarray(ramp).save(path)
    return path


def tone(path: Path, seconds: float = 0.5, channels: int = 1, level: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
    soundfile.write(path, np.repeat(wave[:, None], channels, 1), RATE, "PCM_24")
    return path


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below and its content, hidden ones too: two are equal when nothing was written."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}
