"""Reads other people's PyTorch checkpoints without running their code, and makes model folders of them."""

from __future__ import annotations

import hashlib
import io
import pickle
import pkgutil
import re
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING  # older pickles know modules by their Python 2 names
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from denoise import methods, zoo
from denoise.atomic import atomic
from denoise.errors import UserError
from denoise.methods.method import REGISTRY, Method, Official

STORAGE_TYPES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
PLAIN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): lambda *_: {},
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "dict"): dict,
    ("builtins", "list"): list,
    ("builtins", "tuple"): tuple,
    ("builtins", "int"): int,
    ("builtins", "float"): float,
    ("builtins", "bool"): bool,
    ("builtins", "str"): str,
    ("builtins", "bytes"): bytes,
    ("builtins", "complex"): complex,
}
INERT_OF_TORCH = {("torch", name) for name in ("Size", "device", "dtype", "Generator")} | {
    ("torch.serialization", "_get_layout"),
}
HARMLESS = {"typing", "pathlib", "enum", "argparse", "datetime", "collections", "_codecs"}


class Inert:
    """Stands where an object of unknown code would be: it can be filled, and does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __call__(self, *_: object, **__: object) -> Inert:
        return Inert()

    def __setitem__(self, *_: object) -> None:
        pass

    def append(self, *_: object) -> None:
        pass

    def extend(self, *_: object) -> None:
        pass


class Reader(pickle.Unpickler):
    """Builds tensors and plain containers; other classes become inert, other functions are refused."""

    def __init__(self, stream: io.BytesIO, storage: Callable[[str, Any], Tensor], origin: Path) -> None:
        super().__init__(stream)
        self.storage, self.origin = storage, origin

    def find_class(self, module: str, name: str) -> Any:
        module = IMPORT_MAPPING.get(module, module)
        if (module, name) in PLAIN:
            return PLAIN[module, name]
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return rebuilt
        if module == "torch._utils" and name == "_rebuild_parameter":
            return lambda data, *_: data
        if module in ("torch", "torch.storage", "torch.cuda") and name in STORAGE_TYPES:
            return STORAGE_TYPES[name]
        if (module, name) in INERT_OF_TORCH:
            return Inert
        if runs_code(module):
            raise UserError(
                f"{self.origin}: it asks to run {module}.{name} while being read; refused. "
                "A file of weights needs no code: do not trust its source."
            )
        return Inert

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, *_ = pid
        return self.storage(str(key), dtype)


def runs_code(module: str) -> bool:
    """Whether a name from there could do something; classes that training states mention stay, as inert ones."""
    root = module.split(".")[0]
    if module.startswith(("torch.optim", "torch.nn", "torch.distributions")) or root in HARMLESS:
        return False
    return root in sys.stdlib_module_names or root == "torch"


Sizes = tuple[int, ...]


def rebuilt(storage: Tensor, offset: int, size: Sizes, stride: Sizes, *_: object) -> Tensor:
    """A tensor over its storage; numbers that point outside of it are refused."""
    reach = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if all(size) else 0
    if min((offset, *size, *stride), default=0) < 0 or (all(size) and reach >= storage.numel()):
        raise UserError("The checkpoint holds a tensor that reaches outside its own data; refused.")
    return torch.as_strided(storage, size, stride, offset)


def read(path: Path) -> Any:
    """What a .ckpt, .pt or .pth holds: tensors and plain values, everything else inert."""
    try:
        with zipfile.ZipFile(path) as archive:
            return read_archive(archive, path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except (zipfile.BadZipFile, IsADirectoryError):
        raise UserError(f"{path}: not a PyTorch checkpoint; a .ckpt, .pt or .pth is wanted.") from None
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, ValueError) as fault:
        raise UserError(f"{path}: damaged checkpoint ({fault}); fetch it again.") from None


def read_archive(archive: zipfile.ZipFile, path: Path) -> Any:
    (index,) = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
    folder = index[: -len("data.pkl")]
    held: dict[str, Tensor] = {}

    def storage(key: str, dtype: Any) -> Tensor:
        if key not in held:
            content = np.frombuffer(archive.read(f"{folder}data/{key}"), dtype=dtype)
            held[key] = torch.from_numpy(content.copy())
        return held[key]

    return Reader(io.BytesIO(archive.read(index)), storage, path).load()


def weights_in(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """The state dictionary of a checkpoint and whatever else it says of itself."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path), {}
        except (SafetensorError, OSError) as fault:
            raise UserError(f"{path}: not a readable safetensors file ({fault}).") from None
    content = read(path)
    around = content if isinstance(content, Mapping) else {}
    state = around.get("state_dict", around)
    tensors = {key: value for key, value in named(state) if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path}: no weights in it; a checkpoint with a state_dict is wanted.")
    return {key.replace("_orig_mod.", ""): value for key, value in tensors.items()}, around


def named(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a state holds; of lists, such as running averages are, every item by its place."""
    for key, value in state.items():
        if isinstance(value, list):
            yield from ((f"{key}.{place}", item) for place, item in enumerate(value))
        else:
            yield key, value


def every_method() -> list[type[Method]]:
    for module in pkgutil.iter_modules(methods.__path__):
        import_module(f"{methods.__name__}.{module.name}")
    return list(REGISTRY.values())


def import_official(path: Path, name: str) -> Path:
    """Make a model folder on the user's own shelf from a released checkpoint of one of the papers."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(f"Name {name!r}: letters, digits, dots and dashes are wanted.")
    if name in zoo.cards():
        raise UserError(f"There is a model {name!r} already; choose another name.")
    state, around = weights_in(path)
    for made in every_method():
        with naming(path):
            found = made.from_official(state, around)
        if found is not None:
            return shelved(made, found, name, path)
    keys = ", ".join(list(state)[:4])
    raise UserError(f"{path}: no method here knows this network; its first weights are called {keys}.")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What is wrong with a checkpoint's content is said with its name."""
    try:
        yield
    except UserError as fault:
        raise UserError(f"{path}: {fault}") from None
    except (TypeError, ValueError, KeyError) as fault:
        raise UserError(f"{path}: its settings make no network ({fault}); is it a checkpoint of the paper?") from None


def shelved(made: type[Method], found: Official, name: str, path: Path) -> Path:
    network, state = found
    with naming(path):
        method = made(**network)
    compare_keys(method, state, path)
    content = save({key: value.contiguous() for key, value in state.items()})
    registered = next(key for key, value in REGISTRY.items() if value is made)
    folder = zoo.own_shelf() / name
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / zoo.WEIGHTS) as waiting:
        waiting.write_bytes(content)
    entries = "\n".join(f"{key} = {toml_value(value)}" for key, value in network.items())
    with atomic(folder / zoo.CARD) as waiting:
        waiting.write_text(
            f'name = "{name}"\nkind = "{made.kind}"\nmethod = "{registered}"\n'
            f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n'
            f'summary = "Imported from {path.name}"\nlicence = "as stated by its authors"\n\n'
            f"[network]\n{entries}\n"
        )
    return folder


def compare_keys(method: Method, state: Mapping[str, Tensor], path: Path) -> None:
    wanted = {key: tuple(value.shape) for key, value in method.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    faults = {
        "missing": sorted(wanted.keys() - given.keys()),
        "unknown": sorted(given.keys() - wanted.keys()),
        "of another size": sorted(key for key in wanted.keys() & given.keys() if wanted[key] != given[key]),
    }
    told = "; ".join(f"{fault}: {listed(names)}" for fault, names in faults.items() if names)
    if told:
        raise UserError(f"{path}: not the architecture of {type(method).__name__}; {told}.")


def listed(names: list[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
    return repr(value) if isinstance(value, (int, float)) else f'"{value}"'
