"""Predictions as plain values and as rows of a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from typing import Any

from tdpn_core.predict.ranking import Ranking
from tdpn_core.predict.result import NetworkInfo, Prediction, Segment

NETWORK = tuple(field.name for field in fields(NetworkInfo))
COLUMNS = ("clip", "start", "end", "head", "rank", "class", "probability", "error", *NETWORK)


def plain(prediction: Prediction) -> dict[str, Any]:
    """One clip's result as JSON values; `segments` only of a timeline."""
    values: dict[str, Any] = {
        "clip": prediction.name,
        "seconds": None if prediction.seconds is None else round(prediction.seconds, 3),
        "heads": _heads(prediction.heads),
        "error": str(prediction.error) if prediction.error else None,
        "network": asdict(prediction.network) if prediction.network else None,
    }
    if prediction.segments is not None:
        values["segments"] = [plain_segment(segment) for segment in prediction.segments]
    return values


def plain_segment(segment: Segment) -> dict[str, Any]:
    """One segment as JSON values."""
    return {"start": round(segment.start, 3), "end": round(segment.end, 3), "heads": _heads(segment.heads)}


def to_csv(predictions: Iterable[Prediction]) -> str:
    """A row for each class that was named, of each segment where there are segments, and one for each error.

    The last columns say which network answered.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for prediction in predictions:
        network = _network(prediction.network)
        writer.writerows((*row, *network) for row in _rows(prediction))
    return out.getvalue()


def _network(network: NetworkInfo | None) -> list[object]:
    values = asdict(network) if network else {}
    return ["" if values.get(name) is None else values[name] for name in NETWORK]


def _rows(prediction: Prediction) -> Iterator[tuple[object, ...]]:
    if prediction.segments is None:
        end = "" if prediction.seconds is None else f"{prediction.seconds:.3f}"
        yield from _ranks(prediction.name, "0.000" if end else "", end, prediction.heads)
    for segment in prediction.segments or ():
        yield from _ranks(prediction.name, f"{segment.start:.3f}", f"{segment.end:.3f}", segment.heads)
    if prediction.error:
        yield (prediction.name, "", "", "", "", "", "", str(prediction.error))


def _ranks(name: str, start: str, end: str, heads: dict[str, Ranking]) -> Iterator[tuple[object, ...]]:
    for head, ranking in heads.items():
        for place, (label, probability) in enumerate(ranking, start=1):
            yield (name, start, end, head, place, label, f"{probability:.6f}", "")


def _heads(heads: dict[str, Ranking]) -> dict[str, list[dict[str, Any]]]:
    return {
        head: [{"class": name, "probability": probability} for name, probability in ranking]
        for head, ranking in heads.items()
    }
