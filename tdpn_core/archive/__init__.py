"""Archives: what is computed of each of many clips, by several processes or machines, saved on the way, as one table.

`archive` decides which clips are left and writes the table, `run` and `on_ray` decide who computes them, `parts` holds
the results so far.
"""

from tdpn_core.archive.archive import ArchiveFiles, ArchiveResult, Outcome, Work
from tdpn_core.archive.run import run_archive

__all__ = ["ArchiveFiles", "ArchiveResult", "Outcome", "Work", "run_archive"]
