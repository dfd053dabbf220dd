"""Write files of `torch.export`."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from tdpn_core.prediction.exported import KEY


def write_program(program: torch.export.ExportedProgram, path: Path, description: dict[str, Any]) -> None:
    """Write a .pt2 file, with metadata in the extra file `KEY`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation warnings of torch itself
        torch.export.save(program, path, extra_files={KEY: json.dumps(description, ensure_ascii=False)})
