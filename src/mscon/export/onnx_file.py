"""A model as one ONNX file, which onnxruntime and its like run without torch."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from numpy import ndarray

from mscon.data.decode import Fit
from mscon.errors import UserError, first_line
from mscon.export.parity import Outputs, Parity, Sample, compare
from mscon.export.program import DYNAMIC, INPUT, chosen, facts, output_names, traced
from mscon.files import write_whole
from mscon.model import MSConModel

OPSET = 18
"""The oldest that torch writes without a converter, and so the one that most runtimes read (onnxruntime from 1.14)."""

LARGEST = 2**31 - 2**20
"""Bytes of weights: a file of protobuf ends at 2 GiB, and what lies beyond would need a second one."""


def export_onnx(
    model: MSConModel, path: Path, *, sample: Sample, fit: Fit = "letterbox", similarities: Sequence[str] | None = None
) -> Parity:
    """Write encoder, heads and preprocessing as one ONNX file, whole or not at all, once it has been run by onnxruntime
    and gives the vectors that the package gives.

    **Arguments:**

    - `model`: of colour images of one size.
    - `path`: the file to write.
    - `sample`: images to compare on.
    - `fit`: how images were made square; noted in the file.
    - `similarities`: those whose heads go into it; all when left out.

    **Returns:** how far the file's vectors are from the package's.

    **Raises:** `UserError` when onnx, onnxscript or onnxruntime is not installed, the backbone has something that ONNX
    has not, the vectors differ by more than 1e-4, or the disk refuses.
    """
    names = chosen(model, similarities)
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter wants these two
    except ImportError as error:
        raise UserError(f'ONNX files need what `pip install "mscon[export]"` installs: {error}') from None
    if sum(each.nbytes for each in model.state_dict().values()) > LARGEST:
        raise UserError(f"{path}: more than 2 GiB of weights do not go into one ONNX file; use --format torch")
    content = _content(model, names, fit)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    outputs = [each.name for each in session.get_outputs()]

    def run(pixels: UInt8[ndarray, "n s s 3"]) -> Outputs:
        found: Any = session.run(None, {INPUT: pixels})
        return dict(zip(outputs, found, strict=True))

    parity = compare(model, names, run, sample)
    write_whole(path, lambda aside: aside.write_bytes(content))
    return parity


def _content(model: MSConModel, similarities: Sequence[str], fit: Fit) -> bytes:
    graph = traced(model, similarities)
    with warnings.catch_warnings():  # the exporter warns of its own parts' deprecations
        warnings.simplefilter("ignore")
        try:
            found = torch.onnx.export(
                graph,
                input_names=[INPUT],
                output_names=output_names(model, similarities),
                dynamic_shapes=DYNAMIC,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # whatever a graph does that ONNX has no operator for
            raise UserError(
                f"backbone {model.architecture.backbone!r}: it has something that ONNX has not ({first_line(error)});"
                " use --format torch"
            ) from error
    assert found is not None, "only the older exporter returns nothing"
    found.model.metadata_props.update(facts(model, similarities, fit))
    for node in found.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces, with paths of the machine that it was traced on
    return found.model_proto.SerializeToString()
