"""The weights that a run starts from: from the setting `train.init` to a file, before training begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tdpn_core import files
from tdpn_core.config.families import find_family
from tdpn_core.config.model import ModelConfig
from tdpn_core.config.schema import RunConfig, StartConfig
from tdpn_core.errors import CheckpointError
from tdpn_core.progress import SILENT, Progress
from tdpn_core.weights.resolve import find_weights
from tdpn_core.weights.zoo import imagenet, obtain, recorded_digest

NOTHING, IMAGENET = "none", "imagenet"
"""Values of `train.init` that are no names of weights."""


def find_start(config: RunConfig, *, asked: bool = True, progress: Progress = SILENT) -> tuple[RunConfig, Path | None]:
    """Find the file that `config.train.init` names, and record its name and digest in `config.start`.

    Args:
        config: of the run.
        asked: whether the user chose the start. The recipe's is left out, with a line, if it cannot fit the network.
        progress: gets that line and the bar of a download.

    Returns:
        The configuration with the record, and the file; None: the run starts from random weights.

    Raises:
        CheckpointError: there are no such weights, or they cannot be downloaded.
    """
    name = config.train.init
    if name == IMAGENET and not asked and (why := _no_images(config.model)):
        progress.say(f"no ImageNet weights fit {why}: random initial weights")
        config = replace(config, train=replace(config.train, init=NOTHING))
        name = NOTHING
    if name == NOTHING:
        return replace(config, start=StartConfig()), None
    try:
        if name == IMAGENET and not Path(name).exists():
            entry = imagenet(config.model.arch)
            name, path = entry.name, obtain(entry, progress)
        else:
            path = find_weights(Path(name), progress)
    except CheckpointError as error:
        hint = f"{error.hint}; --init none starts from random weights" if error.hint else None
        raise CheckpointError(error.what, where=error.where, hint=hint) from error
    digest = recorded_digest(path) or files.digest_file(path)
    return replace(config, start=StartConfig(name=name, sha256=digest)), path


def describe_start(config: RunConfig) -> str:
    """The start of a run, in a phrase."""
    start = config.start
    return "random initial weights" if start.name == NOTHING else f"from {start.name} ({start.sha256[:8]})"


def _no_images(model: ModelConfig) -> str | None:
    """Why an image network cannot start this one; None: it can."""
    fitting = find_family(model.name).image_depths
    if model.width != 1:
        return f"a network of width {model.width:g}"
    if fitting is not None and model.arch not in fitting:
        return f"{model.name} {model.arch}"
    try:
        imagenet(model.arch)
    except CheckpointError:
        return f"{model.name} {model.arch}"
    return None
