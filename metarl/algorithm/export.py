"""Files of policies for other runtimes: torch.export's and ONNX."""

import logging
import os
import warnings
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from metarl.algorithm.step import FixedStep, PolicyStep
from metarl.core.errors import MetaRLError, shown
from metarl.core.files import write_atomic

FORMATS = {".onnx": "onnx", ".pt2": "torch.export"}


def check_export(path: str | os.PathLike[str]) -> str:
    """Return the suffix of an exported policy's path; raise where no such file can be written here."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise MetaRLError(f"{path}: the suffix is none of {', '.join(FORMATS)}; name the file by one.")
    if suffix == ".onnx":
        try:
            import onnx  # noqa: F401 - torch writes ONNX with both
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise MetaRLError(f"ONNX needs more packages ({error}): pip install 'metarl-suite[onnx]'.") from error
    return suffix


def export_step(step: PolicyStep, path: str | os.PathLike[str]) -> None:
    """Write a step as ``.pt2``, which ``torch.export.load`` reads, or as ``.onnx``; whole or not at all.

    Raises where the suffix is another, a package is missing or torch cannot trace the learner.
    """
    suffix, content = check_export(path), BytesIO()
    # Where nothing is learned while acting, any number of observations may come at once.
    free = {0: torch.export.Dim("n", min=1)} if isinstance(step, FixedStep) else None
    shapes = None if free is None else (free, *(None for _ in step.example[1:]))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about its own parts
            program = torch.export.export(step, step.example, dynamic_shapes=shapes, strict=False)
            if suffix == ".pt2":
                torch.export.save(program, content)
            else:
                content = BytesIO(_onnx(program, step))
    except Exception as error:  # a learner of a user's own can stop the tracing in any way
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MetaRLError(
            f"{path}: torch cannot export {type(step.learner).__name__} ({shown(said)}); its verbs must be made of "
            "tensor operations that do not depend on values."
        ) from error
    write_atomic(path, content.getvalue())


def _attention(query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> Tensor:
    """Return attention with a mask, of any number of axes, for torch translates that of four alone to ONNX."""
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    mixed: Tensor = scores.masked_fill(~visible, -torch.inf).softmax(-1) @ value
    return mixed


def _onnx(program: torch.export.ExportedProgram, step: PolicyStep) -> bytes:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        made = torch.onnx.export(
            program.run_decompositions({torch.ops.aten.scaled_dot_product_attention.default: _attention}),
            input_names=step.names,
            output_names=step.returned,
            dynamo=True,
            verbose=False,
        )
    finally:
        logger.setLevel(level)
    assert made is not None
    content: bytes = made.model_proto.SerializeToString()
    return content
