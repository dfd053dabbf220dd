"""Which files hold a whole program, not weights alone: by their content, and by their name where it is damaged."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

Format = Literal["onnx", "pt2"]
"""ONNX, or torch.export's archive."""

LARGEST = 16_000_000
"""Bytes that are read of an entry, which anyone may have written; a description of 1,000 classes has 0.1 million."""


def exported_format(path: Path) -> Format | None:
    """What kind of exported file `path` is, if it is one; whose it is and whether it is whole is not looked at."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(9)
    if start[:4] == b"PK\x03\x04":
        return "pt2" if archive_entry(path, "archive_format") == b"pt2" else None
    # ONNX has no magic number: its first field is a small version; safetensors has its header's length and a brace
    onnx = start[:1] == b"\x08" and start[8:] != b"{"
    return "onnx" if onnx or (path.suffix.lower() == ".onnx" and start[:1] != b"\x80") else None


def archive_entry(path: Path, name: str) -> bytes | None:
    """The content of `<folder>/<name>` in an archive of torch's, up to `LARGEST` bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = next((entry for entry in archive.namelist() if entry.partition("/")[2] == name), None)
            return archive.open(found).read(LARGEST) if found else None
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):
        return None
