"""Facts that a recipe depends on: the training clips, the device, the initial weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tdpn_core.checkpoint import is_checkpoint, load_checkpoint
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import CheckpointError
from tdpn_core.labels import clips_per_class, is_multilabel, known
from tdpn_core.recipes.auto_recipe import Facts, Pixels
from tdpn_core.sampling.clip_source import ClipSource
from tdpn_core.training.start import IMAGENET, NOTHING
from tdpn_core.weights.convert import import_weights
from tdpn_core.weights.resolve import find_weights
from tdpn_core.weights.zoo import ZOO, is_here, place

_SIZES_LOOKED_AT = 500


def data_facts(clips: ClipSource, runtime: Runtime, init: str = NOTHING, arch: str | None = None) -> Facts:
    """Return the facts of a run on the training clips `clips`, initialised from the weights that `init` names.

    `arch` is the requested depth, which selects the ImageNet weights. An unreadable `init` is ignored here; loading it
    reports the error.
    """
    head = next(iter(clips.classes))
    labels = clips.labels[head]
    step = max(1, len(clips) // _SIZES_LOOKED_AT)
    sizes = np.array([sorted(clips.size(clip)) for clip in range(0, len(clips), step)])
    return Facts(
        per_class=tuple(clips_per_class(labels, len(clips.classes[head])).tolist()),
        multilabel=is_multilabel(labels),
        labelled=int(known(labels).sum()) if is_multilabel(labels) else 0,
        frames=int(np.median(clips.counts)),
        side=int(np.median(sizes[:, 0])),
        aspect=float(np.median(sizes[:, 1] / sizes[:, 0])),
        device=runtime.device_type,
        memory=_memory(runtime),
        **_start(init, arch),
    )


def _memory(runtime: Runtime) -> float:
    """Return the memory in GiB of all GPUs that train together, since each computes its part of a batch."""
    if runtime.device_type == "cpu":
        return 0.0
    return float(torch.cuda.get_device_properties(runtime.device).total_memory) * runtime.world / 2**30


def _start(init: str, arch: str | None) -> dict[str, Any]:
    if init == NOTHING:
        return {}
    if init != IMAGENET or Path(init).exists():
        path = find_weights(Path(init))
    else:
        entry = next((entry for entry in ZOO.values() if entry.starts is not None and entry.starts == arch), None)
        if entry is None or not is_here(entry):
            return {"start": "images"}
        path = place(entry)
    if is_checkpoint(path):
        config = load_checkpoint(path).config
        pixels = Pixels(config.sampling.mean, config.sampling.std)
        return {"start": "clips", "network": config.model, "pixels": pixels}
    try:
        imported = import_weights(path)
    except CheckpointError:
        return {"start": "images"}
    return {
        "start": "images" if imported.layout == "NCHW" else "clips",
        "arch": imported.config.arch,
        "pixels": Pixels(imported.sampling.mean, imported.sampling.std),
    }
