"""One self-contained HTML page out of blocks: text, tables, charts and clips; no network, light and dark.

`parts` has the blocks, `charts` those that are drawn, `render` the page around them.
"""

from tdpn_core.html_report.page import Section, render_page

__all__ = ["Section", "render_page"]
