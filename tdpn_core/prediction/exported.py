"""Files that `tdpn export` wrote, to be run: ONNX by onnxruntime, .pt2 by torch. Both on the CPU.

That a file is one of ours, the description inside tells.
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

from tdpn_core.config.schema import RunConfig, from_dict, parse_views
from tdpn_core.errors import CheckpointError, ConfigError, ToolError, UsageError
from tdpn_core.model.base import Network
from tdpn_core.weights.file_formats import Format, archive_entry

KEY = "tdpn"
"""Name of the entry that holds the description as JSON: of an ONNX file's metadata, of a .pt2 file's extra files."""

INPUT = "frames"
EXTRA = "pip install 'tdpn[export]'"

Probabilities = dict[str, npt.NDArray[np.floating]]
"""For each head (N, classes)."""

Runner = Callable[[npt.NDArray[np.uint8]], Probabilities]
"""An exported file: frames (N, F, H, W, C) to probabilities."""

_AT_ONCE = 8  # views that go through a file together


@dataclass(frozen=True)
class ExportedModel:
    """An exported file in the place of the network that it was made of."""

    run: Runner
    config: RunConfig
    """Of the checkpoint behind it: labels and sampling are those, but that a view is the middle of a frame."""

    path: Path
    epoch: int | None = None
    averaged: bool | None = None
    """An exported file has one set of weights."""
    """Epochs that the checkpoint behind it was trained for; None where the file does not say."""

    def probabilities(self, views: Tensor) -> dict[str, Tensor]:
        """Of each head float64 (V, classes), from uint8 views (V, C, F, S, S).

        Raises:
            UsageError: views of another size than the file is for.
        """
        side = self.config.model.input_size
        if tuple(views.shape[3:]) != (side, side):
            what = f"takes pictures of {side} x {side} pixels only, not of {views.shape[4]} x {views.shape[3]}"
            raise UsageError(what, where=self.path, hint="--views 1x1, or 10x1 and the like, cut out the middle")
        frames = views.permute(0, 2, 3, 4, 1)
        parts = [self.run(part.contiguous().numpy()) for part in frames.split(_AT_ONCE)]
        return {head: torch.from_numpy(np.concatenate([part[head] for part in parts])).double() for head in parts[0]}

    def inside(self) -> Network:
        """
        Raises:
            UsageError: always; an exported file gives answers and nothing else.
        """
        hint = "give the checkpoint that it was made of"
        raise UsageError("an exported file does not show what it looks at", where=self.path, hint=hint)


def open_exported(path: Path, kind: Format, *, trusted: bool = False) -> ExportedModel:
    """Make an exported file ready to run.

    Raises:
        CheckpointError: damaged, not one of ours, or of another version.
        ToolError: onnxruntime is not installed.
        UsageError: a .pt2 file that nobody vouches for.
    """
    if kind == "onnx":
        session = open_session(path)
        config, epoch = _described(session.get_modelmeta().custom_metadata_map.get(KEY), path)
        _check_graph(session, config, path)
        return ExportedModel(session_runner(session), config, path, epoch)
    config, epoch = _described((archive_entry(path, f"extra/{KEY}") or b"").decode(errors="replace"), path)
    if not trusted:
        what = "torch's format of .pt2 files can make it run code while it reads them"
        raise UsageError(what, where=path, hint="add --trust if you made this file, or export to ONNX")
    return ExportedModel(run_program(path, tuple(config.model.num_classes)), config, path, epoch)


def open_session(path: Path) -> Any:
    """An onnxruntime session on the CPU, of as many threads as torch has.

    Raises:
        CheckpointError: damaged.
        ToolError: onnxruntime is not installed.
    """
    if find_spec("onnxruntime") is None:
        raise ToolError("ONNX files are run by onnxruntime, which is not installed", hint=EXTRA)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    with _readable(path, "ONNX file"):
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def session_runner(session: Any) -> Runner:
    """A session as a function of frames."""
    heads = [output.name for output in session.get_outputs()]

    def run(frames: npt.NDArray[np.uint8]) -> Probabilities:
        return dict(zip(heads, session.run(None, {INPUT: frames}), strict=True))

    return run


def run_program(path: Path, heads: tuple[str, ...]) -> Runner:
    """A .pt2 file as a function of frames. Torch trusts what it reads.

    Raises:
        CheckpointError: damaged.
    """
    with warnings.catch_warnings(), _readable(path, ".pt2 file"):
        warnings.simplefilter("ignore")  # torch's of its own deprecations
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
    except Exception as error:  # readers of either format fail in any way on a damaged file
        lines = str(error).strip().splitlines()
        what = f"not a readable {kind} ({lines[0][:160] if lines else type(error).__name__})"
        raise CheckpointError(what, where=path, hint="the file is damaged or cut: export it again") from error


def _described(described: str | None, path: Path) -> tuple[RunConfig, int | None]:
    """The settings and the epoch that a file's description holds."""
    if not described:
        what = "tells neither labels nor sampling: not a file of tdpn export"
        raise CheckpointError(what, where=path, hint="export a checkpoint with tdpn export")
    try:
        values = json.loads(described)
        epoch = values.get("epoch")
        return _of_one_size(from_dict(RunConfig, values["config"])), epoch if isinstance(epoch, int) else None
    except (ConfigError, ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"{error.where}: {error.what}" if isinstance(error, ConfigError) else "its description is damaged"
        hint = "export the checkpoint again, with this version"
        raise CheckpointError(f"made by another version, or changed ({fault})", where=path, hint=hint) from error


def _of_one_size(config: RunConfig) -> RunConfig:
    """With as many views in time, but each of the size that a file takes: crops to the sides have another."""
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
        raise CheckpointError(f"{what}, which is not what its description says", where=path)
