"""All laws of noise by name, and their parameters from words such as `sigma=15`."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from denoise.errors import UserError
from denoise.restorer import unknown
from denoise.signals import Kind

OF_FILES = {  # raw laws that are made of what lies in a folder, and of a gain
    "denoise.noise.darkframes": ("dark-frames", "DarkFrames", "a folder of dark frames"),
    "denoise.noise.learned": ("learned", "LearnedCamera", "a folder of learned noise"),
}
MODULES: tuple[tuple[str, Kind], ...] = (
    ("denoise.noise.picture_laws", "picture"),
    ("denoise.noise.photograph", "picture"),
    ("denoise.noise.camera", "raw"),
    *((module, "raw") for module in OF_FILES),
    ("denoise.noise.sound_laws", "audio"),
)
SCALARS = (float, int, bool, str)
SIGNED = ("_db", "_dbfs", "lambda", "bias_dn", "exponent", "slope", "tilt", "colour")
"""Endings of the parameters that may be negative; all others are amounts."""
RANGES = {  # lowest, whether that itself is allowed, highest
    "gain_dn_per_e": (0.0, False, math.inf),
    "white_dn": (0.0, False, math.inf),
    "read_lambda": (-0.5, False, math.inf),
    "peak": (0.0, False, math.inf),
    "looks": (0.0, False, math.inf),
    "density": (0.0, True, 1.0),
    "share": (0.0, True, 1.0),
    "quality": (1.0, True, 100.0),
    "bits": (1.0, True, 32.0),
}
BEGINNINGS = {  # of parameters without a default: what shows the law well
    "sigma": 25.0,
    "peak": 60.0,
    "read": 3.0,
    "looks": 8.0,
    "factor_variance": 0.04,
    "density": 0.03,
    "rows": 4.0,
    "quality": 20,
    "gain_dn_per_e": 2.0,
    "read_dn": 4.0,
}
BEGINNINGS_OF = {("photograph", "shot"): 0.08, ("photograph", "read"): 0.02}  # where a name means something else
UNITS = {
    "_dbfs": "dBFS",
    "_db": "dB",
    "_hz": "Hz",
    "_s": "seconds",
    "_m": "metres",
    "_dn": "DN",
    "_dn_per_e": "DN per electron",
}
TILES = ("RGGB", "BGGR", "GRBG", "GBRG")
CHOICES = {"mosaic": TILES, "cfa": TILES}


@dataclass(frozen=True)
class Entry:
    """A law that can be asked for by its name."""

    name: str
    law: type[Any]
    kind: Kind
    made_of: str = ""  # files of the user, in words; "": it is made of words alone
    only: tuple[str, ...] = ()  # the parameters that can be set by a word; none: all that can be read

    @property
    def parameters(self) -> dict[str, dataclasses.Field[Any]]:
        """Those that can be set by a word."""
        hints = typing.get_type_hints(self.law)
        own = (one for one in dataclasses.fields(self.law) if not self.only or one.name in self.only)
        return {one.name: one for one in own if readable(hints[one.name])}

    def hint(self, name: str) -> Any:
        return typing.get_type_hints(self.law)[name]

    def beginning(self, name: str) -> Any:
        """The default of a parameter, or where it has none a value that shows the law well; None: nothing is set."""
        default = self.parameters[name].default
        if default is not dataclasses.MISSING:
            return default
        return BEGINNINGS_OF.get((self.name, name), BEGINNINGS.get(name))

    def unit(self, name: str) -> str:
        """By the ending of its name; "" where that tells none."""
        return UNITS.get(ending_of(name), "")

    def bare(self, name: str) -> str:
        """Its name without the unit."""
        return name.removesuffix(ending_of(name))

    @property
    def story(self) -> str:
        """What it says of itself; nothing where that is only its signature."""
        words = self.law.__doc__ or ""
        return "" if words.startswith(f"{self.law.__name__}(") else words.strip().split("\n\n")[0].replace("\n", " ")

    @property
    def usage(self) -> str:
        """`sigma=…, chroma=1.0`."""
        return ", ".join(f"{name}={default_of(one)}" for name, one in self.parameters.items())


def ending_of(name: str) -> str:
    """That tells the unit; "" where none does."""
    return next((ending for ending in UNITS if name.endswith(ending)), "")


def default_of(one: dataclasses.Field[Any]) -> str:
    return "…" if one.default is dataclasses.MISSING else str(one.default)


def laws() -> dict[str, Entry]:
    """Every law there is."""
    there = ((name, kind) for name, kind in MODULES if find_spec(name) is not None)
    return {entry.name: entry for name, kind in there for entry in entries_of(import_module(name), kind)}


def entries_of(module: types.ModuleType, kind: Kind) -> Iterator[Entry]:
    """As the module lists them itself, else its classes that can be sampled and are given by words alone."""
    if module.__name__ in OF_FILES:
        name, law, files = OF_FILES[module.__name__]
        yield Entry(name, getattr(module, law), kind, files, ("gain_dn_per_e",))
        return
    listed: Mapping[str, type] | None = getattr(module, "SOUND_LAWS", None)
    if listed is not None:
        made_of: Mapping[str, str] = getattr(module, "MADE_OF", {})
        yield from (Entry(name, law, kind, made_of.get(name, "")) for name, law in listed.items())
        return
    own = (one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__)
    yield from (Entry(named(law), law, kind) for law in own if is_law(law))


def is_law(law: type) -> bool:
    return dataclasses.is_dataclass(law) and callable(getattr(law, "sample", None)) and spelled(law)


def spelled(law: type) -> bool:
    """Whether everything it needs can be said in words."""
    hints = typing.get_type_hints(law)
    needed = [one.name for one in dataclasses.fields(law) if default_of(one) == "…"]
    return all(readable(hints[name]) for name in needed)


def named(law: type) -> str:
    """`SaltAndPepper` is called salt-and-pepper."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", law.__name__).lower()


def found(name: str) -> Entry:
    known = laws()
    if name not in known:
        raise UserError(unknown("law", name, list(known), "there are"))
    return known[name]


def made(entry: Entry, words: Mapping[str, str], known: Mapping[str, Any] | None = None) -> Any:
    """The law with the values of these words, over those that are known otherwise."""
    values = dict(known or {}) | {name: value_of(entry, name, text) for name, text in words.items()}
    for name, one in entry.parameters.items():
        if default_of(one) == "…" and one.default_factory is dataclasses.MISSING and name not in values:
            raise UserError(f"The law {entry.name} needs {name}; say it, as in --set {name}=… ({entry.usage}).")
    return entry.law(**values)


def value_of(entry: Entry, name: str, text: str) -> Any:
    parameters = entry.parameters
    if name not in parameters:
        raise UserError(unknown("parameter", name, list(parameters), f"{entry.name} has"))
    hint = typing.get_type_hints(entry.law)[name]
    value = parsed(hint, text)
    wanted = words_for(hint) if value is UNREAD else instead(name, value)
    if wanted is not None:
        raise UserError(f"{name} = {text!r}: {wanted} is wanted for the law {entry.name}.")
    return value


def instead(name: str, value: Any) -> str | None:
    """What is wanted in place of a value that was read; None where it is right."""
    if isinstance(value, str):
        choices = CHOICES.get(name, (value,))
        return None if value in choices else f"one of {', '.join(choices)}"
    numbers = value if isinstance(value, tuple) else (value,)
    amounts = (float(number) for number in numbers if number is not None and not isinstance(number, bool))
    return next((wanted for number in amounts if (wanted := out_of_range(name, number))), None)


def out_of_range(name: str, value: float) -> str | None:
    """What is wanted instead of that value; None where it is right."""
    anything = any(name.endswith(ending) for ending in SIGNED)
    low, with_low, high = RANGES.get(name, (-math.inf if anything else 0.0, True, math.inf))
    if math.isfinite(value) and low <= value <= high and (with_low or value > low):
        return None
    if low == -math.inf:
        return "a number"
    least = f"{low:g} or more" if with_low else f"more than {low:g}"
    return least if high == math.inf else f"{low:g} to {high:g}"


# Words


UNREAD = object()


def readable(hint: Any) -> bool:
    """A number, a word, yes or no, or several numbers."""
    return all(part in SCALARS or is_numbers(part) for part in parts_of(hint))


def parts_of(hint: Any) -> tuple[Any, ...]:
    """What a type may be, None aside."""
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return tuple(part for part in typing.get_args(hint) if part is not type(None)) if union else (hint,)


def is_numbers(hint: Any) -> bool:
    inside = set(typing.get_args(hint)) - {...}
    return typing.get_origin(hint) is tuple and bool(inside) and inside <= {float, int}


def parsed(hint: Any, text: str) -> Any:
    """The first type that can be read from the words; UNREAD where none can."""
    if text.lower() == "none" and parts_of(hint) != (hint,):
        return None
    values = (read_as(part, text) for part in parts_of(hint))
    return next((value for value in values if value is not UNREAD), UNREAD)


def read_as(hint: Any, text: str) -> Any:
    try:
        if is_numbers(hint):
            return numbers(hint, text)
        return YES_NO[text.lower()] if hint is bool else hint(text)
    except (ValueError, KeyError):
        return UNREAD


YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def numbers(hint: Any, text: str) -> tuple[float, ...]:
    args = typing.get_args(hint)
    values = tuple(args[0](part) for part in text.split(","))
    if ... not in args and len(values) != len(args):
        raise ValueError(text)
    return values


def words_for(hint: Any) -> str:
    return " or ".join(word_for(part) for part in parts_of(hint))


def word_for(hint: Any) -> str:
    if is_numbers(hint):
        args = typing.get_args(hint)
        return "a list of numbers, as 1,2,3," if ... in args else f"{len(args)} numbers with commas between them"
    return {float: "a number", int: "a whole number", bool: "yes or no", str: "a word"}[hint]
