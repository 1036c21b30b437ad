"""Checkpoints: everything that training goes on from, in one safetensors file each; no pickle."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mscon.errors import UserError
from mscon.files import make_folder, save_tensors, write_whole
from mscon.parsing import parse_json

KEPT = 2
"""How many of the newest checkpoints stay: the last, and the one before it."""


@dataclass(frozen=True)
class Position:
    """Where a training stands: `batch` batches into `epoch`, `step` optimiser steps in all, the best so far, and what
    of it is still to be logged, see `Log.unlogged`.
    """

    epoch: int
    batch: int
    step: int
    best: float | None = None
    seconds: float = 0.0
    unlogged: Sequence[Any] = ()


def save_checkpoint(
    folder: Path,
    position: Position,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
) -> Path:
    """Write modules and optimiser state; remove all but the newest `KEPT` checkpoints.

    **Raises:** `UserError` when the disk refuses; older checkpoints are then untouched.
    """
    make_folder(folder)
    tensors = {f"{name}/{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer/{index}/{key}": torch.as_tensor(value) for key, value in state.items() if value is not None
        }
    whole = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    at = json.dumps(vars(position))
    about = {"position": at, "digest": _digest(whole, at)}
    path = folder / f"step-{position.step:08d}.safetensors"
    write_whole(path, lambda aside: save_tensors(whole, aside, about))
    for old in checkpoints(folder)[KEPT:]:
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, the newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run, or None."""
    return next(iter(checkpoints(folder)), None)


@dataclass(frozen=True)
class Resumed:
    """What a training goes on from: the checkpoint's position, and of newer ones why they could not be used."""

    at: Position
    unusable: tuple[str, ...] = ()


def load_newest(folder: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> Resumed:
    """Put everything back as the newest checkpoint has it that can be used; the very start where there is none.

    **Raises:** `UserError`, of the newest, when there are some and none can be used.
    """
    mistakes: list[UserError] = []
    for path in checkpoints(folder):
        try:
            return Resumed(load_checkpoint(path, modules, optimizer), tuple(map(str, mistakes)))
        except UserError as error:
            mistakes.append(error)
    if mistakes:
        raise UserError(f"{mistakes[0]}. No other is left to go on from: start a new run")
    return Resumed(Position(epoch=0, batch=0, step=0))


def load_checkpoint(path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> Position:
    """Put everything back as it was saved.

    **Raises:** `UserError` for a file that cannot be read, does not hold what was written, or belongs to another
    recipe.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            about = file.metadata()
        if about["digest"] != _digest(tensors, about["position"]):
            raise ValueError("it does not hold the bytes that were written")
        position = Position(**parse_json(about["position"]))
        for name, module in modules.items():
            module.load_state_dict(_below(tensors, f"{name}/"))
        optimizer.load_state_dict(optimizer.state_dict() | {"state": _optimizer_state(tensors)})
        _lay_out_as_parameters(optimizer)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: not a checkpoint that this run can go on from: {error}") from error
    return position


def _digest(tensors: Mapping[str, Tensor], position: str) -> str:
    """Of all bytes: a disk may give back others than it was given, which safetensors does not notice."""
    found = blake2b(position.encode(), digest_size=16)
    for key in sorted(tensors):
        found.update(key.encode())
        found.update(tensors[key].reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _lay_out_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Files hold dense rows. A fused optimiser goes through a parameter and its state number by number in the order of
    memory, so under channels_last it would pair the wrong ones.
    """
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter).copy_(value)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _optimizer_state(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for key, value in _below(tensors, "optimizer/").items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = value
    return state
