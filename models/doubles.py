"""A classifier in memory, for tests of whatever calls one."""

from collections.abc import Callable, Sequence

import numpy as np

from models.crops import Box, crops, positions
from models.decode import Picture
from models.ports import Crops, Score
from stream.errors import InferenceFailed
from stream.events import ThresholdIds, VerdictName


def _brightness(prepared: Crops) -> float:
    return float(prepared.mean()) / 255


def _never(_: Crops) -> bool:
    return False


class FixedClassifier:
    """Answers from a rule instead of a network; a `models.ports.Scorer`.

    Args:
        rule: From prepared crops to a probability in (0, 1); by default the mean brightness.
        failing: Crops that make the whole batch raise `InferenceFailed`, as a broken picture would.
        size: Side of a crop.
        count: Crops of one picture.
        dim: Length of the embedding, which holds the probability in every place.
        digest: Digest of the bundle it plays.

    ``batches`` keeps the size of every batch that was asked for, failed ones included.
    """

    name = "fixed"
    version = "1"
    provider = "InMemory"
    precision = "fp32"
    max_batch = None
    thresholds = ThresholdIds(authentic_below="fixed-low", ai_above="fixed-high")

    def __init__(
        self,
        rule: Callable[[Crops], float] = _brightness,
        *,
        failing: Callable[[Crops], bool] = _never,
        size: int = 32,
        count: int = 1,
        dim: int = 8,
        digest: str = "0" * 64,
    ) -> None:
        self.digest = digest
        self.batches: list[int] = []
        self._rule = rule
        self._failing = failing
        self._size = size
        self._count = count
        self._dim = dim

    def prepare(self, picture: Picture) -> Crops:
        """Cuts real crops, as `models.classifier` does."""
        return crops(picture.pixels, self._size, self._count)

    def boxes(self, width: int, height: int) -> tuple[Box, ...]:
        """Where `prepare` cuts."""
        return positions(width, height, self._size, self._count)

    def predict(self, batch: Sequence[Crops]) -> list[Score]:
        """Applies the rule to each.

        Raises:
            InferenceFailed: One of the batch is `failing`.
        """
        self.batches.append(len(batch))
        if any(self._failing(prepared) for prepared in batch):
            raise InferenceFailed(f"a picture among {len(batch)} fails on purpose", where=self.digest)
        return [self._score(self._rule(prepared)) for prepared in batch]

    def _score(self, p_ai: float) -> Score:
        logit = float(np.log(p_ai) - np.log1p(-p_ai)) if 0 < p_ai < 1 else float(np.copysign(30, p_ai - 0.5))
        verdict: VerdictName = "ai_generated" if p_ai > 2 / 3 else "authentic" if p_ai < 1 / 3 else "uncertain"
        return Score(
            logit, p_ai, verdict, np.full(self._dim, p_ai, np.float16), np.full(self._count, logit, np.float32)
        )
