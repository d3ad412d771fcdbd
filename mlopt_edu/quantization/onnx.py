r"""Export a quantized model to ONNX: small on disk, and the same results elsewhere.

The weights stay in the file as packed bytes and int8 numbers; the graph unpacks them
(shifts, masks, a look-up), or multiplies integers by `MatMulInteger`. What the runtime
computes is the very arithmetic of the layers here, so results differ by the rounding of
real sums only, and where that moves an input over the middle between two integers.
"""

import copy
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def export_onnx(
    path: str | os.PathLike[str],
    model: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    *,
    dynamic_batch: bool = True,
) -> None:
    """Write a model as an ONNX file.

    The file is either written whole or left as it was.

    Args:
        path: File to write.
        model: A model, quantized or not; it is exported as it acts in evaluation.
        inputs: An example: a tensor, or a tuple of positional arguments.
        dynamic_batch: The first dimension of every input may have any size.

    Raises:
        ModuleNotFoundError: If onnx or onnxscript is not installed.
    """
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    dynamic = tuple({0: torch.export.Dim.DYNAMIC} for _ in args)
    copied = copy.deepcopy(model).eval()
    with torch.no_grad(), warnings.catch_warnings():
        # torch's own exporter uses what it deprecates.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            copied,
            args,
            dynamo=True,
            optimize=False,  # it would unpack the weights into the file
            verbose=False,
            dynamic_shapes=dynamic if dynamic_batch else None,
            custom_translation_table=_translations(),
        )
    if program is None:
        raise RuntimeError("torch.onnx.export must return a program, got none")
    for node in program.model.graph.all_nodes():  # where each came from, at length
        node.metadata_props.clear()
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        written = Path(folder) / "model.onnx"
        program.save(str(written))
        os.replace(written, path)


def _translations() -> dict[Any, Any]:
    """Return what ONNX has for operations that torch does not translate rightly."""
    try:
        import onnx
        from onnxscript import opset18
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'the export needs onnx and onnxscript: pip install "mlopt-edu[export]"'
        ) from error

    def int_mm(x: Any, weight: Any) -> Any:
        return opset18.MatMulInteger(x, weight)

    def right_shift(x: Any, places: Any) -> Any:  # torch's takes uint8 for signed
        count = opset18.Cast(places, to=onnx.TensorProto.UINT8)
        return opset18.BitShift(x, count, direction="RIGHT")

    return {
        torch.ops.aten._int_mm.default: int_mm,
        torch.ops.aten.__rshift__.Scalar: right_shift,
    }
