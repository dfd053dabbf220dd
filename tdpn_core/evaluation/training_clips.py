"""Record of a run's training clips in its folder, to detect them in evaluations: scores on them measure memorisation.

It has 16 bytes per clip, half of the digest of its name and half of that of its pixels, so that a clip is recognised
after it was renamed or moved to the other split by preparing the data with another seed.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tdpn_core.config.schema import DataConfig
from tdpn_core.errors import ScoresError, ShardError
from tdpn_core.evaluation.array_file import read_arrays, write_arrays
from tdpn_core.evaluation.score_file import Overlap
from tdpn_core.shards import ClipStore, load_manifest

TRAINED = "training-clips.safetensors"
"""File name in a run's folder."""

_KIND = "training clips"
_SCHEMA = 1
Keys = npt.NDArray[np.uint64]


def write_training_clips(folder: Path, clips: ClipStore) -> None:
    """Record in the run's `folder` that it is trained on `clips`.

    Raises:
        TdpnError: the folder cannot be written.
    """
    header = {"schema": _SCHEMA, "digest": clips.manifest.digest}
    write_arrays(folder / TRAINED, _KIND, header, {"ids": _id_keys(clips.ids), "contents": _keys(clips.digests)})


def overlap(data: DataConfig, run: Path, store: ClipStore, rows: npt.NDArray[np.int64]) -> Overlap | None:
    """Return how many of the clips `rows` of `store` the run in the folder `run`, on `data`, was trained on.

    Uses the run's record, else its training data if it still exists; None if neither does.
    """
    known = _noted(data, run) or _of_data(data)
    if known is None:
        return None
    ids, contents = known
    by_id = np.isin(_id_keys([store.ids[row] for row in rows.tolist()]), ids)
    by_content = np.isin(_keys([store.digests[row] for row in rows.tolist()]), contents)
    return Overlap(clips=int((by_id | by_content).sum()), by_id=int(by_id.sum()), by_content=int(by_content.sum()))


def _noted(data: DataConfig, run: Path) -> tuple[Keys, Keys] | None:
    if not (run / TRAINED).is_file():
        return None
    try:
        header, arrays = read_arrays(run / TRAINED, _KIND)
    except ScoresError:
        return None
    if header.get("schema") != _SCHEMA or header.get("digest") != data.digest:
        return None
    return arrays["ids"], arrays["contents"]


def _of_data(data: DataConfig) -> tuple[Keys, Keys] | None:
    folder = Path(data.path)
    try:
        if not data.path or load_manifest(folder).digest != data.digest:
            return None
        clips = ClipStore(folder, "train")
    except ShardError:
        return None
    return _id_keys(clips.ids), _keys(clips.digests)


def _id_keys(ids: list[str]) -> Keys:
    return _keys([hashlib.sha256(os.fsencode(name)).hexdigest() for name in ids])


def _keys(digests: list[str]) -> Keys:
    """Return the first 16 hexadecimal digits of each digest as integers."""
    return np.array([int(digest[:16], 16) for digest in digests], dtype=np.uint64)
