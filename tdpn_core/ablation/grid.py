"""Factors, their levels by name, and the cells of the grid that they span."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import re
from collections.abc import Sequence

from tdpn_core.config.family_settings import Flow, TDPNConfig, Temporal
from tdpn_core.config.model import ModelConfig
from tdpn_core.config.setting_names import SYNONYMS, setting_paths
from tdpn_core.config.settings import all_settings
from tdpn_core.datasets.kinetics import KINETICS400
from tdpn_core.errors import UsageError

TABLE_IV: dict[str, tuple[Temporal, Temporal, Temporal, Temporal]] = {
    "none": ("none", "none", "none", "none"),
    "global": ("global", "global", "none", "none"),
    "local": ("none", "none", "local", "local"),
    "both": ("global", "global", "local", "local"),
}
"""Names for temporal difference modules in res2, res3, res4, res5: the rows of the paper's Table IV."""

PAPER: dict[str, float] = {"none": 0.740, "global": 0.758, "local": 0.757, "both": 0.772}
"""Top-1 that the paper prints for each of them, on `PAPER_DATA`."""

PAPER_DATA = KINETICS400

_PAPER_FLOW: Flow = "cascade"
_SHORT = {"temporal": "model.temporal", "model": "model.name"}
_NAMED = {"model.temporal": {name: "/".join(modules) for name, modules in TABLE_IV.items()}}


@dataclasses.dataclass(frozen=True)
class Factor:
    """A setting and its values."""

    name: str
    """Name as given by the user: `temporal`."""

    path: str
    """Path of the setting: `model.temporal`."""

    levels: dict[str, dict[str, str]]
    """Settings of each level by name, with values as for `--set`: its value of `path`, then those added with `+`."""


@dataclasses.dataclass(frozen=True)
class Combination:
    """One row of the table: a level of each factor."""

    levels: dict[str, str]
    """Name of the level of each factor."""

    settings: dict[str, str]
    """Value by path of the setting."""

    @property
    def name(self) -> str:
        """Name for display: the levels alone."""
        return ", ".join(self.levels.values())

    @property
    def folder(self) -> str:
        """Name for the file system: factors with levels."""
        return "+".join(f"{name}={level}" for name, level in self.levels.items()).replace("/", "-")


def table_iv() -> list[Factor]:
    """The paper's ablation: no difference module, either one, both."""
    return [parse_factor(f"temporal={','.join(TABLE_IV)}")]


def parse_factor(text: str) -> Factor:
    """Parse `temporal=none,both` to a factor. In a value that is itself a list, `/` separates the parts: `1/1/3/3`.

    A level may add settings of its own: `model=tdpn,tdpn+spatial_modulation=separable,tpn`.

    Raises:
        UsageError: invalid form, a repeated value, or an unknown setting; the message suggests the most similar name.
    """
    name, equals, values = text.partition("=")
    chosen = [value.strip() for value in values.split(",") if value.strip()]
    if not equals or not chosen:
        hint = "for example --vary flow=cascade,parallel"
        raise UsageError(f"{text!r} is not NAME=VALUE,VALUE", where="--vary", hint=hint)
    path = setting_path(name.strip())
    levels = {value: _level(path, value) for value in chosen}
    if len({tuple(sorted(level.items())) for level in levels.values()}) < len(chosen):
        raise UsageError(f"{name.strip()} is given the same value twice", where="--vary")
    return Factor(name.strip(), path, levels)


def _level(path: str, text: str) -> dict[str, str]:
    """Return the settings of a level of the setting `path`: `tsm+tdpn` is one value, `tdpn+window=1` two settings."""
    value, *added = re.split(r"\+(?=[\w.]+=)", text)
    pairs = [(path, value), *((setting_path(name), own) for name, _, own in (part.partition("=") for part in added))]
    if any(known == "train.seed" for known, _ in pairs):
        raise UsageError("the seed is not a factor", where="--vary", hint="--seeds 3 repeats every row with three")
    if len(dict(pairs)) < len(pairs):
        raise UsageError(f"{text!r} has two values of one setting", where="--vary")
    return {known: _NAMED.get(known, {}).get(own, own).replace("/", ",") for known, own in pairs}


def setting_path(name: str) -> str:
    """Return the path `section.field` of a setting, given by path or by its field if only one section has it.

    Raises:
        UsageError: there is none, or two; the message suggests the most similar name.
    """
    paths = setting_paths()
    name = _SHORT.get(name, name)
    found = [path for path in paths if name in (path, path.partition(".")[2])]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{name!r} may be {' or '.join(found)}", where="--vary", hint="give the full name")
    known = [*_SHORT, *paths, *(path.partition(".")[2] for path in paths)]
    meant = SYNONYMS.get(name.rpartition(".")[2])
    hint = f"did you mean {meant!r}?" if meant else _did_you_mean(name, known)
    raise UsageError(f"no setting {name!r}", where="--vary", hint=hint)


def check_level(factor: Factor, value: str, reason: str) -> UsageError:
    """Return the error for an invalid level, with the most similar name."""
    words = next((setting.choices for setting in all_settings() if setting.name == factor.path), ())
    choices = list(_NAMED.get(factor.path, {})) or words
    hint = _did_you_mean(value, choices) if choices else None
    return UsageError(f"{factor.name} cannot be {value!r} ({reason})", where="--vary", hint=hint)


def combinations(factors: Sequence[Factor]) -> list[Combination]:
    """Return every combination of the factors' levels; the last factor changes fastest.

    Raises:
        UsageError: a setting is varied twice.
    """
    paths = [path for factor in factors for path in {path for level in factor.levels.values() for path in level}]
    twice = {path for path in paths if paths.count(path) > 1}
    if twice:
        raise UsageError(f"{min(twice)} is varied twice", where="--vary")
    grid = itertools.product(*(factor.levels.items() for factor in factors))
    return [
        Combination(
            levels={factor.name: name for factor, (name, _) in zip(factors, chosen, strict=True)},
            settings={path: value for _, level in chosen for path, value in level.items()},
        )
        for chosen in grid
    ]


def paper_top1(model: ModelConfig, dataset: str) -> float | None:
    """What the paper prints for such a network on `PAPER_DATA`; None where it prints nothing, and on other data."""
    if dataset != PAPER_DATA.name or not isinstance(model, TDPNConfig):
        return None
    if model.flow != _PAPER_FLOW or not model.attends:
        return None
    return next((PAPER[name] for name, temporal in TABLE_IV.items() if model.temporal == temporal), None)


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known[:12])}"
