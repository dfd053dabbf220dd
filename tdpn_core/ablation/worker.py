"""Run one cell of the grid in its own process: `python -m tdpn_core.ablation FOLDER GPUS`.

The folder contains `cell.json` with the settings; `result.json` is written next to the run's own files. Standard input
is a pipe that the parent holds open: when it closes, the parent is gone, and the run saves its state and ends.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import threading
from pathlib import Path
from typing import Any

from tdpn_core import startup_signals as starting
from tdpn_core.ablation.cells import RESULT
from tdpn_core.errors import TdpnError
from tdpn_core.files import write_json
from tdpn_core.progress import Silent
from tdpn_core.runs import CELL, LAST

LOG = "log.txt"
_DIGITS = 7  # of probabilities


def run_cell(folder: Path, gpus: int) -> dict[str, Any]:
    """Train the run in `cell.json`, or resume it, and score the last weights on the validation split.

    A trial of a search for settings is scored on its held-out training clips only, by its own validation. A
    measurement trains nothing.

    The last weights rather than the best, since the best epoch is chosen on the clips that are scored here, which
    favours settings with fluctuating accuracy.

    Raises:
        TdpnError: see `launch` and `evaluate`.
    """
    import numpy as np

    from tdpn_core.checkpoint import score_of
    from tdpn_core.config.overrides import TrainOverrides
    from tdpn_core.distributed.runtime import set_up
    from tdpn_core.evaluation.evaluate import evaluate
    from tdpn_core.evaluation.multilabel import first_hits
    from tdpn_core.evaluation.report import write_report
    from tdpn_core.labels import known
    from tdpn_core.model.flops import cost
    from tdpn_core.training.launch import train

    starting.end()
    call: dict[str, Any] = json.loads((folder / CELL).read_text())
    if call.get("measure"):
        return _measure(folder, call, gpus)
    workers, lines = call["workers"], _Lines()
    trained = train(
        data=Path(call["data"]),
        out=folder,
        recipe=call["recipe"],
        gpus=gpus,
        workers=workers,
        resume=(folder / LAST).exists(),
        overrides=TrainOverrides(**call["overrides"]),
        progress=lines,
    )
    if call.get("search"):
        last = trained.state.history[-1]
        trial = {"top1": score_of(last)[1], "loss": last["val_loss"]}
        write_json(folder / RESULT, trial)
        return trial
    evaluation = evaluate(folder / LAST, runtime=set_up(gpus), workers=workers, progress=lines)
    write_report(evaluation)
    price = cost(evaluation.config.model)
    rows = np.all([known(labels) for labels in evaluation.labels.values()], axis=0)
    probabilities = {head: values[rows] for head, values in evaluation.probabilities.items()}
    labels = {head: values[rows] for head, values in evaluation.labels.items()}
    found: dict[str, Any] = {
        "hits": {head: first_hits(values, labels[head]).astype(int).tolist() for head, values in probabilities.items()}
    }
    if evaluation.scores.multilabel:
        found = {
            "map": {head: metrics.map for head, metrics in evaluation.multilabel.items()},
            "labels": {head: values.tolist() for head, values in labels.items()},
            "probabilities": {head: values.round(_DIGITS).tolist() for head, values in probabilities.items()},
        }
    result = {
        "ids": [name for name, own in zip(evaluation.ids, rows, strict=True) if own],
        **found,
        "parameters": price.parameters,
        "gmac": price.gmac["total"],
        "clips_per_second": statistics.median(row["clips_per_second"] for row in trained.state.history),
    }
    write_json(folder / RESULT, result)
    return result


def _measure(folder: Path, call: dict[str, Any], gpus: int) -> dict[str, Any]:
    """Measure the speed and memory of the settings in `call`."""
    import dataclasses

    from tdpn_core.ablation.measure import measure
    from tdpn_core.config.overrides import TrainOverrides
    from tdpn_core.distributed.runtime import set_up
    from tdpn_core.training.launch import plan

    runtime, own = set_up(gpus), TrainOverrides(**call["overrides"])
    config = plan(Path(call["data"]), runtime=runtime, recipe=call["recipe"], overrides=own)
    result = dataclasses.asdict(measure(config, runtime))
    write_json(folder / RESULT, result)
    return result


class _Lines(Silent):
    """A listener that writes lines to the log."""

    def say(self, line: str) -> None:
        """Print it."""
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _end_with_parent() -> None:
    """Ask this process to stop when standard input closes, since the parent is then gone."""
    os.read(0, 1)  # not sys.stdin, whose lock a blocked thread would hold at interpreter exit
    os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: list[str]) -> int:
    """Run a cell; returns the exit code of the command line."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run_cell(Path(arguments[0]), int(arguments[1]))
    except TdpnError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0
