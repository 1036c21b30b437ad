"""The loss of one similarity, per anchor, with what it takes to read it: floor and chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from mscon.arguments import check_tensor, number
from mscon.contrast.dense import dense_loss
from mscon.contrast.kernel_targets import KernelTargets
from mscon.contrast.key_targets import KeyTargets, key_losses
from mscon.contrast.precision import Precision, product_precision, products
from mscon.contrast.pull import pull
from mscon.contrast.push import Engine, check_engine, push, push_pull, takes_dense
from mscon.contrast.rank_targets import RankTargets, rank_losses
from mscon.contrast.ranks import Shares, as_integers
from mscon.contrast.targets import LabelTargets, LinearTargets
from mscon.contrast.tiled import PushPull
from mscon.contrast.unit import unit_rows

AnyTargets = LinearTargets | KernelTargets | RankTargets | KeyTargets
"""What a similarity may give: whatever the losses can be computed for."""


@dataclass(frozen=True)
class AnchorLosses:
    """One contrastive loss per row of the batch, and the two marks to read it by.

    - `loss`: push_i − pull_i in nats; 0 for a row that is no anchor.
    - `floor`: the least value that loss can take, H(q_i) where targets are distributions; 0 for a row that is no
      anchor.
    - `chance`: the loss of an anchor to which all others are alike, the log of their number where targets are
      distributions; 0 for a row that is no anchor.
    - `anchors`: rows that have a label and at least one positive.
    - `count`: how many anchors there are; in a batch over several processes, where the rows are those of this process
      alone, the anchors of all.
    """

    loss: Float[Tensor, " n"]
    floor: Float[Tensor, " n"]
    chance: Float[Tensor, " n"]
    anchors: Bool[Tensor, " n"]
    count: Int[Tensor, ""]

    @property
    def mean(self) -> Float[Tensor, ""]:
        """The loss, averaged over the anchors; 0 with a gradient of 0 when there are none.

        In a batch over several processes: this process's summand of it.
        """
        return self.loss.sum() / self.count.clamp(min=1)

    @property
    def mean_floor(self) -> Float[Tensor, ""]:
        """The floor, averaged in the same way."""
        return self.floor.sum() / self.count.clamp(min=1)

    @property
    def mean_chance(self) -> Float[Tensor, ""]:
        """The loss of chance, averaged in the same way."""
        return self.chance.sum() / self.count.clamp(min=1)


@dataclass(frozen=True)
class Head:
    """What one similarity brings to a batch.

    - `z`: projections as unit rows, float32 or float64.
    - `targets`: what each row is pulled toward, over the same N rows.
    - `temperature`: τ > 0.
    - `precision`: of the products of push.
    """

    z: Float[Tensor, "n d"]
    targets: AnyTargets
    temperature: float
    precision: Precision


def contrastive_loss(
    z: Float[Tensor, "n d"], targets: AnyTargets, *, temperature: float = 0.1, engine: Engine = "auto"
) -> AnchorLosses:
    """The cross-entropy between target distributions and the softmax over the other items.

        p_ij = exp(z_i·z_j/τ) / Σ_{k≠i} exp(z_i·z_k/τ)
        loss_i = −Σ_j q_ij log p_ij = push_i − pull_i = H(q_i) + KL(q_i ‖ p_i)

    With `LabelTargets` this is SupCon's L_out (Khosla et al. 2020, arXiv 2004.11362, equation 2).

    **Arguments:**

    - `z`: projections, one row per view of an item; normalised to unit length here. Half precision is raised to
      float32; `product_precision` says how finely products are multiplied.
    - `targets`: what each row is pulled toward, over the same N rows.
    - `temperature`: τ > 0.
    - `engine`: `"dense"` (N×N tensors), `"tiled"` (O(N·d) memory, torch's own products), `"triton"` (O(N·d) memory,
      fused kernels, on a CUDA device) or `"auto"` (by N and device).

    **Returns:** the losses per row. Rows without a label take no part at all, so they get a gradient of 0; a row
    without a positive is no anchor but still a negative to others. With no anchor at all, every loss is 0 and so is
    the gradient.

    **Raises:** `ValueError` for projections that are no rows, targets that are none or of another number of rows, a
    temperature that is not positive, or an engine that is unknown or cannot serve here.
    """
    check_tensor("projections", z, "N", "d")
    if not hasattr(targets, "batch"):
        raise ValueError(f"targets must be such as LabelTargets.of(labels), not {type(targets).__name__}")
    temperature = number("temperature", temperature)
    if not 0.0 < temperature < inf:
        raise ValueError(f"temperature must be positive and finite, not {temperature}")
    check_engine(engine)
    head = Head(unit_rows(z), targets, temperature, product_precision(z, temperature))
    return contrastive_losses([head], engine=engine)[0]


def contrastive_losses(
    heads: Sequence[Head], *, engine: Engine = "auto", shares: Shares | None = None
) -> list[AnchorLosses]:
    """`contrastive_loss` of several similarities over one batch, their quadratic parts computed together.

    **Arguments:**

    - `heads`: one per similarity.
    - `engine`: as in `contrastive_loss`.
    - `shares`: which process holds which rows, when a batch of several processes was gathered; each then computes the
      losses of its own rows against all.

    **Returns:** losses per similarity, for this process's rows.

    **Raises:** `ValueError` for targets of another number of rows than their projections.
    """
    labelled = [_Labelled.of(head, shares) for head in heads]
    large = [each for each in labelled if each.in_tiles and not takes_dense(engine, each.count)]
    linear = [each for each in large if not each.kernel]
    kernel = [each for each in large if each.kernel]

    def settings(some: Sequence[_Labelled]) -> dict[str, Any]:
        temperatures, precisions = [each.head.temperature for each in some], [each.head.precision for each in some]
        ranks = shares.ranks if shares else None
        return {"temperatures": temperatures, "precisions": precisions, "engine": engine, "ranks": ranks}

    pushes = push([each.z for each in linear], **settings(linear))
    both = push_pull([each.z for each in kernel], [each.kernel for each in kernel if each.kernel], **settings(kernel))
    found = {id(each): value for each, value in [*zip(linear, pushes, strict=True), *zip(kernel, both, strict=True)]}
    return [each.losses(found.get(id(each))) for each in labelled]


@dataclass(frozen=True)
class _Labelled:
    """The labelled rows of one similarity, and which of them are this process's own.

    - `z`: the labelled rows' projections.
    - `own`: this process's rows among them.
    - `places`, `rows`: where those lie among the `rows` rows that this process holds.
    """

    head: Head
    z: Tensor
    own: slice
    places: Tensor
    rows: int

    @classmethod
    def of(cls, head: Head, shares: Shares | None) -> "_Labelled":
        labelled = head.targets.rows
        if head.targets.batch != len(head.z):
            raise ValueError(
                f"{len(head.z)} projections but labels for {head.targets.batch} rows: repeat the labels for every view"
            )
        z = head.z if len(labelled) == len(head.z) else head.z.index_select(0, labelled)
        if shares is None:
            return cls(head, z, slice(0, len(labelled)), labelled, len(head.z))
        mine = shares.own
        first, last = as_integers(torch.searchsorted(labelled, labelled.new_tensor([mine.start, mine.stop])))
        return cls(head, z, slice(first, last), labelled[first:last] - mine.start, mine.stop - mine.start)

    @property
    def count(self) -> int:
        return len(self.z)

    @property
    def in_tiles(self) -> bool:
        """Whether it has a quadratic part that engines compute."""
        return self.count >= 2 and not isinstance(self.head.targets, RankTargets | KeyTargets)

    @property
    def kernel(self) -> KernelTargets | None:
        return self.head.targets if isinstance(self.head.targets, KernelTargets) else None

    def losses(self, pushed: Tensor | PushPull | None) -> AnchorLosses:
        """With push of all labelled rows, and pull where the targets are a kernel; the dense engine needs none."""
        targets, z, own = self.head.targets, self.z, self.own
        nothing = z.new_zeros(own.stop - own.start)
        if self.count < 2:
            loss, floor, chance = z[own].sum(dim=1) * 0.0, nothing, nothing
        else:
            with products(z.device, "float64" if z.dtype == torch.float64 else "float32"):
                loss, floor, chance = self._loss_and_marks(pushed)
        anchors = targets.anchors[own]
        return AnchorLosses(
            loss=self._placed(loss.where(anchors, 0.0)),
            floor=self._placed(floor.to(z.dtype).where(anchors, 0.0)),
            chance=self._placed(chance.to(z.dtype).where(anchors, 0.0)),
            anchors=self._placed(anchors),
            count=targets.anchors.sum(),
        )

    def _loss_and_marks(self, pushed: Tensor | PushPull | None) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, floor and chance of this process's rows."""
        targets, z, own, temperature = self.head.targets, self.z, self.own, self.head.temperature
        if isinstance(targets, RankTargets):
            return rank_losses(z, targets, temperature=temperature, own=own)
        if isinstance(targets, KeyTargets):
            return key_losses(z, targets, temperature=temperature, own=own)
        chance = z.new_full((own.stop - own.start,), log(self.count - 1))
        if pushed is None:
            q = targets.matrix(own)
            return dense_loss(z, q.to(z.dtype), temperature=temperature, own=own), -torch.xlogy(q, q).sum(dim=1), chance
        if isinstance(targets, KernelTargets):
            assert isinstance(pushed, PushPull)
            return *self._of_kernel(targets, pushed), chance
        assert isinstance(pushed, Tensor)
        return pushed[own] - pull(z, targets, own) / temperature, targets.floor[own], chance

    def _of_kernel(self, targets: KernelTargets, pushed: PushPull) -> tuple[Tensor, Tensor]:
        """Loss and floor; anchors that have none near are pulled toward the nearest instead."""
        towards, floor = pushed.pull[self.own], pushed.floor[self.own]
        if targets.nearest is not None:
            far, nearest = targets.far[self.own], targets.nearest
            towards = torch.where(far, pull(self.z, nearest, self.own) / self.head.temperature, towards)
            floor = torch.where(far, nearest.floor[self.own].to(floor.dtype), floor)
        return pushed.push[self.own] - towards, floor

    def _placed(self, values: Tensor) -> Tensor:
        if len(values) == self.rows:
            return values
        return values.new_zeros(self.rows).index_copy(0, self.places, values)


def supcon_loss(
    z: Float[Tensor, "n d"], labels: Integer[Tensor, " n"], *, temperature: float = 0.1, engine: Engine = "auto"
) -> Float[Tensor, ""]:
    """SupCon (Khosla et al. 2020, L_out): mean over the anchors that have a positive, no extra factor of temperature.

    SupContrast keeps anchors without positives as zeros and multiplies by τ/0.07; pytorch-metric-learning averages
    the non-zero losses. All three agree when every anchor has a positive and τ = 0.07. Labels below 0 are missing.
    """
    return contrastive_loss(z, LabelTargets.of(labels), temperature=temperature, engine=engine).mean


def simclr_loss(
    z: Float[Tensor, "n d"], *, views: int = 2, temperature: float = 0.1, engine: Engine = "auto"
) -> Float[Tensor, ""]:
    """SimCLR's NT-Xent (Chen et al. 2020, arXiv 2002.05709): the other views of the same item are the positives.

    Rows are ordered view by view: row i and row i + N/views are views of one item. **Raises** `ValueError` for fewer
    than two views, and if N is no multiple.
    """
    if views < 2:
        raise ValueError("a view needs another one of its item to be pulled toward: views must be 2 or more")
    if len(z) % views:
        raise ValueError(f"{len(z)} rows are not {views} views of the same number of items")
    items = torch.arange(len(z) // views, device=z.device).repeat(views)
    return supcon_loss(z, items, temperature=temperature, engine=engine)
