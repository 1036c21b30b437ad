"""Inspection: counts, gaps, redundancy, and what a batch will hold, before anything is trained."""

from mscon.inspection.batches import ALONE, BatchFacts, Sampler, batch_facts, larger_batches
from mscon.inspection.facts import ColumnFacts, LinkFacts, Redundancy, redundancies
from mscon.inspection.inspect import Inspection, inspect
from mscon.inspection.tables import show

__all__ = [
    "ALONE",
    "BatchFacts",
    "ColumnFacts",
    "Inspection",
    "LinkFacts",
    "Redundancy",
    "Sampler",
    "batch_facts",
    "inspect",
    "larger_batches",
    "redundancies",
    "show",
]
