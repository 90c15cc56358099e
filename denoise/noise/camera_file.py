"""A calibrated camera as a file (TOML) that people can read, keep and change: one table per setting (ISO)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoise.errors import BadFile, UserError
from denoise.noise.calibration import Calibration, Darkness, Grain, LogLine, log_line
from denoise.noise.camera import TILES, Camera
from denoise.noise.laws import out_of_range

FORMAT = 1
HEADING = """\
# Noise of a camera, as `denoise noise fit` found it. DN: digital numbers of the raw file; e: electrons.
# Four values are those of R, G1 (in the rows of R), G2 and B. read_dn is the scale of Tukey's lambda law where
# read_lambda stands beside it, else a standard deviation.
"""
LINES = ("read_dn", "gaussian_dn", "row_dn")
LINE_SETTINGS = 3  # with different gains, from which a line over the gain is drawn
CAMERA = ("gain_dn_per_e", "read_dn", "read_lambda", "row_dn", "bias_dn", "step_dn", "white_dn", "cfa")
NEEDED = ("gain_dn_per_e", "read_dn", "white_dn")
FOURS = ("bias_dn", "black_dn")
GRAIN = tuple(one.name for one in fields(Grain) if one.name not in CAMERA)


@dataclass(frozen=True)
class CameraFile:
    name: str
    settings: tuple[Calibration, ...]
    lines: Mapping[str, LogLine] = field(default_factory=dict)  # how noises grow with the gain

    def at(self, iso: int | None = None) -> Calibration:
        """The setting of that ISO, with its fixed pattern; without one, the only setting there is."""
        found = self.having(iso)
        if found is None:
            asked = "several settings" if iso is None else f"no setting of ISO {iso}"
            raise UserError(f"{self.name}: {asked}; choose --iso from {self.isos}.")
        return found

    def having(self, iso: int | None) -> Calibration | None:
        """The same, where there is one."""
        if iso is None:
            return patterned(self.settings[0]) if len(self.settings) == 1 else None
        return next((patterned(one) for one in self.settings if one.iso == iso), None)

    @property
    def isos(self) -> str:
        return ", ".join(str(one.iso) for one in self.settings)


def patterned(setting: Calibration) -> Calibration:
    """With the map that its file names."""
    path = setting.pattern
    if path is None:
        return setting
    try:
        pattern = np.load(path, allow_pickle=False).astype(np.float32)
    except FileNotFoundError:
        raise BadFile(f"{path}: this map of the fixed pattern is missing; put it beside the camera's file.") from None
    except (ValueError, OSError, EOFError) as error:
        raise BadFile(f"{path}: damaged map of a fixed pattern; fit the camera again.") from error
    if pattern.ndim != 2 or not np.isfinite(pattern).all():
        raise BadFile(f"{path}: a map of a fixed pattern is H × W numbers, this is {pattern.shape}; fit again.")
    return replace(setting, camera=replace(setting.camera, pattern_dn=torch.from_numpy(pattern)))


def gathered(name: str, settings: Sequence[Calibration]) -> CameraFile:
    """All settings of a camera in order of their gain, and the lines through them where they are enough."""
    ordered = tuple(sorted(settings, key=lambda one: one.camera.gain_dn_per_e))
    gains = [one.camera.gain_dn_per_e for one in ordered]
    lines = {}
    if len(set(gains)) >= LINE_SETTINGS and all(one.dark for one in ordered):
        grains = [one.dark.grain for one in ordered if one.dark]
        lines = {name: log_line(gains, [getattr(grain, name) for grain in grains]) for name in usable(grains)}
    return CameraFile(name, ordered, lines)


def usable(grains: Sequence[Grain]) -> list[str]:
    """The noises that are above nothing in every setting, and those scales that mean the same in all."""
    alike = len({grain.read_lambda is None for grain in grains}) == 1
    names = [name for name in LINES if name != "read_dn" or alike]
    return [name for name in names if all(getattr(grain, name) > 0 for grain in grains)]


# Out


def written(file: CameraFile) -> str:
    """The text of the file."""
    lines = [HEADING, f"format = {FORMAT}", f"name = {said(file.name)}"]
    for setting in file.settings:
        lines += ["", "[[setting]]", *pairs(entries(setting))]
        if setting.dark:
            lines += ["", "[setting.dark]", *pairs(dark_entries(setting.dark))]
    for name, line in file.lines.items():
        lines += ["", f"[over_gain.{name}]  # log {name} = slope × log gain + intercept, natural logarithms"]
        lines += pairs({one.name: getattr(line, one.name) for one in fields(line)})
    return "\n".join(lines) + "\n"


def entries(setting: Calibration) -> dict[str, Any]:
    camera = {name: getattr(setting.camera, name) for name in CAMERA}
    own = {"black_dn": setting.black_dn, "gain_from": setting.gain_from, "gain_error": setting.gain_error}
    return {"iso": setting.iso} | camera | own | {"pattern": setting.pattern.name if setting.pattern else None}


def dark_entries(dark: Darkness) -> dict[str, Any]:
    return {"frames": dark.frames} | {name: getattr(dark.grain, name) for name in GRAIN}


def pairs(values: Mapping[str, Any]) -> Iterator[str]:
    """What is None is left out."""
    return (f"{name} = {said(value)}" for name, value in values.items() if value is not None)


def said(value: Any) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in escaped) + '"'
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(said, value))}]"
    if isinstance(value, float):
        return repr(float(f"{value:.7g}"))
    return str(value)


# In


def read(path: Path) -> CameraFile:
    table = parsed(path)
    if table.get("format") != FORMAT or not isinstance(table.get("setting"), list) or not table["setting"]:
        raise BadFile(f"{path}: no camera's calibration; make one with `denoise noise fit DARKS FLATS -o {path.name}`.")
    name = str(table.get("name", path.stem))
    settings = tuple(setting_of(path, name, one) for one in table["setting"])
    return CameraFile(name, settings, dict(lines_of(path, table.get("over_gain", {}))))


def parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadFile(f"{path}: there is no such calibration; make it with `denoise noise fit`.") from None
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror}); give a file made by `denoise noise fit`.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        detail = " ".join(str(error).split())
        raise BadFile(f"{path}: not a calibration in TOML ({detail}); make it with `denoise noise fit`.") from error


def setting_of(path: Path, name: str, table: Any) -> Calibration:
    checked(path, table)
    camera = Camera(**{one: as_field(table[one]) for one in CAMERA if one in table}, name=name)
    dark = dark_of(path, table, camera) if "dark" in table else None
    black = four(table.get("black_dn", [0.0] * 4))
    iso, source, error = table.get("iso"), str(table.get("gain_from", "given")), table.get("gain_error")
    return Calibration(camera, black, iso, source, error, dark, pattern_of(path, table.get("pattern")))


def pattern_of(path: Path, name: Any) -> Path | None:
    if name is None:
        return None
    if not isinstance(name, str) or Path(name).name != name:
        raise BadFile(f"{path}: pattern = {name!r}; the name of a file beside this one is wanted.")
    return path.parent / name


def checked(path: Path, table: Any) -> None:
    """Every number of the right kind and on the right side of zero."""
    missing = [name for name in NEEDED if name not in table] if isinstance(table, dict) else list(NEEDED)
    if missing:
        raise BadFile(f"{path}: {missing[0]} is missing in a setting; add it, or fit the camera again.")
    for name in (name for name in (*CAMERA, "black_dn") if name in table):
        wanted = trouble(name, table[name])
        if wanted:
            raise BadFile(f"{path}: {name} = {table[name]!r}; {wanted} is wanted.")


def trouble(name: str, value: Any) -> str | None:
    """What is wanted instead of that value; None where it is right."""
    if name == "cfa":
        return None if value in TILES else f"one of {', '.join(TILES)}"
    if name in FOURS:
        right = isinstance(value, list) and len(value) == 4 and all(map(is_number, value))
        return None if right else "a list of four numbers, [R, G1, G2, B],"
    return out_of_range(name, float(value)) if is_number(value) else "a number"


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12


def as_field(value: Any) -> Any:
    if isinstance(value, list):
        return four(value)
    return float(value) if is_number(value) else value


def four(values: Sequence[float]) -> tuple[float, float, float, float]:
    red, first, second, blue = (float(value) for value in values)
    return red, first, second, blue


def dark_of(path: Path, table: Mapping[str, Any], camera: Camera) -> Darkness:
    dark = table["dark"]
    missing = [name for name in ("frames", *GRAIN) if name not in dark and name != "fixed_dn"]
    if missing:
        raise BadFile(f"{path}: {missing[0]} is missing in [setting.dark]; add it, or fit the camera again.")
    own = {name: dark.get(name) for name in GRAIN}
    grain = Grain(row_dn=camera.row_dn, read_dn=camera.read_dn, read_lambda=camera.read_lambda, **own)
    return Darkness(camera.bias_dn, camera.step_dn, int(dark["frames"]), grain)


def lines_of(path: Path, table: Mapping[str, Any]) -> Iterator[tuple[str, LogLine]]:
    for name, line in table.items():
        try:
            yield name, LogLine(float(line["slope"]), float(line["intercept"]), float(line["residual"]))
        except (KeyError, TypeError, ValueError):
            raise BadFile(f"{path}: [over_gain.{name}] wants slope, intercept and residual; fit again.") from None
