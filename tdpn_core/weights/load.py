"""`tdpn_core.load_model`: from a file of weights, whoever wrote it, to a network that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from tdpn_core.checkpoint import is_checkpoint, load_checkpoint
from tdpn_core.errors import CheckpointError, UsageError
from tdpn_core.weights.convert import account, convert, unwrapped
from tdpn_core.weights.neck_files import PARTS, Part
from tdpn_core.weights.project import Entries
from tdpn_core.weights.reference_model import PartModel, ReferenceModel, fill
from tdpn_core.weights.rename_rules import COUNTER, rename, some
from tdpn_core.weights.safe_load import Contents, read_weights


def load_model(path: str | Path, **settings: Any) -> nn.Module:
    """The network of a checkpoint, ours or another project's, in eval mode on the CPU.

    Ours takes clips as `create_model`'s networks do. Another project's is a `ReferenceModel`: it takes the input as
    that project takes it, follows its number of frames, and returns what that project returns. `settings` are fields
    of `ModelConfig` that such a file does not tell, `temporal_rates=(4, 8)` for example.

    Raises:
        CheckpointError: unreadable, damaged, of a project or a network that is not known, or not whole.
        UsageError: settings for a checkpoint of ours, which knows its own.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError("no such file of weights", where=path)
    if is_checkpoint(path):
        if settings:
            raise UsageError(f"a checkpoint of tdpn knows its own {', '.join(settings)}", where=path)
        return load_checkpoint(path).build(torch.device("cpu"), "train")
    contents = read_weights(path)
    part = find_part(Entries(unwrapped(contents.tensors)))
    return load_part(contents, part, **settings) if part else ReferenceModel(convert(contents, **settings).complete())


def find_part(entries: Entries) -> Part | None:
    """The kind of part that the entries are of, if they are of one."""
    return next((part for part in PARTS if part.recognises(entries)), None)


def load_part(contents: Contents, part: Part, **settings: Any) -> PartModel:
    """A neck or an attention layer, whole, in eval mode; called as its project calls it.

    Raises:
        CheckpointError: entries without a place, or too few.
    """
    entries = Entries(unwrapped(contents.tensors))
    try:
        with torch.device("meta"):
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
