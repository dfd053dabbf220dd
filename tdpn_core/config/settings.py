"""Every setting with its type, default and description, read from the configuration's own dataclasses."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator

from tdpn_core.config.families import OWN
from tdpn_core.config.schema import ModelConfig, SamplingConfig, TrainConfig

SECTIONS = {"model": ModelConfig, "sampling": SamplingConfig, "train": TrainConfig}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One field, as `--set NAME=VALUE` takes it."""

    name: str
    """`train.lr`."""

    type: str
    """As Python writes it: `tuple[float, float]`."""

    default: str
    """Of the dataclass; recipes and families of networks choose others."""

    help: str


def all_settings(word: str = "") -> list[Setting]:
    """The settings whose name or description contains `word`, in the order of their declaration."""
    found = [setting for section, kind in SECTIONS.items() for setting in _of(section, kind)]
    return [setting for setting in found if word.lower() in f"{setting.name} {setting.help}".lower()]


def _of(section: str, kind: type) -> Iterator[Setting]:
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    declared = {
        one.target.id: (ast.unparse(one.annotation), two.value.value)
        for one, two in zip(body.body, body.body[1:], strict=False)
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
        if isinstance(two, ast.Expr) and isinstance(two.value, ast.Constant)
    }
    for field in dataclasses.fields(kind):
        kinds, text = declared[field.name]
        yield Setting(
            name=f"{section}.{field.name}",
            type=kinds,
            default=_default(field),
            help=" ".join(str(text).split()),
        )


def _default(field: dataclasses.Field[object]) -> str:
    if field.default is OWN:
        return "the model's own"
    value = field.default_factory() if callable(field.default_factory) else field.default
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
