"""What the page says, as elements that a screen reader announces."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence


def said(*lines: str) -> str:
    return f'<div role="status">{paragraphs(*lines)}</div>'


def refused(why: str) -> str:
    return f'<div role="alert" class="refused">{paragraphs(why)}</div>'


def paragraphs(*lines: str) -> str:
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines if line)


def sentence(words: str) -> str:
    return words[:1].upper() + words[1:].rstrip(".") + "." * bool(words)


def table(rows: Sequence[Mapping[str, str]], caption: str) -> str:
    """Cells hold elements already; whoever makes them escapes what is not ours."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{row.get(name, '')}</td>" for name in columns) + "</tr>" for row in rows)
    title = f'<caption class="quiet">{html.escape(caption)}</caption>'
    return f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
