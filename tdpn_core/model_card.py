"""Model cards of checkpoints and exported files: Markdown with the front matter of a Hugging Face model card.

Everything in a card is read from the checkpoint, from the prepared data if it is still there, and from the results of
evaluations in the run's folder (`eval-*/results.json`); nothing is stored for it. No path of this machine is in it,
except in the commands of a card that stays here.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tdpn_core.checkpoint import Checkpoint, load_checkpoint, score_of
from tdpn_core.config.families import find_family
from tdpn_core.config.schema import UNKNOWN_VIEWS, RunConfig, StartConfig
from tdpn_core.datasets.registry import DATASETS
from tdpn_core.errors import PluginError, ShardError
from tdpn_core.evaluation.metrics import share_interval
from tdpn_core.evaluation.score_checkpoint import weights_digest
from tdpn_core.files import write_text
from tdpn_core.labels import known
from tdpn_core.shards import ClipStore, load_manifest
from tdpn_core.shards.manifest import Manifest
from tdpn_core.weights.hub import PREFIX
from tdpn_core.weights.zoo import ZOO
from tdpn_core.wording import counted, size_text

README = "README.md"
"""Name of a card in a repository of the hub."""

_NO_START = StartConfig().name
_NOT_STATED = "unknown"  # an identifier of the hub
_SHOWN_APART = {"model.name", "model.num_classes", "train.init"}
_DIGITS = 16  # of a digest, as in the report
Results = dict[str, Any]
Row = Sequence[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """What a card says about an exported file."""

    format: str
    int8: bool
    bytes: int
    difference: float
    """Largest difference of a probability from the network's."""

    compared: int
    """Clips of that comparison."""


def card_path(file: Path) -> Path:
    """Return the path of the card of a checkpoint (`best.md` for `best.pt`) or an exported file (`best.onnx.md`)."""
    return file.with_suffix(".md") if file.suffix == ".pt" else file.with_name(f"{file.name}.md")


def write_card(path: Path) -> Path:
    """Write the card of the tdpn checkpoint at `path` next to it, with the evaluations of its weights so far.

    Returns:
        The path of the card.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        TdpnError: the folder cannot be written.
    """
    checkpoint = load_checkpoint(path)
    write_text(card_path(path), model_card(checkpoint, find_results(path, checkpoint), address=str(path)))
    return card_path(path)


def refresh_card(path: Path) -> None:
    """Write the card of the checkpoint at `path` again, if it has one.

    Raises:
        CheckpointError, TdpnError: see `write_card`.
    """
    if path.suffix == ".pt" and card_path(path).is_file():
        write_card(path)


def find_results(path: Path, checkpoint: Checkpoint) -> list[Results]:
    """Return the results of the evaluations of these weights next to the checkpoint at `path`, by split and views."""
    digest = weights_digest(checkpoint)
    found: dict[tuple[str, str, str], Results] = {}
    for file in sorted(path.parent.glob("eval-*/results.json")):
        try:
            values = json.loads(file.read_bytes())
        except (OSError, ValueError):  # not a file of an evaluation
            continue
        if isinstance(values, dict) and values.get("weights") == digest and values.get("heads"):
            found[values["split"], values["views"], values["data_digest"]] = values
    return list(found.values())


def model_card(
    checkpoint: Checkpoint, results: Sequence[Results], *, address: str, exported: ExportedFile | None = None
) -> str:
    """Return the card of a checkpoint or an exported file.

    Args:
        checkpoint: the network; one of another project has no history.
        results: evaluations of its weights, as in `results.json`.
        address: how commands name it: a path, or `hf:OWNER/REPOSITORY/FILE`.
        exported: set if the card is that of an exported file.
    """
    config = checkpoint.config
    parts = [
        _front_matter(config, results),
        f"# {title(config)}",
        _what(config, exported),
        _table(_facts(checkpoint, exported)),
        "## Use",
        _use(address, exported),
        "## Accuracy",
        *_accuracy(checkpoint, results, exported),
        "## Data",
        *_data(config, results),
        "## Classes",
        *(
            f"**{_plain(head)}** ({len(names)}): {', '.join(map(_plain, names))}"
            for head, names in config.data.classes.items()
        ),
        "## Intended use and limits",
        "\n".join(f"- {line}" for line in _limits(checkpoint, results)),
        "## Licence",
        _licence(config),
        *_training(checkpoint),
    ]
    return "\n\n".join(parts) + "\n"


def title(config: RunConfig) -> str:
    """Return the name of the network and its data."""
    return f"{config.model.name} {config.model.arch} on {_data_title(config)}"


def licence(start: StartConfig) -> str | None:
    """Return the licence of the weights that a run started from; None: there are none, or it is not known."""
    return ZOO[start.name].licence if start.name in ZOO else None


def _front_matter(config: RunConfig, results: Sequence[Results]) -> str:
    """Return the metadata for the hub. Each value is JSON, which is valid YAML."""
    spec = _spec(config)
    values: dict[str, Any] = {
        "license": (licence(config.start) or _NOT_STATED).lower(),
        "library_name": "tdpn",
        "pipeline_tag": "video-classification",
        "tags": list(dict.fromkeys(("tdpn", "action-recognition", "video-classification", config.model.name))),
    }
    if spec is not None and spec.num_classes:  # a public data set, not a layout of the user's own
        values["datasets"] = [config.data.dataset]
    if results:
        index = {"name": title(config), "results": [one for result in results for one in _indexed(result)]}
        values |= {"metrics": ["map" if config.data.multilabel else "accuracy"], "model-index": [index]}
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _indexed(result: Results) -> Iterator[dict[str, Any]]:
    """Yield the entry of each head for the hub's tables."""
    for head, metrics in result["heads"].items():
        tops = sorted((name for name in metrics if re.fullmatch(r"top\d+", name)), key=lambda name: int(name[3:]))
        kinds = (
            [("map", "mAP", "map")]
            if "map" in metrics
            else [("accuracy", name.replace("top", "top-"), name) for name in tops]
        )
        yield {
            "task": {"type": "video-classification", "name": head},
            "dataset": {"name": result["dataset"], "type": result["dataset"], "split": result["split"]},
            "metrics": [
                {"type": kind, "name": f"{title}, {result['views']} views", "value": metrics[name]}
                for kind, title, name in kinds
            ],
        }


def _what(config: RunConfig, exported: ExportedFile | None) -> str:
    family = find_family(config.model.name).title
    text = f"An action recognition network of `tdpn`: {family}."
    if exported is None:
        return text
    kind = "ONNX" if exported.format == "onnx" else "torch.export"
    return f"{text} This file is its {'8-bit ' if exported.int8 else ''}{kind} export."


def _facts(checkpoint: Checkpoint, exported: ExportedFile | None) -> list[Row]:
    config = checkpoint.config
    model, sampling, data = config.model, config.sampling, config.data
    frames = f"{model.num_frames} frames, every {sampling.interval}." if sampling.mode == "dense" else ""
    frames = frames or f"{model.num_frames} segments of the clip"
    rows: list[Row] = [
        ("property", "value"),
        ("network", f"{model.name} {model.arch}"),
        ("input", f"{frames}, {model.input_size} pixels, {'RGB' if model.modality == 'rgb' else 'optical flow'}"),
        ("data", f"{_data_title(config)}" + (f", digest `{data.digest[:_DIGITS]}`" if data.digest else "")),
        ("classes", ", ".join(f"{len(names)} ({_plain(head)})" for head, names in config.data.classes.items())),
        ("start", _start(config)),
        ("weights", f"sha256 `{weights_digest(checkpoint)[:_DIGITS]}`"),
    ]
    if checkpoint.state.epoch:
        rows.append(("recipe", config.recipe))
    if (calibration := checkpoint.calibration) is not None and calibration.class_thresholds:
        rows.append(("confidence", f"a threshold for each class, chosen on the {calibration.split} split"))
    elif calibration is not None:
        heads = (
            f"{_plain(head)} at temperature {calibration.temperature[head]:.3f}, none of these below {least:.1%}"
            for head, least in calibration.threshold.items()
        )
        rows.append(("confidence", f"calibrated on the {calibration.split} split: {'; '.join(heads)}"))
    if exported is not None:
        about = f"{size_text(exported.bytes)}; largest difference of a probability from the network's "
        rows.append(("exported file", f"{about}{exported.difference:.1e} on {counted(exported.compared, 'clip')}"))
    return rows


def _start(config: RunConfig) -> str:
    start = config.start
    if not config.data.digest and start.name == _NO_START:  # a checkpoint of another project
        return f"published weights of the project {_plain(config.recipe)}"
    if start.name == _NO_START:
        return "random weights"
    return f"`{start_name(start.name)}`, sha256 `{start.sha256[:_DIGITS]}`"


def start_name(name: str) -> str:
    """Return the name of initial weights in public: of a file, only the last two parts of its path."""
    return name if name.startswith(PREFIX) else "/".join(Path(name).parts[-2:])


def _use(address: str, exported: ExportedFile | None) -> str:
    name = shlex.quote(address)
    trust = " --trust" if exported is not None and exported.format == "pt2" else ""
    lines = [f"tdpn predict clip.mp4 --checkpoint {name}{trust}"]
    if exported is None:
        lines += [f"tdpn eval {name} --data DATA", f"tdpn train --data DATA --init {name}"]
    text = "```bash\n" + "\n".join(lines) + "\n```"
    if exported is None:
        text += f"\n\n```python\nimport tdpn_core\n\nmodel = tdpn_core.load_model({address!r})\n```"
    about = "`clip.mp4` is a video file."
    if exported is None:
        about += " `DATA` is a folder that `tdpn prep` wrote."
    if address.startswith("hf:"):
        about += " The name is downloaded once, and requires `pip install 'tdpn[hub]'`."
    return f"{text}\n\n{about}"


def _accuracy(checkpoint: Checkpoint, results: Sequence[Results], exported: ExportedFile | None) -> Iterator[str]:
    rows = [row for result in results for row in _measured(result)]
    own, views = _own_validation(checkpoint), checkpoint.config.validation_views
    if own and not any(result["split"] == "val" and views in (None, result["views"]) for result in results):
        rows.append(own)
    if not rows:
        yield "Not evaluated: `tdpn eval` measures it and adds the result here."
        return
    metrics = (
        ("mAP", "95 % interval", "F1") if checkpoint.config.data.multilabel else ("top-1", "95 % interval", "top-5")
    )
    yield _table([("data", "split", "views", "head", "clips", *metrics), *rows])
    if own in rows:
        effect = "chose the best epoch on the same clips, so its accuracy is slightly too high"
        if checkpoint.config.is_probe:
            effect = "chose nothing"
        yield f"The run's own validation {effect}. `tdpn eval` measures these weights and adds the result here."
    if exported is not None:
        yield "Accuracies are those of the network that was exported."
    notes = dict.fromkeys(_without_path(note, result) for result in results for note in result.get("notes", ()))
    if notes:
        yield "\n".join(f"- {_plain(note)}" for note in notes)


def _measured(result: Results) -> Iterator[Row]:
    for head, metrics in result["heads"].items():
        if "map" in metrics:
            main, other, interval = "map", "f1", metrics["map_interval"]
        else:
            main, other, interval = "top1", "top5", metrics["intervals"].get("top1")
        yield (
            _plain(result["dataset"]),
            result["split"],
            result["views"],
            _plain(head),
            str(metrics["clips"]),
            _share(metrics.get(main)),
            f"{interval[0]:.2%} to {interval[1]:.2%}" if interval else "–",
            _share(metrics.get(other)),
        )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _own_validation(checkpoint: Checkpoint) -> Row | None:
    """Return the run's own validation of these weights, if there is one."""
    config, state = checkpoint.config, checkpoint.state
    row = state.history[-1] if state.history and state.batch == 0 else {}
    if "val_loss" not in row:
        return None
    heads, (metric, score) = list(config.model.num_classes), score_of(row)
    held_out = config.train.holdout > 0
    clips = _labelled(config) if len(heads) == 1 and not held_out else None
    low, high = share_interval(round(score * clips), clips) if clips and metric == "val_top1" else (None, None)
    other = row.get("val_f1", row.get("val_top5") if _most_classes(config) > 5 else None)
    return (
        _plain(config.data.dataset),
        "train, held out" if held_out else "val",
        config.validation_views or UNKNOWN_VIEWS,
        "mean of " + " and ".join(heads) if len(heads) > 1 else heads[0],
        str(clips) if clips else "–",
        _share(score),
        f"{low:.2%} to {high:.2%}" if low is not None else "–",
        _share(other),
    )


def _most_classes(config: RunConfig) -> int:
    return max(config.model.num_classes.values())


def _labelled(config: RunConfig) -> int | None:
    """Return the number of labelled validation clips; None if the data is not here any more."""
    manifest = _manifest(config)
    if manifest is None or "val" not in manifest.clips():
        return None
    try:
        labels = ClipStore(Path(config.data.path), "val").labels
    except ShardError:
        return None
    return sum(int(known(values).sum()) for values in labels.values()) or None


def _data(config: RunConfig, results: Sequence[Results]) -> Iterator[str]:
    rows = list(_coverage(config, results))
    if not rows:
        yield "The prepared data is not on the machine that wrote this card, so its coverage is not known."
        return
    yield _table([("split", "listed", "found", "missing", "used"), *rows])
    yield (
        "Listed: clips in the data set's annotations. Found: their file existed when the data was prepared. Missing: "
        "listed and not found, or found and not decoded. Used: clips in the prepared data."
    )


def _coverage(config: RunConfig, results: Sequence[Results]) -> Iterator[Row]:
    """Yield a row for each split, from the manifest of the training data or else from evaluations."""
    manifest = _manifest(config)
    if manifest is not None:
        for split, clips in manifest.clips().items():
            yield _covered(split, manifest.listed.get(split), manifest.on_disk(split), clips)
        return
    known = {result["split"]: result["coverage"] for result in results if result["data_digest"] == config.data.digest}
    for split, counts in known.items():
        yield _covered(split, counts["listed"], counts["on_disk"], counts["decoded"])


def _covered(split: str, listed: int | None, found: int, used: int) -> Row:
    return split, "–" if listed is None else str(listed), str(found), str((listed or found) - used), str(used)


def _limits(checkpoint: Checkpoint, results: Sequence[Results]) -> Iterator[str]:
    config = checkpoint.config
    total = sum(len(names) for _, names in config.data.classes.items())
    yield "Intended for classifying video clips that show one of the classes above, filmed like the training clips."
    yield (
        f"Every clip gets one of the {total} classes, also if it shows none of them. A high probability does not mean "
        "that the clip belongs to a class."
    )
    yield "Not tested for decisions about people, for identifying them, or for safety-critical use."
    if not results:
        yield "Not evaluated on clips that had no part in training and choosing it."
    elif most := max((metrics["clips"] for result in results for metrics in result["heads"].values()), default=0):
        yield f"Measured on {counted(most, 'clip')} at most: other cameras, places and people may give lower accuracy."
    if config.model.modality == "flow":
        yield "Takes optical flow, which `tdpn prep --flow` computes, and not RGB."


def _licence(config: RunConfig) -> str:
    start, known = config.start, licence(config.start)
    clips = "The licence of the training clips is not known to tdpn and may restrict the use of the weights."
    if known is not None:
        return f"The weights it started from, `{start_name(start.name)}`, are published under {known}. {clips}"
    if config.data.digest and start.name == _NO_START:
        return f"It started from random weights, so that no licence of other weights applies. {clips}"
    what = f"`{start_name(start.name)}`" if config.data.digest else "the published weights"
    return f"The licence of {what} is not known to tdpn: check it before you publish or use the weights. {clips}"


def _training(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield the section about the training; nothing for a checkpoint of another project."""
    config, state = checkpoint.config, checkpoint.state
    if not state.epoch:
        return
    yield "## Training"
    versions = ", ".join(f"{name} {version}" for name, version in checkpoint.versions.items())
    epochs = f"{counted(state.epoch, 'epoch')} of {config.train.epochs}, {counted(state.step, 'step')}"
    yield f"Recipe `{config.recipe}`; weights after {epochs}" + (f"; {versions}." if versions else ".")
    changed = list(_changed(config))
    if changed:
        yield "Settings that differ from the defaults (`tdpn settings` lists these):"
        yield "```text\n" + "\n".join(changed) + "\n```"
    yield "`tdpn train --data DATA --config config.json` repeats the run, given its `config.json`."


def _changed(config: RunConfig) -> Iterator[str]:
    """Yield the settings that differ from the defaults of their class, as `name=value`."""
    for section in ("model", "sampling", "train"):
        own = getattr(config, section)
        usual = type(own)()
        for field in dataclasses.fields(own):
            path, value = f"{section}.{field.name}", getattr(own, field.name)
            if value != getattr(usual, field.name) and path not in _SHOWN_APART:
                yield f"{path}={_setting(value)}"


def _setting(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_setting, value))
    return json.dumps(value) if isinstance(value, (bool, float)) else str(value)


def _manifest(config: RunConfig) -> Manifest | None:
    """Return the manifest of the training data, if it is still there and the same."""
    try:
        manifest = load_manifest(Path(config.data.path)) if config.data.path else None
    except ShardError:
        return None
    return manifest if manifest is not None and manifest.digest == config.data.digest else None


def _spec(config: RunConfig) -> Any:
    try:
        return DATASETS.get(config.data.dataset)
    except PluginError:
        return None


def _data_title(config: RunConfig) -> str:
    spec = _spec(config)
    return _plain(spec.title if spec is not None and spec.num_classes else config.data.dataset)


def _without_path(note: str, result: Results) -> str:
    return note.replace(result["data"], "the evaluated data")


def _plain(text: str) -> str:
    """Return `text` on one line, without effect as Markdown; bytes that are not UTF-8 are escaped."""
    line = " ".join(text.encode(errors="backslashreplace").decode().split())
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", line)


def _table(rows: Sequence[Row]) -> str:
    head, *body = [" | ".join(row) for row in rows]
    return "\n".join(f"| {line} |" for line in (head, " | ".join("---" for _ in rows[0]), *body))
