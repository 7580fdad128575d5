"""Features of many crops, through the very graph that will be shipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.evaluation.pictures import Item
from models.networks.backbone import Backbone
from models.training.onnxexport import to_onnx
from models.training.variants import crops

Features = NDArray[np.float32]

_BATCH = 48


class Extractor:
    """The trunk in ONNX Runtime: twice as quick on a CPU as torch, and the same numbers as in the bundle."""

    def __init__(self, trunk: Backbone, size: int, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = ort.InferenceSession(
            to_onnx(trunk, size, ["features"]), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, pixels: NDArray[np.uint8]) -> Features:
        """uint8 ``[N, S, S, 3]`` to float32 ``[N, width]``."""
        parts = [
            self._session.run(None, {"crops": pixels[start : start + _BATCH]})[0]
            for start in range(0, len(pixels), _BATCH)
        ]
        return np.concatenate(parts).astype(np.float32)


def variants(
    items: Sequence[Item],
    extractor: Extractor,
    *,
    count: int,
    size: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Features:
    """Features of ``count`` degraded crops of every picture, float32 ``[len(items), count, width]``."""
    rows = []
    together = max(1, _BATCH // count)
    for start in range(0, len(items), together):
        pixels = [crops(item.data, count, size, seed) for item in items[start : start + together]]
        rows.append(extractor(np.concatenate(pixels)).reshape(len(pixels), count, -1))
        if progress is not None:
            progress(len(pixels))
    return np.concatenate(rows)
