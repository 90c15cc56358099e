"""A calibrated camera for people: in words with units, and as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from denoise.noise.calibration import Calibration, LogLine
from denoise.noise.camera import Camera
from denoise.noise.camera_file import CameraFile


def words(file: CameraFile) -> str:
    """All settings, each with its units."""
    parts = [paragraph(file.name, setting) for setting in file.settings]
    return "\n\n".join(parts + (["\n".join(over_gain(file))] if file.lines else []))


def paragraph(name: str, setting: Calibration) -> str:
    camera, dark = setting.camera, setting.dark
    iso = f", {label(setting)}"
    frames = f", from {dark.frames} dark frame{'s' * (dark.frames != 1)}" if dark else ""
    rows = {
        "gain": gain_words(setting),
        "read noise": read_words(setting),
        "row noise": f"{camera.row_dn:.3g} DN from row to row",
        "black": f"{levels(setting.black_dn)} DN; off by {levels(camera.bias_dn, '+.2f')} DN (R G1 G2 B)",
        "range": range_words(camera),
        "steps": f"{camera.step_dn:g} DN",
    }
    if dark and dark.grain.fixed_dn is not None:
        where = f" (map: {setting.pattern.name})" if setting.pattern else ""
        seen = f"{dark.grain.fixed_dn:.3g} DN are the same in every frame{where}"
        rows["fixed"] = seen if dark.grain.fixed_dn else "not seen"
    lines = [f"  {topic:<11} {text}" for topic, text in rows.items()]
    return "\n".join([f"{name}{iso} ({camera.cfa}{frames})", *lines])


def label(setting: Calibration) -> str:
    return f"ISO {setting.iso}" if setting.iso else f"at {setting.camera.gain_dn_per_e:.3g} DN per electron"


def levels(four: tuple[float, ...], form: str = "g") -> str:
    return f"{four[0]:{form}}" if len(set(four)) == 1 else " ".join(f"{value:{form}}" for value in four)


def gain_words(setting: Calibration) -> str:
    error = f" ± {setting.gain_error:.1g}" if setting.gain_error else ""
    return f"{setting.camera.gain_dn_per_e:.4g}{error} DN per electron, {setting.gain_from}"


def read_words(setting: Calibration) -> str:
    camera = setting.camera
    deviation = f"{camera.read_std_dn:.3g} DN or {camera.read_std_dn / camera.gain_dn_per_e:.3g} electrons"
    if camera.read_lambda is None:
        return f"{deviation}, Gaussian"
    grain = setting.dark.grain if setting.dark else None
    fits = f", R² {grain.read_r2:.4f}; a Gaussian fits with {grain.gaussian_r2:.4f}" if grain else ""
    return f"{deviation}; Tukey's lambda law, lambda {camera.read_lambda:.3f}, scale {camera.read_dn:.3g} DN{fits}"


def range_words(camera: Camera) -> str:
    electrons = camera.white_dn / camera.gain_dn_per_e
    stops = math.log2(camera.white_dn / camera.read_std_dn) if camera.read_std_dn > 0 else math.inf
    ends = f", {stops:.1f} stops above read noise" if math.isfinite(stops) else ""
    return f"{camera.white_dn:g} DN above black, {electrons:.3g} electrons at white{ends}"


def over_gain(file: CameraFile) -> Iterator[str]:
    yield "Over the gain (DN per electron)"
    for name, line in file.lines.items():
        yield f"  {name:<11} {line_words(line)}"


def line_words(line: LogLine) -> str:
    return f"{math.exp(line.intercept):.3g} × gain^{line.slope:.2f} DN, scattering by {100 * line.residual:.1f} %"


def data(file: CameraFile) -> dict[str, Any]:
    """The same as numbers."""
    from denoise.noise.camera_file import dark_entries, entries

    settings = [
        entries(one) | {"read_std_dn": one.camera.read_std_dn, "dark": dark_entries(one.dark) if one.dark else None}
        for one in file.settings
    ]
    return {
        "name": file.name,
        "settings": settings,
        "over_gain": {name: vars(line) for name, line in file.lines.items()},
    }
