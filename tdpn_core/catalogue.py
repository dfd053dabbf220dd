"""The families side by side: what each is, costs, was reported to reach, and can start from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tdpn_core.config.families import FAMILIES, MODELS, Arch, ModelName
from tdpn_core.config.schema import ModelConfig
from tdpn_core.errors import UsageError
from tdpn_core.model.flops import Cost, cost
from tdpn_core.model.published import PUBLISHED, TITLES, Published
from tdpn_core.weights.projects import PROJECTS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One family, built as it usually is."""

    name: ModelName
    title: str
    archs: tuple[Arch, ...]
    """Its depths; `config` has its own."""

    config: ModelConfig
    cost: Cost
    """Of one clip at `config`'s size."""

    published: tuple[Published, ...]

    weights: tuple[str, ...]
    """Projects whose checkpoints of this family can be read."""


def catalogue(names: Sequence[str] = (), *, arch: Arch | None = None) -> list[Entry]:
    """An entry for each family of that name, or for all; with `arch`, of those that have that depth, at that depth.

    Nothing is computed and no weights are made: a second or two for all of them.

    Raises:
        UsageError: there is no such family; the message lists them.
    """
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise UsageError(f"no model {unknown[0]!r}", hint=f"one of {', '.join(MODELS)}")
    entries = []
    for name in (name for name in MODELS if not names or name in names):
        family = FAMILIES[name]
        if arch is not None and arch not in family.archs:
            continue
        config = ModelConfig(name=name, arch=arch or family.arch)
        entries.append(
            Entry(
                name=name,
                title=TITLES[name],
                archs=family.archs,
                config=config,
                cost=cost(config),
                published=PUBLISHED[name],
                weights=tuple(project.name for project in PROJECTS if name in project.families),
            )
        )
    return entries
