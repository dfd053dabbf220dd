"""Open weights of other programs: the only module that does; returns tensors and runs no code from the file.

The format is detected from the first bytes, not from the name. `torch.load` is called only here, with
`weights_only=True`: it builds tensors, containers and numbers, and plain data for the types in `inert`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tdpn_core.errors import CheckpointError
from tdpn_core.weights.file_formats import exported_format
from tdpn_core.weights.inert import STAND_INS
from tdpn_core.weights.locate import locate

LARGEST_HEADER = 25_000_000
"""Largest safetensors header that is parsed, in bytes; a network of 1,000 tensors has 0.1 million."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contents:
    """Content of a file of weights."""

    path: Path
    tensors: dict[str, Tensor]
    """The network's entries under the file's names; floating-point ones as float32."""

    left_out: dict[str, str]
    """Other entries of the file, and what they are."""

    meta: dict[str, Any]
    """Plain values that the file stores next to its tensors (`meta`, `arch`, `epoch`, ...)."""

    notes: tuple[str, ...] = ()
    """Which of several sets of weights is used."""

    averaged: bool | None = None
    """If the file has raw and averaged (EMA) weights: whether the averaged ones are used; else None."""

    @property
    def settings_text(self) -> str:
        """Settings among the notes, as text: OpenMMLab's `meta.config` or `meta.cfg`, PySlowFast's `cfg`."""
        inner = self.meta.get("meta", {})
        places = (self.meta, inner if isinstance(inner, Mapping) else {})
        found = (place.get(name) for place in places for name in ("config", "cfg"))
        return "\n".join(text for text in found if isinstance(text, str))


def read_weights(path: Path, *, ema: bool | None = None) -> Contents:
    """Read `path`: PyTorch's zip or legacy format, or safetensors.

    `ema` selects averaged (EMA) or raw weights; None selects those that the file's program evaluates.

    Raises:
        CheckpointError: the file is missing, damaged, in another format, requires running code from it, or lacks the
            weights that `ema` selects.
    """
    if not path.is_file():
        raise CheckpointError("no such checkpoint", where=path)
    if exported_format(path) is not None:
        hint = "tdpn predict runs it; other commands need the checkpoint that it was exported from"
        raise CheckpointError("an exported file, which holds a program, not only weights", where=path, hint=hint)
    with path.open("rb") as file:
        start = file.read(512)
        if start[:4] == b"PK\x03\x04":
            _check_zip(file, path)
            return _contents(_load(file, path), path, ema)
        if start[:1] == b"\x80":  # protocol 2 or later, what torch wrote before 1.6
            return _contents(_load(file, path), path, ema)
        if start[257:262] == b"ustar":
            raise CheckpointError(
                "torch's tar format of before 2017 cannot be read without running code from it",
                where=path,
                hint="if you trust its source, load it with a PyTorch version of that time and re-save the state dict",
            )
    return _safetensors(path, start, ema)


def _load(file: BinaryIO, path: Path) -> Any:
    """Return the object that torch saved, if it consists of tensors, containers and plain values only."""
    file.seek(0)
    try:
        with torch.serialization.safe_globals(list(STAND_INS)):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or damaged file can make the parser fail in any way
        raise _refusal(error, path) from error


def _refusal(error: Exception, path: Path) -> CheckpointError:
    message = str(error)
    if "TorchScript" in message:
        what, hint = "a TorchScript archive, which is a program, not weights", "save its state_dict()"
    elif named := re.search(r"GLOBAL (\S+)", message):
        what = f"needs {named[1]}, but code from a file of weights is never run"
        hint = "if you trust its source, load it with the program that wrote it and save the state_dict() alone"
    elif "reduce" in message or "Can only" in message:
        what, hint = "runs code while it is read, which is refused", "get the weights from a source you trust"
    else:
        what, hint = f"not readable ({message.splitlines()[0][:200] if message else type(error).__name__})", None
    return CheckpointError(what, where=path, hint=hint or "the file is damaged or truncated: download it again")


def _check_zip(file: BinaryIO, path: Path) -> None:
    """Reject archives that unpack to more than their own size; torch does not compress, so these are hostile."""
    try:
        entries = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"not readable ({error})", where=path, hint="the file is truncated: download it again"
        ) from error
    if any(entry.filename.rpartition("/")[2] == "constants.pkl" for entry in entries):
        hint = "if you trust its source, load it with torch.jit.load and save the state_dict()"
        raise CheckpointError("a TorchScript archive, which is a program, not weights", where=path, hint=hint)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError("a compressed archive, which PyTorch does not write", where=path)
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise CheckpointError("an archive with overlapping entries, which PyTorch does not write", where=path)


def _safetensors(path: Path, start: bytes, ema: bool | None) -> Contents:
    size = path.stat().st_size
    header = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else 0
    if start[8:9] != b"{" or header > size - 8:
        raise CheckpointError(
            "neither PyTorch's format nor safetensors, or truncated",
            where=path,
            hint="supported files: .pth, .pyth, .pt and .safetensors",
        )
    if header > LARGEST_HEADER:
        raise CheckpointError(f"the safetensors header has {header / 1e6:.0f} MB, too large to be read", where=path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            meta = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, json.JSONDecodeError) as error:
        raise CheckpointError(f"not a readable safetensors file ({error})", where=path) from error
    _check_kind(False, ema, path)
    return Contents(path=path, tensors=_uniform(tensors, path), left_out={}, meta=meta)


def _contents(saved: Any, path: Path, ema: bool | None) -> Contents:
    if not isinstance(saved, Mapping):
        raise CheckpointError(f"holds a {type(saved).__name__}, not a dictionary of tensors", where=path)
    found = locate(saved, ema)
    if found is None:
        names = ", ".join(str(key) for key in list(saved)[:8])
        raise CheckpointError(f"holds no dictionary of tensors under a known name, only {names}", where=path)
    _check_kind(found.averaged, ema, path)
    left_out, meta = dict(found.left_out), {}
    if found.place:
        beside = {str(key): value for key, value in saved.items() if key != found.place[0]}
        left_out |= dict.fromkeys(beside, "training state or metadata, not weights")
        meta = {key: value for key, value in beside.items() if isinstance(value, (str, int, float, Mapping))}
    notes = (found.note,) if found.note else ()
    return Contents(
        path=path,
        tensors=_uniform(found.tensors, path),
        left_out=left_out,
        meta=meta,
        notes=notes,
        averaged=found.averaged if notes else None,
    )


def _check_kind(averaged: bool, ema: bool | None, path: Path) -> None:
    """
    Raises:
        CheckpointError: the file's only weights are not of the kind that `ema` selects.
    """
    if ema is not None and averaged != ema:
        lacks, has = ("averaged (EMA)", "raw") if ema else ("raw", "averaged (EMA)")
        hint = f"leave out {'--ema' if ema else '--no-ema'}"
        raise CheckpointError(f"holds no {lacks} weights, only {has} ones", where=path, hint=hint)


def _uniform(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Convert floating-point tensors to float32; check that all are finite and backed by their storage."""
    if not tensors:
        raise CheckpointError("holds no tensors", where=path)
    uniform = {}
    for name, value in tensors.items():
        if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.device.type != "cpu":
            raise CheckpointError(f"{name} is not a plain tensor", where=path)
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(f"{name} claims more values than the file holds", where=path)
        uniform[name] = value.to(torch.float32) if value.is_floating_point() else value
        if not torch.isfinite(uniform[name]).all():
            raise CheckpointError(f"{name} contains non-finite values", where=path)
    return uniform
