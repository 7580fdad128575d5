"""How good a model's verdicts are, by the labels that came in: figures with intervals, and whether they have fallen."""

from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from drift.facts import Fact
from drift.intervals import Rise, clopper_pearson
from models.calibration import expected_calibration_error
from models.intervals import wilson
from stream.events import ComponentDrift, TruthName

ALPHA = 0.01
BASELINE = 300
"""Labels of a model from which it is taken how good it is. From a hundred the interval is so wide that ten points more
errors were proven within a thousand labels in 41 % of simulated runs, from three hundred in 90 %."""

_SLICES = 10
_FEWEST = 20
_BINS = 10
_EVEN = 0.5
_ROUNDS = 200
_TESTS = 2
_SURE = 0.9

Floats = npt.NDArray[np.float64]
Failing = Literal["wrong", "false positive"]


class Labelled(NamedTuple):
    """A verdict that is known to be right or wrong."""

    upload_id: str
    fact: Fact
    label: TruthName
    origin: str
    at: datetime

    @property
    def wrong(self) -> bool:
        """By even odds, so that `uncertain` counts by the side it leans to."""
        return (self.fact.p_ai > _EVEN) != (self.label == "ai_generated")

    @property
    def false_positive(self) -> bool:
        """A picture that is none was called machine-made."""
        return self.label == "authentic" and self.fact.verdict == "ai_generated"


class Record:
    """What the labels say of one model in one arm.

    The first `BASELINE` labels tell how good the model is; the upper end of their 90 % interval is what must be
    exceeded, so that a lucky beginning is no promise. From then on every upload's first label is one observation of two
    tests that may look at any time: of the errors among all, and of the false positives among authentic pictures.

    Args:
        window: Labels that the figures are about, the latest.
    """

    def __init__(self, window: int) -> None:
        self._window: deque[str] = deque(maxlen=window)
        self._labelled: dict[str, Labelled] = {}
        self._early: list[Labelled] = []
        self._tests: dict[Failing, Rise] = {}
        self.since_report = 0

    def add(self, labelled: Labelled) -> None:
        """Takes an upload's first label."""
        if len(self._window) == self._window.maxlen:
            self._labelled.pop(self._window[0], None)
        self._window.append(labelled.upload_id)
        self._labelled[labelled.upload_id] = labelled
        self.since_report += 1
        if not self._tests:
            self._learn(labelled)
            return
        self._tests["wrong"].see(labelled.wrong)
        if labelled.label == "authentic":
            self._tests["false positive"].see(labelled.false_positive)

    def replace(self, labelled: Labelled) -> None:
        """Takes a label that overrules an upload's first: the figures change, the tests do not look again."""
        if labelled.upload_id in self._labelled:
            self._labelled[labelled.upload_id] = labelled

    @property
    def proven(self) -> list[Failing]:
        """What has risen for certain."""
        return [name for name, test in self._tests.items() if test.proven]

    def begin_again(self) -> None:
        """After an alarm: what was proven is tested anew against the same rates."""
        self._tests = {name: Rise(test.rate, ALPHA / _TESTS) for name, test in self._tests.items()}

    @property
    def latest(self) -> list[Labelled]:
        """The window, oldest first."""
        return [self._labelled[upload_id] for upload_id in self._window if upload_id in self._labelled]

    def components(self) -> tuple[ComponentDrift, ...]:
        """Every figure of the window; a slice is told from 20 labels on, the ten largest of each kind."""
        latest, proven = self.latest, self.proven
        found = [*self._shares("", latest, proven), *_calibration(latest)]
        for kind in ("tenant", "origin"):
            parts: defaultdict[str, list[Labelled]] = defaultdict(list)
            for labelled in latest:
                parts[labelled.fact.tenant if kind == "tenant" else labelled.origin].append(labelled)
            largest = sorted(parts.items(), key=lambda part: (-len(part[1]), part[0]))[:_SLICES]
            for name, part in largest:
                if len(part) >= _FEWEST and len(largest) > 1:
                    found += self._shares(f", {kind} {name}", part, ())
        return tuple(found)

    def _learn(self, labelled: Labelled) -> None:
        self._early.append(labelled)
        if len(self._early) < BASELINE:
            return
        authentic = [early for early in self._early if early.label == "authentic"]
        wrong, false = sum(early.wrong for early in self._early), sum(early.false_positive for early in authentic)
        # The interval's two tails are 10 % together, so its upper end is exceeded by chance in 5 %.
        self._tests = {
            "wrong": Rise(clopper_pearson(wrong, len(self._early), _SURE)[1], ALPHA / _TESTS),
            "false positive": Rise(clopper_pearson(false, len(authentic), _SURE)[1], ALPHA / _TESTS),
        }
        self._early = []

    def _shares(self, of: str, part: Sequence[Labelled], proven: Sequence[Failing]) -> list[ComponentDrift]:
        authentic = [labelled for labelled in part if labelled.label == "authentic"]
        right = sum(not labelled.wrong for labelled in part)
        false = sum(labelled.false_positive for labelled in authentic)
        found = [
            _figure(f"accuracy{of}", right / max(1, len(part)), wilson(right, len(part)) or (0.0, 1.0), len(part)),
            _figure(
                f"false positives{of}",
                false / max(1, len(authentic)),
                clopper_pearson(false, len(authentic)),
                len(authentic),
            ),
        ]
        if not of and self._tests:
            limits = (1.0 - self._tests["wrong"].rate, self._tests["false positive"].rate)
            alarmed = ("wrong" in proven, "false positive" in proven)
            found = [
                figure.model_copy(update={"threshold": limit, "alarmed": sure})
                for figure, limit, sure in zip(found, limits, alarmed, strict=True)
            ]
        return found


def _figure(name: str, value: float, interval: tuple[float, float], n: int) -> ComponentDrift:
    words = f"95 % in {interval[0]:.4f} to {interval[1]:.4f}, {n} labels"
    return ComponentDrift(name=name, statistic=words, value=value, threshold=0.0, alarmed=False)


def _calibration(latest: Sequence[Labelled]) -> list[ComponentDrift]:
    """Brier score and expected calibration error, with intervals from drawing the labels again."""
    p = np.array([labelled.fact.p_ai for labelled in latest])
    truth = np.array([labelled.label == "ai_generated" for labelled in latest], np.float64)
    draws = np.random.default_rng(0).integers(0, len(p), (_ROUNDS, len(p)))
    found = []
    for name, of in (("Brier score", brier), ("calibration error", partial(expected_calibration_error, bins=_BINS))):
        drawn = [of(p[draw], truth[draw]) for draw in draws]
        low, high = np.quantile(drawn, [0.025, 0.975])
        found.append(_figure(name, of(p, truth), (float(low), float(high)), len(p)))
    return found


def brier(p: Floats, truth: Floats) -> float:
    """Mean squared distance of probabilities ``[n]`` from truths ``[n]`` of 0 and 1 (G. Brier, 1950)."""
    return float(np.mean((p - truth) ** 2))
