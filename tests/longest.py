"""How far an operation goes through a tensor."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Longest(TorchDispatchMode):
    """The length of the longest tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple | list) else [out]:
            self.length = max(self.length, each.numel() if isinstance(each, Tensor) else 0)
        return out
