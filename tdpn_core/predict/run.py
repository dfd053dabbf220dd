"""Name what happens in videos that nobody prepared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tdpn_core.checkpoint import load_checkpoint
from tdpn_core.config import RunConfig
from tdpn_core.errors import ClipError, TdpnError
from tdpn_core.evaluate.scores import view_probabilities
from tdpn_core.model.network import Network
from tdpn_core.predict.clip import FileClip, open_clip
from tdpn_core.predict.inputs import Input, find_inputs
from tdpn_core.predict.ranking import Ranking, rank
from tdpn_core.runs import newest_checkpoint
from tdpn_core.runtime import Runtime
from tdpn_core.sampling.dataset import ViewClips
from tdpn_core.video.fetch import fetched
from tdpn_core.video.program import Program, find_ffmpeg
from tdpn_core.video.source import Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The likeliest classes of one clip, or why there are none."""

    name: str
    """The clip, as it was named."""

    heads: dict[str, Ranking] = dataclasses.field(default_factory=dict)
    """For each head (class name, probability), the likeliest first; empty if the clip failed."""

    error: TdpnError | None = None


def predict(
    paths: Sequence[Path | str],
    *,
    checkpoint: Path | None = None,
    runtime: Runtime,
    views: str | None = None,
    topk: int = 5,
) -> Iterator[Prediction]:
    """The `topk` likeliest classes of each clip, one at a time, in order. A clip that fails does not stop the rest.

    Frames are made as those of the checkpoint's data were, and sampling, sizes and `views` are the checkpoint's own
    unless given, so that a clip is scored here as it is by an evaluation. `checkpoint` None is the newest best one
    under `runs/`.

    Raises:
        CheckpointError: there is none, or it is damaged.
        UsageError: nothing is named, or what cannot be opened.
    """
    inputs = find_inputs(paths)
    loaded = load_checkpoint(checkpoint or newest_checkpoint())
    config = loaded.config
    if views is not None:
        config = dataclasses.replace(config, sampling=dataclasses.replace(config.sampling, views=views))
    predictor = _Predictor(loaded.build(runtime.device), config, find_ffmpeg(), topk)
    for found in inputs:
        try:
            yield predictor.whole(found)
        except ClipError as error:
            yield Prediction(name=found.name, error=error)


@dataclasses.dataclass(frozen=True)
class _Predictor:
    """A network that is ready."""

    model: Network
    config: RunConfig
    program: Program
    topk: int

    def whole(self, found: Input) -> Prediction:
        """One answer for all of a clip."""
        if found.error is not None:
            return Prediction(name=found.name, error=found.error)
        with self._opened(found) as clip:
            sample = ViewClips(clip, self.config.model, self.config.sampling)[0]
        values = view_probabilities(self.model, sample.clip, self.config.sampling)
        means = {head: scores.mean(dim=0).numpy() for head, scores in values.items()}
        return Prediction(name=found.name, heads=rank(means, self.config.data.classes, self.topk))

    @contextmanager
    def _opened(self, found: Input) -> Iterator[FileClip]:
        with ExitStack() as stack:
            source = found.source
            if source is None:
                assert found.address is not None
                source = Source(stack.enter_context(fetched(found.address, self.program)))
            yield stack.enter_context(open_clip(source, self.config.data, self.program, name=found.name))
