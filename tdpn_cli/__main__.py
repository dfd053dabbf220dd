"""The entry point of `tdpn` and `python -m tdpn_cli`: signals are handled before anything heavy is imported."""

from __future__ import annotations

from tdpn_core import process_exit as process_exit  # before what registers exit handlers
from tdpn_core import startup_signals as starting


def main() -> None:
    """Run the command line, see `tdpn_cli.app.main`."""
    starting.begin()
    from tdpn_cli.app import main as run

    run()


if __name__ == "__main__":
    main()
