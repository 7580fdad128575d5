"""Where every job stands, folded from the `retrain` topic. The topic is the state; this is a view of it, and pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from stream.events import RetrainStep

StepName = Literal[
    "requested", "dataset_built", "trained", "evaluated", "refused",
    "registered", "shadow", "canary", "promoted", "rolled_back", "failed",
]  # fmt: skip
STEPS: tuple[StepName, ...] = get_args(StepName)
ENDS: frozenset[str] = frozenset({"refused", "promoted", "rolled_back", "failed"})


@dataclass(slots=True)
class Job:
    """One job: its steps in the order they were taken, each of them once."""

    id: str
    steps: dict[str, RetrainStep] = field(default_factory=dict)

    @property
    def last(self) -> RetrainStep:
        """Where it stands."""
        return next(reversed(self.steps.values()))

    @property
    def first(self) -> RetrainStep:
        """How it began."""
        return next(iter(self.steps.values()))

    @property
    def over(self) -> bool:
        """Whether it has come to an end, good or bad."""
        return any(step in ENDS for step in self.steps)

    @property
    def challenger(self) -> str | None:
        """Digest of what it made, once it has."""
        return next((step.model_digest for step in reversed(self.steps.values()) if step.model_digest), None)

    @property
    def figures(self) -> dict[str, float]:
        """Everything that was measured, by name; what a later step says counts."""
        return {name: value for step in self.steps.values() for name, value in step.figures.items()}


class History:
    """Every job, in order of its first step."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def see(self, step: RetrainStep) -> bool:
        """Takes a step in; returns whether it is news.

        A step that was taken before, or comes after a job's end, changes nothing: whoever repeats it was too slow.
        """
        job = self._jobs.get(step.job_id)
        if job is None:
            job = self._jobs[step.job_id] = Job(step.job_id)
        if step.step in job.steps or job.over:
            return False
        job.steps[step.step] = step
        return True

    @property
    def jobs(self) -> Mapping[str, Job]:
        """By id."""
        return self._jobs

    @property
    def open(self) -> Job | None:
        """The oldest job that is under way; one at a time is worked on."""
        return next((job for job in self._jobs.values() if not job.over), None)

    @property
    def ended_at(self) -> datetime | None:
        """When the last job ended."""
        return max((job.last.at for job in self._jobs.values() if job.over), default=None)
