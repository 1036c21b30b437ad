"""The paper's comparison, run again: methods and studies as recipes, a result file per training, tables of these.

- `studies`: what is learned from and asked of which catalog; `methods`: what is compared. Both are recipes, in
  `recipes/`.
- `jobs`: every training that a comparison or a figure asks for, in the order in which tables become whole.
- `work`: one job done; `results`: what is kept of it.
- `comparison`: the table; `figures/`: what changes along an axis.
- `reproduce`: all of it, as the command does it.
"""
