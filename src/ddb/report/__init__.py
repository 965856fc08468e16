"""The report: one self-contained HTML page made from a run folder."""

from ddb.report.page import write_report

__all__ = ["write_report"]
