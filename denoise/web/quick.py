"""What gradio does that nobody needs, when it is imported and while a page is built, is left out: half of the time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

ROUTES = "create_app"  # makes all of a page, whenever a page or its queue begins or ends
WRITER = "gradio.component_meta"  # writes a .pyi for editors beside each component, whenever one is imported


@contextmanager
def quickly() -> Iterator[None]:
    """Imports without files for editors, and without looking for garbage, of which they leave none."""
    collecting, finder = gc.isenabled(), WithoutStubs()
    gc.disable()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        gc.freeze()  # nor is it looked for there later
        if collecting:
            gc.enable()


@contextmanager
def unserved() -> Iterator[None]:
    """Pages are built without routes, of which gradio makes a set at every step and another when it serves them."""
    from gradio.routes import App

    whole = vars(App)[ROUTES]
    setattr(App, ROUTES, staticmethod(lambda *about, **more: None))
    try:
        yield
    finally:
        setattr(App, ROUTES, whole)


class WithoutStubs(MetaPathFinder):
    """Finds the module that writes them, and takes that from it."""

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname == WRITER else None
        if spec is not None and spec.loader is not None:
            spec.loader = Silenced(spec.loader)
        return spec


class Silenced(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        if hasattr(module, "create_or_modify_pyi"):
            vars(module)["create_or_modify_pyi"] = lambda *about: None
