"""Inspect prepared data, finished or not, without changing it."""

from tdpn_core.prep.inspect.contact_sheet import training_sheet
from tdpn_core.prep.inspect.status import Prepared, find_folder, open_folder
from tdpn_core.prep.inspect.summary import SplitSummary, Summary, summarise

__all__ = ["Prepared", "SplitSummary", "Summary", "find_folder", "open_folder", "summarise", "training_sheet"]
