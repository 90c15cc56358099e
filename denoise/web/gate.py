"""What keeps the page at home: it takes files that are uploaded to it, and fetches none from an address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ADDRESSES = ("http:", "https:")
REFUSAL = "Links are not followed here; upload the file itself."

Upload = TypeVar("Upload", gr.File, gr.Audio)


def at_home(upload: Upload) -> Upload:
    """The same component, that refuses the address of a file where a file is wanted."""
    into_cache: Callable[[str | Path | None], Awaitable[str | None]] = upload.async_move_resource_to_block_cache

    async def refusing(path: str | Path | None) -> str | None:
        if str(path).lower().startswith(ADDRESSES):
            raise gr.Error(REFUSAL, print_exception=False)
        return await into_cache(path)

    vars(upload)["async_move_resource_to_block_cache"] = refusing
    return upload


class NoLinks:
    """The route that gives back files would also fetch them from an address; this one does not let it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = str(scope.get("path", "")).lower().partition("file=")[2]
        if wanted.startswith(ADDRESSES):
            await PlainTextResponse(REFUSAL, 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def no_links() -> Any:
    return Middleware(NoLinks)
