"""Cross-entropy of a classifier: what a label would be trained with alone."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer
from torch import Tensor

from mscon.contrast import AnchorLosses


class CrossEntropy:
    """loss_i = −log softmax(o_i)[y_i] for logits o_i of K classes.

    The floor is 0; chance is the answer that ignores the image, −log of the share that class y_i has in training.

    **Arguments:** `counts`: training items per class; a class without any counts as one item.

    Calling it **raises** `ValueError` for logits of another number of classes, or a label beyond it.
    """

    def __init__(self, counts: Int[Tensor, " k"]):
        known = counts.clamp(min=1).double()
        self.chance = -(known / known.sum()).log()

    def __call__(
        self, outputs: Float[Tensor, "n k"], values: Integer[Tensor, " n"], *, training: bool = True
    ) -> AnchorLosses:
        """The losses of rows with these logits and classes, −1 where one is missing."""
        if outputs.shape[1] != len(self.chance):
            raise ValueError(f"{outputs.shape[1]} logits for {len(self.chance)} classes")
        if len(values) and int(values.max()) >= len(self.chance):
            raise ValueError(f"class {int(values.max())}, where there are {len(self.chance)} classes")
        anchors, classes = values >= 0, values.clamp(min=0).long()
        loss = F.cross_entropy(outputs, classes, reduction="none").where(anchors, 0.0)
        chance = self.chance.to(outputs)[classes].where(anchors, 0.0)
        return AnchorLosses(loss, torch.zeros_like(chance), chance, anchors, anchors.sum())
