"""Search under any mix of similarities: of all items by an inner product, or by an index."""

from mscon.search.exact import Hits, search
from mscon.search.mix import SHARED, Weights, mix
from mscon.search.query import Query, query_of
from mscon.search.space import Space

__all__ = ["SHARED", "Hits", "Query", "Space", "Weights", "mix", "query_of", "search"]
