"""Templates of pages and documents, in which nothing undefined goes unnoticed."""

from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined

from mscon.words import plain


def templates(folder: str, *, html: bool = True, finalize: Callable[..., object] | None = None) -> Environment:
    """Those in a folder of the package, such as `report`.

    **Arguments:** `html`: whatever a user wrote stands escaped, and `plain`; without it, for Markdown, as it is, unless
    `finalize` escapes it, which is called on every value that is written.
    """
    return Environment(
        loader=PackageLoader("mscon", folder),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not html,
        finalize=_plain if html and finalize is None else finalize,
    )


def _plain(value: object) -> object:
    return plain(value) if isinstance(value, str) else value
