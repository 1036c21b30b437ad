"""The pages' templates: HTML in which whatever a user wrote stands escaped, and nothing undefined goes unnoticed."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from mscon.report import text


def template(name: str) -> Template:
    """One of this folder's templates, such as `report.html`."""
    environment = Environment(
        loader=PackageLoader("mscon", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
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
