"""One player for several versions of a sound: another one is heard from the very place where the last one was."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import gradio as gr

# The first sound has the controls and is never changed; the others follow it and are muted, but for the chosen one.
FOLLOWING = """
const all = () => [...element.querySelectorAll('audio')];
const chosen = () => Number(element.querySelector('input:checked')?.value ?? 0);
const level = () => Number(all()[0]?.dataset.level ?? 1);
const hear = () => all().forEach((one, number) => {
  if (number) one.muted = number !== chosen(); else one.volume = chosen() ? 0 : level();
});
const follow = apart => all().slice(1).forEach(one => {
  const first = all()[0];
  if (Math.abs(one.currentTime - first.currentTime) > apart) one.currentTime = first.currentTime;
  if (first.paused !== one.paused) first.paused ? one.pause() : one.play().catch(() => {});
});
element.addEventListener('change', event => { if (event.target.type === 'radio') { follow(0.02); hear(); } });
for (const [name, apart] of [['play', 0.02], ['pause', 0.02], ['seeked', 0.02], ['timeupdate', 0.2]])
  element.addEventListener(name, event => { if (event.target === all()[0]) { hear(); follow(apart); } }, true);
"""


def player(room: str) -> gr.HTML:
    return gr.HTML(elem_id=f"{room}-player", js_on_load=FOLLOWING)


def playing(versions: Mapping[str, Path], room: str) -> str:
    """The element; arrow keys change the version, the space bar plays."""
    sounds = "".join(sound(name, path, number) for number, (name, path) in enumerate(versions.items()))
    if len(versions) == 1:
        return sounds
    choices = "".join(
        f'<label><input type="radio" name="{room}-heard" value="{number}"{" checked" * (not number)}> '
        f"{html.escape(name)}</label>"
        for number, name in enumerate(versions)
    )
    return f'<fieldset class="versions"><legend>What is heard</legend>{choices}</fieldset>{sounds}'


def sound(name: str, path: Path, number: int) -> str:
    controls = "controls" if number == 0 else "muted"
    return (
        f'<audio {controls} preload="auto" aria-label="{html.escape(name)}" data-version="{html.escape(name)}" '
        f'src="gradio_api/file={quote(str(path))}"></audio>'
    )
