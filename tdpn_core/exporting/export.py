"""Export a checkpoint to a file for other programs; the file is kept only if it agrees with the network."""

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
from tdpn_core.config.schema import StartConfig
from tdpn_core.errors import TdpnError, UsageError
from tdpn_core.exporting.clips import CALIBRATED, RealClips, real_clips
from tdpn_core.exporting.metadata import describe
from tdpn_core.exporting.module import FramesToProbabilities, trace
from tdpn_core.exporting.onnx_file import need_packages, quantise, write_onnx
from tdpn_core.exporting.program_file import write_program
from tdpn_core.exporting.verify import Check, compare, reference
from tdpn_core.files import atomic_path, digest_file, write_text
from tdpn_core.model_card import ExportedFile, card_path, find_results, model_card
from tdpn_core.output_paths import check_new
from tdpn_core.prediction.exported import Runner, open_session, run_program, session_runner
from tdpn_core.progress import SILENT, Progress
from tdpn_core.weights.file_formats import Format
from tdpn_core.weights.open_checkpoint import open_checkpoint
from tdpn_core.weights.resolve import find_weights
from tdpn_core.weights.zoo import entry_at, recorded_digest, results_folder


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an export."""

    format: Format = defaults.FORMAT
    int8: bool = False
    """Quantise for CPUs; ONNX only."""

    clips: Sequence[str | Path] | None = None
    """Videos for the comparison; None: prepared clips."""

    data: Path | None = None
    """Prepared data for the comparison; None: the network's training data. Also provides class names for another
    project's checkpoint, as in an evaluation."""

    classes: Path | None = None
    """File with the class names of another project's checkpoint that contains none."""

    ema: bool | None = None
    """Averaged or raw weights of another project's checkpoint; None: those that the project evaluates."""

    compared: int | None = None
    """Number of clips for the comparison; None: 8, or 64 for quantised files, which a small number cannot judge."""

    calibrated: int = defaults.CALIBRATION_CLIPS
    """Number of clips for calibrating int8."""

    tolerance: float = defaults.TOLERANCE
    """Largest accepted difference of a probability, for files that are not quantised."""

    force: bool = False
    """Overwrite an existing file."""

    def __post_init__(self) -> None:
        if self.int8 and self.format != "onnx":
            raise UsageError("int8 is for ONNX files", where="--int8", hint="leave out --format pt2")
        if min(self.compared_clips, self.calibrated) < 1:
            raise UsageError("at least one clip is needed to compare and to calibrate on")
        if not self.tolerance > 0:
            raise UsageError(f"--tolerance must be positive, not {self.tolerance:g}")

    @property
    def compared_clips(self) -> int:
        """Number of clips for the comparison."""
        usual = defaults.COMPARED_CLIPS_INT8 if self.int8 else defaults.COMPARED_CLIPS
        return usual if self.compared is None else self.compared


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """Result of an export, with its comparison to the network."""

    path: Path
    bytes: int
    format: Format
    int8: bool
    description: dict[str, Any]
    """Metadata, also stored in the file."""

    check: Check


DEFAULTS = ExportOptions()


def export(
    checkpoint: Path, out: Path | None = None, *, options: ExportOptions = DEFAULTS, progress: Progress = SILENT
) -> ExportReport:
    """Write a network as one file for other programs, and compare it with the network on real clips.

    Implements `tdpn export`. The file takes uint8 frames, returns probabilities, and contains the class names. It gets
    its final name only if it agrees with the network.

    Args:
        checkpoint: of ours or of another project, or a name as in `find_weights`.
        out: file to write; default: next to the checkpoint, with its name.
        options: format, quantisation, and clips for comparison and calibration.
        progress: receives messages about the comparison.

    Returns:
        The path, the size in bytes, the file's metadata, and the comparison: the largest difference of a probability
        and the share of clips with the same class, in [0, 1].

    Raises:
        CheckpointError: the checkpoint is unreadable or unknown, or its classes are not certain.
        UsageError: `out` exists already, or there are no clips for the comparison.
        InUseError: another process is exporting to `out`.
        ToolError: the packages for ONNX are missing.
        TdpnError: the file does not agree with the network.
    """
    suffix = f".int8.{options.format}" if options.int8 else f".{options.format}"
    checkpoint = find_weights(checkpoint, progress)
    target = out or results_folder(checkpoint) / checkpoint.with_suffix(suffix).name
    with claimed(target, "exporting", hint="wait until it ends, or choose another --out", file=True):
        check_new([target], option="--out", force=options.force)
        if options.format == "onnx":
            need_packages()
        loaded = _opened(checkpoint, options, progress)
        clips = real_clips(loaded.config, options.clips, options.compared_clips, data=options.data)
        description = describe(
            loaded.config, epoch=loaded.state.epoch or None, int8=options.int8, calibration=loaded.calibration
        )
        progress.say(f"comparing with {len(clips)} clips, such as {clips.names[0]}")
        with atomic_path(target) as temporary:
            check = _write(loaded, temporary, clips, description, options)
            size = temporary.stat().st_size
        _write_card(target, loaded, checkpoint, size, check, options)
    return ExportReport(
        path=target, bytes=size, format=options.format, int8=options.int8, description=description, check=check
    )


def _opened(path: Path, options: ExportOptions, progress: Progress) -> Checkpoint:
    """Open the checkpoint; one of another project uses that project's frames for any comparison data."""
    loaded = open_checkpoint(path, data=options.data, classes=options.classes, ema=options.ema, progress=progress)
    if is_checkpoint(path):
        return loaded
    config = loaded.config
    data = replace(config.data, short_side=config.sampling.short_side)
    return replace(loaded, config=replace(config, data=data))


def _write(
    loaded: Checkpoint, path: Path, clips: RealClips, description: dict[str, Any], options: ExportOptions
) -> Check:
    """Write the file and compare it with the network."""
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
    if not check.difference <= (1.0 if options.int8 else options.tolerance):  # also true for NaN
        what = f"the exported file differs from the network by {check.difference:.1e}, above {options.tolerance:g}"
        raise TdpnError(what, hint="a larger --tolerance accepts it")
    return check


def _write_card(
    target: Path, loaded: Checkpoint, source: Path, size: int, check: Check, options: ExportOptions
) -> None:
    about = ExportedFile(
        format=options.format, int8=options.int8, bytes=size, difference=check.difference, compared=check.clips
    )
    results = find_results(source, loaded)
    if (entry := entry_at(source)) is not None:
        start = StartConfig(name=entry.name, sha256=recorded_digest(source) or digest_file(source))
        loaded = replace(loaded, config=replace(loaded.config, start=start))
    write_text(card_path(target), model_card(loaded, results, address=str(target), exported=about))


@contextmanager
def _float_file(path: Path, options: ExportOptions) -> Iterator[Path]:
    """Yield the path for the float file: `path`, or a temporary one next to it."""
    if not options.int8:
        yield path
        return
    beside = path.with_name(f"{path.name}.float")
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)
