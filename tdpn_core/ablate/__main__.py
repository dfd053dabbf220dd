"""One cell of a grid: `python -m tdpn_core.ablate FOLDER GPUS`, see `cell.py`."""

import sys

from tdpn_core import starting

starting.begin()

from tdpn_core.ablate.cell import main  # noqa: E402 - signals are handled before the seconds that imports take

sys.exit(main(sys.argv[1:]))
