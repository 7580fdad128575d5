"""A drift monitor or a retraining coordinator that follows a script: ``python -m tests.compose.scripted_loop ROLE``.

It reads and writes the real topics and the real blob store, so that a session's worker swaps models for real; what it
decides is decided beforehand. Roles: ``drift`` raises an alarm once the new family is there, ``retrain`` promotes a
better model after an alarm, ``refuse`` lets none through, ``die`` ends when the traffic begins.
"""

import json
import signal
import sys
import threading
import time
from datetime import UTC, datetime

from models.bundle import Bundle
from stream import messages
from stream.blobs import open_store
from stream.events import DriftReport, Event, RetrainStep, SlotChange, Truth
from stream.kafka import KafkaProducer
from stream.settings import Settings, load
from stream.tail import KafkaTail
from stream.topics import Plain, layout
from tests.compose.stories import FAMILY, report
from tests.models.tiny import tiny_bundle, tiny_graph

BRIGHTER = 1.65 / 255
"""The better model's factor: it takes the new family for machine-made, and photographs for nothing in particular."""

_SEEN_FIRST = 20


class Process:
    """Reads one topic, writes the others."""

    def __init__(self, settings: Settings, follows: Plain) -> None:
        self._topics = layout(settings.topics)
        self._producer = KafkaProducer(settings.kafka, client_id="scripted")
        self._tail = KafkaTail(settings.kafka, self._topics[follows].name, client_id="scripted")
        self.store = open_store(settings.blobs)
        self.stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self.stop.set())
        print(json.dumps({"event": "ready"}), flush=True)  # noqa: T201

    def records(self):
        """Whatever comes, until it is told to stop."""
        while not self.stop.is_set():
            yield from self._tail.poll(0.05)

    def say(self, plain: Plain, key: str, event: Event) -> None:
        """Publishes an event as of now."""
        now = datetime.now(UTC)
        event = event.model_copy(update={"at": now})
        topic = self._topics[plain].name
        self._producer.send(messages.encode(event, topic=topic, key=key, source="scripted", time=now))
        self._producer.flush(5)

    def close(self) -> None:
        """Waits to be told to stop."""
        self.stop.wait()
        self._tail.close()
        self._producer.close()


def drift(process: Process) -> None:
    """One quiet window, and an alarm when the new family has sent its first pictures."""
    said, seen, digest = False, 0, tiny_bundle().digest
    for record in process.records():
        if not said:
            said = True
            process.say("drift", "r1", report(0, "ok", 0.03, 0.02, digest=digest))
        seen += messages.decode(record, Truth).family == FAMILY
        if seen == _SEEN_FIRST:
            process.say("drift", "r2", report(0, "alarm", 0.3, 0.2, digest=digest))
            break


def retrain(process: Process, *, refuse: bool) -> None:
    """The whole way of one challenger after the first alarm."""
    better: Bundle = tiny_bundle(tiny_graph(scale=BRIGHTER))
    uri = process.store.write(f"bundles/{better.digest}/bundle.tar", better.pack(), media_type="application/x-tar")

    def step(kind: str, **more: object) -> None:
        event = RetrainStep(job_id="job", step=kind, model_digest=better.digest, at=datetime.now(UTC), **more)
        process.say("retrain", "job", event)

    def slot(name: str, share: float) -> None:
        held = {"uri": uri, "digest": better.digest} if share else {"uri": None, "digest": None}
        event = SlotChange(slot=name, traffic_share=share, at=datetime.now(UTC), **held)
        process.say("models", name, event)

    for record in process.records():
        if messages.decode(record, DriftReport).status == "alarm":
            break
    if process.stop.is_set():
        return
    for kind in ("requested", "dataset_built", "trained", "evaluated"):
        step(kind, figures={"labels": 40.0})
    if refuse:
        step("refused", reasons=("false positives on the golden set rose",))
        return
    step("registered")
    slot("challenger", 0.2)
    step("canary")
    time.sleep(0.2)
    slot("champion", 1.0)
    slot("challenger", 0.0)
    step("promoted")


def main(role: str) -> None:
    """Plays a role until SIGTERM."""
    process = Process(load(), {"drift": "truth", "die": "truth"}.get(role, "drift"))
    if role == "drift":
        drift(process)
    elif role == "die":
        next(process.records())
        sys.exit("the script says so")
    else:
        retrain(process, refuse=role == "refuse")
    process.close()


if __name__ == "__main__":
    main(sys.argv[1])
