"""What a call of the objective is given: checked, so that a mistake is told in the words of the call."""

from collections.abc import Mapping
from typing import cast

from torch import Tensor


def check_numbers(what: str, given: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> None:
    """One number for each row, of all or some of the similarities that have labels."""
    if unknown := set(given) - set(labels):
        raise ValueError(f"{what} names {sorted(unknown)}, the similarities are {sorted(labels)}")
    for name, each in given.items():
        if each.shape != labels[name].shape:
            rows, shape = len(labels[name]), tuple(each.shape)
            raise ValueError(f"{what}[{name!r}] must hold one number for each of the {rows} rows, not {shape}")


def check_weights(what: str, given: Mapping[str, Tensor]) -> None:
    """Numbers that are finite and at least 0."""
    for name, each in given.items():
        if not bool(((each >= 0) & each.isfinite()).all()):
            raise ValueError(f"{what}[{name!r}] must be numbers from 0 on, not from {each.min()} to {each.max()}")


def check_batch(projections: Mapping[str, Tensor], labels: Mapping[str, Tensor], names: list[str]) -> None:
    """Projections and labels of the similarities, no more and no fewer, that go together row by row."""
    check_names("projections", projections, names)
    check_names("labels", labels, names)
    for name in names:
        check_rows(name, projections[name], labels[name])


def check_rows(name: str, z: Tensor, values: Tensor) -> None:
    """A similarity's projections and the values of its labels: as many rows, on one device."""
    for what, given in (("projections", z), ("labels", values)):
        if not isinstance(cast(object, given), Tensor):
            raise ValueError(f"{what}[{name!r}] must be a tensor, not a {type(given).__name__}")
    if z.ndim != 2 or not z.is_floating_point() or values.ndim != 1 or len(z) != len(values):
        raise ValueError(
            f"projections[{name!r}] must be (N, d) floats and labels[{name!r}] (N,) codes:"
            f" {tuple(z.shape)} {z.dtype} against {tuple(values.shape)}"
        )
    if z.device != values.device:
        raise ValueError(f"projections[{name!r}] are on {z.device}, labels[{name!r}] on {values.device}")


def check_equal_rows(projections: list[Tensor]) -> None:
    """As many rows of every similarity, as processes that share a batch need."""
    if len(counts := {len(z) for z in projections}) > 1:
        raise ValueError(f"with gather_distributed all similarities come with the same rows, not with {sorted(counts)}")


def check_names(what: str, given: Mapping[str, object], names: list[str]) -> None:
    """The similarities, no other names and none left out."""
    if not isinstance(cast(object, given), Mapping):
        raise ValueError(f"{what} must be given by name, {{{names[0]!r}: …}}, not as a {type(given).__name__}")
    if set(given) != set(names):
        raise ValueError(f"{what} names {sorted(given)}, the similarities are {sorted(names)}")
