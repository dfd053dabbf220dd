"""The table of commands, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from tdpn_cli import (
    ablate,
    bench,
    data,
    demo,
    doctor,
    evaluate,
    export,
    features,
    models,
    output,
    predict,
    prep,
    push,
    settings,
    train,
)
from tdpn_core import __version__
from tdpn_core import startup_signals as starting
from tdpn_core.errors import TdpnError
from tdpn_core.offline import go_offline
from tdpn_core.process_exit import leave

app = typer.Typer(
    name="tdpn",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo", epilog=demo.EXAMPLES)(demo.demo)
app.command("prep", epilog=prep.EXAMPLES)(prep.prep)
app.command("data", epilog=data.EXAMPLES)(data.data)
app.command("train", epilog=train.EXAMPLES)(train.train)
app.command("eval", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("features", epilog=features.EXAMPLES)(features.features)
app.command("predict", epilog=predict.EXAMPLES)(predict.predict)
app.command("export", epilog=export.EXAMPLES)(export.export)
app.command("push", epilog=push.EXAMPLES)(push.push)
app.command("models", epilog=models.EXAMPLES)(models.models)
app.command("ablate", epilog=ablate.EXAMPLES)(ablate.ablate)
app.command("settings", epilog=settings.EXAMPLES)(settings.settings)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
app.add_typer(bench.app, name="bench")


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"tdpn {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; at any position.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the network, like TDPN_OFFLINE=1; at any position.")
    ] = False,
) -> None:
    """Action recognition from a folder of videos to a trained, evaluated network.

    [bold]prep[/] packs videos into shards, [bold]data[/] inspects them, [bold]train[/] trains, [bold]eval[/] scores,
    [bold]predict[/] predicts new clips. [bold]tdpn demo[/] shows all of it in five minutes.
    """


def main() -> None:
    """Run the command line; exit 0 done, 1 failed, 2 wrong use, 3 stopped and resumable, 130 interrupted."""
    starting.begin()
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--debug", "--offline")]
    if "--offline" in sys.argv:
        go_offline()
    leave(_run(arguments, debug="--debug" in sys.argv))


def _run(arguments: list[str], *, debug: bool) -> int:
    """Run one command; gives the exit code."""
    try:
        app(args=arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:  # `tdpn eval ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        code = _tell_launcher(error) if "TORCHELASTIC_ERROR_FILE" in os.environ else None
        return _tell_user(error, debug=debug) if code is None else code
    return 0


def _tell_user(error: BaseException, *, debug: bool) -> int:
    """Print what happened, unless a traceback did; gives the exit code."""
    if isinstance(error, KeyboardInterrupt):
        output.say("interrupted")
        return 130
    if isinstance(error, TdpnError):
        output.print_error(error)
        return error.exit_code
    if not debug:
        what = f"unexpected {type(error).__name__}: {error}"
        output.say(f"{what}\nThis is a bug; run again with --debug to see where.")
    return 1


def _tell_launcher(error: BaseException) -> int | None:
    """Report the error to the launcher that started this process; None if that is not ours, which prints it."""
    from tdpn_core.distributed.exit_reports import write_report

    return write_report(error)
