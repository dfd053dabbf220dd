"""Report files of an evaluation: a page for viewing, results for programs, tables for spreadsheets."""

from tdpn_core.evaluation.report.compared import comparison_rows, write_comparison
from tdpn_core.evaluation.report.text import markdown, summary
from tdpn_core.evaluation.report.write import write_report

__all__ = ["comparison_rows", "markdown", "summary", "write_comparison", "write_report"]
