"""Writing and running the files of `torch.export`."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tdpn_core.export.check import Runner
from tdpn_core.export.metadata import KEY


def write_program(program: torch.export.ExportedProgram, path: Path, description: dict[str, Any]) -> None:
    """A .pt2 file, its description inside as the extra file `KEY`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's of its own deprecations
        torch.export.save(program, path, extra_files={KEY: json.dumps(description, ensure_ascii=False)})


def run_program(path: Path, heads: tuple[str, ...]) -> Runner:
    """A .pt2 file that was just written, as a function of frames."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.export.load(path).module()

    def run(frames: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.floating]]:
        with torch.no_grad():
            values = module(torch.from_numpy(frames))
        return {head: value.numpy() for head, value in zip(heads, values, strict=True)}

    return run
