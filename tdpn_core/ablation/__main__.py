"""One cell of a grid: `python -m tdpn_core.ablation FOLDER GPUS`, see `worker.py`."""

import sys

from tdpn_core import startup_signals as starting
from tdpn_core.process_exit import leave  # before what registers exit handlers

starting.begin()

from tdpn_core.ablation.worker import main  # noqa: E402 - signals are handled before the seconds that imports take

leave(main(sys.argv[1:]))
