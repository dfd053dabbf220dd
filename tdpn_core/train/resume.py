"""What a run may be continued with: its own settings, but for where its data lies and how the same is computed."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

from tdpn_core.config import DataConfig, RunConfig
from tdpn_core.errors import ConfigError

FREE = ("train.compile", "train.checkpointing", "data.path")
"""May change on the way: a machine without a compiler goes on with a compiled run, one that is short of memory saves
some, and data is moved. Compiled or not, results differ in their last digits."""


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """The settings that make two runs of `one` and `other`, with both values where they are short."""
    found = []
    for section in dataclasses.fields(RunConfig):
        mine, yours = getattr(one, section.name), getattr(other, section.name)
        if not dataclasses.is_dataclass(mine):
            found += [(section.name, mine, yours)]
            continue
        for field in dataclasses.fields(mine):
            found.append((f"{section.name}.{field.name}", getattr(mine, field.name), getattr(yours, field.name)))
    return [_named(name, mine, yours) for name, mine, yours in found if mine != yours and name not in FREE]


def on_data(stored: RunConfig, data: DataConfig, run: Path) -> RunConfig:
    """`stored`, the settings of the run in `run`, on its own data at another place.

    Raises:
        ConfigError: it is other data.
    """
    if data.digest != stored.data.digest:
        same = data.classes_digest == stored.data.classes_digest
        other = "other clips of the same classes" if same else f"{_counts(stored.data)} classes, not {_counts(data)}"
        raise ConfigError(
            f"the run to resume was trained on other data ({other})",
            where=run,
            hint=f"leave --data out to go on with {stored.data.path}, or begin a new run with --init from this one",
        )
    return replace(stored, data=replace(stored.data, path=data.path))


def _counts(data: DataConfig) -> str:
    return " and ".join(f"{len(names)} {head}" for head, names in data.classes.items())


def _named(name: str, mine: object, yours: object) -> str:
    values = f"{mine}, not {yours}"
    return f"{name} ({values})" if len(values) < 40 else name
