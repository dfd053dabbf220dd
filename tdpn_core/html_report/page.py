"""The page around the blocks, and the templates of both."""

from __future__ import annotations

import dataclasses
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


def render_page(title: str, sections: Sequence[Section], *, lead: str = "") -> str:
    """Render a complete HTML document; `lead` is the sentence under the title; sections without blocks are omitted.

    It loads nothing from the network, and its content security policy forbids it.
    """
    filled = [section for section in sections if section.blocks]
    style = Markup((_FOLDER / "style.css").read_text())  # noqa: S704 - our own file
    return _templates().get_template("page.html").render(title=title, lead=lead, sections=filled, style=style)


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
