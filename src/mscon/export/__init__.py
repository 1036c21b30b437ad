"""A trained model in other forms: one file from pixels to vectors, a backbone for timm, a folder for the Hub."""

from mscon.export.backbone import Backbone, export_backbone
from mscon.export.folder import publish
from mscon.export.onnx_file import export_onnx
from mscon.export.parity import Parity, Sample, noise, sample_of
from mscon.export.torch_file import export_torch

__all__ = [
    "Backbone",
    "Parity",
    "Sample",
    "export_backbone",
    "export_onnx",
    "export_torch",
    "noise",
    "publish",
    "sample_of",
]
