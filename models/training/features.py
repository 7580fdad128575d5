"""Features of many crops, through the very graph that will be shipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.evaluation.delivery import Tier
from models.evaluation.pictures import Item
from models.training.progress import SILENT, Listener
from models.training.served import served
from models.training.statistics import Statistics, statistics
from models.training.variants import crops
from stream.errors import ModelError

Features = NDArray[np.float32]
Halves = NDArray[np.float16]
"""Features of many pictures at rest: half the memory, and what they lose is far below their noise."""

_BATCH = 48


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What is read of K crops of each of N pictures: features ``[N, K, width]`` and statistics ``[N, K, 11]``."""

    features: Features | Halves
    statistics: Statistics

    @classmethod
    def joined(cls, parts: Sequence[Seen]) -> Seen:
        """Of all the pictures, in order."""
        return cls(
            np.concatenate([part.features for part in parts]), np.concatenate([part.statistics for part in parts])
        )

    @classmethod
    def beside(cls, parts: Sequence[Seen]) -> Seen:
        """Of the same pictures, crops of one part after those of the other."""
        return cls(
            np.concatenate([part.features for part in parts], 1), np.concatenate([part.statistics for part in parts], 1)
        )


class Extractor:
    """A trunk's file in ONNX Runtime: twice as quick on a CPU as torch, and the same numbers as in the bundle."""

    def __init__(self, model: bytes, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that spin while they wait take the cores from whatever else runs beside a training.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, pixels: NDArray[np.uint8]) -> Features:
        """uint8 ``[N, S, S, 3]`` to float32 ``[N, width]``."""
        parts = [
            self._session.run(None, {"crops": pixels[start : start + _BATCH]})[0]
            for start in range(0, len(pixels), _BATCH)
        ]
        return np.concatenate(parts).astype(np.float32)

    def seen(self, crops: NDArray[np.uint8]) -> Seen:
        """uint8 ``[N, K, S, S, 3]``; features are kept as float16."""
        flat = crops.reshape(-1, *crops.shape[2:])
        features = self(flat).astype(np.float16)
        if not np.isfinite(features).all():
            raise ModelError("a feature is beyond float16 or no number", remedy="Check the network's weights.")
        shape = crops.shape[:2]
        return Seen(features.reshape(*shape, -1), statistics(flat).reshape(*shape, -1))


def serving(
    items: Sequence[Item], extractor: Extractor, tier: Tier, *, size: int, count: int, listener: Listener = SILENT
) -> Seen:
    """What is read of ``count`` crops, ``size`` pixels wide, cut of every delivered picture as a worker would."""
    listener.begin(f"features as served, {tier}", len(items))
    parts = []
    for cut in served(items, tier, size, count):
        parts.append(extractor.seen(cut))
        listener.advance(len(cut))
    return Seen.joined(parts)


def variants(
    items: Sequence[Item],
    extractor: Extractor,
    *,
    count: int,
    size: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Seen:
    """What is read of ``count`` degraded crops of every picture."""
    parts = []
    together = max(1, _BATCH // count)
    for start in range(0, len(items), together):
        pixels = np.stack([crops(item.data, count, size, seed) for item in items[start : start + together]])
        parts.append(extractor.seen(pixels))
        if progress is not None:
            progress(len(pixels))
    return Seen.joined(parts)
