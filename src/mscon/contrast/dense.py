"""The equation as written, with N×N tensors: the oracle for the other engines."""

import torch
from jaxtyping import Float
from torch import Tensor


def dense_loss(
    z: Float[Tensor, "n d"], q: Float[Tensor, "m n"], *, temperature: float, own: slice = slice(None)
) -> Float[Tensor, " m"]:
    """loss_i = −Σ_j q_ij log p_ij with p_ij = exp(z_i·z_j/τ) / Σ_{k≠i} exp(z_i·z_k/τ).

    **Arguments:**

    - `z`: N ≥ 2 unit rows.
    - `q`: target distributions of the M rows `own`, with q_ii = 0; a row of zeros gives a loss of 0.
    - `temperature`: τ > 0.
    - `own`: the rows to compute; all of them when left out.

    **Returns:** one value per row of `own`, in z's dtype. O(M·N) memory.
    """
    place = torch.arange(len(z), device=z.device)
    itself = place[own].unsqueeze(1) == place
    scores = z[own] @ z.mT / temperature
    log_p = scores.masked_fill(itself, float("-inf")).log_softmax(dim=1)
    return -(q * log_p.masked_fill(itself, 0.0)).sum(dim=1)
