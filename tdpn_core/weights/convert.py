"""Convert the tensors of a foreign checkpoint to one of our networks, recognised by their names and shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from tdpn_core.config.families import find_family
from tdpn_core.config.schema import ModelConfig, SamplingConfig, from_dict
from tdpn_core.errors import CheckpointError
from tdpn_core.model.registry import build_model
from tdpn_core.model.without_values import without_values
from tdpn_core.weights.names import own_names
from tdpn_core.weights.project import Answer, Entries, Finding, InputLayout, Project
from tdpn_core.weights.projects import PROJECTS
from tdpn_core.weights.rename_rules import COUNTER, Report, rename, some
from tdpn_core.weights.safe_load import Contents, read_weights
from tdpn_core.weights.zoo import ZooEntry, class_names, entry_at

WRAPPERS = ("module.", "model.", "_orig_mod.", "net.", "encoder.")
"""Prefixes that wrappers (data-parallel training, compilation, an outer class) put before every parameter name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imported:
    """A foreign checkpoint converted to one of our networks."""

    project: Project
    finding: Finding
    config: ModelConfig
    weights: dict[str, Tensor]
    """Weights of our network: all of them except batch counters and the entries in `report.unfilled`."""

    report: Report
    meta: dict[str, Any]
    """Plain values that the file stores next to its tensors."""

    file_name: str
    settings_text: str
    """As in `Contents`."""

    averaged: bool | None = None
    """See `Contents.averaged`."""

    entry: ZooEntry | None = None
    """Entry of the zoo, if it is one of its checkpoints."""

    def class_names(self, head: str) -> list[str]:
        """Return the classes of `head` in order if the file or the zoo contains them; else an empty list."""
        count = self.config.num_classes[head]
        known = (own_names(self.meta), class_names(self.entry) if self.entry else [])
        return next((names for names in known if len(names) == count), [])

    @property
    def layout(self) -> InputLayout:
        """Input layout of the reference model."""
        return self.finding.layout

    @property
    def answer(self) -> Answer:
        """Kind of output of the reference model."""
        return self.finding.answer

    @property
    def sampling(self) -> SamplingConfig:
        """Sampling and normalisation of the project."""
        return self.project.sampling(self.config.name, self.config.modality, self.finding.protocol)

    def at(self, frames: int) -> ModelConfig:
        """Return the configuration for clips of `frames` sampled frames."""
        if frames == self.config.num_frames:
            return self.config
        fitted = self.finding.fitted(frames) if self.finding.fitted else {}
        return dataclasses.replace(self.config, num_frames=frames, **fitted)

    def complete(self) -> Imported:
        """Return `self` if every weight of the network is filled and it is certain which network it is.

        Raises:
            CheckpointError: some weights are missing, or the tensors are those of several networks; both are named.
        """
        if others := self.finding.alternatives:
            names = (self.config.name, *others)
            raise CheckpointError(
                f"its tensors are those of {' and of '.join(names)}, and neither its settings nor its name says which",
                where=self.report.source,
                hint=f"rename the file so that {' or '.join(names)} is in its name, as {self.project.name} names them",
            )
        kept = [name for name in self.report.unfilled if not name.endswith(COUNTER)]
        if kept:
            raise CheckpointError(
                f"lacks weights of the network: {some(kept)}",
                where=self.report.source,
                hint="such a file can initialise a network (--init), but cannot be run on its own",
            )
        return self


def import_weights(path: Path, *, ema: bool | None = None, **settings: Any) -> Imported:
    """Read `path` and convert it; `ema` as in `read_weights`. `settings` are `ModelConfig` fields that the file
    does not determine.

    Raises:
        CheckpointError: the file is unreadable or incomplete, or its project or network is unknown.
    """
    return convert(read_weights(path, ema=ema), **settings)


def convert(contents: Contents, **settings: Any) -> Imported:
    """Rename the tensors of a file to the parameters of the network that they belong to.

    `settings` take precedence over what the zoo knows of the file.

    Raises:
        CheckpointError: the project or the network is unknown; the message names the first entries that do not fit.
        ConfigError: the network has no such `settings`.
    """
    entry = entry_at(contents.path)
    file_name = entry.published_file if entry else contents.path.name
    entries = Entries(unwrapped(contents.tensors), file_name=file_name, settings_text=contents.settings_text)
    project = recognise(entries, contents.path)
    settings = {**entry.network, **settings} if entry else settings
    try:
        finding = project.examine(entries)
        if "name" in settings and finding.alternatives:
            finding = dataclasses.replace(finding.alternatives.get(settings["name"], finding), alternatives={})
        found = finding.settings
        if settings.get("name", found["name"]) != found["name"]:  # another family with the same weights
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
        file_name=file_name,
        settings_text=contents.settings_text,
        averaged=contents.averaged,
        entry=entry,
    )


def account(
    what: str, contents: Contents, names: Iterable[str], sources: Mapping[str, str], left_out: Mapping[str, str]
) -> Report:
    """Return the report of an import with the names as in the file; `names` are all parameters of the network."""
    prefix = shared_prefix(contents.tensors)
    return Report(
        source=f"{what}, {contents.path}",
        filled={ours: prefix + theirs for ours, theirs in sources.items()},
        left_out={**{prefix + name: reason for name, reason in left_out.items()}, **contents.left_out},
        unfilled=tuple(name for name in names if name not in sources),
        notes=contents.notes,
    )


def recognise(entries: Entries, path: Path) -> Project:
    """Return the project that uses the names in `entries`.

    Raises:
        CheckpointError: no known project matches, or several do.
    """
    found = [project for project in PROJECTS if project.recognises(entries)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(project.name for project in PROJECTS)
    raise CheckpointError(
        f"entries such as {some(list(entries.tensors))} match no known project",
        where=path,
        hint=f"known: {known}",
    )


def shared_prefix(names: Iterable[str]) -> str:
    """Return the wrapper prefixes that all of `names` share."""
    rest = list(names)
    found = ""
    while rest:
        prefix = next((prefix for prefix in WRAPPERS if all(name.startswith(prefix) for name in rest)), "")
        inner = [name.removeprefix(prefix) for name in rest]
        if not prefix or any(name[:1].isdigit() for name in inner):  # children of a part: `net.0.weight`
            break
        found, rest = found + prefix, inner
    return found


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `tensors` with the `shared_prefix` removed from their names."""
    prefix = shared_prefix(tensors)
    return {name.removeprefix(prefix): value for name, value in tensors.items()}


def state_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a network's state without allocating it."""
    with without_values():
        return {name: tuple(value.shape) for name, value in build_model(config).state_dict().items()}
