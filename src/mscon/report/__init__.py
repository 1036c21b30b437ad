"""Look at a run: one self-contained HTML page with its scores, curves, labels and nearest neighbours."""

from mscon.report.page import write_report

__all__ = ["write_report"]
