"""Scenarios: what traffic looks like over time, as a YAML file of phases.

A phase lasts for a duration or a number of events. Its weights need not sum to one; only their ratios count. When a run
asks for more than a scenario holds, the last phase goes on. A scenario may say who labels its uploads.
"""

import difflib
import math
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from producers.traffic.arrivals import Bursts
from producers.traffic.moderators import Moderation
from producers.traffic.personas import PERSONAS
from producers.traffic.scenes import DELIVERED, TIERS
from stream.errors import ConfigurationError

TRAINED, UNSEEN = "trained", "unseen"

Weight = Annotated[float, Field(ge=0.0)]


def _positive(weights: Any) -> Any:
    if isinstance(weights, Mapping) and not any(weights.values()):
        raise ValueError("at least one weight must be above 0")
    return weights


Weights = Annotated[dict[str, Weight], BeforeValidator(_positive)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Burst(_Section):
    """The bursts of a phase; see `producers.traffic.arrivals.Bursts`."""

    factor: Annotated[float, Field(ge=1.0, le=100.0)] = 1.0
    mean_s: Annotated[float, Field(gt=0.0)] = 2.0
    every_s: Annotated[float, Field(gt=0.0)] = 20.0

    @model_validator(mode="after")
    def _bursts_end(self) -> Self:
        if self.every_s <= self.mean_s:
            raise ValueError("every_s must be longer than mean_s, or bursts never end")
        return self

    def as_bursts(self) -> Bursts:
        """The same for the arrival process."""
        return Bursts(self.factor, self.mean_s, self.every_s)


class Phase(_Section):
    """One stretch of traffic with one mix.

    Attributes:
        name: Told in the truth of every upload of this phase.
        duration_s: How long it lasts, seconds; exactly one of this and `events`.
        events: How many uploads it has.
        rate: Mean uploads per second, bursts included.
        burst: How uploads bunch.
        fake_share: Share of machine-made pictures; holds whatever the personas are.
        families: Weights of the ways machine-made pictures are made, by family; `trained` and `unseen` stand for all
            families that the shipped model has and has not been trained on, in equal parts.
        tiers: Weights of the delivery tiers: `clean` as made, `web` re-encoded as sites do, `hard` damaged further.
        personas: Weights of who posts.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    duration_s: Annotated[float, Field(gt=0.0)] | None = None
    events: Annotated[int, Field(ge=1)] | None = None
    rate: Annotated[float, Field(gt=0.0, le=100_000.0)] = 50.0
    burst: Burst = Burst()
    fake_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    families: Weights = {TRAINED: 1.0}
    tiers: Weights = dict(DELIVERED)
    personas: Weights = {"casual": 0.7, "prolific": 0.2, "hobbyist": 0.1}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.duration_s is None) == (self.events is None):
            raise ValueError("give exactly one of duration_s and events")
        _refuse_unknown("tier", self.tiers, TIERS)
        _refuse_unknown("persona", self.personas, PERSONAS)
        return self

    @property
    def length_s(self) -> float:
        """How long it lasts, in the mean if it is counted in events."""
        return self.duration_s if self.duration_s is not None else (self.events or 0) / self.rate


class Scenario(_Section):
    """A named run of phases.

    Attributes:
        name: By which it is loaded.
        about: In words.
        phases: One after the other.
        moderators: Who labels the uploads of all phases; left out, nobody does.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    about: str = ""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    moderators: Moderation | None = None

    @property
    def mean_rate(self) -> float:
        """Uploads per second over all phases."""
        length = sum(phase.length_s for phase in self.phases)
        return sum(phase.rate * phase.length_s for phase in self.phases) / length

    def at_rate(self, rate: float) -> Self:
        """The same scenario with every phase's rate scaled so that the mean over all phases is ``rate``.

        Durations and event counts stay as they are.
        """
        timed = [phase for phase in self.phases if phase.duration_s is not None]
        counted = [phase for phase in self.phases if phase.duration_s is None]
        # With a factor f the mean is (f·a + n) / (t + l/f), so that a·f² + (n − mean·t)·f − mean·l = 0.
        a = sum(phase.rate * phase.length_s for phase in timed)
        b = sum(phase.events or 0 for phase in counted) - rate * sum(phase.length_s for phase in timed)
        c = rate * sum(phase.length_s for phase in counted)
        factor = (math.sqrt(b * b + 4.0 * a * c) - b) / (2.0 * a) if timed else c / b
        phases = tuple(phase.model_copy(update={"rate": phase.rate * factor}) for phase in self.phases)
        return self.model_copy(update={"phases": phases})


def builtin_names() -> list[str]:
    """Names of the scenarios that come with the package."""
    return sorted(path.name.removesuffix(".yaml") for path in _folder().iterdir() if path.name.endswith(".yaml"))


def load(name_or_path: str) -> Scenario:
    """Reads a scenario by built-in name or from a YAML file.

    Raises:
        ConfigurationError: No such scenario, or one of its keys is unknown, missing or out of bounds; the message names
            the key, the phase and the nearest right name.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        try:
            return parse(path.read_text(encoding="utf-8"), where=str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"the scenario cannot be read: {error}", where=str(path)) from error
    if name_or_path not in builtin_names():
        what = f"there is no scenario “{name_or_path}”"
        raise ConfigurationError(what, remedy=f"There are {', '.join(builtin_names())}; or name a .yaml file")
    text = (_folder() / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    return parse(text, where=f"scenario {name_or_path}")


def parse(text: str, *, where: str) -> Scenario:
    """Reads a scenario from YAML text; raises as `load` does."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"not YAML: {error}", where=where) from error
    if not isinstance(data, dict):
        remedy = "It needs the keys name and phases"
        raise ConfigurationError("a scenario is a YAML mapping", where=where, remedy=remedy)
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        faults = [_tell(fault, data) for fault in error.errors(include_url=False)]
        raise ConfigurationError("; ".join(faults[:3]), where=where) from error


def _folder() -> Any:
    return resources.files("producers.traffic") / "scenarios"


def _tell(fault: Any, data: Any) -> str:
    steps: list[str] = []
    for step in fault["loc"]:
        if isinstance(step, int) and isinstance(data, list):
            data = data[step] if step < len(data) else None
            name = data.get("name") if isinstance(data, dict) else None
            steps.append(f"“{name}”" if name else str(step))
        else:
            data = data.get(step) if isinstance(data, dict) else None
            steps.append(str(step))
    place = ".".join(steps)
    if fault["type"] == "extra_forbidden":
        known = _keys_at(fault["loc"])
        near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}" if near else f"the keys are {', '.join(known)}"
        return f"{place}: there is no such key; {hint}"
    return f"{place}: {fault['msg'].removeprefix('Value error, ')}"


def _keys_at(place: tuple[Any, ...]) -> list[str]:
    # The model that the last step of `place` was refused by.
    if place[0] == "moderators" and len(place) > 1:
        return list(Moderation.model_fields)
    models: dict[int, type[_Section]] = {1: Scenario, 3: Phase, 4: Burst}
    return list(models.get(len(place), Phase).model_fields)


def _refuse_unknown(kind: str, weights: Iterable[str], known: Iterable[str]) -> None:
    for name in weights:
        if name not in known:
            raise ValueError(f"there is no {kind} “{name}”; there are {', '.join(known)}")
