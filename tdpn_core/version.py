"""Version of the package, as recorded in files that it writes."""

from __future__ import annotations

__version__ = "0.1.0"
