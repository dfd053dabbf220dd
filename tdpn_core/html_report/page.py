"""The page around the blocks, and the templates of both."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

_FOLDER = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of the page, linked in its table of contents."""

    title: str
    blocks: Sequence[Markup]


def render_page(title: str, sections: Sequence[Section], *, lead: str = "", local_videos: bool = False) -> str:
    """Render a complete HTML document; `lead` is the sentence under the title; sections without blocks are omitted.

    It loads nothing from the network, and its content security policy forbids it. With `local_videos` it may show
    video files of this machine, and a script moves a section's player to the times that are selected.
    """
    filled = [section for section in sections if section.blocks]
    style = Markup((_FOLDER / "style.css").read_text())  # noqa: S704 - our own file
    script = Markup((_FOLDER / "player.js").read_text()) if local_videos else ""  # noqa: S704 - our own file
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _templates().get_template("page.html")
    return page.render(title=title, lead=lead, sections=filled, style=style, script=script, digest=digest)


def block(name: str, **values: Any) -> Markup:
    """Render a block of `blocks.html`; values that are not Markup are escaped."""
    made: Markup = getattr(_templates().get_template("blocks.html").module, name)(**values)
    return made


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
