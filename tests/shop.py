"""Names that are an attack on Markdown, and weights that are nobody's, for runs that are exported."""

import torch

COLUMN = "form|`<b>[x](http://evil)"
CLASSES = ("*round*", "<i>flat")


def scramble(model: torch.nn.Module) -> None:
    """Give statistics, biases and last layers, which all start alike, values of their own."""
    with torch.no_grad():
        for name, each in [*model.named_buffers(), *model.named_parameters()]:
            if "running" in name:
                each.uniform_(0.5, 1.5)
            elif each.is_floating_point() and (each.ndim == 1 or "uncertainty" in name):
                each.add_(torch.randn_like(each) * 0.1)
