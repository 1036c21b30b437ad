"""A catalog in a LanceDB table: kept on a disk or in an object store, changed by id, searched under any mix.

`layout` says what the table holds, `table` searches it, exactly by `scan` or by way of what `approximate` has built and
measured; `update` writes what a catalog has to say into it, by the names and types of `columns`, to where `place` says;
`dump` writes it out for other databases.
"""

from mscon.search.index.approximate import Recall, approximate
from mscon.search.index.table import Index
from mscon.search.index.update import Updated, delete_items, index_catalog

__all__ = ["Index", "Recall", "Updated", "approximate", "delete_items", "index_catalog"]
