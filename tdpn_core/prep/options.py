"""Options for preparing a data set."""

from __future__ import annotations

from dataclasses import asdict, field
from typing import Any, ClassVar

from tdpn_core.datasets import DatasetOptions
from tdpn_core.shards.format import Packing
from tdpn_core.validation import Count, Positive, Settings, settings_class
from tdpn_core.video.encode_options import Encoding
from tdpn_core.video.subprocess_limits import LIMITS, Limits

_RECORDED_OPTIONS = ("seed", "split", "label_order", "sources", "ignore_segments", "multilabel", "overlaps")
"""The path of annotations does not affect the result."""


@settings_class
class PrepConfig(Settings):
    """All settings except `clip_seconds` affect the result and cannot change between runs."""

    section: ClassVar[str] = "prep"

    encoding: Encoding = field(default_factory=Encoding)
    """Frame encoding."""

    dataset: DatasetOptions = field(default_factory=DatasetOptions)
    """How the data set is read."""

    shard_bytes: Count = 256 << 20
    """Size at which a shard is closed, in bytes."""

    block_clips: Count = 256
    """Number of clips packed and recorded together: one shard, or several if they are large."""

    clip_seconds: Positive | None = None
    """Processor time after which the decoder of a clip is killed; None: by its length and picture size."""

    @property
    def limits(self) -> Limits:
        """Limits of the decoder of one clip."""
        if self.clip_seconds is None:
            return LIMITS
        return Limits(seconds=min(LIMITS.seconds, self.clip_seconds), cpu_seconds=self.clip_seconds)

    @property
    def packing(self) -> Packing:
        """What an item of the shards contains."""
        if self.encoding.modality == "flow":
            return "flow"
        return self.encoding.codec

    def default_name(self, dataset: str) -> str:
        """Return the default folder name under `data`; optical flow gets its own."""
        return f"{dataset}-flow" if self.encoding.modality == "flow" else dataset

    def recorded(self) -> dict[str, Any]:
        """Return the settings that affect the result, as plain values."""
        values = asdict(self)
        del values["clip_seconds"]
        encoding, options = values.pop("encoding"), values.pop("dataset")
        background = "off" if self.dataset.background is None else str(self.dataset.background)
        recorded = {name: options[name] for name in _RECORDED_OPTIONS} | {"background": background}
        return {**encoding, **values, "dataset": recorded}
