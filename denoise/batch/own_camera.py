"""The user's own camera, as `denoise noise fit` measured it, told to a raw restorer in place of an estimate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from denoise.errors import UserError
from denoise.media.raw import RawFile
from denoise.noise.calibration import Calibration
from denoise.noise.camera_file import CameraFile, read
from denoise.signals import Mosaic, Noise, SiteNoise

COUNTS_ALIKE = 1.1  # times; another number of bits is twice as much at least
BLACK_LIES_OFF = 0.02  # of white less black; no camera's black moves so far
QUANTISED = 1 / 12  # variance of rounding, of a squared step


@dataclass(frozen=True)
class OwnCamera:
    path: Path
    file: CameraFile

    @classmethod
    def of(cls, path: Path) -> OwnCamera:
        return cls(path, read(path))

    def setting_for(self, source: RawFile) -> Calibration:
        """Of the same camera, at the ISO that it was taken with."""
        name, iso = self.file.name, source.iso
        if source.camera and name and source.camera.casefold() != name.casefold():
            raise UserError(
                f"{source.path} was taken with {source.camera}, and {self.path} tells of {name}; measure that camera, "
                f"or correct its name in {self.path.name} if it is the same."
            )
        found = self.file.having(iso)
        if found is None:
            told = "does not tell its ISO" if iso is None else f"was taken at ISO {iso}"
            raise UserError(
                f"{source.path} {told}, and {self.path} was measured at {self.file.isos}; measure that ISO too."
            )
        return found

    def refuse_another_mode(self, source: RawFile, setting: Calibration) -> None:
        """Where it counts otherwise, in fewer bits for one, a DN means something else."""
        black, white = max(source.mosaic.black), source.mosaic.white
        span, measured = white - black, setting.camera.white_dn
        lies_off = any(setting.black_dn) and abs(max(setting.black_dn) - black) > BLACK_LIES_OFF * span
        if lies_off or not 1 / COUNTS_ALIKE < span / measured < COUNTS_ALIKE:
            lowest, highest = max(setting.black_dn), max(setting.black_dn) + measured
            raise UserError(
                f"{source.path} counts from {black:.0f} to {white:.0f}, and {self.path} was measured from {lowest:.0f} "
                f"to {highest:.0f}; measure the camera in the mode that the file was taken in."
            )

    def told(self, source: RawFile) -> tuple[Mosaic, Noise]:
        """The mosaic without its fixed pattern, and what noise is left."""
        setting = self.setting_for(source)
        self.refuse_another_mode(source, setting)
        return without_pattern(source, setting), noise_of(setting, source.mosaic)


def noise_of(setting: Calibration, mosaic: Mosaic) -> Noise:
    """Of each colour, where black is 0 and white is 1."""
    camera = setting.camera
    read_dn2 = camera.read_std_dn**2 + camera.row_dn**2 + QUANTISED * camera.step_dn**2
    colours = []
    for bias_dn, black_dn, stated_dn in zip(camera.bias_dn, setting.black_dn, mosaic.black, strict=True):
        span = mosaic.white - stated_dn
        dark_dn = black_dn + bias_dn - stated_dn if any(setting.black_dn) else bias_dn
        colours.append(SiteNoise(camera.gain_dn_per_e / span, read_dn2 / span**2, dark_dn / span))
    red, first, second, blue = colours
    return red, first, second, blue


def without_pattern(source: RawFile, setting: Calibration) -> Mosaic:
    """Less what is the same in every dark frame, of which the whole sensor or its visible part was measured."""
    mosaic, pattern = source.mosaic, setting.camera.pattern_dn
    if pattern is None:
        return mosaic
    (top, left), (height, width) = source.margins, mosaic.photosites.shape
    part = pattern.numpy()[top : top + height, left : left + width] if any(source.margins) else pattern.numpy()
    if part.shape != mosaic.photosites.shape:
        part = pattern.numpy()
    if part.shape != mosaic.photosites.shape:
        sizes = " and ".join(f"{width}×{height}" for height, width in (mosaic.photosites.shape, part.shape))
        raise UserError(f"{source.path} and the fixed pattern of {setting.camera.name} differ in size: {sizes}.")
    return replace(mosaic, photosites=mosaic.photosites.astype(np.float32) - part)
