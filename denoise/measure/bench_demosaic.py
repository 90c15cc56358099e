"""PSNR and speed of developing mosaics made from photographs: this program's way beside LibRaw's and kornia's.

A photograph is put back into linear light and every photosite keeps one colour of it, in 16 bits. What is compared is
the developed picture in sRGB, without a border of 8 pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from denoise.errors import UserError
from denoise.measure.bench import Row, Wish
from denoise.measure.bench_pictures import evenly, opened, unit
from denoise.measure.scores import psnr
from denoise.media.develop import bent, developed, straight
from denoise.signals import Mosaic

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "images" / "train_open"
USUAL = 24  # pictures
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
BORDER = 8  # px
WHITE = 65535
LIBRAW = ("LINEAR", "VNG", "PPG", "AHD", "DCB", "DHT", "AAHD")
UNTOUCHED: dict[str, Any] = {
    "gamma": (1, 1),
    "no_auto_bright": True,
    "adjust_maximum_thr": 0,
    "user_wb": [1, 1, 1, 1],
    "output_bps": 16,
    "user_flip": 0,
}

Values = NDArray[np.float32]  # H×W×3, sRGB, 0..1
Method = Callable[[Mosaic], tuple[Values, float]]
"""What it makes of a mosaic, and the seconds that it took."""


def run(wish: Wish) -> Iterator[Row]:
    photographs = list(map(opened, pictures(wish.data or DATA, wish.limit or USUAL)))
    for name, method in METHODS.items():
        wish.tell(f"{name}, {len(photographs)} photographs")
        method(mosaic_of(unit(photographs[0])))  # the first call compiles
        found = [measured(unit(one), method) for one in photographs]
        score, seconds = np.mean(found, axis=0)
        yield {
            "method": name,
            "photographs": len(photographs),
            "psnr_db": round(float(score), 2),
            "s_per_megapixel": round(float(seconds), 3),
        }


def pictures(folder: Path, count: int) -> list[Path]:
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"{folder}: no photographs; name a folder of them with --data.")
    return evenly(paths, count)


def measured(photograph: Values, method: Method) -> tuple[float, float]:
    mosaic = mosaic_of(photograph)
    found, seconds = method(mosaic)
    inside = (slice(BORDER, mosaic.height - BORDER), slice(BORDER, mosaic.width - BORDER))
    return psnr(photograph[inside], found[inside]), seconds / mosaic.photosites.size * 1e6


def mosaic_of(photograph: Values) -> Mosaic:
    light = photograph[: len(photograph) // 2 * 2, : photograph.shape[1] // 2 * 2].copy()
    straight(light)
    sites = light[..., 1].copy()
    sites[0::2, 0::2], sites[1::2, 1::2] = light[0::2, 0::2, 0], light[1::2, 1::2, 2]
    return Mosaic(np.rint(sites * WHITE).astype(np.uint16), "RGGB", (0.0,) * 4, WHITE)


def ours(mosaic: Mosaic) -> tuple[Values, float]:
    begun = time.perf_counter()
    found = developed(mosaic, None, None)
    seconds = time.perf_counter() - begun
    return found.astype(np.float32) / np.float32(WHITE), seconds


def by_kornia(mosaic: Mosaic) -> tuple[Values, float]:
    from kornia.color import CFA, raw_to_rgb

    sites = torch.from_numpy(mosaic.photosites.astype(np.float32) / WHITE)[None, None]
    begun = time.perf_counter()
    found = raw_to_rgb(sites, CFA.BG)  # what others call RGGB
    seconds = time.perf_counter() - begun
    return as_srgb(found[0].permute(1, 2, 0).numpy()), seconds


def by_libraw(name: str) -> Method:
    def method(mosaic: Mosaic) -> tuple[Values, float]:
        import rawpy

        way, space = getattr(rawpy.DemosaicAlgorithm, name), rawpy.ColorSpace.raw
        with TemporaryDirectory() as folder, rawpy.imread(str(written(mosaic, Path(folder) / "a.dng"))) as raw:
            begun = time.perf_counter()
            found = raw.postprocess(demosaic_algorithm=way, output_color=space, **UNTOUCHED)
            seconds = time.perf_counter() - begun
        return as_srgb(found.astype(np.float32) / np.float32(WHITE)), seconds

    return method


def written(mosaic: Mosaic, path: Path) -> Path:
    """The least that LibRaw takes for a raw file."""
    import tifffile

    unit_matrix = [part for row in np.eye(3, dtype=int).tolist() for value in row for part in (value, 1)]
    tags: list[tuple[Any, ...]] = [
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, (0, 1, 1, 2), True),
        (50706, "B", 4, (1, 4, 0, 0), True),
        (50708, "s", 0, "none", True),
        (50717, "H", 1, WHITE, True),
        (50721, "2i", 9, tuple(unit_matrix), True),
    ]
    tifffile.imwrite(path, mosaic.photosites, photometric=32803, planarconfig=1, extratags=tags)
    return path


def as_srgb(light: Values) -> Values:
    values = np.ascontiguousarray(light.clip(0, 1), dtype=np.float32)
    bent(values)
    return values


METHODS: dict[str, Method] = {
    "Menon along sRGB's curve (ours)": ours,
    "kornia raw_to_rgb (bilinear)": by_kornia,
    **{f"LibRaw {name}": by_libraw(name) for name in LIBRAW},
}
