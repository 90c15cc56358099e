"""The commands `denoise noise …`. What they need is imported when they run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from denoise.errors import UserError

if TYPE_CHECKING:
    from denoise.noise.laws import Entry

app = typer.Typer(
    help="Add noise by a law, fit a camera's noise, and show what was fitted.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def refuse_existing(out: Path, overwrite: bool, *inputs: Path) -> None:
    if out.exists() and any(path.exists() and out.samefile(path) for path in inputs):
        raise UserError(f"{out} is the input itself; give another -o.")
    if out.exists() and not overwrite:
        raise UserError(f"{out} is there already; give another -o, or --overwrite to replace it.")


@app.command()
def laws(as_json: AsJson = False) -> None:
    """List the laws that can be added, with their parameters."""
    from denoise.noise.laws import laws as known
    from denoise.report import as_json as json_of
    from denoise.report import as_table

    rows = [{"law": one.name, "of": one.kind, "parameters": needs(one)} for one in known().values()]
    print(json_of(rows) if as_json else as_table(rows))


def needs(law: Entry) -> str:
    files = [f"--from {law.made_of}"] if law.made_of else []
    return ", ".join([*files, *([law.usage] if law.usage else [])])


@app.command()
def cameras(as_json: AsJson = False) -> None:
    """List the cameras that others calibrated."""
    from denoise.noise.cameras import known
    from denoise.report import as_json as json_of
    from denoise.report import as_table

    rows = [{"camera": one.name, "title": one.title, "source": one.source} for one in known().values()]
    print(json_of(rows) if as_json else as_table(rows))


@app.command()
def add(
    law: Annotated[str, typer.Argument(metavar="LAW", help="Its name; `denoise noise laws` lists them.")],
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A picture, a sound, or a raw mosaic (.npy, .tif).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the noisy file goes.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the law; any number of times."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same noise.")] = 0,
    snr: Annotated[float | None, typer.Option(help="dB below active speech, for sounds, in place of a level.")] = None,
    camera: Annotated[
        str | None,
        typer.Option(help="For the law camera: my-camera.toml, or a published one (`denoise noise cameras`)."),
    ] = None,
    iso: Annotated[int | None, typer.Option(min=1, help="Which setting of my-camera.toml.")] = None,
    files: Annotated[
        Path | None,
        typer.Option("--from", metavar="PATH", help="What a law is made of, as `denoise noise laws` says."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Put noise into a file."""
    from denoise.batch.noisy import Order
    from denoise.batch.noisy import add as added
    from denoise.batch.recipe import knobs_of
    from denoise.noise.laws import found

    refuse_existing(out, overwrite, path)
    order = Order(found(law), path, out, knobs_of(settings or ()), seed, camera, iso, snr, files)
    words, notes = added(order)
    say(f"{path} -> {out} ({words}; seed {seed})")
    for note in notes:
        say(f"  {note}")


@app.command()
def fit(
    darks: Annotated[
        Path, typer.Argument(metavar="DARKS", help="Folder of dark frames of one ISO, or of such folders.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file to write, as my-camera.toml; with --learned a folder.")
    ],
    flats: Annotated[
        Path | None, typer.Argument(metavar="FLATS", help="Folder of flat frames, two of each exposure.")
    ] = None,
    gain: Annotated[float | None, typer.Option(help="DN per electron, where there are no flat frames.")] = None,
    black: Annotated[float | None, typer.Option(help="Black level in DN, where the files do not tell it.")] = None,
    white: Annotated[float | None, typer.Option(help="White level in DN, where the files do not tell it.")] = None,
    cfa: Annotated[str | None, typer.Option(help="RGGB, BGGR, GRBG or GBRG, where the files do not tell it.")] = None,
    iso: Annotated[int | None, typer.Option(min=1, help="Where the files do not tell it.")] = None,
    name: Annotated[str | None, typer.Option(help="What the camera is called.")] = None,
    learned: Annotated[
        bool, typer.Option("--learned", help="Train a network on the dark frames, in place of measuring them.")
    ] = False,
    network: Annotated[str | None, typer.Option(help="With --learned: pnnp (the usual one) or lrd.")] = None,
    minutes: Annotated[float | None, typer.Option(help="With --learned: how long to train; 5 is usual.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="With --learned: of the training.")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Measure a camera's noise from its own dark and flat frames."""
    from denoise.fit.camera import Wish
    from denoise.fit.camera import fit as fitted

    for there in (out, *out.parent.glob(f"{out.stem}-pattern*.npy")):
        refuse_existing(there, overwrite)
    if learned:
        refuse_measured(flats, gain, black, white, cfa, name)
        learn(darks, out, network or "pnnp", 5.0 if minutes is None else minutes, seed or 0, iso)
    elif (network, minutes, seed) != (None, None, None):
        raise UserError("--network, --minutes and --seed are for a training; add --learned, or leave them out.")
    else:
        fitted(darks, flats, Wish(gain, black, white, cfa, iso, name), out, say)
    tell(out, as_json)
    say(f"Written: {out}")


def refuse_measured(*told: object) -> None:
    if any(one is not None for one in told):
        raise UserError("Noise is learned from dark frames alone; with --learned give no FLATS, level, gain or name.")


def learn(darks: Path, out: Path, network: str, minutes: float, seed: int, iso: int | None) -> None:
    """Writes a folder."""
    from denoise.batch.recipe import refuse_seed
    from denoise.fit.darkness import learned

    refuse_seed(seed)
    if out.suffix:
        raise UserError(f"{out}: learned noise is a folder; give -o a name without an ending, as my-camera-noise.")
    learned(darks, network, minutes, seed, iso, say).save(out)


@app.command()
def show(
    path: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A calibrated camera, as my-camera.toml, or a folder of learned noise."),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="PNG to draw: variance over signal.")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Tell a calibrated camera or learned noise in words with units, and draw its variance over signal."""
    if out is not None and path.is_dir():
        raise UserError(
            f"{path}: learned noise does not change with the signal, there is no curve to draw; leave -o out."
        )
    if out is not None and out.suffix.lower() != ".png":
        raise UserError(f"{out}: the plot is drawn as PNG; give a name that ends with .png.")
    if out is not None:
        refuse_existing(out, overwrite)
    tell(path, as_json)
    if out is not None:
        draw(path, out)


def tell(path: Path, as_json: bool) -> None:
    from denoise.report import as_json as json_of

    if path.is_dir():
        from denoise.noise.learned import opened

        law = opened(path)
        print(json_of(law.as_data()) if as_json else law.describe())
        return
    from denoise.noise.camera_file import read
    from denoise.noise.portrait import data, words

    file = read(path)
    print(json_of(data(file)) if as_json else words(file))


def draw(path: Path, out: Path) -> None:
    from denoise.atomic import atomic
    from denoise.measure.noise_curve import plot
    from denoise.noise.camera_file import read

    with atomic(out) as draft:
        plot(read(path), draft)
    say(f"Drawn: {out}")
