"""A contrastive loss beside those of classifiers."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mscon.contrast import AnchorLosses, contrastive_loss
from mscon.similarity import Similarity


@dataclass(frozen=True)
class Contrastive:
    """`mscon.contrast.contrastive_loss` over the rows of this process, for a similarity that is given by no label.

    **Arguments:** `similarity`: values of a batch to targets; `temperature`: τ > 0.
    """

    similarity: Similarity
    temperature: float = 0.1

    def __call__(self, outputs: Float[Tensor, "n d"], values: Tensor, *, training: bool = True) -> AnchorLosses:
        """The losses of rows with these projections and values."""
        return contrastive_loss(outputs, self.similarity.targets(values), temperature=self.temperature)
