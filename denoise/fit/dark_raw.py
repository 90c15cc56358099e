"""Training pairs of raw mosaics taken in far too little light: photographs as if they had never been developed, made
as dark, given the noise of a camera, and brightened again (ELD, Wei et al., TPAMI 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from denoise.errors import UserError
from denoise.fit.developed import plain_colour, softened
from denoise.fit.loop import Scores, Validate
from denoise.fit.pictures import Photographs, busyness, centre
from denoise.fit.raw import RawPairs
from denoise.fit.unprocess import Developed, planes
from denoise.measure.scores import mean_psnr
from denoise.methods.method import Method
from denoise.noise import cameras
from denoise.noise.camera import Camera
from denoise.noise.camera_file import read
from denoise.restorer import unknown

ORDER = "RGGB"  # R G1 G2 B, as restorers see a mosaic
FULL, PLAIN = "eld", "poisson gaussian"
RANGE_DN = 15583.0  # from black to white, of the cameras whose exposures the ratios are those of
FLOOR = -1 / 31  # of white: black lies that far above the lowest value that a file can hold, 512 of 16383
SINGLE = 0.25  # share of the crops without noise that are of a single colour
RATIOS = (100, 200, 300)  # that weights are chosen by
JUDGES = ("sony-a7s2-eld", "nikon-d850", "canon-5d4")

Cameras = Callable[[int], Camera]
"""One at some setting, by a seed."""


@dataclass(frozen=True)
class DarkPairs:
    """Batches of (noisy, clean), (B, 4, patch, patch) in cells, a pure function of the seed and the step."""

    photographs: Photographs
    camera: Cameras
    ratio: Sequence[float]  # least and most
    batch: int
    patch: int
    clean: float = 0.0  # share of the crops without noise
    soft: float = 0.0  # share of the crops as soft as large photographs are
    seed: int = 0

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        dice = Random(f"{self.seed}/{step}")
        crops = RawPairs(self.photographs, (), self.batch, self.patch, soft=self.soft)
        noisy, clean = zip(*(self.pair(crops.cells(dice), dice) for _ in range(self.batch)), strict=True)
        return torch.stack(noisy), torch.stack(clean)

    def pair(self, clean: Tensor, dice: Random) -> tuple[Tensor, Tensor]:
        if dice.random() < self.clean:
            kept = plain_planes(clean, dice) if dice.random() < SINGLE else clean
            return kept, kept
        seed = dice.randrange(1 << 31)
        camera, ratio = self.camera(seed), dice.uniform(*self.ratio)
        place = dice.random(), dice.random()
        return darkened(clean, camera, suited(ratio, camera), seed, place), clean


def plain_planes(clean: Tensor, dice: Random) -> Tensor:
    """A single colour."""
    return plain_colour(dice)[[0, 1, 1, 2]].expand_as(clean)


def darkened(clean: Tensor, camera: Camera, ratio: float, seed: int, place: tuple[float, float] = (0, 0)) -> Tensor:
    """Planes (4, h, w) of 0..1 at 1 / ratio of the light, within what a file can hold, brightened again; `place`: how
    far down and across its fixed pattern, as shares."""
    top, left = (0, 0) if camera.pattern_dn is None else corner(camera.pattern_dn, clean, place)
    noisy = camera.sample_packed(clean * (camera.white_dn / ratio), ORDER, seed, top, left)
    return (noisy / camera.white_dn).clamp(FLOOR, 1) * ratio


def suited(ratio: float, camera: Camera) -> float:
    """Less, where a camera counts to less: a phone's ten bits hold nothing at a hundredth of the light."""
    return max(1.0, ratio * min(1.0, camera.white_dn / RANGE_DN))


def corner(pattern: Tensor, clean: Tensor, place: tuple[float, float]) -> tuple[int, int]:
    """Even, so that every colour stays itself."""
    room = [pattern.shape[axis] - 2 * clean.shape[axis + 1] for axis in (0, 1)]
    if min(room) < 0:
        size = " × ".join(map(str, pattern.shape))
        raise UserError(f"The fixed pattern of the camera is {size}, smaller than a crop; take a smaller patch.")
    top, left = (2 * int(share * (more // 2 + 1)) for share, more in zip(place, room, strict=True))
    return top, left


# Cameras


def cameras_of(names: Sequence[str] | None, law: str, own: Path | None) -> Cameras:
    """Any setting of those published cameras (all that may train what ships), or of the user's own."""
    if law not in (FULL, PLAIN):
        raise UserError(unknown("law", law, [FULL, PLAIN], "there are"))
    if own is not None:
        return settings_of(own, law)
    models = [cameras.find(name) for name in names] if names else cameras.trainers()
    if law == FULL:
        return lambda seed: cameras.drawn(seed, models)
    return lambda seed: plain(cameras.drawn(seed, models, "gauss"))


def settings_of(path: Path, law: str) -> Cameras:
    """Each as often as the others, whatever its ISO."""
    file = read(path)
    settings = [file.at(one.iso) for one in file.settings]

    def camera(seed: int) -> Camera:
        setting = settings[seed % len(settings)]
        if law == FULL:
            return setting.camera
        gaussian = setting.dark.grain.gaussian_dn if setting.dark else setting.camera.read_std_dn
        return plain(replace(setting.camera, read_dn=gaussian, read_lambda=None))

    return camera


def plain(camera: Camera) -> Camera:
    """Photons, Gaussian read noise and the steps of the file: what ELD is compared with."""
    return replace(camera, row_dn=0.0, bias_dn=(0.0,) * 4, pattern_dn=None)


# Validation


def dark_validation(
    photographs: Photographs, camera: Cameras, count: int, side: int = 256
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(ratio, noisy, clean) batches: the centres of the busiest photographs kept aside, every other one softened."""
    centres = sorted((centre(photo, side) for photo in photographs.validation), key=busyness)[-count:]
    seen = [softened(part, Random(index)) if index % 2 else part for index, part in enumerate(centres)]
    clean = [planes(Developed.drawn(Random(index)).undone(part)) for index, part in enumerate(seen)]
    for ratio in RATIOS:
        noisy = [darkened(one, camera(ratio + index), ratio, ratio + index) for index, one in enumerate(clean)]
        yield f"x{ratio}", torch.stack(noisy), torch.stack(clean)


def judge(photographs: Photographs, camera: Cameras, count: int) -> Validate:
    """Mean PSNR of the brightened mosaics."""
    sets = list(dark_validation(photographs, camera, count))

    def measure(method: Method) -> Scores:
        return {name: mean_psnr(clean, method(noisy).clamp(0, 1)) for name, noisy, clean in sets}

    return measure
