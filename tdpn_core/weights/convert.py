"""From the tensors of a file to one of our networks: recognised by keys and shapes, converted strictly."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tdpn_core.config.families import find_family
from tdpn_core.config.schema import ModelConfig, SamplingConfig, from_dict
from tdpn_core.errors import CheckpointError
from tdpn_core.model.registry import build_model
from tdpn_core.weights.project import Answer, Entries, Finding, InputLayout, Project
from tdpn_core.weights.projects import PROJECTS
from tdpn_core.weights.rename_rules import COUNTER, Report, rename, some
from tdpn_core.weights.safe_load import Contents, read_weights

WRAPPERS = ("module.", "model.", "_orig_mod.", "net.", "encoder.")
"""Prefixes that programs put before all of a network's names: data-parallel training, compilation, an outer class."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imported:
    """A foreign checkpoint as one of our networks."""

    project: Project
    finding: Finding
    config: ModelConfig
    weights: dict[str, Tensor]
    """Of our network; complete, but for counters and what `report` names as unfilled."""

    report: Report
    meta: dict[str, Any]
    """Plain values that the file keeps beside its tensors."""

    averaged: bool | None = None
    """As in `Contents`."""

    @property
    def layout(self) -> InputLayout:
        """How the reference takes a clip."""
        return self.finding.layout

    @property
    def answer(self) -> Answer:
        """What the reference returns."""
        return self.finding.answer

    @property
    def sampling(self) -> SamplingConfig:
        """Sampling and normalisation as the project has them."""
        return self.project.sampling(self.config.name, self.config.modality)

    def at(self, frames: int) -> ModelConfig:
        """The configuration for clips of another number of sampled frames."""
        if frames == self.config.num_frames:
            return self.config
        fitted = self.finding.fitted(frames) if self.finding.fitted else {}
        return dataclasses.replace(self.config, num_frames=frames, **fitted)

    def complete(self) -> Imported:
        """Itself, if every weight of the network is filled.

        Raises:
            CheckpointError: some are not; the first are named.
        """
        kept = [name for name in self.report.unfilled if not name.endswith(COUNTER)]
        if kept:
            raise CheckpointError(
                f"lacks weights of the network: {some(kept)}",
                where=self.report.source,
                hint="such a file can be the start of a network (--init), but cannot be run",
            )
        return self


def import_weights(path: Path, *, ema: bool | None = None, **settings: Any) -> Imported:
    """Read `path` and convert it; `ema` as in `read_weights`. `settings` are fields of `ModelConfig` that a file does
    not tell.

    Raises:
        CheckpointError: unreadable, of a project or a network that is not known, or not whole.
    """
    return convert(read_weights(path, ema=ema), **settings)


def convert(contents: Contents, **settings: Any) -> Imported:
    """The tensors of a file under our names, in the network that they are of.

    Raises:
        CheckpointError: of a project or a network that is not known; the message names the first odd entries.
        ConfigError: `settings` that the network does not have.
    """
    entries = Entries(unwrapped(contents.tensors))
    project = recognise(entries, contents.path)
    try:
        finding = project.examine(entries)
        found = finding.settings
        if settings.get("name", found["name"]) != found["name"]:  # the same weights as another family's
            family = find_family(settings["name"])
            found = {field: value for field, value in found.items() if family.has(field)}
        chosen = {**found, **settings}
        if finding.fitted:
            chosen = {**chosen, **finding.fitted(chosen["num_frames"]), **settings}
        config = from_dict(ModelConfig, chosen)
        shapes = state_shapes(config)
        tensors = finding.prepare(entries.tensors) if finding.prepare else entries.tensors
        values, sources, left_out = rename(tensors, finding.rules, shapes)
    except CheckpointError as error:
        raise CheckpointError(f"of {project.name}, but {error.what}", where=contents.path, hint=error.hint) from error
    report = account(f"{project.name}'s {config.name} {config.arch}", contents, shapes, sources, left_out)
    return Imported(
        project=project,
        finding=finding,
        config=config,
        weights=values,
        report=report,
        meta=contents.meta,
        averaged=contents.averaged,
    )


def account(
    what: str, contents: Contents, names: Iterable[str], sources: Mapping[str, str], left_out: Mapping[str, str]
) -> Report:
    """The report of an import under the file's own names; `names` are all of the network's."""
    prefix = shared_prefix(contents.tensors)
    return Report(
        source=f"{what}, {contents.path}",
        filled={ours: prefix + theirs for ours, theirs in sources.items()},
        left_out={**{prefix + name: reason for name, reason in left_out.items()}, **contents.left_out},
        unfilled=tuple(name for name in names if name not in sources),
        notes=contents.notes,
    )


def recognise(entries: Entries, path: Path) -> Project:
    """The project whose names the entries have.

    Raises:
        CheckpointError: none of those known, or several.
    """
    found = [project for project in PROJECTS if project.recognises(entries)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(project.name for project in PROJECTS)
    raise CheckpointError(
        f"entries such as {some(list(entries.tensors))} are of no project that is known",
        where=path,
        hint=f"known: {known}",
    )


def shared_prefix(names: Iterable[str]) -> str:
    """The prefixes that all of `names` share and that say nothing of the network."""
    rest = list(names)
    found = ""
    while rest:
        prefix = next((prefix for prefix in WRAPPERS if all(name.startswith(prefix) for name in rest)), "")
        inner = [name.removeprefix(prefix) for name in rest]
        if not prefix or any(name[:1].isdigit() for name in inner):  # a part's own children: `net.0.weight`
            break
        found, rest = found + prefix, inner
    return found


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` without the `shared_prefix` of their names."""
    prefix = shared_prefix(tensors)
    return {name.removeprefix(prefix): value for name, value in tensors.items()}


def state_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's state, without memory for it."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in build_model(config).state_dict().items()}
