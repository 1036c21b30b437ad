"""A model as one program of torch.export, which torch runs without this package."""

import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from numpy import array, ndarray

from mscon.data.decode import Fit
from mscon.export.parity import Outputs, Parity, Sample, compare
from mscon.export.program import chosen, facts, traced
from mscon.files import write_whole
from mscon.model import MSConModel

FACTS = "mscon.json"
"""The file inside the archive that says what it is; `torch.export.load` gives it by `extra_files`."""


def export_torch(
    model: MSConModel, path: Path, *, sample: Sample, fit: Fit = "letterbox", similarities: Sequence[str] | None = None
) -> Parity:
    """Write encoder, heads and preprocessing as one `.pt2` file, whole or not at all, once it has been read back and
    gives the vectors that the package gives. It runs on a CPU; `torch.export.passes.move_to_device_pass` moves it.

    **Arguments and returned value:** as of `export_onnx`.

    **Raises:** `UserError` when torch cannot trace the backbone, the vectors differ by more than 1e-4, or the disk
    refuses.
    """
    names = chosen(model, similarities)
    graph = traced(model, names)
    archive = io.BytesIO()
    with warnings.catch_warnings():  # torch warns of its own parts' deprecations
        warnings.simplefilter("ignore")
        torch.export.save(graph, archive, extra_files={FACTS: json.dumps(facts(model, names, fit))})
        program = torch.export.load(io.BytesIO(archive.getvalue())).module()

    def run(pixels: UInt8[ndarray, "n s s 3"]) -> Outputs:
        with torch.no_grad():
            return {name: each.numpy() for name, each in program(torch.from_numpy(array(pixels))).items()}

    parity = compare(model, names, run, sample)
    write_whole(path, lambda aside: aside.write_bytes(archive.getvalue()))
    return parity
