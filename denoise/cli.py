"""The command. It holds no knowledge of its own: it asks the floors below, and says what they answer.

stdout is data, stderr is talk; exit codes: 0 done, 2 wrong use or nothing but wrong input, 3 some files failed,
130 stopped by the user.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from denoise.devices import give_way
from denoise.errors import CANNOT_READ, Cancelled, UserError
from denoise.noise_cli import app as noise  # typer alone: what its commands need, they import themselves

if TYPE_CHECKING:
    from denoise.batch.plan import Plan
    from denoise.batch.recipe import Recipe
    from denoise.measure.draws import Draws
    from denoise.measure.noise_map import NoiseMap
    from denoise.report import Report

EXTRAS = {"gradio": "web", "pesq": "scores", "speechmos": "scores", "onnx": "export", "onnxscript": "export"}
EXTRAS |= {"onnxruntime": "cpu", "matplotlib": "fit", "skimage": "peers", "bm3d": "peers"}


class Faces(TyperGroup):
    """Every command's errors, said in one line and with the exit code of wrong use."""

    def get_help_option(self, ctx: Any) -> Any:
        """With a default: a flag that has none makes typer load pydantic, and `denoise clean --help` twice as slow."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as trouble:
            say(str(trouble))
        except ModuleNotFoundError as missing:
            if missing.name not in EXTRAS:
                raise
            say(f"This needs the package {missing.name}: pip install 'denoise-kit[{EXTRAS[missing.name]}]'.")
        except (KeyboardInterrupt, Cancelled):
            say("Cancelled.")
            raise typer.Exit(130) from None
        except OSError as trouble:
            if trouble.filename is None or trouble.errno not in CANNOT_READ:
                raise
            say(f"{trouble.filename}: {CANNOT_READ[trouble.errno]}")
        raise typer.Exit(2)


app = typer.Typer(
    cls=Faces,
    help="Takes the noise out of sounds and pictures, and says what it did.",
    epilog="Exit codes: 0 done, 2 wrong use or wrong input, 3 some files failed, 130 stopped.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(noise, name="noise", cls=Faces)

# Whether they can be read is asked of each on its own: one that cannot stops no other.
Inputs = Annotated[
    list[Path],
    typer.Argument(metavar="PATH...", readable=False, help="Sounds, pictures, camera raw, and folders of them."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
ModelName = Annotated[
    str, typer.Option("--model", "-m", help="auto: what suits the file; or a model's name, or its folder.")
]
EngineName = Annotated[
    str, typer.Option("--engine", help="torch, onnx, or int8: ONNX Runtime in whole numbers, for processors.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KNOB=VALUE", help="Turn a knob of the model; `denoise models NAME` lists them."),
]
DeviceName = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda or mps; with --engine onnx also tensorrt or directml.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="How many threads compute; else one for each core.")]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(data: object, as_json: bool, rows: Iterable[Mapping[str, object]]) -> None:
    from denoise.report import as_json as json_of
    from denoise.report import as_table

    print(json_of(data) if as_json else as_table(list(rows)))


def version(wanted: bool) -> None:
    if wanted:
        from denoise import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def denoise(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


@app.command()
def clean(
    paths: Inputs,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Folder (or, for one file, file) for results; else beside: NAME.clean.EXT."),
    ] = None,
    model: ModelName = "auto",
    strength: Annotated[float, typer.Option(help="0: as it was, 1: all that the model removes.")] = 1.0,
    passes: Annotated[
        int,
        typer.Option(help="Pictures: so often, turned or mirrored another way, 1 to 8; the mean is finer, and slower."),
    ] = 1,
    seed: Annotated[int, typer.Option(help="Same seed, same result, for models that draw random numbers.")] = 0,
    settings: Settings = None,
    camera: Annotated[
        Path | None, typer.Option(help="For raw files: your camera's noise, from `denoise noise fit`.")
    ] = None,
    engine: EngineName = "torch",
    device: DeviceName = "auto",
    threads: Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make results anew that are there already.")] = False,
    in_place: Annotated[bool, typer.Option("--in-place", help="Write over the inputs themselves.")] = False,
    residual: Annotated[
        bool, typer.Option("--residual", help="Also write what was taken away: NAME.residual.EXT beside the result.")
    ] = False,
    develop: Annotated[
        str | None,
        typer.Option(metavar="AS", help="Camera raw: tiff, png, jpeg, or linear (a DNG of colours); else a raw DNG."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Clean sounds, pictures and camera raw, files or whole folders."""
    from denoise.batch.plan import plan
    from denoise.batch.recipe import Recipe, knobs_of
    from denoise.devices import use_threads

    use_threads(threads)
    recipe = Recipe(model, engine, device, strength, seed, knobs_of(settings or ()), camera, passes)
    report = cleaned(plan(paths, out, in_place, recipe.only, residual, develop), recipe, overwrite)
    if as_json:
        show(report.as_data(), as_json, ())
    if report.tells_more:
        say(report.summary())
    raise typer.Exit(report.exit_code)


def cleaned(plan: Plan, recipe: Recipe, overwrite: bool) -> Report:
    """The whole run; stopped in its middle, what was done until then."""
    from denoise.batch.folder import clean_all
    from denoise.report import Report
    from denoise.talk import Bar, interruptible

    report = Report(left_alone=plan.left_alone)
    try:
        with interruptible() as stop, Bar(stop) as bar:
            for outcome in clean_all(plan, recipe, bar, overwrite):
                report.outcomes.append(outcome)
    except (KeyboardInterrupt, Cancelled):
        report.cancelled = True
        report.waiting = len(plan.jobs) + len(plan.failures) - len(report.outcomes)
    return report


@app.command()
def inspect(path: Annotated[Path, typer.Argument(metavar="FILE", readable=False)], as_json: AsJson = False) -> None:
    """Say what a file is, how noisy it is, and what would clean it."""
    from denoise.measure.inspection import inspect_file
    from denoise.report import as_json as json_of

    found = inspect_file(path)
    print(json_of(found.as_data()) if as_json else found.as_text())


@app.command()
def compare(
    noisy: Annotated[Path, typer.Argument(metavar="NOISY")],
    cleaned: Annotated[Path, typer.Argument(metavar="CLEANED")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="PNG to draw: before, after, and what was removed.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace that PNG if it is there.")] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The model that cleaned: also draw what noise it measures, or its doubt."),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Show what was removed: numbers, and a picture of before, after and the difference."""
    from denoise.measure.comparison import compare as compared

    if out is not None:
        refuse_drawing(out, overwrite, (noisy, cleaned))
    found = compared(noisy, cleaned, *(views_of(model, settings, noisy, cleaned) if model and out else ()))
    show(found.numbers, as_json, [{"number": name, "value": value} for name, value in found.numbers.items()])
    for note in found.notes:
        say(note)
    if out is not None:
        from denoise.atomic import atomic

        with atomic(out) as draft:
            found.drawing.save(draft, "PNG")
        say(f"Drawn: {out}")


def views_of(
    model: str, settings: list[str] | None, noisy: Path, cleaned: Path
) -> tuple[Draws | None, NoiseMap | None]:
    """What else the model has to show."""
    from denoise.batch.recipe import Recipe, knobs_of, ready
    from denoise.measure.comparison import kind_of_both
    from denoise.measure.draws import Draws
    from denoise.measure.noise_map import NoiseMap
    from denoise.media.find import NAMES

    kind = kind_of_both(noisy, cleaned)
    recipe = Recipe(model, knobs=knobs_of(settings or ()))
    if recipe.only != kind:
        raise UserError(f"{model} is not for {NAMES[kind]}s; name the model that cleaned {cleaned}.")
    made = ready(recipe, [kind])[kind]
    mapping = NoiseMap.by(made.restorer)
    return (None if mapping and not made.restorer.facts.seeded else Draws(made.restorer, made.options)), mapping


def refuse_drawing(out: Path, overwrite: bool, inputs: tuple[Path, ...]) -> None:
    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: the comparison is drawn as PNG; give a name that ends with .png.")
    if out.exists() and any(path.exists() and out.samefile(path) for path in inputs):
        raise UserError(f"{out} is one of the files to compare; give another -o.")
    if out.exists() and not overwrite:
        raise UserError(f"{out} is there already; give another -o, or --overwrite to replace it.")


@app.command()
def measure(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", readable=False, help="Files or folders to measure.")
    ],
    reference: Annotated[
        Path | None,
        typer.Option("--reference", "-r", help="The clean originals: a file, or a folder of the same shape."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score files: PSNR, SSIM, SI-SDR, PESQ, STOI against clean originals; DNSMOS without."""
    from denoise.measure.files import means, measure_files
    from denoise.talk import tracked

    found = measure_files(paths, reference, say, tracked)
    good = [row.scores for row in found if row.error is None]
    rows = [{"file": str(row.path), **row.scores} for row in found if row.error is None]
    if len(rows) > 1:
        rows.append({"file": f"mean of {len(good)}", **means(good)})
    data = {"files": [row.as_data() for row in found], "mean": means(good), "measured": len(good)}
    if rows or as_json:
        show(data, as_json, rows)
    for row in found:
        if row.error is not None:
            say(f"{row.path}: {row.error}")
    if len(good) < len(found):
        raise typer.Exit(3 if good else 2)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A model, to read all about it.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the models, or tell all about one."""
    from denoise.catalogue import row_of, story_of
    from denoise.report import as_json as json_of
    from denoise.zoo import cards, find

    if name is None:
        found = cards().values()
        show([card.entries | {"folder": str(card.folder)} for card in found], as_json, map(row_of, found))
        return
    card = find(name)
    print(json_of(card.entries | {"folder": str(card.folder)}) if as_json else story_of(card))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Try what can be used here: devices, ONNX providers, codecs, resampler, model folders."""
    from dataclasses import asdict

    from denoise.doctor import findings

    rows = [asdict(finding) for finding in findings()]
    show(rows, as_json, rows)


@app.command()
def bench(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which; without it they are listed.")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Only this model.")] = None,
    engine: EngineName = "torch",
    device: DeviceName = "auto",
    data: Annotated[Path | None, typer.Option(help="Folder of the test data, where not the usual one.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many files, for a quick look.")] = None,
    threads: Threads = None,
    minutes: Annotated[float | None, typer.Option(min=0.1, help="How long to train, where a bench trains.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure speed, memory and quality on named data, beside the noisy input and other methods."""
    from denoise.devices import use_threads
    from denoise.measure.bench import Wish, benches, rows_of

    use_threads(threads)
    if name is None:
        known = [{"bench": each, "what": what} for each, what in benches().items()]
        show(known, as_json, known)
        return
    rows = []
    for row in rows_of(name, Wish(model, engine, device, data, limit, say, minutes)):
        rows.append(row)
        say("  ".join(f"{key} {value}" for key, value in row.items()))
    show(rows, as_json, rows)


@app.command("import")
def import_(
    checkpoint: Annotated[Path, typer.Argument(metavar="FILE", help="A released checkpoint of one of the papers.")],
    name: Annotated[str, typer.Option("--name", help="What the model shall be called.")],
) -> None:
    """Make a model of a paper's official checkpoint."""
    from denoise.checkpoint import import_official

    print(import_official(checkpoint, name))


@app.command()
def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model with a recipe, or its folder.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of training data; for sound with speech/, noise/ and rooms/ in it.")
    ] = None,
    speech: Annotated[Path | None, typer.Option(help="Folder of voices without noise, for a sound model.")] = None,
    noise: Annotated[Path | None, typer.Option(help="Folder of noise without voices, for a sound model.")] = None,
    camera: Annotated[
        Path | None,
        typer.Option(help="For dark raw: learn the noise of your camera alone, from `denoise noise fit`."),
    ] = None,
    noisy: Annotated[
        Path | None, typer.Option(help="Folder of noisy pictures, for a model that learns its noise from them.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to train.")] = 60.0,
    device: DeviceName = "auto",
    publish: Annotated[bool, typer.Option("--publish", help="Put the best weights into the model's folder.")] = False,
) -> None:
    """Train a model by its recipe; stopped and started again, it goes on where it was."""
    from denoise.fit import recipes
    from denoise.zoo import find

    card = find(name)
    material = recipes.Material(data, speech, noise, camera, noisy)
    run = recipes.train_model(card, material, minutes, say, device=device)
    say(f"Best weights and their curve: {run}")
    if publish:
        card = card if camera is None else recipes.own_copy(card, camera)
        recipes.publish(run, card)
        say(f"Published: {card.folder}")


@app.command()
def fit(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Your noisy pictures, as many as there are.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model folder to write, as my-model.")],
    start: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="What it begins as; else the usual one for pictures.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.05, help="How long to fit.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0, help="Of what is kept aside and of the training.")] = 0,
    flat: Annotated[
        bool,
        typer.Option("--flat", help="There are places with nothing on them but noise: paper, sky, empty background."),
    ] = False,
    device: DeviceName = "auto",
    as_json: AsJson = False,
) -> None:
    """Fit a picture model to your own noisy pictures; it is kept only where it is better on some kept aside."""
    from denoise.batch.recipe import refuse_seed
    from denoise.fit import own_pictures
    from denoise.report import as_json as json_of

    refuse_seed(seed)
    result = own_pictures.fit(own_pictures.Wish(folder, out, start, minutes, seed, device, flat), say)
    print(json_of(result.as_data()) if as_json else result.as_text())


@app.command()
def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name, or its folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder that the graph goes to.")],
    live: Annotated[
        bool, typer.Option("--live", help="For sound as it comes in: one frame, and what is kept between frames.")
    ] = False,
    precision: Annotated[
        str, typer.Option(help="fp32, fp16 (half the weights' size) or int8 (for processors; see --calibrate).")
    ] = "fp32",
    calibrate: Annotated[
        Path | None, typer.Option(help="Folder of signals as the model meets them, for int8; else samples/.")
    ] = None,
    static: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="For runtimes that want one: HEIGHTxWIDTH, or a number of samples."),
    ] = None,
    golden: Annotated[
        bool, typer.Option("--golden", help="Also write a short input and what PyTorch makes of it, to compare with.")
    ] = False,
) -> None:
    """Write a model as an ONNX graph, for other applications."""
    from denoise.onnx.export import export_model
    from denoise.onnx.live import export_live
    from denoise.zoo import find

    card = find(model)
    if (live or golden) and static:
        raise UserError("--static goes neither with --live, whose frames have one length, nor with --golden.")
    refuse_at(precision, live, golden, calibrate)
    if live:
        graph = export_live(card, out, precision)
    else:
        from denoise.onnx.pieces import pieces_for

        pieces = pieces_for(card, calibrate) if precision == "int8" else ()
        graph = export_model(card, out, precision, pieces, size_of(static))
    print(graph)
    if golden:
        from denoise.onnx.golden import write_golden

        print(write_golden(card, graph, live, precision))


def refuse_at(precision: str, live: bool, golden: bool, calibrate: Path | None) -> None:
    """What would be ignored, or could not be kept."""
    if calibrate and (live or precision != "int8"):
        raise UserError("--calibrate finds the ranges of --precision int8 without --live; leave it out elsewhere.")
    if golden and precision == "int8":
        raise UserError("--golden is for fp32 and fp16: int8 is held to a loss in dB instead; leave one of them out.")


def size_of(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    sides = text.split("x")
    if not all(side.isdecimal() for side in sides):
        raise UserError(f"--static {text}: HEIGHTxWIDTH or a number of samples is wanted, as in 480x640.")
    return tuple(int(side) for side in sides)


@app.command("app")
def web(
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in your network see it too.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Where it is served; else a free one.")] = None,
    auth: Annotated[
        str | None,
        typer.Option(metavar="NAME:PASSWORD", envvar="DENOISE_AUTH", help="Who may see it; else everyone who can."),
    ] = None,
    share: Annotated[bool, typer.Option("--share", help="Through a public address of gradio's; needs --auth.")] = False,
) -> None:
    """Open the web page on this machine."""
    from denoise.web.app import main as serve
    from denoise.web.app import named

    serve(host=host, port=port, share=share, auth=named(auth))


def main() -> None:
    """Names that cannot be spelled in the terminal's encoding are no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    give_way()
    try:
        app()
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stderr.close()
        raise SystemExit(1) from None
