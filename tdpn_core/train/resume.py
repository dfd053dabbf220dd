"""What a run may be continued with: its own settings, but for how the same numbers are computed."""

from __future__ import annotations

import dataclasses

from tdpn_core.config import RunConfig

FREE = ("train.compile", "train.checkpointing")
"""May change on the way: a machine without a compiler goes on with a compiled run, one that is short of memory saves
some. Compiled or not, results differ in their last digits."""


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """The names of the settings that make two runs of `one` and `other`."""
    names = []
    for section in dataclasses.fields(RunConfig):
        mine, yours = getattr(one, section.name), getattr(other, section.name)
        if not dataclasses.is_dataclass(mine):
            names += [section.name] if mine != yours else []
            continue
        for field in dataclasses.fields(mine):
            if getattr(mine, field.name) != getattr(yours, field.name):
                names.append(f"{section.name}.{field.name}")
    return [name for name in names if name not in FREE]
