"""Writing the files of `torch.export`."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from tdpn_core.prediction.exported import KEY


def write_program(program: torch.export.ExportedProgram, path: Path, description: dict[str, Any]) -> None:
    """A .pt2 file, its description inside as the extra file `KEY`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's of its own deprecations
        torch.export.save(program, path, extra_files={KEY: json.dumps(description, ensure_ascii=False)})
