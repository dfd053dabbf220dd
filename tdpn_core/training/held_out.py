"""Hold out a part of the training clips, to choose settings without the clips that results are reported on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tdpn_core.errors import ConfigError
from tdpn_core.labels import first_classes
from tdpn_core.rng import derive
from tdpn_core.shards import ClipStore

_HELD_OUT = (0, 0, 0, 0)
"""Path of the draw, longer than any other that starts at a run's seed."""


def hold_out(clips: ClipStore, share: float, seed: int) -> tuple[ClipStore, ClipStore]:
    """Return `clips` without a random share of each class, and that share; both depend only on `seed`.

    Clips of one video, and clips with equal pixels, are never on both sides; so the share is of the videos of a class,
    at least one. Classes are those of the first head, and of a multi-label clip the first in label order. Classes with
    one video, and clips without a class, are not held out.

    Raises:
        ConfigError: no class has two videos.
    """
    held = held_out_clips(
        first_classes(next(iter(clips.labels.values()))),
        [clips.source(clip) for clip in range(len(clips))],
        clips.digests,
        share=share,
        rng=derive(seed, *_HELD_OUT),
    )
    if not held.any():
        what = f"cannot hold out {share:g} of the training clips: no class has clips of two videos"
        raise ConfigError(what, where="train.holdout", hint="set it to 0, and provide a validation split")
    return clips.subset(np.flatnonzero(~held).tolist()), clips.subset(np.flatnonzero(held).tolist())


def held_out_clips(
    labels: npt.NDArray[np.int64],
    videos: list[str],
    digests: list[str],
    *,
    share: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Return (clips,) whether each clip is held out, given its label (-1: none), video and digest of its pixels."""
    group = _groups(videos, digests)
    label_of = dict(zip(group[::-1].tolist(), labels[::-1].tolist(), strict=True))
    chosen: set[int] = set()
    for label in sorted(set(label_of.values()) - {-1}):
        own = sorted(number for number, known in label_of.items() if known == label)
        if len(own) > 1:
            count = min(max(1, round(share * len(own))), len(own) - 1)
            chosen.update(rng.permutation(own)[:count].tolist())
    held: npt.NDArray[np.bool_] = np.isin(group, sorted(chosen)) & (labels >= 0)
    return held


def _groups(videos: list[str], digests: list[str]) -> npt.NDArray[np.int64]:
    """Return (clips,) a number for each clip, equal for clips that share a video or pixels, also through others."""
    _, first, of_video = np.unique(np.asarray(videos, object), return_index=True, return_inverse=True)
    group: npt.NDArray[np.int64] = first[of_video]
    known: dict[str, int] = {}
    for clip, digest in enumerate(digests):  # clips with equal pixels join their videos
        one, other = int(group[known.setdefault(digest, clip)]), int(group[clip])
        if one != other:
            group[group == max(one, other)] = min(one, other)
    return group
