"""Determine a foreign checkpoint's clips from the zoo, its settings, its file name, or its project's defaults."""

from __future__ import annotations

import dataclasses
import re

from tdpn_core.config.family_settings import SlowFastConfig
from tdpn_core.config.schema import ModelConfig, SamplingConfig
from tdpn_core.weights.convert import Imported

FRAMES = r"\b(?:new_length|clip_len|NUM_FRAMES)\s*[=:]\s*(\d+)"
INTERVAL = r"\b(?:new_step|frame_interval|SAMPLING_RATE)\s*[=:]\s*(\d+)"
"""Patterns for frames and interval of a clip in the settings that OpenMMLab's programs and PySlowFast save."""

WINDOW = 64
"""Video frames that TSM's dense clips span."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampled:
    """A network's configuration with the sampling of its clips."""

    model: ModelConfig
    sampling: SamplingConfig
    source: str
    """Source of both, as a phrase."""


def sampled(imported: Imported) -> Sampled:
    """Return network and sampling for the clips that the checkpoint was trained on."""
    model, sampling = imported.config, imported.sampling
    if imported.entry is not None:
        chosen = dataclasses.replace(sampling, **imported.entry.sampling)
        return Sampled(model=model, sampling=chosen, source="as the zoo says")
    frames, interval = (set(re.findall(pattern, imported.settings_text)) for pattern in (FRAMES, INTERVAL))
    if sampling.mode == "dense" and len(frames) == len(interval) == 1:
        chosen = dataclasses.replace(sampling, interval=int(interval.pop()))
        return Sampled(model=imported.at(int(frames.pop())), sampling=chosen, source="as its settings say")
    return _named(imported) or Sampled(model=model, sampling=sampling, source="as the project published it")


def _named(imported: Imported) -> Sampled | None:
    """Return what the file name states in the project's naming scheme."""
    pattern = imported.project.clip_in_name
    found = re.search(pattern, imported.file_name) if pattern else None
    if found is None:
        return None
    model, sampling = imported.config, imported.sampling
    said = {"frames": 1, "interval": 1, "segments": 1} | {part: int(text) for part, text in found.groupdict().items()}
    frames, interval = said["frames"] * said["segments"], said["interval"]
    if sampling.mode == "dense" and said["segments"] > 1:  # TSM's dense clips
        interval = max(1, WINDOW // frames)
    if isinstance(model, SlowFastConfig):  # the name counts the slow pathway's frames
        frames, interval = frames * model.alpha, max(1, interval // model.alpha)
    chosen = dataclasses.replace(sampling, interval=interval)
    return Sampled(model=imported.at(frames), sampling=chosen, source="as its name says")
