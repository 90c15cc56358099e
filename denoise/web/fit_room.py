"""A camera's noise from its own dark and flat frames, in words, as curves, and as a file for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile

import gradio as gr
import numpy as np

from denoise.errors import UserError
from denoise.media.find import suffixes
from denoise.noise.laws import TILES
from denoise.web.charts import Axis, Curve, chart
from denoise.web.controls import ONE_AT_A_TIME
from denoise.web.folder_order import taken_in
from denoise.web.gate import at_home
from denoise.web.order import excuse
from denoise.web.shelf import download_of, fresh, nothing_to_download, shelf
from denoise.web.turns import awaited, turn, untold
from denoise.web.words import refused, said

if TYPE_CHECKING:
    from denoise.noise.camera_file import CameraFile

ROOM = "fit"
WHAT = """Take some frames with the lens capped (4 or more), and pairs of frames of an evenly lit wall at several
exposures, all at one ISO. Camera raw files tell their levels; for `.npy` and TIFF mosaics fill them in."""
NAME = "my-camera.toml"
DARKS, FLATS, EXPOSURES, SIDE = 8, 2, (0.05, 0.15, 0.3, 0.6), 192  # of the example
BLACK_DN = 512.0
GAIN_DN_PER_E = 1.5
POINTS = 120
LEVELS = ("Black", "White")


@dataclass(frozen=True)
class Form:
    darks: gr.File
    flats: gr.File
    gain: gr.Number
    black: gr.Number
    white: gr.Number
    cfa: gr.Dropdown
    iso: gr.Number
    name: gr.Textbox

    @classmethod
    def drawn(cls) -> Form:
        gr.Markdown(WHAT)
        endings = sorted({".npy", ".tif", ".tiff", *suffixes("raw")})
        darks, flats = (
            at_home(
                gr.File(
                    interactive=True,
                    label=label,
                    file_count="multiple",
                    file_types=endings,
                    height=110,
                    elem_id=f"{ROOM}-{what}-upload",
                )
            )
            for label, what in (("Dark frames", "darks"), ("Flat frames, if there are any", "flats"))
        )
        with gr.Accordion("What the files do not tell", open=False):
            told = "Empty: by the files."
            gain = gr.Number(None, minimum=0, label="Gain, DN per electron", info="Empty: by the flat frames.")
            black, white = (gr.Number(None, minimum=0, label=f"{what} level, DN", info=told) for what in LEVELS)
            cfa = gr.Dropdown([told, *TILES], value=told, label="Colour filter", interactive=True, filterable=False)
            iso = gr.Number(None, minimum=1, precision=0, label="ISO", info=told)
            name = gr.Textbox("", label="Name of the camera", info=told)
        return cls(darks, flats, gain, black, white, cfa, iso, name)

    @property
    def all(self) -> list[Any]:
        return [self.darks, self.flats, self.gain, self.black, self.white, self.cfa, self.iso, self.name]


def fit_room() -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            form = Form.drawn()
            example = gr.Button("Try a virtual camera", size="sm")
            start = gr.Button("Measure the camera", variant="primary", elem_id=f"{ROOM}-start")
        with gr.Column(scale=3, min_width=320):
            outcome = gr.HTML(elem_id=f"{ROOM}-outcome", elem_classes="outcome")
            told = gr.Code(None, language=None, label="The camera", visible=False, elem_id=f"{ROOM}-words")
            curve = gr.HTML(elem_id=f"{ROOM}-curve")
            download = nothing_to_download(ROOM)

    def measure(*typed: Any) -> list[Any]:
        from denoise.noise.portrait import words

        folder = fresh()
        try:
            said_of, file, target = measured(folder, *typed)
        except Exception as trouble:
            return [
                refused(excuse(trouble, shelf())),
                gr.update(visible=False),
                "",
                gr.update(visible=False),
            ]
        return [said(*said_of), gr.update(value=words(file), visible=True), curves(file), download_of(target)]

    shown = [outcome, told, curve, download]
    start.click(measure, form.all, shown, show_progress_on=outcome, **ONE_AT_A_TIME)
    example.click(virtual, None, form.all, api_visibility="private")


def measured(
    folder: Path,
    darks: Sequence[str] | None,
    flats: Sequence[str] | None,
    gain: float | None,
    black: float | None,
    white: float | None,
    cfa: str,
    iso: float | None,
    name: str,
) -> tuple[list[str], CameraFile, Path]:
    """As `denoise noise fit` does it: what it said, what it found, and the file to take home."""
    from denoise.fit.camera import Wish, fit
    from denoise.noise.camera_file import read

    if not darks:
        raise UserError("No dark frames yet; drop some above, or try the virtual camera.")
    told: list[str] = []
    wish = Wish(gain, black, white, cfa if cfa in TILES else None, int(iso) if iso else None, name.strip() or None)
    places = [
        taken_in([Path(one) for one in paths], folder / what) if paths else None
        for what, paths in (("darks", darks), ("flats", flats))
    ]
    with turn(awaited(untold)):
        fit(folder / "darks", folder / "flats" if places[1] else None, wish, folder / NAME, told.append)
    return [line.replace(f"{folder}/", "") for line in told], read(folder / NAME), packed(folder)


def packed(folder: Path) -> Path:
    """With the map of the fixed pattern, where there is one."""
    patterns = sorted(folder.glob("*-pattern*.npy"))
    if not patterns:
        return folder / NAME
    target = folder / "my-camera.zip"
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        for path in (folder / NAME, *patterns):
            archive.write(path, path.name)
    return target


def curves(file: CameraFile) -> str:
    """Variance over the signal, of every setting."""
    import torch

    from denoise.noise.portrait import label

    drawn = []
    for setting in file.settings:
        signal = np.geomspace(0.5, setting.camera.white_dn, POINTS)
        variance = setting.camera.variance(torch.from_numpy(signal[None].astype(np.float32))).numpy()[0]
        drawn.append(Curve(label(setting), signal, variance))
    x = Axis("signal above black, DN", logarithmic=True)
    return chart(f"{file.name}: noise over signal", x, Axis("variance, DN²", logarithmic=True), drawn)


def virtual() -> list[Any]:
    """Frames that a published camera could have taken."""
    from denoise.noise.cameras import known

    model = next(iter(known().values()))
    camera = model.drawn(0, GAIN_DN_PER_E)
    place = fresh()
    darks = [frame(place / f"dark-{n}.npy", camera, 0.0, n) for n in range(DARKS)]
    flats = [
        frame(place / f"flat-{round(100 * light)}-{n}.npy", camera, light, 100 + 10 * step + n)
        for step, light in enumerate(EXPOSURES)
        for n in range(FLATS)
    ]
    return [darks, flats, None, BLACK_DN, BLACK_DN + camera.white_dn, camera.cfa, 800, f"Virtual {model.title}"]


def frame(target: Path, camera: Any, light: float, seed: int) -> str:
    import torch

    clean = torch.full((SIDE, SIDE), light * camera.white_dn)
    values = np.rint(camera.sample(clean, seed).numpy() + BLACK_DN)
    np.save(target, np.clip(values, 0, BLACK_DN + camera.white_dn).astype(np.uint16))
    return str(target)
