"""Results of a prediction."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tdpn_core.archive.table import Column, Row, write_csv
from tdpn_core.errors import TdpnError

Ranking = list[tuple[str, float]]
"""(class name, probability), the most likely first."""

NONE = "none of these"
"""First in the ranking of a clip whose most likely class is below the threshold of a calibrated network; its
probability is that the most likely class is wrong."""


def rank(
    probabilities: Mapping[str, npt.NDArray[np.floating]], classes: Mapping[str, Sequence[str]], topk: int
) -> dict[str, Ranking]:
    """Return the `topk` most likely classes of each head; ties go to the lower label.

    A network for verbs and nouns also gets the head `action`: the pairs with the highest products, as EPIC-KITCHENS
    scores them.
    """
    ranked = {head: _best(values, classes[head], topk) for head, values in probabilities.items()}
    if {"verb", "noun"} <= probabilities.keys() and "action" not in probabilities:
        ranked["action"] = _pairs(ranked["verb"], ranked["noun"], topk)
    return ranked


def chosen_classes(
    probabilities: Mapping[str, npt.NDArray[np.floating]],
    classes: Mapping[str, Sequence[str]],
    thresholds: Mapping[str, Sequence[float]],
) -> dict[str, Ranking]:
    """Return the classes of multi-label data that reach their threshold by head, the most likely first."""
    found = {}
    for head, values in probabilities.items():
        ranking = _best(values, classes[head], len(values))
        least = dict(zip(classes[head], thresholds[head], strict=True))
        found[head] = [(name, value) for name, value in ranking if value >= least[name]]
    return found


def with_none(ranked: Mapping[str, Ranking], thresholds: Mapping[str, float]) -> dict[str, Ranking]:
    """Return rankings in which `NONE` is first where the most likely class is below its head's threshold."""
    return {
        head: [(NONE, 1 - ranking[0][1]), *ranking] if ranking[0][1] < thresholds.get(head, 0.0) else ranking
        for head, ranking in ranked.items()
    }


def _best(values: npt.NDArray[np.floating], names: Sequence[str], topk: int) -> Ranking:
    order = np.argsort(-values, kind="stable")[:topk]
    return [(names[label], float(values[label])) for label in order]


def _pairs(verbs: Ranking, nouns: Ranking, topk: int) -> Ranking:
    """Return the best pairs; the best `topk` contain only verbs and nouns of their own best `topk`."""
    pairs = [(f"{verb} {noun}", p * q) for verb, p in verbs for noun, q in nouns]
    return sorted(pairs, key=lambda pair: -pair[1])[:topk]


@dataclass(frozen=True, kw_only=True)
class NetworkInfo:
    """Which network made a prediction, and with which views."""

    checkpoint: str
    """Its file, a checkpoint or an exported file."""

    dataset: str
    """Name of its training data set; for another project's checkpoint, the project."""

    data: str
    """Folder of its prepared training data according to the checkpoint; empty if unknown."""

    epoch: int | None
    """Number of training epochs; None if the file does not contain it."""

    weights: Literal["averaged", "raw"] | None
    """Which weights are used, for a file with raw and averaged (EMA) ones; else None."""

    views: str
    """Test views, clips x crops, per clip or per window."""

    threshold: Mapping[str, float] = field(default_factory=dict)
    """By head, the probability below which a clip gets `NONE`, or a timeline no segment; without those of 0."""

    class_thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """For multi-label data, by head and class name: the probability from which a clip has the class."""

    def __str__(self) -> str:
        place = f" ({self.data})" if self.data else ""
        epoch = "" if self.epoch is None else f", epoch {self.epoch}"
        weights = "" if self.weights is None else f", {self.weights} weights"
        return f"{self.checkpoint}: trained on {self.dataset}{place}{epoch}{weights}; views {self.views}{self._least()}"

    def _least(self) -> str:
        """Return the thresholds, with the heads' names if there are several."""
        if self.class_thresholds:
            return "; any number of classes, by a threshold for each"
        if len(self.threshold) == 1:
            return f"; threshold {next(iter(self.threshold.values())):.1%}"
        several = ", ".join(f"{least:.1%} ({head})" for head, least in self.threshold.items())
        return f"; thresholds {several}" if several else ""


@dataclass(frozen=True)
class Segment:
    """A segment of a clip with its classes."""

    start: float
    end: float
    """Seconds from the clip's start."""

    heads: dict[str, Ranking]
    """By head, (class name, probability), the most likely first."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The most likely classes of one clip, or an error."""

    name: str
    """Name of the clip as given by the user."""

    heads: dict[str, Ranking] = field(default_factory=dict)
    """By head, (class name, probability), the most likely first; empty if the clip failed. For a timeline, the mean
    over all windows."""

    chosen: dict[str, list[str]] | None = None
    """For multi-label data, by head: the names of the classes that reach their threshold, the most likely first."""

    segments: list[Segment] | None = None
    """Segments of a timeline in order; after an error, those before it."""

    seconds: float | None = None
    """Length of the part of the clip that was read."""

    error: TdpnError | None = None

    network: NetworkInfo | None = None
    """The network; None if the clip was not processed."""


NETWORK = tuple(field.name for field in fields(NetworkInfo) if field.name not in ("threshold", "class_thresholds"))
"""What the last columns of a table contain."""

COLUMNS = (
    Column("clip"),
    Column("start", "seconds"),
    Column("end", "seconds"),
    Column("head"),
    Column("rank", "number"),
    Column("class"),
    Column("probability", "probability"),
    Column("threshold", "probability"),
    Column("error"),
    *(Column(name, "number" if name == "epoch" else "text") for name in NETWORK),
)
"""Of a table; `threshold` is that of the class, and empty except for multi-label data."""


def plain(prediction: Prediction) -> dict[str, Any]:
    """Return the result of a clip as JSON values; `segments` only for a timeline."""
    values: dict[str, Any] = {
        "clip": prediction.name,
        "seconds": None if prediction.seconds is None else round(prediction.seconds, 3),
        "heads": _heads(prediction.heads),
        "error": str(prediction.error) if prediction.error else None,
        "network": asdict(prediction.network) if prediction.network else None,
    }
    if prediction.chosen is not None:
        values["chosen"] = prediction.chosen
    if prediction.segments is not None:
        values["segments"] = [plain_segment(segment) for segment in prediction.segments]
    return values


def plain_segment(segment: Segment) -> dict[str, Any]:
    """Return a segment as JSON values."""
    return {"start": round(segment.start, 3), "end": round(segment.end, 3), "heads": _heads(segment.heads)}


def to_csv(predictions: Iterable[Prediction]) -> str:
    """Return the rows of `rows_of` as CSV."""
    out = io.StringIO()
    write_csv(out, COLUMNS, (row for prediction in predictions for row in rows_of(prediction)))
    return out.getvalue()


def rows_of(prediction: Prediction) -> Iterator[Row]:
    """Yield a row of `COLUMNS` for each class, of each segment if there are any, and one for the error.

    The last columns describe the network.
    """
    values = asdict(prediction.network) if prediction.network else {}
    network = [values.get(name) for name in NETWORK]
    for row in _rows(prediction):
        yield (*row, *network)


def _rows(prediction: Prediction) -> Iterator[tuple[object, ...]]:
    thresholds = prediction.network.class_thresholds if prediction.network else {}
    if prediction.segments is None:
        end = prediction.seconds
        yield from _ranks((prediction.name, None if end is None else 0.0, end), prediction.heads, thresholds)
    for segment in prediction.segments or ():
        yield from _ranks((prediction.name, segment.start, segment.end), segment.heads, thresholds)
    if prediction.error:
        yield (prediction.name, *[None] * 7, str(prediction.error))


def _ranks(
    first: tuple[str, float | None, float | None],
    heads: dict[str, Ranking],
    thresholds: Mapping[str, Mapping[str, float]],
) -> Iterator[tuple[object, ...]]:
    for head, ranking in heads.items():
        of_class = thresholds.get(head, {})
        for place, (label, probability) in enumerate(ranking, start=1):
            yield (*first, head, place, label, probability, of_class.get(label), None)


def _heads(heads: dict[str, Ranking]) -> dict[str, list[dict[str, Any]]]:
    return {
        head: [{"class": name, "probability": probability} for name, probability in ranking]
        for head, ranking in heads.items()
    }
