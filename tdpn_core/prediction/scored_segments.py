"""Predicted timelines as segments that can be scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tdpn_core.datasets.segments import ScoredSegment
from tdpn_core.distributed.runtime import Runtime
from tdpn_core.errors import TdpnError, UsageError
from tdpn_core.evaluation.timeline import Predicted
from tdpn_core.prediction.models import open_model
from tdpn_core.prediction.options import PredictOptions
from tdpn_core.prediction.predict import predict_with
from tdpn_core.prediction.results import Prediction
from tdpn_core.progress import SILENT, Progress
from tdpn_core.video.inputs import find_inputs


def predict_segments(
    videos: Sequence[Path],
    *,
    checkpoint: Path,
    runtime: Runtime,
    options: PredictOptions,
    progress: Progress = SILENT,
) -> tuple[list[str], Predicted]:
    """Return the classes of a network with one head, and its segments of videos.

    Raises:
        CheckpointError: the checkpoint is damaged.
        TdpnError: every video failed; the error of the first.
        UsageError: the network has several heads, or does not support an option.
    """
    model = open_model(
        checkpoint, device=runtime.device, classes=options.classes, ema=options.ema, trusted=options.trusted
    )
    heads = model.config.data.classes
    if len(heads) != 1:
        what = f"a timeline is scored for a network with one head, not {', '.join(heads)}"
        raise UsageError(what, where="--timeline")
    found = predict_with(model, checkpoint, find_inputs(videos), options=options, progress=progress)
    return list(*heads.values()), of_predictions(found)


def of_predictions(predictions: Iterable[Prediction]) -> Predicted:
    """Return the likeliest class of each predicted segment.

    Raises:
        TdpnError: every video failed; the error of the first.
    """
    found: list[ScoredSegment] = []
    lengths: dict[str, float] = {}
    errors: dict[str, TdpnError] = {}
    for prediction in predictions:
        if prediction.error is not None:
            errors[prediction.name] = prediction.error
            continue
        lengths[prediction.name] = prediction.seconds or 0.0
        for segment in prediction.segments or ():
            ((label, score), *_) = next(iter(segment.heads.values()))
            found.append(ScoredSegment(prediction.name, segment.start, segment.end, label, score=score))
    if errors and not lengths:
        raise next(iter(errors.values()))
    failed = {name: str(error) for name, error in errors.items()}
    return Predicted(segments=found, lengths=lengths, failed=failed, videos=list(lengths))
