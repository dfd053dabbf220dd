"""Self-contained HTML pages of text, tables, charts and videos; no network access, light and dark mode.

`components` has text blocks and tables, `charts` the drawn blocks, `page` the page around them.
"""

from tdpn_core.html_report.page import Section, render_page

__all__ = ["Section", "render_page"]
