"""Run files written by `tdpn export`: ONNX with onnxruntime, .pt2 with torch, both on the CPU.

Embedded metadata identifies files of tdpn.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tdpn_core.checkpoint import Calibration
from tdpn_core.config.schema import RunConfig, from_dict, parse_views
from tdpn_core.errors import CheckpointError, ConfigError, ToolError, UsageError
from tdpn_core.model.base import Network
from tdpn_core.weights.file_formats import Format, archive_entry

KEY = "tdpn"
"""Entry that holds the metadata as JSON: in an ONNX file's metadata, or a .pt2 file's extra files."""

INPUT = "frames"
EXTRA = "pip install 'tdpn[export]'"

Probabilities = dict[str, npt.NDArray[np.floating]]
"""Probabilities (N, classes) by head."""

Runner = Callable[[npt.NDArray[np.uint8]], Probabilities]
"""An exported file as a function: frames (N, F, H, W, C) to probabilities."""

_AT_ONCE = 8  # views per call


@dataclass(frozen=True)
class ExportedModel:
    """An exported file, used like the network that it was exported from."""

    run: Runner
    config: RunConfig
    """Settings of its checkpoint: labels and sampling are the same, except that views are centre crops."""

    path: Path
    epoch: int | None = None
    """Number of training epochs of its checkpoint; None if the file does not contain it."""

    averaged: bool | None = None
    """Always None: an exported file has one set of weights."""

    calibration: Calibration | None = None
    """That of its checkpoint."""

    def probabilities(self, views: Tensor) -> dict[str, Tensor]:
        """Return float64 (V, classes) by head, from uint8 views (V, C, F, S, S).

        Raises:
            UsageError: the views have another size than the file supports.
        """
        side = self.config.model.input_size
        if tuple(views.shape[3:]) != (side, side):
            what = f"takes only pictures of {side} x {side} pixels, not {views.shape[4]} x {views.shape[3]}"
            raise UsageError(what, where=self.path, hint="use centre crops, such as --views 1x1 or 10x1")
        frames = views.permute(0, 2, 3, 4, 1)
        parts = [self.run(part.contiguous().numpy()) for part in frames.split(_AT_ONCE)]
        return {head: torch.from_numpy(np.concatenate([part[head] for part in parts])).double() for head in parts[0]}

    def inside(self) -> Network:
        """
        Raises:
            UsageError: always; an exported file only returns probabilities.
        """
        hint = "give the checkpoint that it was exported from"
        raise UsageError("an exported file cannot be explained", where=self.path, hint=hint)


def open_exported(path: Path, kind: Format, *, trusted: bool = False) -> ExportedModel:
    """Open an exported file for running.

    Raises:
        CheckpointError: it is damaged, not written by tdpn, or of another version.
        ToolError: onnxruntime is not installed.
        UsageError: a .pt2 file that is not `trusted`.
    """
    if kind == "onnx":
        session = open_session(path)
        config, epoch, calibration = _described(session.get_modelmeta().custom_metadata_map.get(KEY), path)
        _check_graph(session, config, path)
        return ExportedModel(session_runner(session), config, path, epoch, calibration=calibration)
    config, epoch, calibration = _described((archive_entry(path, f"extra/{KEY}") or b"").decode(errors="replace"), path)
    if not trusted:
        what = "reading a .pt2 file can run code that it contains"
        raise UsageError(what, where=path, hint="add --trust if you made this file, or export to ONNX")
    run = run_program(path, tuple(config.model.num_classes))
    return ExportedModel(run, config, path, epoch, calibration=calibration)


def open_session(path: Path) -> Any:
    """Create an onnxruntime session on the CPU with torch's number of threads.

    Raises:
        CheckpointError: the file is damaged.
        ToolError: onnxruntime is not installed.
    """
    if find_spec("onnxruntime") is None:
        raise ToolError("ONNX files need onnxruntime, which is not installed", hint=EXTRA)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    with _readable(path, "ONNX file"):
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def session_runner(session: Any) -> Runner:
    """Return a session as a function of frames."""
    heads = [output.name for output in session.get_outputs()]

    def run(frames: npt.NDArray[np.uint8]) -> Probabilities:
        return dict(zip(heads, session.run(None, {INPUT: frames}), strict=True))

    return run


def run_program(path: Path, heads: tuple[str, ...]) -> Runner:
    """Return a .pt2 file as a function of frames. Torch trusts its content.

    Raises:
        CheckpointError: the file is damaged.
    """
    with warnings.catch_warnings(), _readable(path, ".pt2 file"):
        warnings.simplefilter("ignore")  # deprecation warnings of torch itself
        module = torch.export.load(path).module()

    def run(frames: npt.NDArray[np.uint8]) -> Probabilities:
        with torch.no_grad():
            values = module(torch.from_numpy(frames))
        return {head: value.numpy() for head, value in zip(heads, values, strict=True)}

    return run


@contextmanager
def _readable(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # damaged files cause any kind of error in the readers
        lines = str(error).strip().splitlines()
        what = f"not a readable {kind} ({lines[0][:160] if lines else type(error).__name__})"
        raise CheckpointError(what, where=path, hint="the file is damaged or truncated: export it again") from error


def _described(described: str | None, path: Path) -> tuple[RunConfig, int | None, Calibration | None]:
    """Return the settings, the epoch and the calibration in a file's metadata."""
    if not described:
        what = "lacks metadata with labels and sampling: not written by tdpn export"
        raise CheckpointError(what, where=path, hint="export a checkpoint with tdpn export")
    try:
        values = json.loads(described)
        epoch, stored = values.get("epoch"), values.get("calibration")
        calibration = None if stored is None else from_dict(Calibration, stored)
        config = _of_one_size(from_dict(RunConfig, values["config"]))
        return config, epoch if isinstance(epoch, int) else None, calibration
    except (ConfigError, ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"{error.where}: {error.what}" if isinstance(error, ConfigError) else "its metadata is damaged"
        hint = "export the checkpoint again with this version"
        raise CheckpointError(f"written by another version, or changed ({fault})", where=path, hint=hint) from error


def _of_one_size(config: RunConfig) -> RunConfig:
    """Return the settings with as many views in time, but only centre crops, the size that a file supports."""
    times, _ = parse_views(config.sampling.views)
    return replace(config, sampling=replace(config.sampling, views=f"{times}x1"))


def _check_graph(session: Any, config: RunConfig, path: Path) -> None:
    model = config.model
    frames = model.num_frames * model.frames_per_step
    wanted = (INPUT, [frames, model.input_size, model.input_size, model.channels])
    found = [(each.name, list(each.shape[1:])) for each in session.get_inputs()]
    heads = [each.name for each in session.get_outputs()]
    if found != [wanted] or heads != list(model.num_classes):
        what = f"its graph takes {found[0][0]} {found[0][1]}" if found else "its graph takes nothing"
        raise CheckpointError(f"{what}, which differs from its metadata", where=path)
