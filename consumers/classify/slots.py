"""The model slots: which models are asked about an upload, changed between batches without dropping one.

When its turn comes, an upload takes the models along that it is to be judged by. So a change needs no pause: what was
prepared before it finishes on the old models, what comes after goes to the new ones, and an old one is let go with its
last batch.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from models.decode import Picture
from models.ports import Scorer
from stream.arms import position
from stream.events import Arm, ModelRef, Slot

_SIDE = 512
_PROBES = (1, 4)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A model that is ready to judge.

    Attributes:
        scorer: The model.
        ref: How verdicts name it.
        probes: (pictures, seconds) measured while warming it up.
    """

    scorer: Scorer
    ref: ModelRef
    probes: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A model in the challenger's or the shadow's slot, and the share of the uploads it is given."""

    model: Model
    share: float

    def takes(self, upload_id: str) -> bool:
        """Whether an upload belongs to the share."""
        return position(upload_id, self.model.ref.digest) < self.share


@dataclass(frozen=True, slots=True)
class Turn:
    """Who is asked about one upload.

    Attributes:
        speaker: Whose verdict it is.
        arm: The part the speaker plays.
        shadow: Whose opinion is heard beside the champion's.
    """

    speaker: Model
    arm: Arm
    shadow: Model | None = None

    @property
    def models(self) -> tuple[Model, ...]:
        """Everybody who is asked, the speaker first."""
        return (self.speaker,) if self.shadow is None else (self.speaker, self.shadow)


@dataclass(frozen=True, slots=True, eq=False)
class Lineup:
    """The models of one moment."""

    champion: Model
    challenger: Trial | None = None
    shadow: Trial | None = None

    def turn(self, upload_id: str, *, trials: bool = True) -> Turn:
        """Who is asked about an upload; without ``trials`` nobody but the champion."""
        if trials and self.challenger is not None and self.challenger.takes(upload_id):
            return Turn(self.challenger.model, "challenger")
        shadow = self.shadow if trials and self.shadow is not None and self.shadow.takes(upload_id) else None
        return Turn(self.champion, "champion", shadow.model if shadow else None)

    def holds(self, slot: Slot) -> Model | None:
        """The model in a slot."""
        found = {"champion": self.champion, "challenger": self.challenger, "shadow": self.shadow}.get(slot)
        return found.model if isinstance(found, Trial) else found

    def loaded(self, digest: str) -> Model | None:
        """The model of this digest, in whichever slot it is."""
        return next((model for model in self._models() if model.ref.digest == digest), None)

    def with_champion(self, model: Model) -> "Lineup":
        """The same trials under another champion."""
        return replace(self, champion=model)

    def with_trial(self, slot: Slot, trial: Trial | None) -> "Lineup":
        """The same, with another model on trial in the challenger's or the shadow's slot; None empties it."""
        return replace(self, challenger=trial) if slot == "challenger" else replace(self, shadow=trial)

    def _models(self) -> Iterator[Model]:
        yield self.champion
        yield from (trial.model for trial in (self.challenger, self.shadow) if trial is not None)


class ModelSlots:
    """Holds the line-up. One thread changes it, any may look: a look is one read of one reference."""

    def __init__(self, champion: Model) -> None:
        self.lineup = Lineup(champion)


def warmed_up(scorer: Scorer) -> Model:
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
    return Model(scorer, ref, tuple(probes))
