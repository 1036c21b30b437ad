"""Search under any mix of similarities: of a catalog in memory, or of an index kept in a database."""

from mscon.search.collection import Collection, Hits, Query
from mscon.search.mix import Weights, mix
from mscon.search.query import query_of
from mscon.search.space import Space
from mscon.settings import SHARED

__all__ = ["SHARED", "Collection", "Hits", "Query", "Space", "Weights", "mix", "query_of"]
