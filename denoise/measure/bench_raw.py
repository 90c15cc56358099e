"""PSNR of every raw model beside classical peers, in the dark and by day, and the memory of a 24-megapixel DNG.

The mosaics are centres of test photographs as if they had never been developed, darkened by the ratio, with the noise
of a camera; its setting goes from mosaic to mosaic through low, middle and high gains. They are neither rounded nor
cut off but at the limits of the sensor. Photographs of cameras are softer than test photographs and hold places
without detail, as real raw files do; in a small cut of a busy picture no noise can be told from texture. Nor does a
small cut tell whether black is off: frames of nine photographs do, without the peers, who are told it. PSNR is that of
the mosaic made as bright as it was, and of both developed alike. The peers are told the camera's noise and work behind
a curve that makes it even (Anscombe's, with its unbiased way back); the models are told nothing, but those that can be
are there once more, told. Seconds are counted up from these small mosaics; in the last rows they and the memory are
those of `denoise clean` in a fresh process. Dark frames of yours are used where they lie in raw/darks below --data.
--limit takes that many photographs, and a DNG of that many megapixels, whose seconds are then counted up too. BM3D
takes most of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denoise import zoo
from denoise.errors import UserError
from denoise.fit.dark_raw import plain, suited
from denoise.fit.pictures import Photographs, centre
from denoise.fit.unprocess import Developed, planes
from denoise.measure.bench import Row, Wish
from denoise.measure.bench_memory import GIGABYTE, ROWS, in_fresh_process
from denoise.measure.bench_pictures import DATA, evenly, opened, some
from denoise.measure.scores import psnr
from denoise.media.develop import developed
from denoise.media.formats import dng
from denoise.media.frames import read_folder
from denoise.media.raw import RawFile, Taken, mosaic_content
from denoise.noise import cameras
from denoise.noise.camera import Camera
from denoise.noise.darkframes import DarkFrames
from denoise.noise.stabilise import stabilised, unbiased_electrons
from denoise.restorer import Restorer
from denoise.run import restore_mosaic
from denoise.signals import Mosaic, Noise, SiteNoise, quartered, whole

RATIOS = (100, 300)
PHOTOGRAPHS = 6
BUSY, SOFT = "test photographs", "photographs of cameras"
FRAMES, ACROSS = "frames of photographs of cameras", 3  # photographs, and as many down
SIDE, SOFT_SIDE = 256, 512  # photosites
BLACK = 512.0  # DN
SHARES = (1 / 6, 1 / 2, 5 / 6)  # of the way from a camera's lowest gain to its highest, in the logarithm
DAYLIGHT, ISOS = "sony-a7s2-eld", (800, 1600, 3200, 6400)
BASE_ISO = 100  # of the lowest gain that was calibrated
SEED = 1000
MEGAPIXELS = 24
DARKS, REAL_CLEAN = Path("raw") / "darks", Path("real_polyu") / "clean"

Planes = NDArray[np.float32]  # (4, h, w): R, G1, G2, B
Law = Camera | DarkFrames


@dataclass(frozen=True)
class Scene:
    light: Tensor  # (4, h, w), 0..1
    taken: Developed

    def developed(self, light: Planes) -> NDArray[np.float32]:
        """sRGB, (H, W, 3): colours, balance and brightness as they were undone."""
        red, blue, bright = self.taken.red, self.taken.blue, self.taken.brightness
        mosaic = Mosaic(whole(light), "RGGB", (0.0,) * 4, 1.0)
        matrix = torch.linalg.inv(self.taken.matrix.double()).numpy()
        return developed(mosaic, (red * bright, bright, blue * bright), matrix).astype(np.float32) / np.float32(65535)


@dataclass(frozen=True)
class Setting:
    law: Law
    white_dn: float  # above black
    ratio: float
    noise: Noise  # what may be told


@dataclass(frozen=True)
class Case:
    scene: Scene
    mosaic: Mosaic
    setting: Setting

    def brightened(self, photosites: NDArray[np.float32]) -> Planes:
        scale = np.float32(self.setting.ratio / self.setting.white_dn)
        return (quartered(photosites) - np.float32(BLACK)) * scale


Condition = Callable[[int], Setting]
"""The setting for the mosaic of that number."""
Method = Callable[[Case], NDArray[np.float32]]
"""The restored photosites."""


def run(wish: Wish) -> Iterator[Row]:
    cards = cards_of(wish)
    models = models_of(cards, wish)
    beside = peers(wish) | models
    for noise, cases in cases_of(wish):
        yield from rows(noise, cases, beside, wish)
    for noise, cases in frames_of(wish):
        yield from rows(noise, cases, UNTOUCHED | models, wish)
    for card in cards:
        yield in_full(card, min(wish.limit or MEGAPIXELS, MEGAPIXELS), wish)


def rows(noise: str, cases: list[Case], methods: dict[str, Method], wish: Wish) -> Iterator[Row]:
    height, width = cases[0].mosaic.photosites.shape
    for name, method in methods.items():
        wish.tell(f"{noise}: {name}")
        row: Row = {"noise": noise, "mosaics": f"{len(cases)} of {width}×{height}", "method": name}
        yield row | measured(cases, method)


def measured(cases: list[Case], method: Method) -> Row:
    begin = time.perf_counter()
    results = [method(one) for one in cases]
    seconds = time.perf_counter() - begin
    raw, seen = np.mean([scores(one, result) for one, result in zip(cases, results, strict=True)], axis=0)
    return {
        "raw_psnr_db": round(float(raw), 2),
        "srgb_psnr_db": round(float(seen), 2),
        "s_per_24_megapixels": round(seconds / sum(one.mosaic.photosites.size for one in cases) * 24e6, 1),
        "peak_gb": None,
    }


def scores(case: Case, photosites: NDArray[np.float32]) -> tuple[float, float]:
    """PSNR of the mosaic and of what is developed of it."""
    truth, found = case.scene.light.numpy(), case.brightened(photosites).clip(0, 1)
    return psnr(truth, found), psnr(case.scene.developed(truth), case.scene.developed(found))


# Mosaics


def photographs(wish: Wish) -> list[Tensor]:
    """(3, H, W), 0..255: test photographs, or else those that training keeps aside."""
    data, count = wish.data or DATA, wish.limit or PHOTOGRAPHS
    if (data / "test_cbsd68").is_dir():
        return [torch.from_numpy(opened(path)).permute(2, 0, 1) for path in some(data / "test_cbsd68", min(count, 68))]
    if (data / "train_open").is_dir():
        return evenly(Photographs.of(data / "train_open").validation, count)
    raise UserError(f"{data}: no photographs; name with --data the folder that holds test_cbsd68 or train_open.")


def soft_photographs(wish: Wish, count: int) -> list[Tensor]:
    """As cameras take them, with flat and blurred places: the means of PolyU's many exposures, if they are there."""
    folder = (wish.data or DATA) / REAL_CLEAN
    if not folder.is_dir():
        wish.tell(f"Photographs of cameras are left out: there are none in {folder}.")
        return []
    return [torch.from_numpy(opened(path)).permute(2, 0, 1) for path in some(folder, count)]


def scene(photograph: Tensor, number: int, side: int) -> Scene:
    """Its centre."""
    taken = Developed.drawn(Random(number))
    side = min(side, *(size // 2 * 2 for size in photograph.shape[1:]))
    return Scene(planes(taken.undone(centre(photograph, side))), taken)


def cases_of(wish: Wish) -> Iterator[tuple[str, list[Case]]]:
    busy, soft = photographs(wish), soft_photographs(wish, wish.limit or PHOTOGRAPHS)
    for noise, condition in conditions(wish):
        yield f"{noise}, {BUSY}", shot(scenes(busy, SIDE), condition)
        if soft:
            yield f"{noise}, {SOFT}", shot(scenes(soft, SIDE), condition)
    for what, pictures, side in (BUSY, busy, SIDE), (SOFT, soft, SOFT_SIDE):
        for iso in ISOS if pictures else ():
            yield f"daylight, ISO {iso}, {what}", shot(scenes(pictures, side), partial(by_day, iso))


def frames_of(wish: Wish) -> Iterator[tuple[str, list[Case]]]:
    """One for each gain, in the dark."""
    each, count = ACROSS**2, min(wish.limit or PHOTOGRAPHS, len(SHARES))
    photos = [photo for photo in soft_photographs(wish, each * count) if min(photo.shape[1:]) >= SOFT_SIDE]
    groups = [photos[first : first + each] for first in range(0, len(photos) - each + 1, each)]
    frames = [scene(side_by_side(group), number, ACROSS * SOFT_SIDE) for number, group in enumerate(groups)]
    for ratio in RATIOS if frames else ():
        yield f"{DAYLIGHT}, ratio {ratio}, {FRAMES}", shot(frames, partial(dark, cameras.find(DAYLIGHT), ratio))


def side_by_side(photos: list[Tensor]) -> Tensor:
    parts = [photo[:, :SOFT_SIDE, :SOFT_SIDE] for photo in photos]
    lines = [torch.cat(parts[first : first + ACROSS], 2) for first in range(0, len(parts), ACROSS)]
    return torch.cat(lines, 1)


def scenes(pictures: list[Tensor], side: int) -> list[Scene]:
    return [scene(photo, number, side) for number, photo in enumerate(pictures)]


def shot(scenes: list[Scene], condition: Condition) -> list[Case]:
    return [case(one, condition(number), SEED + number) for number, one in enumerate(scenes)]


def case(scene: Scene, setting: Setting, seed: int) -> Case:
    light = torch.from_numpy(whole(scene.light.numpy())) * (setting.white_dn / setting.ratio)
    noisy = setting.law.sample(light, seed).clamp(-BLACK, setting.white_dn).numpy() + np.float32(BLACK)
    return Case(scene, Mosaic(noisy, "RGGB", (BLACK,) * 4, BLACK + setting.white_dn), setting)


# Conditions


def conditions(wish: Wish) -> Iterator[tuple[str, Condition]]:
    """In the dark."""
    for model in calibrated():
        for ratio in RATIOS:
            yield f"{model.name}, ratio {told_ratio(model, ratio):g}", partial(dark, model, ratio)
    yield from of_dark_frames(wish)


def calibrated() -> list[cameras.Model]:
    return list(cameras.known().values())


def told_ratio(model: cameras.Model, ratio: float) -> float:
    return round(suited(ratio, Camera(1.0, 0.0, white_dn=model.white_dn)))


def dark(model: cameras.Model, ratio: float, number: int) -> Setting:
    low, high = model.branches[0].gain_dn_per_e[0], model.branches[-1].gain_dn_per_e[1]
    wanted = cameras.between(low, high, SHARES[number % len(SHARES)])
    return setting_of(model.drawn(SEED + number, nearest(model, wanted)), told_ratio(model, ratio))


def nearest(model: cameras.Model, gain_dn_per_e: float) -> float:
    """That gain, or the end of a branch where it lies between two."""
    ends = [min(max(gain_dn_per_e, branch.gain_dn_per_e[0]), branch.gain_dn_per_e[1]) for branch in model.branches]
    return min(ends, key=lambda end: abs(np.log(end / gain_dn_per_e)))


def by_day(iso: int, number: int) -> Setting:
    model = cameras.find(DAYLIGHT)
    gain = model.branches[0].gain_dn_per_e[0] * iso / BASE_ISO
    return setting_of(plain(model.drawn(SEED + number, gain, "gauss")), 1.0)


def setting_of(camera: Camera, ratio: float) -> Setting:
    span, read_dn2 = camera.white_dn, float(camera.variance(torch.zeros(1)))
    red, first, second, blue = (
        SiteNoise(camera.gain_dn_per_e / span, read_dn2 / span**2, bias / span) for bias in camera.bias_dn
    )
    return Setting(camera, span, ratio, (red, first, second, blue))


def of_dark_frames(wish: Wish) -> Iterator[tuple[str, Condition]]:
    place = (wish.data or DATA) / DARKS
    if not place.is_dir():
        wish.tell(f"Noise out of dark frames is left out: there are none in {place}.")
        return
    frames = read_folder(place)
    law = DarkFrames.fit(frames)
    span = frames[0].highest_dn - float(law.black_dn.mean())
    read = float(law.variance(torch.zeros(2, 2)).mean()) / span**2
    told = SiteNoise(law.gain_dn_per_e / span, read)
    for ratio in RATIOS:
        exposed = round(suited(ratio, Camera(1.0, 0.0, white_dn=span)))
        setting = Setting(law, span, exposed, (told,) * 4)
        yield f"{len(frames)} dark frames, ratio {exposed}", partial(always, setting)


def always(setting: Setting, number: int) -> Setting:
    return setting


# Methods


def peers(wish: Wish) -> dict[str, Method]:
    ways = dict(UNTOUCHED)
    for package, name, way in (("skimage", "non-local means", non_local_means), ("bm3d", "BM3D", bm3d)):
        if find_spec(package):
            ways[f"VST + {name}"] = partial(behind_curve, way)
        else:
            wish.tell(f"{name} is left out: pip install 'denoise-kit[peers]' brings it.")
    return ways


def as_it_is(case: Case) -> NDArray[np.float32]:
    return np.asarray(case.mosaic.photosites)


UNTOUCHED: dict[str, Method] = {"noisy": as_it_is}


def behind_curve(way: Callable[[NDArray[np.float64]], NDArray[np.float64]], case: Case) -> NDArray[np.float32]:
    """Electrons, made even, through a method for white noise of one, and back."""
    noise, span = case.setting.noise, case.setting.white_dn
    light = (quartered(case.mosaic.photosites).astype(np.float64) - BLACK) / span
    reads = [float(np.sqrt(one.read)) / one.shot for one in noise]
    even = [stabilised((plane - one.bias) / one.shot, s) for plane, one, s in zip(light, noise, reads, strict=True)]
    restored = way(np.stack(even))
    back = [unbiased_electrons(z, s) * one.shot for z, one, s in zip(restored, noise, reads, strict=True)]
    return whole((np.stack(back) * span + BLACK).astype(np.float32))


def non_local_means(even: NDArray[np.float64]) -> NDArray[np.float64]:
    from skimage.restoration import denoise_nl_means

    return np.asarray(
        denoise_nl_means(even, patch_size=5, patch_distance=6, h=0.6, sigma=1, fast_mode=True, channel_axis=0)
    )


def bm3d(even: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each plane on its own."""
    from bm3d import bm3d as of_plane

    low, span = float(even.min()), max(float(np.ptp(even)), 1.0)
    return np.stack([of_plane((plane - low) / span, 1 / span) for plane in even]) * span + low


def cards_of(wish: Wish) -> list[zoo.Card]:
    """The raw models of the zoo, or the one that was asked for."""
    found = [zoo.find(wish.model)] if wish.model else [card for card in zoo.cards().values() if card.kind == "raw"]
    for card in found:
        if card.kind != "raw":
            raise UserError(f"{card.name} is not for camera raw files; this bench knows no others.")
    return found


def models_of(cards: list[zoo.Card], wish: Wish) -> dict[str, Method]:
    engine = zoo.engine_named(wish.engine)
    methods: dict[str, Method] = {}
    for card in cards:
        restorer = zoo.load(card, engine, wish.device)
        methods[card.name] = partial(restored, restorer, False)
        if restorer.facts.surveys:
            methods[f"{card.name}, told"] = partial(restored, restorer, True)
    return methods


def restored(restorer: Restorer, told: bool, case: Case) -> NDArray[np.float32]:
    return np.asarray(restore_mosaic(case.mosaic, restorer, noise=case.setting.noise if told else None))


# The whole command


def in_full(card: zoo.Card, megapixels: float, wish: Wish) -> Row:
    with TemporaryDirectory(prefix="denoise-bench-") as folder:
        path = Path(folder) / "large.dng"
        wish.tell(f"Making a DNG of {megapixels} megapixels, and cleaning it with {card.name}")
        night(path, megapixels)
        words = ["clean", str(path), "-o", str(Path(folder) / "out"), "--model", str(card.folder)]
        found = in_fresh_process([*words, "--engine", wish.engine, "--device", wish.device])
    return {
        "noise": "that of the command",
        "mosaics": f"1 DNG of {megapixels} megapixels",
        "method": card.name,
        "raw_psnr_db": None,
        "srgb_psnr_db": None,
        "s_per_24_megapixels": round(found["seconds"] * 24 / megapixels, 1),
        "peak_gb": round(found["peak_bytes"] / GIGABYTE, 2),
    }


def night(path: Path, megapixels: float) -> None:
    """Soft hills in noise, of 14 bits."""
    height = round((megapixels * 1e6 * 2 / 3) ** 0.5 / 2) * 2
    width = round(megapixels * 1e6 / height / 2) * 2
    sites = np.concatenate([hills(top, min(ROWS, height - top), width) for top in range(0, height, ROWS)])
    matrix = np.array([[0.9, -0.3, -0.1], [-0.4, 1.2, 0.2], [-0.1, 0.2, 0.6]])  # of a plausible camera, from XYZ
    raw = RawFile(path, sites, "RGGB", (BLACK,) * 4, 16383, (2.0, 1.0, 1.5), None, matrix, taken=Taken(6400))
    dng.write(path, mosaic_content(raw, raw.mosaic, 0.0))


def hills(top: int, rows: int, width: int) -> NDArray[np.uint16]:
    down, across = np.ogrid[top : top + rows, :width]
    light = 300 + 250 * np.sin(down / 211) * np.cos(across / 307)
    noise = np.random.default_rng(top).standard_normal((rows, width), np.float32)
    return np.clip(np.rint(BLACK + light + 60 * noise), 0, 16383).astype(np.uint16)
