"""A calibrated camera as a curve: variance over signal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from denoise.noise.calibration import Calibration
from denoise.noise.camera_file import CameraFile
from denoise.noise.portrait import label

POINTS = 200  # of a curve
DARKEST_DN = 0.1


def plot(file: CameraFile, target: Path) -> None:
    """Variance over signal of every setting, in logarithms, with the share of photons and that without light."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for setting in file.settings:
        draw(axes, setting, first=setting is file.settings[0])
    axes.set(xscale="log", yscale="log", xlabel="signal above black, DN", ylabel="variance of the noise, DN²")
    axes.set_title(f"{file.name}: noise over signal")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(target, format="png", dpi=120)


def draw(axes: Any, setting: Calibration, first: bool) -> None:
    import torch

    camera = setting.camera
    signal = np.geomspace(DARKEST_DN, camera.white_dn, POINTS)
    variance = camera.variance(torch.from_numpy(signal[None].astype(np.float32))).numpy()[0]
    (curve,) = axes.plot(signal, variance, label=label(setting))
    still = {"color": curve.get_color(), "linewidth": 0.8}
    photons, rest = ("photons alone", "without light") if first else (None, None)
    axes.plot(signal, camera.gain_dn_per_e * signal, linestyle=":", label=photons, **still)
    axes.axhline(float(variance[0]) - camera.gain_dn_per_e * DARKEST_DN, linestyle="--", label=rest, **still)
