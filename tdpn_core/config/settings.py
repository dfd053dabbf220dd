"""Every setting with its type, default and description, read from the settings classes."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from tdpn_core import defaults
from tdpn_core.config.families import find_family, known_models
from tdpn_core.config.family_settings import CLASSES
from tdpn_core.config.schema import SamplingConfig, TrainConfig

SECTIONS = ("model", "sampling", "train")

OWN = "the model's own"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One field, as set with `--set NAME=VALUE`."""

    name: str
    """`train.lr`."""

    type: str
    """Type in Python syntax: `tuple[float, float]`."""

    default: str
    """Default of the dataclass; recipes set others."""

    help: str

    models: tuple[str, ...] = ()
    """Families of networks that have it; empty for all."""

    choices: tuple[str, ...] = ()
    """Possible values, if they are words."""


def setting_classes(section: str) -> list[type]:
    """Return the dataclasses of a section; for `model`, the settings class of every family."""
    if section == "model":
        return [CLASSES.get(name) or find_family(name).config for name in known_models()]  # torch, for others only
    return [{"sampling": SamplingConfig, "train": TrainConfig}[section]]


def all_settings(word: str = "") -> list[Setting]:
    """Return the settings whose name or description contains `word`, in the order of declaration."""
    found = [setting for section in SECTIONS for setting in _section(section, known_models())]
    return [setting for setting in found if word.lower() in f"{setting.name} {setting.help}".lower()]


@cache
def _section(section: str, models: tuple[str, ...]) -> list[Setting]:
    """Return the settings of a section; `models` are all families, so that later additions are included."""
    kinds = setting_classes(section)
    common = set.intersection(*({field.name for field in dataclasses.fields(kind)} for kind in kinds))
    fields: dict[str, list[type]] = {}
    for kind in sorted(kinds, key=lambda kind: len(dataclasses.fields(kind)) == len(common)):
        for field in dataclasses.fields(kind):
            fields.setdefault(field.name, []).append(kind)
    order = [name for name in fields if name in common] + [name for name in fields if name not in common]
    return [_setting(section, name, fields[name], common=name in common) for name in order]


def _setting(section: str, name: str, kinds: list[type], *, common: bool) -> Setting:
    values = {_default(kind, name) for kind in kinds}
    hints = {typing.get_type_hints(kind)[name] for kind in kinds}
    is_name = (section, name) == ("model", "name")
    words = known_models() if is_name else _words(name, kinds)
    types = {re.sub(r"\b(typing|collections\.abc)\.", "", inspect.formatannotation(hint)) for hint in hints}
    return Setting(
        name=f"{section}.{name}",
        type=types.pop() if len(types) == 1 else f"Literal[{', '.join(map(repr, words))}]",
        default=defaults.MODEL if is_name else values.pop() if len(values) == 1 else OWN,
        help=_help(kinds[0], name),
        models=() if common else tuple(_default(kind, "name") for kind in kinds),
        choices=words,
    )


def _words(name: str, kinds: list[type]) -> tuple[str, ...]:
    args = (word for kind in kinds for word in typing.get_args(typing.get_type_hints(kind)[name]))
    return tuple(dict.fromkeys(word for word in args if isinstance(word, str)))


def _help(kind: type, name: str) -> str:
    """Return the docstring of the field in the class that declares it, as one line."""
    texts = (_texts(base).get(name) for base in kind.__mro__ if base.__module__ != "builtins")
    return next((text for text in texts if text), "")


@cache
def _texts(kind: type) -> dict[str, str]:
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    return dict(_documented(body.body))


def _documented(statements: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for one, two in pairwise(statements):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            match two:
                case ast.Expr(ast.Constant(str(text))):
                    yield one.target.id, " ".join(text.split())


def _default(kind: type, name: str) -> str:
    field = next(field for field in dataclasses.fields(kind) if field.name == name)
    value = field.default_factory() if callable(field.default_factory) else field.default
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
