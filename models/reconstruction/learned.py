"""Decoders this project trained itself, shipped as small ONNX files and run by ONNX Runtime.

Each is a patch autoencoder: a linear encoder, a narrow code, and one of several upsampling decoders.
`models.reconstruction.fitting` trains them; the files in ``weights/`` are its output.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort

from models.providers import RUNTIME_ERRORS
from models.reconstruction.fixed import Plane
from stream.errors import ConfigurationError

WEIGHTS = Path(__file__).parent / "weights"
LEARNED = ("conv-transposed", "conv-shuffle", "conv-resize", "conv-nearest")
"""Upsampling by transposed convolution, pixel shuffle, bilinear and nearest doubling before a convolution."""
MULTIPLE = 8
"""Sides must be a multiple of this many pixels."""


@cache
def session(family: str, folder: Path = WEIGHTS) -> ort.InferenceSession:
    """The autoencoder's session, one thread, kept for the life of the process.

    Raises:
        ConfigurationError: the weights are not in the folder, or ONNX Runtime refuses them.
    """
    path = folder / f"{family}.onnx"
    if not path.is_file():
        raise ConfigurationError(
            "A learned decoder's weights are missing",
            where=str(path),
            remedy="Reinstall the package, or fit them again with `veristream models fit-decoders`.",
        )
    try:
        return opened(path.read_bytes())
    except RUNTIME_ERRORS as error:
        raise ConfigurationError(f"A learned decoder cannot be opened: {error}", where=str(path)) from error


def opened(weights: bytes) -> ort.InferenceSession:
    """A session on one thread, so that equal pictures give equal bytes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


def run(decoder: ort.InferenceSession, pixels: Plane) -> Plane:
    """Encode and decode one picture.

    Args:
        decoder: From `session` or `opened`.
        pixels: float32 ``[H, W, 3]`` within 0..255, sides multiples of 8.

    Returns:
        float32 of the same shape.
    """
    (output,) = decoder.run(None, {"pixels": pixels[None]})
    return np.asarray(output[0], np.float32)
