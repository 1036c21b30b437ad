"""Where torch.compile stays out."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import torch

Given = ParamSpec("Given")
Result = TypeVar("Result")


def outside_compiler(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The function, which compiled code calls as it is.

    The compiler would unroll every tile into its graph, and knows no sparse tables. As a decorator,
    `torch.compiler.disable` would import the compiler, seconds of it, for everybody.
    """
    if not torch.compiler.is_compiling():
        return function
    return cast(Callable[Given, Result], torch.compiler.disable(function))  # pyright: ignore[reportUnknownMemberType]
