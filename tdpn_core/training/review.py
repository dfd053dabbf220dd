"""Training clips whose label a network doubts, judged by classifiers that were not trained on them."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tdpn_core.errors import ClipError, ShardError, UsageError
from tdpn_core.evaluation.report.previews import Films
from tdpn_core.features.store import Features, read_features
from tdpn_core.files import write_text
from tdpn_core.html_report.components import Clip, clips, note, text
from tdpn_core.html_report.page import Section, render_page
from tdpn_core.progress import SILENT, Progress
from tdpn_core.shards import ClipStore, find_prepared
from tdpn_core.training.linear_probe import FOLDS, Floats, chosen_strength, pooled, regression_model
from tdpn_core.training.probe import check_features, only_features
from tdpn_core.wording import counted

_SHOWN = 60  # clips on the page; the table has all


@dataclass(frozen=True)
class Doubt:
    """A clip whose label is not the likeliest class."""

    clip: str
    head: str
    label: str
    answer: str
    """The likeliest class."""

    label_probability: float
    answer_probability: float


def review_labels(
    data: Path | None, out: Path, *, features: Path | None = None, seed: int = 0, progress: Progress = SILENT
) -> list[Doubt]:
    """Write a page with the training clips whose label is doubted most, and a CSV file of all doubted ones.

    The training clips are divided into folds by their videos. A linear classifier on the features of the other folds
    gives the probabilities of a clip, so that its own label has no influence on them.

    Args:
        data: folder of the prepared data set; None: the only one under `data/`.
        out: the page (`.html`); the table has its name with `.csv`.
        features: folder of `tdpn features`; None: the only one in the data set's folder.
        seed: of the folds.
        progress: receives notes on clips that cannot be judged or shown.

    Returns:
        All clips whose label is not the likeliest class, the least probable label first.

    Raises:
        UsageError: `out` is no `.html` file, or there are no or several folders of features.
        ScoresError, ConfigError, DatasetError: the features are damaged, of other data, or of one class.
    """
    if out.suffix.lower() != ".html":
        raise UsageError("is a page: name a .html file", where=f"--review {out}")
    folder = find_prepared(data)
    source = features or only_features(folder)
    known = read_features(source / "train.safetensors")
    store = ClipStore(folder, "train")
    if store.manifest.multilabel:
        raise UsageError("labels are reviewed in data with one label per clip", where=folder)
    check_features(known, store, source)
    videos = np.unique([store.source(number) for number in range(len(store))], return_inverse=True)[1]
    found: list[Doubt] = []
    for head in known.labels:
        doubts, unjudged = _doubts(known, head, videos, seed)
        found += doubts
        if unjudged:
            progress.say(f"{head}: {counted(unjudged, 'clip')} of classes with a single video cannot be judged")
    found.sort(key=lambda one: (one.label_probability, -one.answer_probability, one.clip))
    write_text(out.with_suffix(".csv"), _table(found))
    write_text(out, _page(found, len(known.ids), folder, known.checkpoint, progress))
    return found


def _doubts(known: Features, head: str, videos: npt.NDArray[np.int64], seed: int) -> tuple[list[Doubt], int]:
    """Return the doubted clips of a head, and how many labelled clips cannot be judged."""
    labels = known.labels[head]
    judged = out_of_fold(pooled(known), labels, known.clip, videos, seed)
    names = known.config.data.classes[head]
    found, unjudged = [], 0
    for number, label in enumerate(labels.tolist()):
        if label < 0:
            continue
        if number not in judged:
            unjudged += 1
            continue
        values = judged[number]
        answer = int(values.argmax())
        if answer != label:
            shares = float(values[label]), float(values[answer])
            found.append(Doubt(known.ids[number], head, names[label], names[answer], *shares))
    return found, unjudged


def out_of_fold(
    features: Floats,
    labels: npt.NDArray[np.int64],
    clip: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    seed: int = 0,
) -> dict[int, Floats]:
    """Return each clip's class probabilities (classes,), by a classifier that was trained on clips of other groups.

    Clips without a label, and those whose class is in one group or in no other fold, are left out.

    Args:
        features: (rows, channels); a clip may have several rows, whose probabilities are averaged.
        labels: (clips,) class index, -1 for none.
        clip: (rows,) clip of each row.
        groups: (clips,) such as the clip's video.
        seed: of the folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    own, group = labels[clip], groups[clip]
    present = np.unique(labels[labels >= 0]).tolist()
    sizes = {label: len(np.unique(groups[labels == label])) for label in present}
    several = [label for label, size in sizes.items() if size > 1]
    if len(several) < 2:
        return {}
    inside = np.flatnonzero(np.isin(own, several))
    count = min(FOLDS, max(sizes.values()))  # a rarer class is in some of the folds
    found: dict[int, Floats] = {}
    strength, _ = chosen_strength(features[inside], own[inside], group[inside], seed)
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rare classes are in fewer folds; a weak regularisation does not converge
        for train, test in folds.split(features[inside], own[inside], group[inside]):
            rows, asked = inside[train], inside[test]
            if len(np.unique(own[rows])) < 2:
                continue  # nothing to tell apart
            model = regression_model(strength)
            model.fit(features[rows], own[rows])
            known = model[-1].classes_
            values = np.zeros((len(asked), int(labels.max()) + 1))
            values[:, known] = model.predict_proba(features[asked])
            for number in np.unique(clip[asked]).tolist():
                if labels[number] in known:
                    found[number] = values[clip[asked] == number].mean(axis=0)
    return found


def _table(found: Sequence[Doubt]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(field.name for field in fields(Doubt))
    writer.writerows((*astuple(one)[:4], f"{one.label_probability:.6f}", f"{one.answer_probability:.6f}")
                     for one in found)  # fmt: skip
    return out.getvalue()


def _page(found: Sequence[Doubt], total: int, folder: Path, checkpoint: str, progress: Progress) -> str:
    films = Films(folder, "train")
    shown = []
    for one in found[:_SHOWN]:
        lines = [one.clip, f"{one.head}: labelled {one.label} ({one.label_probability:.1%})",
                 f"rather {one.answer} ({one.answer_probability:.1%})"]  # fmt: skip
        try:
            shown.append(Clip(one.clip, films.of(one.clip), lines))
        except (ClipError, ShardError) as error:
            progress.say(f"not shown: {error}")
    blocks: list[Any] = [
        text(f"{len(found)} of {total} training clips have another likeliest class than their label."),
        note(f"Judged by classifiers on features of {checkpoint}, each trained on the clips of other videos only."),
    ]
    if shown:
        blocks.append(clips(shown))
    if len(found) > _SHOWN:
        blocks.append(note(f"{len(found) - _SHOWN} more are in the table next to this page."))
    return render_page("Doubted labels", [Section("Training clips", blocks)], lead="The most doubted label first.")
