"""Looking at prepared data, finished or not, without changing it."""

from tdpn_core.inspect.folder import Prepared, find_folder, open_folder
from tdpn_core.inspect.sheet import contact_sheet, training_sheet
from tdpn_core.inspect.summary import Summary, summarise

__all__ = ["Prepared", "Summary", "contact_sheet", "find_folder", "open_folder", "summarise", "training_sheet"]
