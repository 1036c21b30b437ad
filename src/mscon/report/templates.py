"""The pages' templates, and how they write numbers."""

from jinja2 import Template

from mscon.report import text
from mscon.templates import templates


def template(name: str) -> Template:
    """One of this folder's templates, such as `report.html`."""
    environment = templates("report")
    environment.filters |= {
        "score": text.score,
        "change": text.change,
        "percent": text.percent,
        "points": text.points,
        "brief": text.brief,
        "thousands": "{:,}".format,
        "duration": text.duration,
        "moment": text.moment,
    }
    return environment.get_template(name)
