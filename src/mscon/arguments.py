"""What constructors and calls are given: checked, so that a mistake is told in the words of who made it."""

from collections.abc import Mapping
from typing import cast

from torch import Tensor


def check_tensor(what: str, given: object, *axes: str) -> None:
    """A tensor with these axes, such as "N" and "d"; those that are numbers must be so long."""
    shape = f"({axes[0]},)" if len(axes) == 1 else f"({', '.join(axes)})"
    if not isinstance(given, Tensor):
        raise ValueError(f"{what} must be a tensor {shape}, not a {type(given).__name__}")
    lengths = zip(axes, given.shape, strict=False)
    if given.ndim != len(axes) or any(axis.isdigit() and int(axis) != length for axis, length in lengths):
        raise ValueError(f"{what} must be a tensor {shape}, not one of {tuple(given.shape)}")


def number(what: str, given: object) -> float:
    """What was given, as a number."""
    try:
        return float(cast(float, given))
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{what} must be a number, not {given!r}") from None


def check_numbers(what: str, given: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> None:
    """One number for each row, of all or some of the similarities that have labels."""
    check_mapping(what, given, next(iter(labels)))
    if unknown := set(given) - set(labels):
        raise ValueError(f"{what} names {sorted(unknown)}, the similarities are {sorted(labels)}")
    for name, each in given.items():
        check_tensor(f"{what}[{name!r}]", each, "N")
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
    check_tensor(f"projections[{name!r}]", z, "N", "d")
    check_tensor(f"labels[{name!r}]", values, "N")
    if not z.is_floating_point() or len(z) != len(values):
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
    check_mapping(what, given, names[0])
    if set(given) != set(names):
        raise ValueError(f"{what} names {sorted(given)}, the similarities are {sorted(names)}")


def check_mapping(what: str, given: object, name: str) -> None:
    """Values by name, of which `name` may be one."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{what} must be given by name, {{{name!r}: …}}, not as a {type(given).__name__}")
