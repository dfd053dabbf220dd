"""A checkpoint to score or to predict with: ours as it is, another project's with what its file does not tell."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tdpn_core.checkpoint import Checkpoint, TrainingState, is_checkpoint, load_checkpoint
from tdpn_core.config.schema import DataConfig, ModelConfig, RunConfig, SamplingConfig, TrainConfig
from tdpn_core.datasets.class_names import read_class_list
from tdpn_core.errors import CheckpointError, UsageError
from tdpn_core.progress import SILENT, Progress
from tdpn_core.shards import load_manifest
from tdpn_core.shards.manifest import Manifest, classes_digest
from tdpn_core.weights.convert import Imported, import_weights, state_shapes
from tdpn_core.weights.names import own_names, usual_names

HEAD = "action"


FRAMES = r"\b(?:new_length|clip_len|NUM_FRAMES)\s*[=:]\s*(\d+)"
INTERVAL = r"\b(?:new_step|frame_interval|SAMPLING_RATE)\s*[=:]\s*(\d+)"
"""Frames of a clip and their distance in the texts of settings that OpenMMLab's programs and PySlowFast save."""


def open_checkpoint(
    path: Path,
    *,
    data: Path | None = None,
    classes: Path | None = None,
    ema: bool | None = None,
    progress: Progress = SILENT,
) -> Checkpoint:
    """The checkpoint at `path`, whoever wrote it; of another project's, `progress` hears what is taken for granted.

    Of another project's, sampling and normalisation are that project's, and the names of its classes are those of the
    file `classes`, else those that it holds itself, else those of the prepared `data` if these are as many and in the
    order that every project gives that data set. `ema` chooses between raw and averaged weights, as in `read_weights`.

    Raises:
        CheckpointError: unreadable, unknown, not whole, or its classes cannot be known for certain.
        UsageError: `classes` or `ema` for a checkpoint of ours, or another number of them than it has.
    """
    if is_checkpoint(path) or not path.is_file():
        if classes is not None:
            raise UsageError("a checkpoint of tdpn knows its own classes", where="--classes")
        check_own(ema)
        return load_checkpoint(path)
    imported = import_weights(path, ema=ema).complete()
    manifest = load_manifest(data) if data is not None else None
    names = {HEAD: _names(imported, path, manifest, classes)}
    for note in imported.report.notes:
        progress.say(note)
    model, sampling, told = _sampled(imported)
    dense = f"{model.num_frames}x{sampling.interval}" if sampling.mode == "dense" else f"{model.num_frames} segments"
    progress.say(
        f"{imported.report.source}: {dense}, {'as its settings say' if told else 'as the project published it'}; "
        f"pixels of mean {sampling.mean[0]:g}, deviation {sampling.std[0]:g}"
    )
    config = RunConfig(
        recipe=imported.project.name,
        model=model,
        sampling=sampling,
        train=TrainConfig(),
        data=DataConfig(
            path=str(data or ""),
            dataset=manifest.dataset if manifest else imported.project.name,
            classes=names,
            classes_digest=classes_digest(names),
            digest="",
            short_side=manifest.settings["short_side"] if manifest else sampling.short_side,
            encoding={"modality": model.modality},
        ),
    )
    counters = {
        name: torch.zeros(shape, dtype=torch.int64)
        for name, shape in state_shapes(model).items()
        if name not in imported.weights
    }
    return Checkpoint(
        config=config,
        state=TrainingState(),
        weights={**counters, **imported.weights},
        optimiser={},
        averaged=imported.averaged,
    )


def check_own(ema: bool | None) -> None:
    """
    Raises:
        UsageError: `ema` asks a file that is not of another project.
    """
    if ema is not None:
        what = "chooses among the weights of another project's checkpoint, and this file has one set"
        raise UsageError(what, where="--ema/--no-ema", hint="leave it out")


def _sampled(imported: Imported) -> tuple[ModelConfig, SamplingConfig, bool]:
    """Network and sampling for the clips that the file's settings tell of, or else the project's usual ones."""
    model = imported.config
    sampling = imported.sampling
    text = "\n".join(settings_texts(imported.meta))
    frames, interval = (set(map(int, re.findall(pattern, text))) for pattern in (FRAMES, INTERVAL))
    if sampling.mode != "dense" or len(frames) != 1 or len(interval) != 1:
        return model, sampling, False
    return imported.at(frames.pop()), dataclasses.replace(sampling, interval=interval.pop()), True


def settings_texts(meta: Mapping[str, Any]) -> list[str]:
    """Texts of settings among a file's notes: OpenMMLab's `meta.config` or `meta.cfg`, PySlowFast's `cfg`."""
    inner = meta.get("meta", {})
    places = (meta, inner if isinstance(inner, Mapping) else {})
    found = (place.get(name) for place in places for name in ("config", "cfg"))
    return [text for text in found if isinstance(text, str)]


def _names(imported: Imported, path: Path, manifest: Manifest | None, classes: Path | None) -> list[str]:
    count = imported.config.num_classes[HEAD]
    if classes is not None:
        given = read_class_list(classes)
        if len(given) != count:
            raise UsageError(f"names {len(given)} classes, but the checkpoint has {count}", where=classes)
        return given
    own = own_names(imported.meta)
    if len(own) == count:
        return own
    hint = "give --classes FILE, one name a line in the order of its outputs"
    if manifest is None:
        raise CheckpointError(f"does not name its {count} classes", where=path, hint=hint)
    found = manifest.classes.get(HEAD, [])
    if len(found) != count:
        raise CheckpointError(
            f"has {count} classes, but {manifest.dataset} was prepared with {len(found)}", where=path, hint=hint
        )
    names = usual_names(manifest, HEAD, count)
    if names is None:
        raise CheckpointError(
            f"does not say in which order it numbers the {count} classes of {manifest.dataset}", where=path, hint=hint
        )
    return names
