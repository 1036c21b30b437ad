"""Well-known sets of images as their authors hand them out, each made into a catalog."""

from mscon.data.originals.birds import cub200
from mscon.data.originals.disasters import medic
from mscon.data.originals.original import Check, Original
from mscon.data.originals.products import fashion
from mscon.data.originals.shoes import zappos50k

__all__ = ["Check", "Original", "cub200", "fashion", "medic", "zappos50k"]
