"""A file is written whole or not at all: beside its target first, then renamed onto it."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from denoise.errors import TOO_LONG, BadFile

_NO_PERMISSION = "no permission to write there; choose another output folder."
REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another output folder.",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another output folder.",
    errno.EFBIG: "the file would be larger than that disk allows; choose another output folder.",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: "that disk is read-only; choose another output folder.",
    errno.ENAMETOOLONG: TOO_LONG,
    errno.EISDIR: "that is a folder; give the name of a file.",
    errno.ENOTDIR: "a part of that path is a file and not a folder; choose another output folder.",
    errno.EEXIST: "a part of that path is a file and not a folder; choose another output folder.",
}


@contextmanager
def atomic(target: Path) -> Iterator[Path]:
    """A path beside `target`, with its suffix; the file there becomes `target` when the block ends well.

    A target that is a link is itself replaced: what it points to may be the input.
    """
    draft = target.with_name(f".{target.stem[:40]}-{secrets.token_hex(6)}{target.suffix}")
    try:
        _reserve(draft, target)
        yield draft
        _publish(draft, target)
    except OSError as error:
        if error.errno not in REASONS:
            raise
        raise BadFile(f"Cannot write {target}: {REASONS[error.errno]}") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def _reserve(draft: Path, target: Path) -> None:
    """Fails at once, and not after the work, where nothing can be written."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        draft.open("xb").close()
    except FileNotFoundError:
        raise BadFile(f"Cannot write {target}: that folder takes no files; choose another one.") from None


def _publish(draft: Path, target: Path) -> None:
    _flush(draft)
    with suppress(FileNotFoundError):
        draft.chmod(target.stat().st_mode & 0o777)
    draft.replace(target)
    with suppress(OSError):  # not every system can flush a folder
        _flush(target.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
