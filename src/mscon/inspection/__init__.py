"""Inspection: counts, gaps, redundancy, and what a batch will hold, before anything is trained."""

from mscon.inspection.batches import ALONE, BatchFacts, Sampler, batch_facts, larger_batches
from mscon.inspection.facts import ColumnFacts, LinkFacts, Redundancy, column_facts, redundancies
from mscon.inspection.inspect import Inspection, inspect
from mscon.inspection.tables import LITTLE, show
from mscon.inspection.warnings import MUCH, counted, part_warnings

__all__ = [
    "ALONE",
    "LITTLE",
    "MUCH",
    "BatchFacts",
    "ColumnFacts",
    "Inspection",
    "LinkFacts",
    "Redundancy",
    "Sampler",
    "batch_facts",
    "column_facts",
    "counted",
    "inspect",
    "larger_batches",
    "part_warnings",
    "redundancies",
    "show",
]
