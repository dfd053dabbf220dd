"""Detect files that hold an exported program, by their content, or by their suffix if the content is damaged."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

Format = Literal["onnx", "pt2"]
"""ONNX, or the archive that torch.export writes."""

LARGEST = 16_000_000
"""Bytes read of an archive entry, which is untrusted input; the metadata of 1,000 classes takes 0.1 million."""


def exported_format(path: Path) -> Format | None:
    """Return the format of an exported file, None for other files; its origin and completeness are not checked."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(9)
    if start[:4] == b"PK\x03\x04":
        return "pt2" if archive_entry(path, "archive_format") == b"pt2" else None
    # ONNX has no magic number: its first field is a small version; a safetensors file starts with a length and a brace
    onnx = start[:1] == b"\x08" and start[8:] != b"{"
    return "onnx" if onnx or (path.suffix.lower() == ".onnx" and start[:1] != b"\x80") else None


def archive_entry(path: Path, name: str) -> bytes | None:
    """Return the content of `<folder>/<name>` in an archive that torch wrote, up to `LARGEST` bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = next((entry for entry in archive.namelist() if entry.partition("/")[2] == name), None)
            return archive.open(found).read(LARGEST) if found else None
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):
        return None
