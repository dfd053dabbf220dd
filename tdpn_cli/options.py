"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tdpn_core.errors import UsageError

DATA, MODEL, OPTIMISATION, EVALUATION, TIMELINE = "Data", "Model", "Optimisation", "Evaluation", "Timeline"
DISTRIBUTED, OUTPUT, LOGGING = "Devices and processes", "Output", "Logging"


def complete_recipe(incomplete: str) -> list[str]:
    """Names of recipes for the shell."""
    from tdpn_core.recipes import RECIPES

    return [name for name in RECIPES if name.startswith(incomplete)]


def complete_dataset(incomplete: str) -> list[str]:
    """Names of data sets and layouts for the shell."""
    from tdpn_core.datasets.registry import AUTO, DATASETS

    return [name for name in (AUTO, *DATASETS) if name.startswith(incomplete)]


def complete_data(incomplete: str) -> list[str]:
    """Prepared data sets below `data/` for the shell."""
    from tdpn_core.shards.manifest import MANIFEST

    found = sorted(str(path.parent) for path in Path("data").glob(f"*/{MANIFEST}"))
    return [name for name in found if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """Names of the families of networks for the shell."""
    from tdpn_core.config.families import known_models

    return [name for name in known_models() if name.startswith(incomplete)]


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Model family, see tdpn models, or my_module:MY_FAMILY (default: tdpn).",
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
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.", rich_help_panel=OUTPUT)]
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
Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        help="Number of GPUs; 0: CPU (default: 1 if there is one).",
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
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any setting by name, such as model.flow=parallel; see tdpn settings.",
        show_default=False,
        rich_help_panel=OPTIMISATION,
    ),
]


def use_model(source: str | None) -> None:
    """Make the family at `module:FAMILY` known by its name for this command.

    Raises:
        PluginError: there is no such family.
    """
    from tdpn_core.config.families import find_family

    if source is not None:
        find_family(source)


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
