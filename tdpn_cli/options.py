"""Options that several commands share, each declared once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import typer

import tdpn_core
from tdpn_core import defaults
from tdpn_core.errors import UsageError
from tdpn_core.modality import Modality

DATA, MODEL, OPTIMISATION, EVALUATION, TIMELINE = "Data", "Model", "Optimisation", "Evaluation", "Timeline"
DISTRIBUTED, OUTPUT, LOGGING = "Devices and processes", "Output", "Logging"


def complete_recipe(incomplete: str) -> list[str]:
    """Names of recipes for the shell."""
    return [name for name in tdpn_core.known_recipes() if name.startswith(incomplete)]


def complete_dataset(incomplete: str) -> list[str]:
    """Names of data sets and layouts for the shell."""
    return [name for name in tdpn_core.known_datasets() if name.startswith(incomplete)]


def complete_data(incomplete: str) -> list[str]:
    """Prepared data sets below `data/` for the shell."""
    return [name for name in map(str, tdpn_core.known_data()) if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """Names of the families of networks for the shell."""
    return [name for name in tdpn_core.known_models() if name.startswith(incomplete)]


Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Prepared data set (default: the one under data/).",
        show_default=False,
        autocompletion=complete_data,
        rich_help_panel=DATA,
    ),
]
CheckpointData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Prepared data set (default: the checkpoint's).",
        show_default=False,
        autocompletion=complete_data,
        rich_help_panel=DATA,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help=f"Model family, see tdpn models, or my_module:MY_FAMILY (default: {defaults.MODEL}).",
        show_default=False,
        autocompletion=complete_model,
        rich_help_panel=MODEL,
    ),
]
ModelSource = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODULE:FAMILY",
        help="Module with the checkpoint's model family, if no installed package has it.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Arch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="DEPTH",
        help="Backbone depth: r18, r34, r50, r101, or another of the family's (default: the recipe's).",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
FamilyArch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="DEPTH",
        help="Backbone depth: r18, r34, r50, r101, or another of the family's (default: the family's own).",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
ModalityChoice = Annotated[
    Modality | None,
    typer.Option(
        "--modality",
        help="Input modality: rgb or flow (default: that of the data).",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Frames = Annotated[
    int | None,
    typer.Option(
        "--frames",
        help="Sampled frames per clip (default: the recipe's).",
        show_default=False,
        min=1,
        rich_help_panel=MODEL,
    ),
]
FamilyFrames = Annotated[
    int | None,
    typer.Option(
        "--frames",
        help="Sampled frames per clip (default: the family's).",
        show_default=False,
        min=1,
        rich_help_panel=MODEL,
    ),
]
Interval = Annotated[
    int | None,
    typer.Option(
        "--interval",
        help="Distance of sampled frames in frames, dense sampling only (default: the recipe's).",
        show_default=False,
        min=1,
        rich_help_panel=MODEL,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        help="Input size in pixels (default: the recipe's).",
        show_default=False,
        min=32,
        rich_help_panel=MODEL,
    ),
]
Init = Annotated[
    str | None,
    typer.Option(
        "--init",
        metavar="NAME",
        help="Initial weights: a checkpoint of tdpn or another project, a name of the zoo, imagenet, or none "
        "(default: the recipe's).",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Recipe, a preset of settings (default: by data set).",
        show_default=False,
        autocompletion=complete_recipe,
        rich_help_panel=MODEL,
    ),
]
Classes = Annotated[
    Path | None,
    typer.Option(
        "--classes",
        help="File of class names for another project's checkpoint: one per line, in the order of its outputs.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Ema = Annotated[
    bool | None,
    typer.Option(
        "--ema/--no-ema",
        help="Averaged (EMA) or raw weights of another project's checkpoint (default: what the project evaluates).",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Load a .pt2 file, which can run code: only for files from a trusted source.",
        rich_help_panel=MODEL,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        help="Training epochs (default: the recipe's).",
        show_default=False,
        min=1,
        rich_help_panel=OPTIMISATION,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        help="Clips per step, over all processes (default: the recipe's).",
        show_default=False,
        min=1,
        rich_help_panel=OPTIMISATION,
    ),
]
Accumulate = Annotated[
    int | None,
    typer.Option(
        "--accumulate",
        help="Gradient accumulation: parts that a batch is computed in (default: the recipe's).",
        show_default=False,
        min=1,
        rich_help_panel=OPTIMISATION,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        help="Learning rate (peak; default: the recipe's, scaled with the batch).",
        show_default=False,
        rich_help_panel=OPTIMISATION,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help=f"Random seed (default: {defaults.SEED}).",
        show_default=False,
        min=0,
        rich_help_panel=OPTIMISATION,
    ),
]
FirstSeed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help=f"Random seed of the first run of each row (default: {defaults.SEED}).",
        show_default=False,
        min=0,
        rich_help_panel=OPTIMISATION,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any setting by name, such as model.flow=parallel; see tdpn settings.",
        show_default=False,
        rich_help_panel=OPTIMISATION,
    ),
]
Views = Annotated[
    str | None,
    typer.Option(
        "--views",
        help="Test views, clips x crops, such as 10x3 (default: the recipe's).",
        show_default=False,
        rich_help_panel=EVALUATION,
    ),
]
EvalViews = Annotated[
    str | None,
    typer.Option(
        "--views",
        help="Test views, clips x crops, such as 10x3; full: uncropped frames (default: the recipe's).",
        show_default=False,
        rich_help_panel=EVALUATION,
    ),
]
Window = Annotated[
    float | None,
    typer.Option(
        "--window",
        help="Window length in seconds (default: that of one clip of the network).",
        show_default=False,
        rich_help_panel=TIMELINE,
    ),
]
Stride = Annotated[
    float | None,
    typer.Option(
        "--stride",
        help="Distance of windows in seconds (default: half a window).",
        show_default=False,
        rich_help_panel=TIMELINE,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        help=f"Lowest probability in a timeline (default: {defaults.THRESHOLD:g}, or the calibrated one).",
        show_default=False,
        rich_help_panel=TIMELINE,
    ),
]
Smooth = Annotated[
    float | None,
    typer.Option(
        "--smooth",
        help="Smoothing of a timeline in seconds (default: one window; 0: off).",
        show_default=False,
        rich_help_panel=TIMELINE,
    ),
]
MinLength = Annotated[
    float | None,
    typer.Option(
        "--min-length",
        help=f"Shortest segment of a timeline in seconds (default: {defaults.MIN_LENGTH:g}; 0: off).",
        show_default=False,
        rich_help_panel=TIMELINE,
    ),
]
Nms = Annotated[
    float | None,
    typer.Option(
        "--nms",
        metavar="IOU",
        help="Overlapping segments: find each class by itself, with non-maximum suppression above this temporal IoU "
        "(default: one class at each moment).",
        show_default=False,
        rich_help_panel=TIMELINE,
    ),
]
Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        help="Number of GPUs; 0: CPU (default: one if there is one).",
        show_default=False,
        rich_help_panel=DISTRIBUTED,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="Worker processes that read clips (default: by number of cores).",
        show_default=False,
        min=0,
        rich_help_panel=DISTRIBUTED,
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        help="Number of processes on the CPU.",
        min=1,
        show_default=False,
        rich_help_panel=DISTRIBUTED,
    ),
]
Nodes = Annotated[int, typer.Option("--nodes", help="Number of machines.", min=1, rich_help_panel=DISTRIBUTED)]
Rendezvous = Annotated[
    str | None,
    typer.Option(
        "--rdzv",
        metavar="HOST:PORT",
        help="Rendezvous of the machines: HOST:PORT of one of them.",
        show_default=False,
        rich_help_panel=DISTRIBUTED,
    ),
]
Restarts = Annotated[
    int,
    typer.Option(
        "--max-restarts",
        help="Restarts from the last checkpoint after a process died.",
        min=0,
        rich_help_panel=DISTRIBUTED,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        help="Seconds without progress after which a hung process is ended.",
        min=1,
        rich_help_panel=DISTRIBUTED,
    ),
]
Executor = Annotated[
    Literal["local", "ray"],
    typer.Option("--executor", help="Where to run: this machine, or a Ray cluster.", rich_help_panel=DISTRIBUTED),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="Address of the Ray cluster (default: found by Ray).",
        show_default=False,
        rich_help_panel=DISTRIBUTED,
    ),
]
ClipList = Annotated[
    Path | None,
    typer.Option(
        "--list", help="Text file with further clips, one per line.", show_default=False, rich_help_panel=DATA
    ),
]
Archive = Annotated[
    Path | None,
    typer.Option(
        "--archive",
        help="Table of the results of many clips, .csv or .parquet, or a folder for it. Clips that fail are listed "
        "with the reasons. The same command continues after an interruption.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.", rich_help_panel=OUTPUT)]

Command = TypeVar("Command", bound=Callable[..., None])


def in_one_panel(command: Command) -> Command:
    """A command with few options, whose help shows them without panels."""
    hints = get_type_hints(command, include_extras=True)
    command.__annotations__ = {name: _without_panel(hint) for name, hint in hints.items()}
    return command


def _without_panel(hint: Any) -> Any:
    if get_origin(hint) is not Annotated:
        return hint
    kind, info = get_args(hint)
    plain = copy.copy(info)
    plain.rich_help_panel = None
    return Annotated[kind, plain]


def use_model(source: str | None) -> None:
    """Make the family at `module:FAMILY` known by its name for this command.

    Raises:
        PluginError: there is no such family.
    """
    if source is not None:
        tdpn_core.find_family(source)


def refuse_others(context: typer.Context, allowed: Collection[str], *, by: str) -> None:
    """Refuse each option on the command line that has no effect with the option `by`.

    Raises:
        UsageError: a parameter that is not in `allowed` was given.
    """
    for name, option in _given(context).items():
        if name not in allowed:
            raise UsageError(f"has no effect with {by}", where=option, hint="leave it out")


def refuse(context: typer.Context, names: Collection[str], *, by: str) -> None:
    """Refuse options on the command line that have no effect with the option `by`.

    Raises:
        UsageError: a parameter in `names` was given.
    """
    refuse_others(context, {one.name or "" for one in context.command.params} - set(names), by=by)


def lines_of(path: Path | None) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return [] if path is None else [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("cannot be read as a list of clips", where=path, hint="one path per line, in UTF-8") from error


def refuse_alone(context: typer.Context, names: Collection[str], *, without: str, hint: str) -> None:
    """Refuse options on the command line that have an effect with the option `without` only.

    Raises:
        UsageError: a parameter in `names` was given.
    """
    for name, option in _given(context).items():
        if name in names:
            raise UsageError(f"has no effect without {without}", where=option, hint=hint)


def refuse_without_archive(context: typer.Context) -> None:
    """Refuse options on the command line that divide the clips of an archive."""
    names = ("processes", "executor", "ray_address")
    refuse_alone(context, names, without="--archive", hint="add --archive FOLDER")


def check_executor(context: typer.Context, executor: str) -> None:
    """Refuse options on the command line that have no effect with this executor."""
    if executor == "ray":
        refuse(context, ("processes", "family"), by="--executor ray")
    else:
        refuse_alone(context, ("ray_address",), without="--executor ray", hint="add --executor ray")


def _given(context: typer.Context) -> dict[str, str]:
    """Parameters on the command line, with the options' names."""
    sources = {one.name or "": (context.get_parameter_source(one.name or ""), one) for one in context.command.params}
    return {name: one.opts[0] for name, (source, one) in sources.items() if source and source.name == "COMMANDLINE"}


def of_timeline(
    threshold: float | None, smooth: float | None, min_length: float | None, nms: float | None
) -> dict[str, Any]:
    """The fields of `PredictOptions` for the segments of a timeline."""
    return {
        "threshold": threshold,
        "smooth": smooth,
        "min_length": defaults.MIN_LENGTH if min_length is None else min_length,
        "nms": nms,
    }


def parse_settings(pairs: list[str] | None) -> dict[str, str]:
    """`["model.flow=parallel"]` as a mapping.

    Raises:
        UsageError: a pair without `=`.
    """
    settings = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"{pair!r} is not NAME=VALUE", where="--set", hint="for example --set model.flow=parallel")
        settings[name.strip()] = value.strip()
    return settings


def shown(numbers: tuple[int, ...]) -> str:
    """(1, 5) as `1,5`, which `parse_numbers` reads."""
    return ",".join(map(str, numbers))


def parse_numbers(text: str, *, where: str) -> tuple[int, ...]:
    """`1,5` as (1, 5).

    Raises:
        UsageError: not whole numbers from 1 on.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise UsageError(f"{text!r} is not a list of integers such as 1,5", where=where)
    return tuple(int(part) for part in parts)


def epilog(*examples: str) -> str:
    """The examples at the foot of a command's help, one a line."""
    return "[bold]Examples[/]\n\n" + "\n\n".join(f"  $ {example}" for example in examples)
