"""Inert stand-ins for the types that training programs save with their weights: plain data that runs no code.

A serialised object names types and functions. Torch's restricted unpickler looks these names up in `STAND_INS` and
calls the stand-in, never the original.
"""

from __future__ import annotations

import argparse
import datetime
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np


class Fields(dict[Any, Any]):
    """An object or a mapping of another program, as a dictionary of its fields or entries."""

    def __init__(self, *arguments: Any) -> None:
        entries = arguments[-1] if arguments else None
        super().__init__(entries if isinstance(entries, Mapping) else {})

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, Mapping):
                self.update(part)


class Entries:
    """A dictionary type: creating one returns an `OrderedDict`, the only mapping that torch's unpickler fills."""

    def __new__(cls, *_: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]  # noqa: D102
        return OrderedDict()


class Opaque:
    """A value that weights do not need: a function, a type, another kind of sequence."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class Array:
    """A numpy array: its numbers, or None for other contents."""

    numbers: np.ndarray[Any, Any] | None = None

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if isinstance(dtype, np.dtype) and dtype.kind in "fiub" and isinstance(content, bytes):
            self.numbers = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _array(*_: Any) -> Array:
    """The function with which numpy creates an array before it restores the content."""
    return Array()


def _path(*parts: Any) -> str:
    return "/".join(map(str, parts)).replace("//", "/")


_SCALAR: Any = np.float64(0).__reduce__()[0]  # the function that restores a numpy scalar

_FIELDS = (
    "types.SimpleNamespace",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.BooleanNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.StringNode",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
)

_ENTRIES = (
    "collections.defaultdict",
    "addict.addict.Dict",
    "easydict.EasyDict",
    "fvcore.common.config.CfgNode",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning_utilities.core.apply_func.AttributeDict",
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "yacs.config.CfgNode",
)

_OPAQUE = (
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("getattr", "int", "float", "str")),
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("list", "dict", "tuple", "bool")),
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("object", "slice", "range", "xrange")),
    "typing.Any",
)

_KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16", "U", "S", "O")

STAND_INS: tuple[Any, ...] = (
    argparse.Namespace,  # the options that many training scripts save
    np.dtype,
    *(type(np.dtype(kind)) for kind in _KINDS),
    *((kind, f"datetime.{kind.__name__}") for kind in (datetime.datetime, datetime.date, datetime.timedelta)),
    *((_path, f"{home}.{kind}") for home in ("pathlib", "pathlib._local") for kind in ("PosixPath", "WindowsPath")),
    *((_path, f"{home}.Pure{kind}") for home in ("pathlib", "pathlib._local") for kind in ("PosixPath", "WindowsPath")),
    *(
        (part, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")  # numpy 1's name and 2's
        for part, name in ((_SCALAR, "scalar"), (_array, "_reconstruct"))
    ),
    (Array, "numpy.ndarray"),
    *((Fields, name) for name in _FIELDS),
    *((Entries, name) for name in _ENTRIES),
    *((Opaque, name) for name in _OPAQUE),
)
