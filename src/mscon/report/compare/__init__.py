"""Runs side by side: what differs between their recipes, and what came of it, item by item where they share items."""

from mscon.report.compare.comparison import Comparison, compare_runs
from mscon.report.compare.page import write_comparison

__all__ = ["Comparison", "compare_runs", "write_comparison"]
