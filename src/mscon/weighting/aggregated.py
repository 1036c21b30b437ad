"""Weights from how the similarities' gradients lie to one another, by TorchJD's weightings (extra `conflict`)."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from mscon.terms import BatchTerms
from mscon.weighting.weights import Weights, sum_to_count

Aggregator = Literal["UPGrad", "PCGrad", "MGDA", "CAGrad", "AlignedMTL", "DualProj", "IMTLG"]
"""Those of TorchJD's aggregators that are weights of gradients and need no more than their inner products."""


class Aggregated(nn.Module):
    """Weights such that no similarity is harmed, as far as an aggregator of gradients can see to it.

        weight = A(G),  G_ab = ⟨∂L_a/∂h, ∂L_b/∂h⟩,  scaled to sum to C

    with h the shared embedding of the batch: behind it every similarity asks for the same parameters, and what a head
    does to its own is nobody's conflict. C gradients at h cost C passes back through loss and heads, none through the
    encoder. With weights that are all 0 or not finite, all are trusted alike.

    **Arguments:**

    - `similarities`: C.
    - `aggregator`: a name, or any function from G (C×C) to C weights ≥ 0, such as a weighting of `torchjd.aggregation`.

    `backward` can be set to what a wrapper of the model asks for in place of `torch.autograd.backward`, as Fabric does.

    **Raises:** `ImportError` that says what to install, for a name without TorchJD; `ValueError` for an unknown name.
    """

    def __init__(self, similarities: int, aggregator: Aggregator | Callable[[Tensor], Tensor] = "UPGrad"):
        super().__init__()
        self.similarities = similarities
        self.backward: Callable[..., object] = torch.autograd.backward
        self.aggregator = _of_torchjd(aggregator) if isinstance(aggregator, str) else aggregator

    def forward(self, terms: BatchTerms, products: Float64[Tensor, "c c"]) -> Weights:
        """Weights from the inner products of the losses' gradients."""
        weight = self.aggregator(products).detach().clamp(min=0.0)
        usable = weight.isfinite().all() & (weight.sum() > 0)
        weight = torch.where(usable, weight, torch.ones_like(weight))
        return Weights(weight=sum_to_count(weight).to(terms.loss.dtype), penalty=terms.loss.new_zeros(()))


def gradient_products(
    losses: Sequence[Float[Tensor, ""]],
    embedding: Float[Tensor, "n d"],
    *,
    backward: Callable[..., object] = torch.autograd.backward,
) -> Float64[Tensor, "c c"]:
    """⟨∂ loss_a / ∂ h, ∂ loss_b / ∂ h⟩ over all items, for every two losses of a shared embedding h.

    The graph of the losses stays for another pass, and no gradient but that of h is touched, which is left empty.
    """
    embedding.retain_grad()
    gradients: list[Tensor] = []
    for loss in losses:
        embedding.grad = None
        if loss.requires_grad:
            backward(loss, inputs=[embedding], retain_graph=True)
        found = embedding.grad if embedding.grad is not None else torch.zeros_like(embedding)
        gradients.append(found.flatten().double())
    embedding.grad = None
    rows = torch.stack(gradients)
    return rows @ rows.T


def _of_torchjd(name: str) -> Callable[[Tensor], Tensor]:
    if name not in get_args(Aggregator):
        raise ValueError(f"the aggregator must be one of {', '.join(get_args(Aggregator))}, not {name!r}")
    try:
        from torchjd import aggregation
    except ImportError as error:
        raise ImportError(f"weighting {name!r} needs TorchJD: pip install 'mscon[conflict]'") from error
    settings: dict[str, Any] = {"c": 0.5} if name == "CAGrad" else {}  # its authors' own; it has no default
    return cast("Callable[[Tensor], Tensor]", getattr(aggregation, f"{name}Weighting")(**settings))
