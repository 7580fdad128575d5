"""The hot swap: follows the models topic and changes the serving model without a pause and without a restart.

The topic is compacted by slot, so its end is the present state: a worker that starts reads it through and loads only
the champion that is in force. Loading and warming up happen in this thread while the old model goes on serving. A
bundle that cannot be had, is not what its digest says, or fails on a blank picture is refused, loudly, and the old
model stays.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from consumers.classify.slots import ModelSlot, Serving, warmed_up
from models.bundle import MAX_BYTES, Bundle
from models.ports import Scorer
from stream import messages
from stream.errors import BlobUnavailable, VeristreamError
from stream.events import SlotChange
from stream.ports import BlobStore
from stream.records import Record
from stream.telemetry import Metrics

_log = logging.getLogger("veristream.models")

_SLOT = "champion"
_POLL_S = 0.2
_FIRST_RETRY_S, _RETRY_S = 0.1, 2.0


class Tail(Protocol):
    """A topic read whole; see `stream.tail.KafkaTail`."""

    @property
    def caught_up(self) -> bool:
        """Whether the topic's end was reached."""
        ...

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """Returns what is ready."""
        ...

    def close(self) -> None:
        """Lets go of the connection."""
        ...


class HotSwap:
    """Keeps the champion slot as the models topic says. One thread of its own.

    Args:
        tail: The models topic.
        slot: What to change.
        store: Where packed bundles lie.
        load: Opens a bundle's model.
        swapped: Told of the new model after each swap.
        metrics: Who counts.
    """

    def __init__(
        self,
        tail: Tail,
        slot: ModelSlot,
        store: BlobStore,
        *,
        load: Callable[[Bundle], Scorer],
        swapped: Callable[[Serving], None],
        metrics: Metrics,
    ) -> None:
        self._tail = tail
        self._slot = slot
        self._store = store
        self._load = load
        self._swapped = swapped
        self._metrics = metrics
        self._stopping = threading.Event()
        self._settled = threading.Event()
        self._pause_s = _FIRST_RETRY_S
        self._thread = threading.Thread(target=self._follow, name="hotswap")

    def start(self) -> None:
        """Begins to follow the topic."""
        self._thread.start()

    def wait_settled(self, timeout_s: float) -> bool:
        """Waits until the state the topic holds at the start is in force, or was refused."""
        return self._settled.wait(timeout_s)

    def close(self) -> None:
        """Ends."""
        self._stopping.set()
        self._thread.join()
        self._tail.close()

    def _follow(self) -> None:
        wanted: SlotChange | None = None
        while not self._stopping.is_set():
            for record in self._poll():
                wanted = self._read(record) or wanted
            if not self._tail.caught_up:
                continue
            if wanted is not None and self._put(wanted):
                wanted = None
            self._settled.set()

    def _poll(self) -> Sequence[Record]:
        try:
            records = self._tail.poll(_POLL_S)
        except VeristreamError as error:
            _log.error("the models topic cannot be read; the present model stays: %s", error)
            # Soon at first: a topic that was just made has no leader for a moment, and the worker's start waits here.
            self._stopping.wait(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _RETRY_S)
            return ()
        self._pause_s = _FIRST_RETRY_S
        return records

    def _read(self, record: Record) -> SlotChange | None:
        """The change a record asks of the champion slot; None for other slots, tombstones and broken records."""
        if record.value is None:
            return None
        try:
            change = messages.decode(record, SlotChange)
        except VeristreamError as error:
            self._refuse(error)
            return None
        return change if change.slot == _SLOT else None

    def _put(self, change: SlotChange) -> bool:
        """Puts a model into the slot; returns whether the matter is settled."""
        if change.uri is None or change.digest is None:
            _log.warning("the champion slot was emptied (%s); the present model stays", change.reason or "no reason")
            return True
        if change.digest == self._slot.serving.ref.digest:
            return True
        try:
            data = self._store.read(change.uri, limit=MAX_BYTES)
            serving = warmed_up(self._load(Bundle.unpack(data, digest=change.digest, where=change.uri)))
        except BlobUnavailable as error:
            _log.warning("waiting for the new model: %s", error)
            self._stopping.wait(_RETRY_S)
            return False
        except VeristreamError as error:
            self._refuse(error)
            return True
        before = self._slot.swap(serving)
        self._swapped(serving)
        _log.info("model %s %s serves, %s is let go", serving.ref.name, serving.ref.digest, before.ref.digest)
        return True

    def _refuse(self, error: VeristreamError) -> None:
        self._metrics.model_refused(error)
        _log.error("a change of model is refused; the present model stays: %s", error)
