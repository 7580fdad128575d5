"""The model slot: which model is serving, changed between batches without dropping one.

An upload takes the serving model along when it is prepared and is judged by that same model. So a swap needs no
pause: what was prepared before it finishes on the old model, what comes after goes to the new one, and the old one
is let go with its last batch.
"""

import threading
import time
from dataclasses import dataclass

import numpy as np

from models.decode import Picture
from models.ports import Scorer
from stream.events import Arm, ModelRef

_SIDE = 512
_PROBES = (1, 4)


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """A model that is ready to judge.

    Attributes:
        scorer: The model.
        ref: How verdicts name it.
        arm: The part it plays.
        probes: (pictures, seconds) measured while warming it up.
    """

    scorer: Scorer
    ref: ModelRef
    arm: Arm
    probes: tuple[tuple[int, float], ...]


def warmed_up(scorer: Scorer, *, arm: Arm = "champion") -> Serving:
    """Runs a model on blank pictures, so that the batcher knows from the start what its batches cost.

    Raises:
        ModelError: The model cannot even judge a blank picture.
    """
    blank = scorer.prepare(Picture(np.zeros((_SIDE, _SIDE, 3), np.uint8), "image/png", _SIDE, _SIDE, 1))
    probes = []
    for pictures in _PROBES:
        begun = time.perf_counter()
        scorer.predict([blank] * pictures)
        probes.append((pictures, time.perf_counter() - begun))
    ref = ModelRef(
        name=scorer.name,
        version=scorer.version,
        digest=scorer.digest,
        provider=scorer.provider,
        precision=scorer.precision,
    )
    return Serving(scorer, ref, arm, tuple(probes))


class ModelSlot:
    """Holds the serving model; thread-safe."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._lock = threading.Lock()

    @property
    def serving(self) -> Serving:
        """The model that uploads prepared from now on are judged by."""
        return self._serving

    def swap(self, serving: Serving) -> Serving:
        """Puts a model in and returns the one before."""
        with self._lock:
            before, self._serving = self._serving, serving
            return before
