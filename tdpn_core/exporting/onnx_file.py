"""Write and quantise ONNX files. Packages of the `export` extra are imported here on demand."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tdpn_core.errors import ToolError
from tdpn_core.prediction.exported import EXTRA, INPUT, KEY

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
QUANTISED = ["Conv", "MatMul", "Gemm", "Relu"]
"""Quantised operators; ReLU is included so that values between convolutions stay in int8."""

FEW = 4
"""Channels per group of a convolution up to which int8 is slower than float (`benchmarks/export.py`)."""


def need_packages() -> None:
    """Check that ONNX files can be written and run.

    Raises:
        ToolError: a package is missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ToolError(f"{', '.join(missing)} {verb} not installed", hint=EXTRA)


def write_onnx(
    program: torch.export.ExportedProgram, path: Path, heads: Sequence[str], description: dict[str, Any]
) -> None:
    """Convert a graph to one ONNX file with metadata."""
    with _quiet():
        translated = torch.onnx.export(
            program, dynamo=True, input_names=[INPUT], output_names=list(heads), verbose=False, external_data=False
        )
        assert translated is not None
        translated.model.metadata_props[KEY] = json.dumps(description, ensure_ascii=False)
        translated.model.metadata_props["labels"] = json.dumps(description["labels"], ensure_ascii=False)
        translated.save(str(path), external_data=False)


def quantise(source: Path, target: Path, calibration: Iterable[torch.Tensor], description: dict[str, Any]) -> None:
    """Quantise weights and activations of convolutions and products to int8, with ranges from `calibration`.

    Convolutions with few channels, such as the first one, are not quantised, since int8 is slower for them.

    Args:
        source: ONNX file of `write_onnx`.
        target: output file.
        calibration: clips (F, H, W, C) uint8.
        description: metadata of the output file.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Yields one clip at a time."""

        def __init__(self) -> None:
            self.clips = iter(calibration)

        def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
            """Return the next input, None at the end."""
            clip = next(self.clips, None)
            return None if clip is None else {INPUT: clip[None].numpy()}

    prepared = target.with_name(f"{target.name}.prepared")
    try:
        with _quiet():
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared), str(target), Reader(), quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True,
                op_types_to_quantize=QUANTISED, nodes_to_exclude=_of_few_channels(onnx.load(str(prepared))),
            )  # fmt: skip
    finally:
        prepared.unlink(missing_ok=True)
    model = onnx.load(str(target))
    del model.metadata_props[:]
    onnx.helper.set_model_props(
        model,
        {
            KEY: json.dumps(description, ensure_ascii=False),
            "labels": json.dumps(description["labels"], ensure_ascii=False),
        },
    )
    onnx.save(model, str(target))


def _of_few_channels(model: Any) -> list[str]:
    """Return the names of convolutions with at most `FEW` channels per group."""
    shapes = {value.name: value.dims for value in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == "Conv" and shapes[node.input[1]][1] <= FEW]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress messages of the conversion libraries."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
