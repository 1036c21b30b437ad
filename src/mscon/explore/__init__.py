"""A web page on this machine to look at a trained run: search under any mix of similarities, maps, and its report.

`state` says what is looked for and what a mix finds, `conditions` what may pass, `results` how it is shown, `maps` lays
the items out in the plane, `tabs` shows the run's files; `page` puts them together and `serve` answers the browser.
"""

from mscon.explore.serve import serve

__all__ = ["serve"]
