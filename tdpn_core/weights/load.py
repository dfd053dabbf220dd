"""`tdpn_core.load_model`: load a network from a checkpoint of tdpn or of another project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from tdpn_core.checkpoint import is_checkpoint, load_checkpoint
from tdpn_core.errors import CheckpointError, UsageError
from tdpn_core.model.without_values import without_values
from tdpn_core.weights.convert import account, convert, unwrapped
from tdpn_core.weights.neck_files import PARTS, Part
from tdpn_core.weights.project import Entries
from tdpn_core.weights.reference_model import PartModel, ReferenceModel, fill
from tdpn_core.weights.rename_rules import COUNTER, rename, some
from tdpn_core.weights.resolve import find_weights
from tdpn_core.weights.safe_load import Contents, read_weights


def load_model(path: str | Path, **settings: Any) -> nn.Module:
    """Load the network of a checkpoint, of tdpn or of another project, in eval mode on the CPU.

    `path` is a file, or a name as `--checkpoint` takes it: a run, a checkpoint of the zoo (`tdpn models --weights`),
    which is downloaded once, or `hf:OWNER/REPOSITORY/FILE`.

    A checkpoint of tdpn gives a network with the input of `create_model`'s networks. One of another project gives a
    `ReferenceModel`: it takes the input layout of that project, any number of frames, and returns what that project
    returns. `settings` are `ModelConfig` fields that such a file does not determine, such as `temporal_rates=(4, 8)`.

    Raises:
        CheckpointError: there is no such file or name, or the file is unreadable, damaged or incomplete, or its project
            or network is unknown.
        UsageError: `settings` for a checkpoint of tdpn, which contains its own.
    """
    path = find_weights(Path(path))
    if is_checkpoint(path):
        if settings:
            raise UsageError(f"a tdpn checkpoint contains its own {', '.join(settings)}", where=path)
        return load_checkpoint(path).build(torch.device("cpu"), "train")
    contents = read_weights(path)
    part = find_part(Entries(unwrapped(contents.tensors)))
    return load_part(contents, part, **settings) if part else ReferenceModel(convert(contents, **settings).complete())


def find_part(entries: Entries) -> Part | None:
    """Return the kind of part that the entries belong to, if any."""
    return next((part for part in PARTS if part.recognises(entries)), None)


def load_part(contents: Contents, part: Part, **settings: Any) -> PartModel:
    """Load a neck or an attention layer in eval mode, with the call signature of its project.

    Raises:
        CheckpointError: entries are missing, or some have no place in the part.
    """
    entries = Entries(unwrapped(contents.tensors))
    try:
        with without_values():
            module, rules = part.build(entries, **settings)
        own = module.state_dict()
        values, sources, left_out = rename(
            entries.tensors, rules, {name: tuple(value.shape) for name, value in own.items()}
        )
        lacking = [name for name in own if name not in values and not name.endswith(COUNTER)]
        if lacking:
            raise CheckpointError(f"lacks {some(lacking)}")
    except CheckpointError as error:
        raise CheckpointError(f"of {part.name}, but {error.what}", where=contents.path, hint=error.hint) from error
    except TypeError as error:
        raise UsageError(f"{part.name} has no such settings: {', '.join(settings)}", where=contents.path) from error
    fill(module, values)
    report = account(part.name, contents, own, sources, left_out)
    return PartModel(module, report, of_frames=part.of_frames)
