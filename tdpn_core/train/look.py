"""Looking at what a run will have: its clips, its device, the weights it starts from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from tdpn_core.checkpoint import is_checkpoint, load_checkpoint
from tdpn_core.config import Arch
from tdpn_core.facts import Facts
from tdpn_core.runtime import Runtime
from tdpn_core.sampling.source import ClipSource

_SIZES_LOOKED_AT = 500


def look(clips: ClipSource, runtime: Runtime, init: Path | None = None) -> Facts:
    """The facts of a run on the training clips `clips` that starts from the weights of the file `init`.

    A file that cannot be read as weights tells nothing here: who loads it says so.
    """
    head = next(iter(clips.classes))
    labels = clips.labels[head]
    step = max(1, len(clips) // _SIZES_LOOKED_AT)
    sides = [min(clips.size(clip)) for clip in range(0, len(clips), step)]
    return Facts(
        per_class=tuple(np.bincount(labels[labels >= 0], minlength=len(clips.classes[head])).tolist()),
        frames=int(np.median(clips.counts)),
        side=int(np.median(sides)),
        device=runtime.device_type,
        memory=_memory(runtime),
        **(_start(init) if init else {}),
    )


def _memory(runtime: Runtime) -> float:
    """GiB of all GPUs that train together: each computes its part of a batch."""
    if runtime.device_type == "cpu":
        return 0.0
    return float(torch.cuda.get_device_properties(runtime.device).total_memory) * runtime.world / 2**30


def _start(path: Path) -> dict[str, Any]:
    if is_checkpoint(path):
        return {"start": "clips", "network": load_checkpoint(path).config.model}
    return {"start": "images", "arch": _depth(path)}


def _depth(path: Path) -> Arch | None:
    """The residual network that a file's names tell of."""
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
    except (SafetensorError, OSError):
        return None
    last = max((int(found[1]) for name in names if (found := re.search(r"layer3\.(\d+)\.", name))), default=-1)
    bottleneck = any(re.search(r"layer1\.0\.conv3", name) for name in names)
    depths: dict[tuple[int, bool], Arch] = {
        (1, False): "r18",
        (5, False): "r34",
        (5, True): "r50",
        (22, True): "r101",
    }
    return depths.get((last, bottleneck))
