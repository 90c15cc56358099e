"""A camera's noise from its own frames: dark ones for what is there without light, flat ones for the gain.

Per setting (ISO): the black level of each colour, the offset that every sensor row draws, and the read noise as
Tukey's lambda law by a probability plot, with the Gaussian one beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from denoise.errors import UserError
from denoise.noise.camera import Camera, sites_of, tukey_quantile

if TYPE_CHECKING:
    from denoise.noise.photon_transfer import Transfer

Array = NDArray[np.float64]
Frame = NDArray[Any]  # a mosaic (H, W) of whole numbers

CENTRE = 2048  # px, side of the middle that is looked at
PLOTTED = 1_000_000  # values in a probability plot, at most
HEAVIEST, LIGHTEST = -0.45, 0.6  # lambda is looked for between; at -1/2 the variance is infinite
ROUNDED = 1.0  # standard deviations in steps below which rounding hides the shape of the noise
LIT = 0.05  # share of white above which a dark frame is not dark
CUT = 0.2  # share of photosites at the lowest value from which the noise is cut off there
SURE = 4.0  # standard errors from which something is more than chance
ASSUMED_ISO = 1000.0  # at which a camera of which nothing is known is taken to give one DN per electron


@dataclass(frozen=True)
class Plot:
    """A straight line through sorted values over the quantiles of a law."""

    scale: float  # slope
    centre: float
    r2: float


@dataclass(frozen=True)
class Tail:
    """The pixels' noise as Tukey's lambda law; `plot.scale` is a scale and no standard deviation."""

    shape: float  # lambda
    plot: Plot


@dataclass(frozen=True)
class Grain:
    """What is left of dark frames without their levels, in DN."""

    row_dn: float  # standard deviation of the offset that a sensor row draws
    row_r2: float
    read_dn: float  # scale of Tukey's law, or the standard deviation where lambda is None
    read_lambda: float | None  # None: too little noise for its shape to be seen through the rounding
    read_r2: float
    gaussian_dn: float  # the read noise as a normal law
    gaussian_r2: float
    fixed_dn: float | None  # standard deviation of what is the same in every frame; None with one frame


@dataclass(frozen=True)
class Darkness:
    """What dark frames of one setting say."""

    bias_dn: tuple[float, float, float, float]  # R, G1, G2, B, above black
    step_dn: float
    frames: int
    grain: Grain


@dataclass(frozen=True)
class LogLine:
    """log sigma = slope × log gain + intercept, natural logarithms; `residual` is the scatter around it."""

    slope: float
    intercept: float
    residual: float

    def at(self, gain_dn_per_e: float) -> float:
        return math.exp(self.slope * math.log(gain_dn_per_e) + self.intercept)


# Probability plots


def medians(count: int) -> Array:
    """Of the order statistics of so many uniform numbers (Filliben)."""
    at = (np.arange(1, count + 1) - 0.3175) / (count + 0.365)
    at[-1] = 0.5 ** (1 / count)
    at[0] = 1 - at[-1]
    return np.asarray(at, np.float64)


def line(quantiles: Array, ordered: Array) -> Plot:
    across, up = quantiles - quantiles.mean(), ordered - ordered.mean()
    sxy, sxx, syy = (float(np.dot(*pair)) for pair in ((across, up), (across, across), (up, up)))
    slope = sxy / sxx
    r2 = sxy**2 / (sxx * syy) if syy > 0 else 0.0
    return Plot(slope, float(ordered.mean() - slope * quantiles.mean()), r2)


def normal_plot(values: Array) -> Plot:
    from scipy.special import ndtri

    return line(ndtri(medians(values.size)), np.sort(values, axis=None))


def tukey_plot(values: Array) -> Tail:
    """The lambda whose quantiles lie straightest under the sorted values (PPCC), and the line there."""
    from scipy.optimize import minimize_scalar

    ordered, p = np.sort(values, axis=None), medians(values.size)
    crooked = minimize_scalar(
        lambda shape: 1 - math.sqrt(line(tukey_quantile(p, shape), ordered).r2),
        bounds=(HEAVIEST, LIGHTEST),
        method="bounded",
    )
    return Tail(float(crooked.x), line(tukey_quantile(p, float(crooked.x)), ordered))


# Dark frames


def darkness(frames: Sequence[Frame], black_dn: Sequence[float] = (0, 0, 0, 0), cfa: str = "RGGB") -> Darkness:
    """From dark frames (H, W) of one setting; black is that of R, G1, G2, B."""
    refuse_unlike(frames)
    middles = [centred(frame) for frame in frames]
    step = step_of(middles)
    for frame in middles:
        refuse_cut(frame)
    level = np.mean([site_means(frame) for frame in middles], axis=0)
    grains = [levelled(frame, level) for frame in middles]
    return Darkness(in_colours(level, cfa, black_dn), step, len(frames), grain_of(grains, step))


def grain_of(grains: Sequence[Array], step: float) -> Grain:
    """Rows and pixels, from frames (H, W) whose levels are taken away."""
    still, row = without_rows(grains), rows_of(grains)
    total = float(np.mean([np.square(grain).mean() for grain in still]))
    fixed = fixed_variance(still, total)
    moving = total - (fixed or 0.0)
    share = math.sqrt(max(moving - step**2 / 12, 0.0) / total)  # of the plotted values, what is read noise
    tail, gauss = shape_of(still, total, step), normal_plot(thinned(still))
    return Grain(
        row_dn=math.sqrt(max(row.scale**2 - moving / grains[0].shape[1], 0.0)),
        row_r2=row.r2,
        read_dn=share * (tail.plot.scale if tail else math.sqrt(total)),
        read_lambda=tail.shape if tail else None,
        read_r2=tail.plot.r2 if tail else gauss.r2,
        gaussian_dn=share * gauss.scale,
        gaussian_r2=gauss.r2,
        fixed_dn=None if fixed is None else math.sqrt(fixed),
    )


def refuse_unlike(frames: Sequence[Frame]) -> None:
    if not frames:
        raise UserError("There are no dark frames; take some with the lens capped.")
    sizes = sorted({f"{frame.shape[1]} × {frame.shape[0]}" for frame in frames})
    if len(sizes) > 1:
        raise UserError(f"Dark frames of different sizes ({', '.join(sizes)}); give those of one camera and mode.")


def refuse_other_size(dark: Frame, flats: Sequence[Frame]) -> None:
    for flat in flats:
        if flat.shape != dark.shape:
            sizes = " and ".join(f"{one.shape[1]} × {one.shape[0]}" for one in (flat, dark))
            raise UserError(f"A flat frame and the dark frames differ in size ({sizes}); give those of one camera.")


def refuse_cut(frame: Frame) -> None:
    """Where the lower half of the noise is missing, nothing of it can be measured."""
    low, high = frame.min(), frame.max()
    if low == high:
        raise UserError(f"A dark frame holds the value {low} and no noise; give raw files as the camera wrote them.")
    share = float((frame == low).mean())
    next_lowest = frame[frame > low].min()
    if share > CUT and share > 1.5 * float((frame == next_lowest).mean()):
        raise UserError(
            f"{100 * share:.0f} % of a dark frame is {low:g}: its noise is cut off at black; "
            "this camera's dark frames cannot be measured, give flat frames and a blind estimate instead."
        )


def centred(frame: Frame) -> Frame:
    """The middle, beginning at an even row and column so that the colours stay where they are."""
    top, left = ((side - min(side, CENTRE)) // 4 * 2 for side in frame.shape)
    rows, columns = (min(side, CENTRE) // 2 * 2 for side in frame.shape)
    return frame[top : top + rows, left : left + columns]


def step_of(frames: Sequence[Frame]) -> float:
    """The smallest distance of two values: 1, or 4 where 14 bits were shifted up to 16."""
    if not np.issubdtype(frames[0].dtype, np.integer):
        return 0.0
    steps = [np.gcd.reduce(np.diff(np.unique(frame)).astype(np.int64)) for frame in frames]
    return float(np.gcd.reduce(steps))


def site_means(frame: Frame) -> Array:
    """Of the four sites of the tile, row by row."""
    return np.array([frame[r::2, c::2].mean(dtype=np.float64) for r in (0, 1) for c in (0, 1)])


def levelled(frame: Frame, level: Array) -> Array:
    """Without the level of each colour."""
    grain = frame.astype(np.float64)
    for site in range(4):
        grain[site // 2 :: 2, site % 2 :: 2] -= level[site]
    return grain


def places(cfa: str) -> tuple[int, ...]:
    """Of R, G1, G2 and B in the 2×2 tile, counted row by row."""
    return tuple(2 * row + column for row, column in sites_of(cfa).values())


def in_colours(level: Array, cfa: str, black_dn: Sequence[float]) -> tuple[float, float, float, float]:
    red, green, other, blue = (float(level[at] - black) for at, black in zip(places(cfa), black_dn, strict=True))
    return red, green, other, blue


def rows_of(grains: Sequence[Array]) -> Plot:
    """The row means as a normal law; differences of frames where there are several, since rows differ for good too."""
    if len(grains) == 1:
        return normal_plot(grains[0].mean(1))
    apart = [(one - two).mean(1) / math.sqrt(2) for one, two in pairwise(grains)]
    plots = [normal_plot(means) for means in apart]
    scale = math.sqrt(np.mean([plot.scale**2 for plot in plots]))
    return Plot(scale, 0.0, float(np.mean([plot.r2 for plot in plots])))


def without_rows(grains: Sequence[Array]) -> list[Array]:
    """Each row's mean taken away, and the variance that went with it given back."""
    kept = math.sqrt(1 - 1 / grains[0].shape[1])
    return [(grain - grain.mean(1, keepdims=True)) / kept for grain in grains]


def fixed_variance(grains: Sequence[Array], total: float) -> float | None:
    """What neighbouring frames have in common; 0 where that is no more than chance."""
    if len(grains) == 1:
        return None
    common = float(np.mean([(one * two).mean() for one, two in pairwise(grains)]))
    if common > 0.999 * total:
        raise UserError("Two dark frames hold the same values; give frames taken one after the other, not copies.")
    chance = total / math.sqrt(grains[0].size * (len(grains) - 1))
    return common if common > SURE * chance else 0.0


def shape_of(grains: Sequence[Array], total: float, step: float) -> Tail | None:
    """None where rounding dominates: the plot would show the steps."""
    return tukey_plot(thinned(grains)) if math.sqrt(total) > ROUNDED * step else None


def thinned(grains: Sequence[Array]) -> Array:
    """At most PLOTTED values, every so manieth of each frame."""
    every = math.ceil(sum(grain.size for grain in grains) / PLOTTED) | 1  # odd: all four colours take part
    return np.concatenate([grain.ravel()[::every] for grain in grains])


# Over the settings


def log_line(gains_dn_per_e: Sequence[float], sigmas_dn: Sequence[float]) -> LogLine:
    """How a noise grows with the gain, by least squares in logarithms."""
    known = [(gain, sigma) for gain, sigma in zip(gains_dn_per_e, sigmas_dn, strict=True) if gain > 0 and sigma > 0]
    if len({gain for gain, _ in known}) < 2:
        raise UserError("A line over the gain needs two settings with different gains; give frames of more ISO values.")
    gain, sigma = np.log(np.array(known)).T
    slope, intercept = (float(value) for value in np.polyfit(gain, sigma, 1))
    residual = float(np.sqrt(np.mean((sigma - slope * gain - intercept) ** 2)))
    return LogLine(slope, intercept, residual)


# A camera


@dataclass(frozen=True)
class Calibration:
    """A camera at one setting, and how well it is known."""

    camera: Camera
    black_dn: tuple[float, float, float, float]  # that the bias is counted from: R, G1, G2, B
    iso: int | None = None
    gain_from: str = "given"
    gain_error: float | None = None
    dark: Darkness | None = None
    pattern: Path | None = None  # file of what is the same in every frame: (H, W) of the whole sensor, DN


def calibrated(
    darks: Sequence[Frame],
    flats: Sequence[Frame] = (),
    *,
    cfa: str = "RGGB",
    black_dn: Sequence[float] | None = None,
    white_dn: float | None = None,
    iso: int | None = None,
    gain_dn_per_e: float | None = None,
    name: str = "",
) -> Calibration:
    """All of it: bias, rows and read noise from dark frames, the gain from flat ones, or given, or assumed by ISO."""
    refuse_unlike(darks)
    refuse_other_size(darks[0], flats)
    black = black_of(darks, black_dn, cfa)
    white = float(white_dn if white_dn is not None else largest_of(darks[0]))
    if white <= max(black):
        raise UserError(f"White of {white:g} DN is not above black of {max(black):g} DN; say both, or leave both out.")
    refuse_lit(darks, min(black), white)
    dark = darkness(darks, black, cfa)
    gain, error, source = gain_of(darks, flats, dark, black, white, cfa, iso, gain_dn_per_e)
    camera = Camera(
        gain_dn_per_e=gain,
        read_dn=dark.grain.read_dn,
        read_lambda=dark.grain.read_lambda,
        row_dn=dark.grain.row_dn,
        bias_dn=dark.bias_dn,
        step_dn=dark.step_dn,
        white_dn=white - min(black),
        cfa=cfa,
        name=name,
    )
    return Calibration(camera, black, iso, source, error, dark)


def black_of(darks: Sequence[Frame], black_dn: Sequence[float] | None, cfa: str) -> tuple[float, float, float, float]:
    """As the file tells it, else the mean of the dark frames, a whole number for all colours."""
    if black_dn is None:
        common = float(round(float(np.mean([site_means(centred(frame)) for frame in darks]))))
        return common, common, common, common
    red, green, other, blue = (float(value) for value in black_dn)
    return red, green, other, blue


def largest_of(frame: Frame) -> float:
    """White of a file that does not tell it."""
    if not np.issubdtype(frame.dtype, np.integer):
        raise UserError("Frames of fractional values do not tell what white is; say it, as in --white 16383.")
    return float(np.iinfo(frame.dtype).max)


def refuse_lit(darks: Sequence[Frame], black: float, white: float) -> None:
    for frame in darks:
        above = float(frame.mean()) - black
        if above > LIT * (white - black):
            raise UserError(
                f"A dark frame is {above:.0f} DN above black on average and not dark; cap the lens, "
                "choose the shortest exposure, and take it again."
            )


def gain_of(
    darks: Sequence[Frame],
    flats: Sequence[Frame],
    dark: Darkness,
    black: Sequence[float],
    white: float,
    cfa: str,
    iso: int | None,
    given: float | None,
) -> tuple[float, float | None, str]:
    """The gain, its standard error, and in words where it is from."""
    if given is not None:
        return given, None, "given"
    if flats:
        found = transfer_of(darks, flats, dark, black, white, cfa)
        return found.gain_dn_per_e, found.gain_error, "flat frames"
    if iso is None:
        raise UserError("Dark frames alone do not tell the gain; give flat frames too, or --gain in DN per electron.")
    return iso / ASSUMED_ISO, None, f"assumed: ISO {iso} / {ASSUMED_ISO:g}"


def transfer_of(
    darks: Sequence[Frame], flats: Sequence[Frame], dark: Darkness, black: Sequence[float], white: float, cfa: str
) -> Transfer:
    """Photon transfer over the pairs of flats, and over a pair of dark frames as the one without light."""
    from denoise.noise.photon_transfer import paired, transfer

    level = [0.0] * 4
    for colour, at in enumerate(places(cfa)):
        level[at] = black[colour] + dark.bias_dn[colour]
    middles = [centred(frame) for frame in flats]
    chosen, _ = paired(middles, min(black))
    if not chosen:
        raise UserError(f"None of {len(flats)} flat frames is as bright as another; take two of each exposure.")
    pairs = [(middles[one], middles[two]) for one, two in chosen]
    if len(darks) > 1:
        pairs.append((centred(darks[0]), centred(darks[1])))
    return transfer(pairs, level, white, dark.step_dn)
