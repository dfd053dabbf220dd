"""The result table as Markdown, LaTeX, CSV and HTML; `columns` and `cells` are also used for the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tdpn_core.ablation.grid import PAPER_DATA
from tdpn_core.ablation.statistics import Row
from tdpn_core.html_report import Section, components, render_page
from tdpn_core.labels import METRIC_TITLES

NOTE = (
    "Top-1 of the last weights on the validation split, in per cent: mean ± standard deviation over the seeds. "
    "Difference to the first row in points; p: exact sign-flip permutation test, paired over clips, their gains "
    "summed over the seeds (one seed: McNemar's exact test)."
)
LABELS_NOTE = (
    "mAP (macro) of the last weights on the validation split, in per cent: mean ± standard deviation over the seeds. "
    "Difference to the first row in points; p: randomisation test, paired over clips, whose scores are exchanged "
    "between the two rows for all seeds together."
)
_SPEED_NOTE = "clips/s: training with reading, while other runs may share the machine."
_HOLM_NOTE = "p (Holm): adjusted for the number of rows that are compared with the first."
_SEARCH_NOTE = (
    "lr: learning rate with the highest top-1 on held-out training clips; *: the lowest or highest one tried."
)
_PAPER_NOTE = f"The paper's column is its Table IV, which names no data set; presumably {PAPER_DATA.title}."
MISSING = "–"
_COSTS = ["train clips/s", "infer clips/s", "MiB"]
SPEEDS = ("clips/s", *_COSTS)
"""Columns of speed and memory that depend on the machine."""


def note(rows: Sequence[Row]) -> str:
    """Return an explanation of the columns."""
    also = {
        _SPEED_NOTE: not _machines(rows),
        _measured_note(rows): bool(_machines(rows)),
        _HOLM_NOTE: _several(rows),
        _SEARCH_NOTE: _searched(rows),
        _PAPER_NOTE: _paper(rows),
    }
    main = LABELS_NOTE if _metric(rows) == "map" else NOTE
    return " ".join([main, *(sentence for sentence, applies in also.items() if applies)])


def columns(rows: Sequence[Row]) -> list[str]:
    """Return the column headings; the paper's column is included if it has a value."""
    (levels, *_) = [list(row.levels) for row in rows]
    paper = ["paper's top-1"] if _paper(rows) else []
    lr = ["lr"] if _searched(rows) else []
    holm = ["p (Holm)"] if _several(rows) else []
    title = METRIC_TITLES[_metric(rows)]
    tops = [title if len(_heads(rows)) == 1 else f"{head} {title}" for head in _heads(rows)]
    speed = _COSTS if _machines(rows) else ["clips/s"]
    return [*levels, *lr, *tops, "seeds", "difference", "p", *holm, "M parameters", "GMAC", *speed, *paper]


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """Return the rows as text, matching `columns`."""
    paper, several, searched, measured = _paper(rows), _several(rows), _searched(rows), bool(_machines(rows))
    return [
        [
            *row.levels.values(),
            *([_rate(row)] if searched else []),
            *(_accuracy(row, head) for head in _heads(rows)),
            f"{len(row.seeds)}" + (f" ({len(row.failed)} failed)" if row.failed else ""),
            MISSING if row.difference is None else f"{100 * row.difference:+.1f}",
            _p(row.p_value),
            *([_p(row.holm_p_value)] if several else []),
            MISSING if row.parameters is None else f"{row.parameters / 1e6:.2f}",
            MISSING if row.gmac is None else f"{row.gmac:.2f}" if row.gmac >= 0.1 else f"{row.gmac:.4f}",
            *_speed(row, measured=measured),
            *([MISSING if row.paper_top1 is None else f"{100 * row.paper_top1:.1f}"] if paper else []),
        ]
        for row in rows
    ]


def markdown_table(rows: Sequence[Row]) -> str:
    """Return a Markdown table with an explanation."""
    heads = columns(rows)
    lines = [heads, ["---"] * len(heads), *cells(rows)]
    failures = [f"- {row.name}, seed {seed} failed: {why}" for row in rows for seed, why in row.failed.items()]
    parts = ["\n".join("| " + " | ".join(line) + " |" for line in lines), note(rows)]
    return "\n\n".join([*parts, *(["\n".join(failures)] if failures else [])]) + "\n"


def latex_table(rows: Sequence[Row]) -> str:
    """Return a booktabs `tabular` for a paper."""
    heads = columns(rows)
    numbers = len(heads) - len(rows[0].levels)
    lines = [" & ".join(_escape(cell) for cell in line) + r" \\" for line in (heads, *cells(rows))]
    body = [lines[0], r"\midrule", *lines[1:]]
    frame = rf"\begin{{tabular}}{{{'l' * len(rows[0].levels)}{'r' * numbers}}}"
    comment = [f"% {sentence}." for sentence in note(rows).rstrip(".").split(". ")]
    return "\n".join([*comment, frame, r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def html_table(rows: Sequence[Row], folder: Path) -> str:
    """Return a page with the table and the plots in `folder`."""
    title = METRIC_TITLES[_metric(rows)]
    plots = {"plot.png": f"{title}: each seed, mean and deviation", "cost.png": f"{title} over cost"}
    found = {folder / name: caption for name, caption in plots.items() if (folder / name).exists()}
    failures = {f"{row.name}, seed {seed}": why for row in rows for seed, why in row.failed.items()}
    result = [components.table("Results", columns(rows), cells(rows)), components.note(note(rows))]
    pictures = [components.picture(caption, path.read_bytes()) for path, caption in found.items()]
    sections = [
        Section("Table", result),
        Section("Plots", pictures),
        Section("Failures", [components.facts(failures)] if failures else []),
    ]
    return render_page("Ablation", sections, lead=f"{len(rows)} rows; all are compared with the first.")


def csv_table(rows: Sequence[Row]) -> str:
    """Return one line per row with plain numbers: shares in [0, 1], empty if missing."""
    heads = _heads(rows)
    table = [
        {
            **row.levels,
            **({"lr": _lr(row)} if _searched(rows) else {}),
            **{f"{head}_{_metric(rows)}": row.mean(head) for head in heads},
            **{f"{head}_deviation": row.deviation(head) for head in heads},
            "seeds": len(row.seeds),
            "failed": len(row.failed),
            "difference": row.difference,
            "p_value": row.p_value,
            "holm_p_value": row.holm_p_value,
            "parameters": row.parameters,
            "gmac": row.gmac,
            "clips_per_second": row.clips_per_second,
            **({} if row.measured is None else dataclasses.asdict(row.measured)),
            "paper_top1": row.paper_top1,
        }
        for row in rows
    ]
    return pd.DataFrame(table).to_csv(index=False)


def plain_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as plain values."""
    return [
        {
            "setting": row.name,
            **row.levels,
            "searched": None if row.searched is None else dataclasses.asdict(row.searched),
            "seeds": row.seeds,
            row.metric: {head: row.mean(head) for head in row.scores},
            "deviation": {head: row.deviation(head) for head in row.scores},
            f"{row.metric}_by_seed": row.scores,
            "difference": row.difference,
            "p_value": row.p_value,
            "holm_p_value": row.holm_p_value,
            "parameters": row.parameters,
            "gmac": row.gmac,
            "clips_per_second": row.clips_per_second,
            "measured": None if row.measured is None else dataclasses.asdict(row.measured),
            "paper_top1": row.paper_top1,
            "failed": {str(seed): reason for seed, reason in row.failed.items()},
        }
        for row in rows
    ]


def _paper(rows: Sequence[Row]) -> bool:
    return any(row.paper_top1 is not None for row in rows)


def _heads(rows: Sequence[Row]) -> list[str]:
    return list(next((row.scores for row in rows if row.scores), {"action": []}))


def _metric(rows: Sequence[Row]) -> str:
    """Return what the scores are: `top1` or `map`."""
    return next((row.metric for row in rows if row.scores), "top1")


def _accuracy(row: Row, head: str) -> str:
    mean, deviation = row.mean(head), row.deviation(head)
    if mean is None:
        return MISSING
    return f"{100 * mean:.1f}" if deviation is None else f"{100 * mean:.1f} ± {100 * deviation:.1f}"


def _measured_note(rows: Sequence[Row]) -> str:
    return (
        "train and infer clips/s: on random clips in memory, one row at a time, by the fastest step; MiB: peak memory "
        f"of training, on a CPU that of the process. Measured on: {'; '.join(_machines(rows))}."
    )


def _machines(rows: Sequence[Row]) -> list[str]:
    """Return where rows were measured; empty if none was."""
    return list(dict.fromkeys(row.measured.machine for row in rows if row.measured is not None))


def _speed(row: Row, *, measured: bool) -> list[str]:
    if not measured:
        return [MISSING if row.clips_per_second is None else f"{row.clips_per_second:.1f}"]
    if row.measured is None:
        return [MISSING] * len(_COSTS)
    memory = row.measured.memory
    speeds = (row.measured.train_clips_per_second, row.measured.infer_clips_per_second)
    return [*(f"{speed:.1f}" for speed in speeds), MISSING if memory is None else f"{memory / 2**20:.0f}"]


def _searched(rows: Sequence[Row]) -> bool:
    return any(row.searched is not None for row in rows)


def _lr(row: Row) -> float | None:
    return None if row.searched is None else row.searched.lr


def _rate(row: Row) -> str:
    if row.searched is None or row.searched.lr is None:
        return MISSING
    return f"{row.searched.lr:g}" + ("*" if row.searched.at_end else "")


def _several(rows: Sequence[Row]) -> bool:
    """Return whether several rows are compared with the first, so that p-values need adjusting."""
    return sum(row.p_value is not None for row in rows) > 1


def _p(value: float | None) -> str:
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _escape(text: str) -> str:
    for character in "&%_#":
        text = text.replace(character, f"\\{character}")
    return text.replace("±", r"$\pm$").replace("<", "$<$").replace(MISSING, "--")
