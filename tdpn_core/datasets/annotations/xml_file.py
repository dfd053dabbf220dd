"""Read XML without entities of its own."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tdpn_core.errors import DatasetError


def read_xml(path: Path) -> ElementTree.Element:
    """Return the root element of an XML file.

    Raises:
        DatasetError: the file cannot be read, is malformed, or declares entities, which may expand without limit.
    """
    try:
        content = path.read_bytes()
        if b"<!ENTITY" in content:
            raise DatasetError("declares XML entities, which are not read", where=path)
        return ElementTree.fromstring(content)  # noqa: S314 - entities are refused above
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise DatasetError(f"cannot be read: {error}", where=path) from error
