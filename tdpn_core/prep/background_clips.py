"""Add clips of the gaps between annotated segments to a table."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tdpn_core import defaults
from tdpn_core.datasets import Dataset
from tdpn_core.datasets.background import BackgroundOptions, Span, choose, is_background
from tdpn_core.datasets.clip_table import HEAD, SPLITS, VIDEO
from tdpn_core.datasets.scan import suffix
from tdpn_core.errors import DatasetError
from tdpn_core.labels import Label
from tdpn_core.wording import agree, counted


def add_background(
    table: Dataset, videos: Mapping[str, tuple[Sequence[Span], float]], options: BackgroundOptions
) -> Dataset:
    """Return the table with background clips, each in the split of its video.

    In multi-label data they belong to no class.

    Args:
        table: clips of annotated segments; the class of the background exists, unless it is multi-label data.
        videos: all annotated spans, and the length in seconds, of each source whose annotation is complete.
        options: share and lengths.

    Raises:
        DatasetError: no gap is long enough.
    """
    clips = table.clips
    own = next((label for label, name in enumerate(table.classes[HEAD]) if is_background(name)), None)
    label = own if own is not None and not table.multilabel else ()
    split_of = dict(zip(clips["source"].tolist(), clips["split"].tolist(), strict=True))
    pairs = zip(clips["split"].tolist(), clips[f"label_{HEAD}"].tolist(), strict=True)
    counts = Counter(split for split, labels in pairs if labels != label)
    used = {source: video for source, video in videos.items() if source in split_of}
    chosen = choose(used, counts, split_of, options, table.seed)
    if not chosen:
        what = f"no gap between segments is {options.min_length:g} s long with {options.margin:g} s on both sides"
        hint = "lower --background-length or --background-margin, or leave out --background"
        raise DatasetError(what, where=table.root, hint=hint)
    group_of = dict(zip(clips["source"], map(table.groups.get, clips["id"]), strict=True))
    rows = [_row(source, span, split_of[source], label) for source, span in chosen]
    added = pd.DataFrame(rows, columns=list(clips.columns)).astype(clips.dtypes.to_dict())
    joined = pd.concat([clips, added], ignore_index=True)
    order = sorted(range(len(joined)), key=lambda row: (SPLITS.index(joined["split"][row]), joined["id"][row]))
    groups = {str(row["id"]): group for row in rows if (group := group_of.get(str(row["source"])))}
    count, sources = len(rows), len({source for source, _ in chosen})
    share = count / (count + sum(counts.values()))
    clips_are = f"{counted(count, 'background clip')} ({share:.2f} of the clips) {agree(count, 'is', 'are')}"
    return dataclasses.replace(
        table,
        clips=joined.iloc[order].reset_index(drop=True),
        notes=[*table.notes, f"{clips_are} taken from gaps of {counted(sources, 'video')}; asked for: {options}"],
        groups=table.groups | groups,
    )


def _row(source: str, span: Span, split: str, label: Label) -> dict[str, object]:
    """Return a row of the table; the id is unlike that of a segment with the same times."""
    start, stop = span
    video = source[: -len(suffix(source))]
    times = f"{start:.3f}-{stop:.3f}"
    return {
        "id": f"{video}:{defaults.BACKGROUND}:{times}",
        "source": source,
        "kind": VIDEO,
        "pattern": "",
        "first": 0,
        "last": -1,
        "fps": np.nan,
        "start": start,
        "stop": stop,
        "split": split,
        f"label_{HEAD}": label,
    }
