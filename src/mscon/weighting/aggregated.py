"""Weights from how the similarities' gradients lie to one another, by TorchJD's weightings (extra `conflict`)."""

from collections.abc import Callable, Sequence
from typing import Literal, cast, get_args

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn

from mscon.terms import BatchTerms
from mscon.weighting.weights import Weights, check_similarities, sum_to_count

Aggregator = Literal["UPGrad", "PCGrad", "MGDA", "AlignedMTL", "DualProj", "IMTLG"]
"""Those of TorchJD's aggregators that are weights of gradients and need no more than their inner products."""


class Aggregated(nn.Module):
    """Weights such that no similarity is harmed, as far as an aggregator of gradients can see to it.

        weight = A(G / tr G),  G_ab = ⟨∂L_a/∂h, ∂L_b/∂h⟩,  scaled to sum to C

    with h the shared embedding of the batch: behind it every similarity asks for the same parameters, and what a head
    does to its own is nobody's conflict. C gradients at h cost C passes back through loss and heads, none through the
    encoder. Divided by its trace, G knows neither the batch's size nor the scale of h. A similarity without
    anchors has weight 1 and no part in the others'. With weights that are all 0 or not finite, all are trusted alike.
    What an aggregator draws by lot, such as PCGrad's order, is drawn by the number of the call.

    **Arguments:**

    - `similarities`: C.
    - `aggregator`: a name, or any function from G (C×C) to C weights ≥ 0, such as a weighting of `torchjd.aggregation`.

    `backward` can be set to what a wrapper of the model asks for in place of `torch.autograd.backward`, as Fabric does.

    **Raises:** `ImportError` that says what to install, for a name without TorchJD; `ValueError` for an unknown name,
    and for no similarity.
    """

    weight: Tensor
    calls: Tensor

    def __init__(self, similarities: int, aggregator: Aggregator | Callable[[Tensor], Tensor] = "UPGrad"):
        super().__init__()
        check_similarities(similarities)
        if not callable(aggregator) and not isinstance(cast(object, aggregator), str):
            raise ValueError(f"the aggregator must be a name or a function of inner products, not {aggregator!r}")
        self.similarities = similarities
        self.backward: Callable[..., object] = torch.autograd.backward
        self.aggregator = _of_torchjd(aggregator) if isinstance(aggregator, str) else aggregator
        self.register_buffer("weight", torch.ones(similarities, dtype=torch.float64))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, terms: BatchTerms, products: Float64[Tensor, "c c"] | None) -> Weights:
        """Weights from the inner products of the losses' gradients; in an evaluation, or without any, the last ones."""
        if self.training and products is not None:
            self.weight.copy_(self._asked(products, terms.anchors > 0))
            self.calls.add_(1)
        return Weights(weight=self.weight.to(terms.loss.dtype, copy=True), penalty=terms.loss.new_zeros(()))

    def _asked(self, products: Tensor, present: Bool[Tensor, " c"]) -> Float64[Tensor, " c"]:
        weight = torch.ones_like(self.weight)
        among = products[present][:, present]
        trace = among.trace()
        if not (trace > 0 and trace.isfinite()):
            return weight
        before = torch.get_rng_state()  # every process draws alike, and nothing else draws otherwise for it
        torch.default_generator.manual_seed(int(self.calls))
        try:
            found = self.aggregator(among / trace).detach().clamp(min=0.0)
        finally:
            torch.set_rng_state(before)
        if found.isfinite().all() and found.sum() > 0:
            weight[present] = sum_to_count(found).to(weight)
        return weight


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
    return cast("Callable[[Tensor], Tensor]", getattr(aggregation, f"{name}Weighting")())
