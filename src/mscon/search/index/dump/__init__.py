"""An index as plain files that another database loads, which need nothing of mscon: `qdrant` and `pgvector`."""

from mscon.search.index.dump.pgvector import dump_pgvector
from mscon.search.index.dump.qdrant import dump_qdrant

__all__ = ["dump_pgvector", "dump_qdrant"]
