"""What a run remembers of its prepared data."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from tdpn_core.config.schema import DataConfig
from tdpn_core.shards.manifest import load_manifest
from tdpn_core.video.encode_options import Encoding


def data_config(folder: Path) -> DataConfig:
    """What a run on the prepared data in `folder` remembers of it."""
    manifest = load_manifest(folder)
    return DataConfig(
        path=str(folder),
        absolute=str(folder.absolute()),
        dataset=manifest.dataset,
        classes=manifest.classes,
        classes_digest=manifest.classes_digest,
        digest=manifest.digest,
        multilabel=manifest.multilabel,
        short_side=manifest.settings["short_side"],
        encoding={
            field.name: manifest.settings[field.name] for field in fields(Encoding) if field.name != "short_side"
        },
    )
