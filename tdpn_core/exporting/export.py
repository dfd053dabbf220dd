"""From a checkpoint to a file for other programs, which is there only if it says what the network says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tdpn_core import defaults
from tdpn_core.checkpoint import Checkpoint, is_checkpoint
from tdpn_core.claim import claimed
from tdpn_core.errors import TdpnError, UsageError
from tdpn_core.exporting.clips import CALIBRATED, RealClips, real_clips
from tdpn_core.exporting.metadata import describe
from tdpn_core.exporting.module import FramesToProbabilities, trace
from tdpn_core.exporting.onnx_file import need_packages, quantise, write_onnx
from tdpn_core.exporting.program_file import write_program
from tdpn_core.exporting.verify import Check, compare, reference
from tdpn_core.files import atomic_path
from tdpn_core.prediction.exported import Runner, open_session, run_program, session_runner
from tdpn_core.prediction.results import new_file
from tdpn_core.progress import SILENT, Progress
from tdpn_core.weights.file_formats import Format
from tdpn_core.weights.open_checkpoint import open_checkpoint
from tdpn_core.weights.resolve import find_weights
from tdpn_core.weights.zoo import results_folder


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is written, and what it must live up to."""

    format: Format = defaults.FORMAT
    int8: bool = False
    """Quantise for CPUs; ONNX only."""

    clips: Sequence[str | Path] | None = None
    """Videos to compare on; None: prepared clips."""

    data: Path | None = None
    """Prepared data to compare on; None: that which the network was trained on. It names the classes of another
    project's checkpoint, too, where an evaluation on it would."""

    classes: Path | None = None
    """Names of the classes of another project's checkpoint, where it has none."""

    ema: bool | None = None
    """Averaged or raw weights of another project's checkpoint; None: those that the project evaluates."""

    compared: int | None = None
    """Clips that the file is compared on; None: 8, and 64 where it is quantised, which no small number can judge."""

    calibrated: int = defaults.CALIBRATION_CLIPS
    """Clips that int8's ranges are taken from."""

    tolerance: float = defaults.TOLERANCE
    """The largest difference of a probability that is accepted, where nothing was quantised."""

    force: bool = False
    """Replace a file that is there."""

    def __post_init__(self) -> None:
        if self.int8 and self.format != "onnx":
            raise UsageError("int8 is for ONNX files", where="--int8", hint="leave out --format pt2")
        if min(self.compared_clips, self.calibrated) < 1:
            raise UsageError("at least one clip is needed to compare and to calibrate on")
        if not self.tolerance > 0:
            raise UsageError(f"--tolerance must be positive, not {self.tolerance:g}")

    @property
    def compared_clips(self) -> int:
        """Clips that the file is compared on."""
        usual = defaults.COMPARED_CLIPS_INT8 if self.int8 else defaults.COMPARED_CLIPS
        return usual if self.compared is None else self.compared


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written, and how it compares with the network."""

    path: Path
    bytes: int
    format: Format
    int8: bool
    description: dict[str, Any]
    """Which is in the file, too."""

    check: Check


DEFAULTS = ExportOptions()


def export(
    checkpoint: Path, out: Path | None = None, *, options: ExportOptions = DEFAULTS, progress: Progress = SILENT
) -> ExportReport:
    """Write a network as one file for other programs, compared with it on real clips. What `tdpn export` does.

    The file takes uint8 frames and gives probabilities; the class names are in it. It gets its name only if it agrees
    with the network.

    Args:
        checkpoint: of ours or of another project, or a name as in `find_weights`.
        out: file to write; None: next to the checkpoint, under its name.
        options: format, quantisation, and the clips to compare and calibrate on.
        progress: gets lines about the comparison.

    Returns:
        The path, the size in bytes, what the file describes of itself, and how it compares: the largest difference of
        a probability and the share of clips with the same class, in [0, 1].

    Raises:
        CheckpointError: unreadable, unknown, or its classes cannot be known for certain.
        UsageError: `out` is there already, or there are no clips to compare on.
        InUseError: another process exports to `out`.
        ToolError: the packages for ONNX are missing.
        TdpnError: the file does not say what the network says.
    """
    suffix = f".int8.{options.format}" if options.int8 else f".{options.format}"
    checkpoint = find_weights(checkpoint, progress)
    target = out or results_folder(checkpoint) / checkpoint.with_suffix(suffix).name
    with claimed(target, "exporting", hint="wait until it ends, or choose another --out", file=True):
        new_file(target, option="--out", force=options.force)
        if options.format == "onnx":
            need_packages()
        loaded = _opened(checkpoint, options, progress)
        clips = real_clips(loaded.config, options.clips, options.compared_clips, data=options.data)
        description = describe(loaded.config, epoch=loaded.state.epoch or None, int8=options.int8)
        progress.say(f"comparing with {len(clips)} clips, such as {clips.names[0]}")
        with atomic_path(target) as temporary:
            check = _write(loaded, temporary, clips, description, options)
            size = temporary.stat().st_size
    return ExportReport(
        path=target, bytes=size, format=options.format, int8=options.int8, description=description, check=check
    )


def _opened(path: Path, options: ExportOptions, progress: Progress) -> Checkpoint:
    """The checkpoint; another project's with frames as that project makes them, whatever it is compared on."""
    loaded = open_checkpoint(path, data=options.data, classes=options.classes, ema=options.ema, progress=progress)
    if is_checkpoint(path):
        return loaded
    config = loaded.config
    data = replace(config.data, short_side=config.sampling.short_side)
    return replace(loaded, config=replace(config, data=data))


def _write(
    loaded: Checkpoint, path: Path, clips: RealClips, description: dict[str, Any], options: ExportOptions
) -> Check:
    """Write the file and compare it."""
    network = loaded.build(torch.device("cpu"), "trace")
    expected = reference(network, loaded.config, clips)
    module = FramesToProbabilities(network, loaded.config)
    program = trace(module, torch.stack([clips.read(0).frames, clips.read(len(clips) - 1).frames]))
    if options.format == "pt2":
        write_program(program, path, description)
        run: Runner = run_program(path, module.heads)
    else:
        with _float_file(path, options) as file:
            write_onnx(program, file, module.heads, description)
            if options.int8:
                shown = real_clips(
                    loaded.config, options.clips, options.calibrated, data=options.data, splits=CALIBRATED
                )
                quantise(file, path, (clip.frames for clip in shown), description)
        run = session_runner(open_session(path))
    check = compare(run, clips, expected)
    if not check.difference <= (1.0 if options.int8 else options.tolerance):  # not a number is too large, too
        what = f"the exported file differs from the network by {check.difference:.1e}, above {options.tolerance:g}"
        raise TdpnError(what, hint="a larger --tolerance accepts it")
    return check


@contextmanager
def _float_file(path: Path, options: ExportOptions) -> Iterator[Path]:
    """Where the file that is not quantised goes: `path`, or one beside it that is gone afterwards."""
    if not options.int8:
        yield path
        return
    beside = path.with_name(f"{path.name}.float")
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)
