"""Inspection: counts, gaps, redundancy, and what a batch will hold, before anything is trained."""

from mscon.inspection.batches import ALONE, BatchFacts, Sampler, batch_facts, larger_batches
from mscon.inspection.facts import ColumnFacts, LinkFacts, Redundancy, column_facts, redundancies
from mscon.inspection.inspect import Inspection, inspect
from mscon.inspection.tables import show
from mscon.inspection.warnings import part_warnings

__all__ = [
    "ALONE",
    "BatchFacts",
    "ColumnFacts",
    "Inspection",
    "LinkFacts",
    "Redundancy",
    "Sampler",
    "batch_facts",
    "column_facts",
    "inspect",
    "larger_batches",
    "part_warnings",
    "redundancies",
    "show",
]
