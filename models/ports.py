"""The port between whoever has pictures and whatever scores them: `models.classifier` or `models.doubles`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.crops import Box
from models.decode import Picture
from stream.events import ThresholdIds, VerdictName

Crops = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """What a model says of one picture.

    ``logit`` is the mean over the crops, ``p_ai`` that logit calibrated, ``embedding`` float16 ``[D]``, the mean over
    the crops, ``crop_logits`` float32 ``[k]`` and ``patches``, where the network makes them, float32 ``[k, h, w]``.
    """

    logit: float
    p_ai: float
    verdict: VerdictName
    embedding: npt.NDArray[np.float16]
    crop_logits: npt.NDArray[np.float32]
    patches: npt.NDArray[np.float32] | None = None


class Scorer(Protocol):
    """Scores pictures in batches. `prepare` and `predict` may be called from any thread."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def version(self) -> str:
        """Version of the model."""
        ...

    @property
    def digest(self) -> str:
        """Digest of the bundle."""
        ...

    @property
    def provider(self) -> str:
        """Execution provider really in use."""
        ...

    @property
    def precision(self) -> str:
        """Numeric precision of the graph, such as ``fp32``."""
        ...

    @property
    def max_batch(self) -> int | None:
        """Pictures in a batch at most, as measured to be quickest; None where nothing was measured."""
        ...

    @property
    def thresholds(self) -> ThresholdIds:
        """Names of the thresholds that verdicts are taken at."""
        ...

    def prepare(self, picture: Picture) -> Crops:
        """Cuts what the model looks at: uint8 ``[k, S, S, 3]``."""
        ...

    def boxes(self, width: int, height: int) -> tuple[Box, ...]:
        """Where `prepare` cuts a picture of this size, in the order of ``Score.crop_logits``."""
        ...

    def predict(self, batch: Sequence[Crops]) -> list[Score]:
        """Scores prepared pictures, in order; all of them or none.

        Raises:
            InferenceFailed: The batch failed; halves of it may still succeed.
        """
        ...
