"""Raw files of cameras, in through LibRaw and out as DNG: the mosaic and all that is needed to make light of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from denoise.atomic import atomic
from denoise.errors import BadFile, UserError
from denoise.media import ifd
from denoise.media.raw_tags import ISO, Said, said_by
from denoise.signals import Mosaic, Noise, Picture, Samples, SiteNoise

if TYPE_CHECKING:
    from denoise.media.formats.dng import Content

DEVELOPED = {"tiff": (".tif", ".tiff"), "png": (".png",), "jpeg": (".jpg", ".jpeg")}
LINEAR = ".linear.dng"  # ending of linear colours, in contrast to a mosaic
RESULTS = {"linear": LINEAR} | {name: endings[0] for name, endings in DEVELOPED.items()}
RESULT_SUFFIX = ".dng"
WRITABLE = frozenset({".dng", *(ending for endings in DEVELOPED.values() for ending in endings)})
PEDESTAL = 2048  # DN, black of linear colours, which have room below it for what is left of the noise
ENDINGS = "3fr arw cr2 cr3 crw dcr dng erf fff iiq kdc mef mos mrw nef nrw orf pef ptx raf raw rw2 rwl sr2 srf srw x3f"
SUFFIXES = frozenset(f".{ending}" for ending in ENDINGS.split())
EXPOSURE, BLACK_LEVEL, NOISE_PROFILE = 33434, 50714, 51041  # tags
FLIPS = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's turns as EXIF says them
BAYER = ("RGGB", "BGGR", "GRBG", "GBRG")
DARKEST = 0.001  # quantile of the photosites that is near black in any photograph
NEAR_BLACK = 0.02  # of white
LEAST_SHOT = 1e-9  # of a NoiseProfile: 0 is none
FINISHED = ((b"\xff\xd8\xff", "a JPEG"), (b"\x89PNG", "a PNG"), (b"RIFF", "a WebP"))

Four = tuple[float, float, float, float]
Matrix = NDArray[np.float64]  # (3, 3)


@dataclass(frozen=True)
class Taken:
    """How a photograph was taken, as far as LibRaw knows; nothing where it does not."""

    iso: int | None = None
    exposure_s: float | None = None
    aperture: float | None = None
    focal_mm: float | None = None
    when: str | None = None  # as EXIF writes it
    lens: str = ""


@dataclass(frozen=True, eq=False)
class RawFile:
    """One mosaic, the visible part of the sensor, and what its file tells."""

    path: Path
    photosites: Samples
    cfa: str
    black: Four | None  # None: it tells none
    white: float
    balance: tuple[float, float, float] | None  # what red, green and blue are multiplied by; the least is 1
    to_srgb: Matrix | None  # from balanced colours of the camera to linear ones of sRGB
    from_xyz: Matrix | None  # to colours of the camera, under daylight, as LibRaw knows it
    margins: tuple[int, int] = (0, 0)  # rows above and columns left of the visible part
    flip: int = 0  # as LibRaw counts turns
    taken: Taken = Taken()
    said: Said = field(default_factory=Said)

    @property
    def camera(self) -> str | None:
        return self.said.camera

    @property
    def iso(self) -> int | None:
        return self.taken.iso or self.said.whole(ISO)

    @property
    def exposure_s(self) -> float | None:
        return self.said.number(EXPOSURE) or self.taken.exposure_s

    @property
    def orientation(self) -> int:
        """1 upright, 2..8 as EXIF defines."""
        told = self.said.whole(ifd.ORIENTATION) or 0
        return told if 1 <= told <= 8 else FLIPS.get(self.flip, 1)

    @property
    def layout(self) -> str:
        return self.cfa if len(self.cfa) == 4 else "X-Trans"

    @cached_property
    def noise(self) -> Noise | None:
        """By the DNG's NoiseProfile: one law for all colours, or one for each."""
        told = [float(value) for value in self.said.numbers(NOISE_PROFILE)]
        pairs = [SiteNoise(*pair) for pair in zip(told[0::2], told[1::2], strict=False)]
        if len(pairs) not in (1, 3) or not all(shot > 0 and read >= 0 for shot, read, _ in pairs):
            return None
        red, green, blue = pairs * (3 // len(pairs))
        return red, green, green, blue

    @cached_property
    def mosaic(self) -> Mosaic:
        """Refused, where black is neither told nor seen."""
        if self.black is None and float(np.quantile(self.sample, DARKEST)) > NEAR_BLACK * self.white:
            raise BadFile(
                f"{self.path}: it tells no black level and nothing in it is black, so that light cannot be told from "
                "nothing; convert it with a program that writes BlackLevel."
            )
        return Mosaic(self.photosites, self.cfa, self.black or (0.0,) * 4, self.white, self.noise)

    @property
    def sample(self) -> Samples:
        """Every few photosites of all colours."""
        step = max(1, min(self.photosites.shape) // 512) | 1
        return self.photosites[::step, ::step]

    @property
    def notes(self) -> tuple[str, ...]:
        untold = self.black is None, self.balance is None, self.to_srgb is None
        what = ("black level (0 is taken)", "white balance", "colour matrix")
        missing = [name for name, absent in zip(what, untold, strict=True) if absent]
        return (f"it does not tell its {' and '.join(missing)}",) if missing else ()

    def describe(self) -> str:
        """`raw mosaic, 6000×4000, black 512, white 16383, GRBG, ISO 800, 1/30 s, Toy 1`."""
        height, width = self.photosites.shape
        black = "untold" if self.black is None else " ".join(f"{level:g}" for level in dict.fromkeys(self.black))
        words = ["raw mosaic", f"{width}×{height}", f"black {black}, white {self.white:g}", self.layout]
        words += [f"ISO {self.iso}"] if self.iso else []
        words += [in_seconds(self.exposure_s)] if self.exposure_s else []
        return ", ".join([*words, *([self.camera] if self.camera else [])])


def as_picture(path: Path) -> Picture:
    """Developed, for comparisons."""
    from denoise.media.develop import developed

    raw = open_raw(path)
    pixels = developed(raw.mosaic, raw.balance, raw.to_srgb)
    return Picture(upright(pixels, raw.orientation), 65535)


def in_seconds(exposure: float) -> str:
    return f"1/{1 / exposure:.0f} s" if exposure < 0.4 else f"{exposure:g} s"


def open_raw(path: Path) -> RawFile:
    """Decoded; a file without a mosaic, or with one that nobody knows, is refused in one sentence."""
    try:
        import rawpy
    except ImportError:
        raise UserError(
            f"{path}: reading camera files needs the package rawpy: pip install rawpy; or give .npy or 16-bit TIFF."
        ) from None
    refuse_finished(path)
    try:
        with path.open("rb") as file, rawpy.imread(file) as raw:  # by its name it fails where that is not UTF-8
            return told(path, raw, said_by(path))
    except rawpy.LibRawFileUnsupportedError as error:
        raise BadFile(
            f"{path}: damaged, or of a kind that LibRaw cannot decode; copy it again, or convert it to a plain DNG."
        ) from error
    except rawpy.LibRawError as error:
        raise BadFile(f"{path}: damaged or incomplete raw file; copy it from the camera again.") from error


def refuse_finished(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise BadFile(f"{path}: there is no such file; check the name.") from None
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror}); check its rights, or copy it again.") from error
    for magic, what in FINISHED:
        if head.startswith(magic):
            raise BadFile(f"{path}: in spite of its name {what}, and no raw file; give the one that the camera wrote.")


def told(path: Path, raw: Any, said: Said) -> RawFile:
    """What LibRaw knows of an open file."""
    photosites, cfa = photosites_of(path, raw)
    colours = raw.raw_colors_visible[:2, :2]
    levels = [float(level) for level in raw.black_level_per_channel]
    known = any(levels) or not said.is_dng or said.find(BLACK_LEVEL) is not None
    white = float(raw.white_level)
    if not white > max(levels):
        raise BadFile(f"{path}: its white level {white:g} is not above its black {max(levels):g}; is it damaged?")
    return RawFile(
        path,
        photosites,
        cfa,
        (blacks(colours, cfa, levels) if len(cfa) == 4 else of_letters(raw, levels)) if known else None,
        white,
        balance_of(raw),
        matrix_of(raw.color_matrix[:, :3]),
        matrix_of(raw.rgb_xyz_matrix[:3]),
        (raw.sizes.top_margin, raw.sizes.left_margin),
        raw.sizes.flip,
        taken_as(raw.other, raw.lens.model),
        said,
    )


def taken_as(known: Any, lens: str) -> Taken:
    """Where LibRaw knows no ISO, its other numbers are defaults."""
    if not known.iso_speed > 0:
        return Taken(lens=lens)
    exposure, aperture, focal = (
        float(value) if np.isfinite(value) and value > 0 else None
        for value in (known.shutter_speed, known.aperture, known.focal_length)
    )
    when = f"{known.timestamp:%Y:%m:%d %H:%M:%S}" if known.timestamp.year > 1970 else None
    return Taken(round(known.iso_speed), exposure, aperture, focal, when, lens)


def photosites_of(path: Path, raw: Any) -> tuple[Samples, str]:
    """The visible mosaic and the colours of its tile."""
    visible = None if raw.raw_type.name == "Stack" else raw.raw_image_visible
    if visible is None or visible.ndim != 2:
        raise BadFile(
            f"{path}: developed already (three colours at every pixel), there is no mosaic in it; give the file that "
            "the camera wrote."
        )
    cfa = filter_of(raw)
    if cfa not in BAYER and not (len(cfa) == 36 and set(cfa) == set("RGB")):
        what = f"a colour filter of its own kind ({cfa})" if cfa else "no colour filter"
        raise BadFile(f"{path}: its sensor has {what}; Bayer ({', '.join(BAYER)}) and X-Trans are known.")
    return visible.copy(), cfa


def filter_of(raw: Any) -> str:
    """The colours of the visible part's first tile, row by row; nothing where there is no filter."""
    if raw.raw_pattern is None:
        return ""
    rows, columns = raw.raw_pattern.shape
    letters = dict(enumerate(raw.color_desc.decode()))
    return "".join(letters.get(index, "?") for index in raw.raw_colors_visible[:rows, :columns].flat)


def blacks(colours: NDArray[Any], cfa: str, level: Sequence[float]) -> Four:
    """In the order R, G1, G2, B: G1 is the green in the rows of red."""
    from denoise.noise.camera import sites_of

    red, first, second, blue = (level[colours[site]] for site in sites_of(cfa).values())
    return red, first, second, blue


def of_letters(raw: Any, level: Sequence[float]) -> Four:
    letters = raw.color_desc.decode()
    red, green, blue = (level[letters.index(letter)] for letter in "RGB")
    return red, green, green, blue


def balance_of(raw: Any) -> tuple[float, float, float] | None:
    """As the camera set it, else for daylight."""
    for wanted in (raw.camera_whitebalance, raw.daylight_whitebalance):
        factors = [float(factor) for factor in wanted[:3]]
        if all(np.isfinite(factors)) and min(factors) > 0:
            red, green, blue = (factor / min(factors) for factor in factors)
            return red, green, blue
    return None


def matrix_of(values: NDArray[Any]) -> Matrix | None:
    matrix = np.asarray(values, np.float64)
    usable = matrix.shape == (3, 3) and np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-6
    return matrix if usable else None


# Out


def save(target: Path, source: RawFile, photosites: Samples, strength: float | None = 0.0) -> list[str]:
    """The mosaic as a DNG, or what its name asks for; whole or not at all. The answer tells what could not be kept.

    `strength`: the share of the noise that was taken away; None where nobody knows how much is in it now.
    """
    refuse_ending(target)
    mosaic = replace(source.mosaic, photosites=photosites, noise=left_of(source.mosaic, strength))
    if target.suffix.lower() != RESULT_SUFFIX:
        return save_developed(target, source, mosaic)
    content = mosaic_content if is_mosaic(target) else linear_content
    return save_dng(target, content(source, mosaic, strength))


def refuse_ending(target: Path) -> None:
    if target.suffix.lower() not in WRITABLE:
        known = " ".join(sorted(WRITABLE))
        raise BadFile(f"Cannot write {target}: raw files are written as DNG or developed; choose one of {known}.")


def is_mosaic(target: Path) -> bool:
    """Whether a result of that name has one value for each photosite."""
    name = target.name.lower()
    return name.endswith(RESULT_SUFFIX) and not name.endswith(LINEAR)


def left_of(mosaic: Mosaic, strength: float | None) -> Noise | None:
    """What is left of the noise that the file told: of all that was taken away, the steps of the file."""
    if mosaic.noise is None or strength is None:
        return None
    kept, step = (1 - strength) ** 2, 1 / (mosaic.white - max(mosaic.black))
    red, first, second, blue = (
        SiteNoise(max(kept * shot, LEAST_SHOT), max(kept * read, step**2 / 12)) for shot, read, _ in mosaic.noise
    )
    return red, first, second, blue


def save_dng(target: Path, content: Content) -> list[str]:
    from denoise.media.formats import dng

    with atomic(target) as draft:
        dng.write(draft, content)
    return dng.losses(content)


def mosaic_content(source: RawFile, mosaic: Mosaic, strength: float | None) -> Content:
    from denoise.media.develop import preview
    from denoise.media.formats.dng import Content

    return Content(
        source,
        mosaic.photosites,
        in_tile(mosaic),
        mosaic.white,
        preview(mosaic, source.balance, source.to_srgb),
        strength,
        mosaic.noise,
    )


def in_tile(mosaic: Mosaic) -> tuple[float, ...]:
    """Black at each place of the tile, row by row; one value where all are alike."""
    from denoise.noise import camera

    if len(set(mosaic.black)) == 1:
        return mosaic.black[:1]
    if mosaic.is_bayer:
        return tuple(camera.in_tile(mosaic.black, mosaic.cfa).ravel().tolist())
    of = dict(zip("RGB", (mosaic.black[0], mosaic.black[1], mosaic.black[3]), strict=True))
    return tuple(of[letter] for letter in mosaic.cfa)


def linear_content(source: RawFile, mosaic: Mosaic, strength: float | None) -> Content:
    from denoise.media.develop import linear, preview
    from denoise.media.formats.dng import Content

    return Content(
        source,
        linear(mosaic, source.balance, PEDESTAL),
        (float(PEDESTAL),),
        65535,
        preview(mosaic, source.balance, source.to_srgb),
        strength,
        None,
    )


def save_developed(target: Path, source: RawFile, mosaic: Mosaic) -> list[str]:
    """Turned upright, so that every viewer shows it so."""
    from denoise.media.develop import developed
    from denoise.media.formats.developed import Developed
    from denoise.media.picture import PictureFile
    from denoise.media.picture import save as save_picture

    pixels = upright(developed(mosaic, source.balance, source.to_srgb), source.orientation)
    result = PictureFile(source.path, Developed(source, pixels))
    return [*result.notes, *save_picture(target, result, [pixels])]


def upright(pixels: Samples, orientation: int) -> Samples:
    """Turned as a viewer turns pixels of that EXIF orientation."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
