"""What a run is fed: the user's table, its labels and splits, and its images as arrays ready for batches and views."""

from mscon.data.catalog import Catalog

__all__ = ["Catalog"]
