"""The version of the package, as files that it writes note it."""

from __future__ import annotations

__version__ = "0.1.0"
