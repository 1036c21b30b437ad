"""A web page on this machine to look at a trained run: search under any mix of similarities, maps, and its report.

`state` says what is looked for and what a mix finds, `conditions` what may pass, `results` how it is shown; `layout`
lays items out in the plane, `maps` keeps what it drew, `points` colours it; `tabs` shows the run's files; `page` puts
them together, `serve` answers the browser and `guard` decides whom and what.
"""
