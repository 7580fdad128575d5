"""Taking steps: each is an event on the `retrain` topic, acknowledged before anything further is done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from retrain.history import History, StepName
from stream import messages
from stream.errors import DeliveryFailed, VeristreamError
from stream.events import RetrainStep
from stream.ports import Producer

SOURCE = "veristream/retrain"
_ANSWER_S = 10.0

_log = logging.getLogger("veristream.retrain")


class Steps:
    """Takes the steps of jobs, each of them once.

    Args:
        producer: Who sends.
        topic: The `retrain` topic.
        history: Every step so far; a step that is taken is entered at once.
        taken: Told of each new step.
    """

    def __init__(
        self,
        producer: Producer,
        topic: str,
        history: History,
        *,
        taken: Callable[[RetrainStep], None] = lambda step: None,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._history = history
        self._taken = taken

    def take(self, job_id: str, step: StepName, at: datetime, **fields: Any) -> bool:
        """Publishes a step, unless it was taken before; what every step of a job shares is carried on.

        Returns:
            Whether it was news.

        Raises:
            DeliveryFailed: The broker did not acknowledge it in time. It may have got it: readers take a step once.
        """
        job = self._history.jobs.get(job_id)
        if job is not None and (step in job.steps or job.over):
            return False
        shared: dict[str, Any] = {}
        if job is not None:
            first = job.first
            shared = {
                "kind": first.kind, "trigger": first.trigger, "parent": first.parent, "model_digest": job.challenger,
            }  # fmt: skip
        event = RetrainStep(job_id=job_id, step=step, at=at, **{**shared, **fields})
        failed: list[VeristreamError] = []
        record = messages.encode(
            event, topic=self._topic, key=job_id, source=SOURCE, time=at, event_id=f"{job_id}/{step}"
        )
        self._producer.send(record, lambda error: failed.append(error) if error else None)
        if self._producer.flush(_ANSWER_S) or failed:
            why = f": {failed[0].what}" if failed else ""
            raise DeliveryFailed(f"step {step} of job {job_id} was not acknowledged{why}", where=self._topic)
        self._history.see(event)
        _log.info("job %s: %s%s", job_id, step, f": {event.reason}" if event.reason else "")
        self._taken(event)
        return True
