"""Overview of the model families: description, cost, published accuracy and available weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tdpn_core.config.families import Published, find_family, known_models, model_config
from tdpn_core.config.model import ModelConfig
from tdpn_core.model.flops import Cost, cost
from tdpn_core.weights.projects import PROJECTS


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """One family in its default form."""

    name: str
    title: str
    archs: tuple[str, ...]
    """Its depths; `config` has one of them."""

    config: ModelConfig
    cost: Cost
    """Cost of one clip at `config`'s size."""

    published: tuple[Published, ...]

    weights: tuple[str, ...]
    """Projects whose checkpoints of this family can be read."""


def list_models(names: Sequence[str] = (), *, arch: str | None = None) -> list[ModelInfo]:
    """Return an entry for each named family, or for all; with `arch`, for those that have this depth.

    Nothing is computed and no weights are created: it takes a second or two for all.

    Raises:
        ConfigError: there is no such family; the message suggests the most similar name.
    """
    chosen = {find_family(name).name for name in names}
    entries = []
    for family in (find_family(name) for name in known_models() if not names or name in chosen):
        if arch is not None and arch not in family.archs:
            continue
        config = model_config(family.name, arch=arch or family.arch)
        entries.append(
            ModelInfo(
                name=family.name,
                title=family.title,
                archs=family.archs,
                config=config,
                cost=cost(config),
                published=family.published,
                weights=tuple(project.name for project in PROJECTS if family.name in project.families),
            )
        )
    return entries
