"""Open a checkpoint for evaluation or prediction; complete a foreign one with what its file does not contain."""

from __future__ import annotations

from pathlib import Path

import torch

from tdpn_core.checkpoint import Checkpoint, TrainingState, is_checkpoint, load_checkpoint
from tdpn_core.config.schema import DataConfig, RunConfig, TrainConfig
from tdpn_core.datasets.class_names import read_class_list
from tdpn_core.errors import CheckpointError, UsageError
from tdpn_core.progress import SILENT, Progress
from tdpn_core.shards import load_manifest
from tdpn_core.shards.manifest import Manifest, classes_digest
from tdpn_core.weights.convert import Imported, import_weights, state_shapes
from tdpn_core.weights.names import usual_names
from tdpn_core.weights.sampling import sampled

HEAD = "action"


def open_checkpoint(
    path: Path,
    *,
    data: Path | None = None,
    classes: Path | None = None,
    ema: bool | None = None,
    progress: Progress = SILENT,
) -> Checkpoint:
    """Open the checkpoint at `path`; for one of another project, report the assumed sampling to `progress`.

    A foreign checkpoint gets the sampling and normalisation of its project. Its class names come from the file
    `classes`, else from the checkpoint or the zoo, else from the prepared `data` if this has as many classes in the
    order that all projects use for that data set. `ema` chooses between raw and averaged weights, as in `read_weights`.

    Raises:
        CheckpointError: the file is unreadable or incomplete, its project is unknown, or its classes are not certain.
        UsageError: `classes` or `ema` for a checkpoint of tdpn, or the wrong number of `classes`.
    """
    if is_checkpoint(path) or not path.is_file():
        if classes is not None:
            raise UsageError("a tdpn checkpoint contains its own classes", where="--classes")
        check_own(ema)
        return load_checkpoint(path)
    imported = import_weights(path, ema=ema).complete()
    manifest = load_manifest(data) if data is not None else None
    names = {HEAD: _names(imported, path, manifest, classes)}
    for note in imported.report.notes:
        progress.say(note)
    found = sampled(imported)
    model, sampling = found.model, found.sampling
    dense = f"{model.num_frames}x{sampling.interval}" if sampling.mode == "dense" else f"{model.num_frames} segments"
    progress.say(
        f"{imported.report.source}: {dense}, {found.source}; "
        f"pixel mean {sampling.mean[0]:g}, standard deviation {sampling.std[0]:g}"
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
        UsageError: `ema` is set for a checkpoint of tdpn.
    """
    if ema is not None:
        what = "chooses among the weights of another project's checkpoint, and this file has one set"
        raise UsageError(what, where="--ema/--no-ema", hint="leave it out")


def _names(imported: Imported, path: Path, manifest: Manifest | None, classes: Path | None) -> list[str]:
    count = imported.config.num_classes[HEAD]
    if classes is not None:
        given = read_class_list(classes)
        if len(given) != count:
            raise UsageError(f"names {len(given)} classes, but the checkpoint has {count}", where=classes)
        return given
    if own := imported.class_names(HEAD):
        return own
    hint = "give --classes FILE, one name per line in the order of its outputs"
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
            f"does not contain the order of the {count} classes of {manifest.dataset}", where=path, hint=hint
        )
    return names
