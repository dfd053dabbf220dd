"""The files that an evaluation leaves: a page to look at, results for programs, tables for a spreadsheet."""

from tdpn_core.evaluation.report.compared import comparison_rows, write_comparison
from tdpn_core.evaluation.report.text import markdown, summary
from tdpn_core.evaluation.report.write import write_report

__all__ = ["comparison_rows", "markdown", "summary", "write_comparison", "write_report"]
