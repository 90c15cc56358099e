"""The web page: `python app.py`, or `denoise app`. It runs on this machine and sends nothing elsewhere."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from typing import Any

import gradio as gr

from denoise.devices import give_way
from denoise.errors import UserError
from denoise.talk import interruptible
from denoise.web import limits
from denoise.web.api import offer
from denoise.web.folder_room import folder_room
from denoise.web.gate import no_links
from denoise.web.lab_room import lab_room
from denoise.web.order import Stops
from denoise.web.page_folder import page_folder
from denoise.web.picture_room import picture_room
from denoise.web.quick import unserved
from denoise.web.shelf import keep_swept
from denoise.web.sound_room import sound_room

TITLE = "denoise"
PROMISE = "Takes the noise out of a picture or a sound, and keeps everything else about the file as it was."
ROOMS = {"Picture": picture_room, "Sound": sound_room, "Folder": folder_room, "Noise lab": lab_room}
KEPT_SECONDS, SWEEP_SECONDS = 3600, 300  # uploads and results are deleted after an hour
MOST_WAITING = 20  # visitors in the queue; more are told to come back
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # no font is fetched
STYLE = """
.gradio-container > main { width: 100%; max-width: 1200px }
.outcome { min-height: 6rem }
.refused { border-left: 4px solid #dc2626; padding: 0.25rem 0.75rem }
.spectrogram { width: 100%; display: block }
.quiet { opacity: 0.8 }
.versions { border: 0; padding: 0; margin: 0 0 0.5rem; display: flex; flex-wrap: wrap; gap: 1rem }
.versions legend { float: left }
audio { width: 100% }
.wide { overflow-x: auto }
.wide table { width: 100%; border-collapse: collapse }
.wide th, .wide td { text-align: left; padding: 0.25rem 0.5rem; border-bottom: 1px solid #8884; vertical-align: top }
.wide progress { width: 6rem }
figure { margin: 0 0 0.75rem }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 0.5rem }
@media (max-width: 480px) { .tab-container button { padding-inline: 0.4rem; font-size: 0.85rem } }
.chart { width: 100%; height: auto; display: block }
"""

# What is pasted goes to the first empty place for files that can be seen.
PASTING = """
() => document.addEventListener('paste', event => {
  const files = event.clipboardData?.files;
  const wanting = [...document.querySelectorAll('[id$=-upload] input[type=file]')];
  const place = wanting.find(one => one.closest('[id$=-upload]').checkVisibility());
  if (!files?.length || !place) return;
  place.files = files;
  place.dispatchEvent(new Event('change', {bubbles: true}));
})
"""


def build() -> gr.Blocks:
    """The page, not yet served."""
    stops = Stops()

    def leave(request: gr.Request) -> None:
        stops.leave(str(request.session_hash))

    sweeping = (SWEEP_SECONDS, KEPT_SECONDS)
    with unserved(), gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=sweeping) as page:
        page.queue(max_size=MOST_WAITING)
        gr.Markdown(f"# {TITLE}\n{PROMISE}")
        for name, room in ROOMS.items():
            with gr.Tab(name):
                try:
                    room(stops)
                except UserError as trouble:  # there is no model for this kind
                    gr.Markdown(str(trouble))
        offer()
        page.unload(leave)
    return page


def serve(page: gr.Blocks, **more: Any) -> str:
    """Serves it and answers with its address."""
    keep_swept(SWEEP_SECONDS, KEPT_SECONDS)
    _, address, _ = page.launch(
        theme=THEME,
        css=STYLE,
        js=PASTING,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        max_file_size=limits.LARGEST_UPLOAD_MB << 20,
        app_kwargs={"middleware": [no_links()]},
        **more,
    )
    return str(address)


def main(
    host: str = "127.0.0.1", port: int | None = None, share: bool = False, auth: tuple[str, str] | None = None
) -> None:
    """Serves the page until it is interrupted or ended. Its files lie in a folder of its own, which then goes."""
    if share and auth is None:
        raise UserError("--share opens the page to everyone who has the link; give --auth NAME:PASSWORD with it.")
    if not is_here(host):
        raise UserError(f"--host {host}: that is no address of this machine; choose one, or 0.0.0.0 for all it has.")
    give_way()
    with interruptible(), page_folder() as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        page = build()
        reach: dict[str, Any] = {"server_name": host, "server_port": port or None, "share": share, "auth": auth}
        try:
            address = serve(page, **reach, quiet=True, prevent_thread_lock=True)
        except OSError as trouble:
            raise UserError(f"The page cannot be opened at {host}, port {port}: {reason(trouble)}") from trouble
        print(f"The page is at {address}; Ctrl+C ends it.", file=sys.stderr)
        page.block_thread()


def named(auth: str | None) -> tuple[str, str] | None:
    """NAME:PASSWORD, as it was typed."""
    if auth is None:
        return None
    name, colon, password = auth.partition(":")
    if not (name and colon and password):
        raise UserError("--auth wants NAME:PASSWORD, both of them; or name neither, and leave it out.")
    return name, password


def reason(trouble: OSError) -> str:
    return "it is taken; choose another --port, or 0 for any free one." if "port" in str(trouble) else f"{trouble}."


def is_here(host: str) -> bool:
    """Whether something can be served at this address, at any port."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial, suppress(OSError):
        trial.bind((host.strip("[]"), 0))
        return True
    return False
