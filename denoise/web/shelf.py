"""Where the page keeps files, what it offers to begin with, and how a result is handed out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import copy, rmtree
from tempfile import mkdtemp
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from denoise.media.find import kind_of
from denoise.signals import Kind
from denoise.zoo import SAMPLES


def shelf() -> Path:
    """Where uploads, results and what is shown of them lie; each in a folder of its own below it."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fresh() -> Path:
    return Path(mkdtemp(dir=shelf()))


@contextmanager
def folder_on(shelf: Path) -> Iterator[Path]:
    """A folder for one result, that goes again where there is none."""
    folder = Path(mkdtemp(dir=shelf))
    try:
        yield folder
    except BaseException:
        rmtree(folder)
        raise


def sweep(place: Path, kept_s: float) -> None:
    """Deletes every folder in which nothing was written for so long, and leaves what is being worked on."""
    for folder in [entry for entry in place.iterdir() if entry.is_dir()]:
        with suppress(OSError):  # somebody else deletes there too
            newest = max(path.lstat().st_ctime for path in (folder, *folder.rglob("*")))
            if time.time() - newest > kept_s:
                rmtree(folder)


def keep_swept(every_s: float, kept_s: float) -> None:
    """For as long as the page's folder is there."""
    place = shelf()

    def sweeping() -> None:
        while place.exists():
            sweep(place, kept_s)
            time.sleep(every_s)

    threading.Thread(target=sweeping, daemon=True).start()


def samples(*kinds: Kind, folder: Path | None = None) -> list[Path]:
    """What samples/ holds, where it is there."""
    return [path for path in sorted((folder or SAMPLES).glob("*.*")) if kind_of(path) in kinds]


def examples_of(found: list[Path], source: gr.File) -> None:
    """Each click takes a fresh copy, since copies are deleted in time."""
    with gr.Row(visible=bool(found)):
        for path in found:
            button = gr.Button(f"Try {path.name}", size="sm", min_width=100)
            button.click(copier(path), None, source, api_visibility="private")


def copier(path: Path) -> Callable[[], str]:
    return lambda: str(copy(path, fresh()))


def nothing_to_download(room: str, label: str = "Download") -> gr.DownloadButton:
    return gr.DownloadButton(label, visible=False, variant="primary", elem_id=f"{room}-download")


def download_of(target: Path) -> Any:
    megabytes = target.stat().st_size / 1e6
    return gr.update(label=f"Download {target.name} ({megabytes:.1f} MB)", value=target, visible=True)
