"""Lightning's Fabric, without the seconds that it takes to ask for a version.

Where torchmetrics is installed, Fabric imports it to see which, and with it matplotlib, scipy and more that nothing
here needs. Here the package's metadata answer.
"""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lightning_utilities.core import imports
from packaging.version import Version

__all__ = ["Fabric"]

_ask = imports.compare_version


def _ask_metadata(package: str, op: Callable[[Version, Version], bool], than: str, *rest: Any, **named: Any) -> bool:
    if package != "torchmetrics":
        return _ask(package, op, than, *rest, **named)
    try:
        return op(Version(version(package)), Version(than))
    except PackageNotFoundError:
        return False


imports.compare_version = _ask_metadata
try:
    from lightning_fabric import Fabric
finally:
    imports.compare_version = _ask
