"""The hot swap: follows the models topic and changes the models that serve without a pause and without a restart.

The topic is compacted by slot, so its end is the present state: a worker that starts reads it through and loads only
what is in force. Loading and warming up happen in this thread while the present models go on serving; a model that is
loaded in one slot is not loaded again for another, so a challenger is promoted at once. A bundle that cannot be had, is
not what its digest says, or fails on a blank picture is refused, loudly: the champion stays, a trial does not begin.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from consumers.classify.slots import Lineup, Model, ModelSlots, Trial, warmed_up
from models.bundle import MAX_BYTES, Bundle
from models.ports import Scorer
from stream import messages
from stream.errors import BlobUnavailable, VeristreamError
from stream.events import Slot, SlotChange
from stream.ports import BlobStore
from stream.records import Record
from stream.telemetry import Metrics

_log = logging.getLogger("veristream.models")

# In this order, so that a promoted challenger is the champion before its own slot is emptied.
_FOLLOWED: tuple[Slot, ...] = ("champion", "challenger", "shadow")
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
    """Keeps the slots as the models topic says. One thread of its own.

    Args:
        tail: The models topic.
        slots: What to change.
        store: Where packed bundles lie.
        load: Opens a bundle's model.
        swapped: Told of a slot and the model that is in it now, or None, after each change.
        metrics: Who counts.
    """

    def __init__(
        self,
        tail: Tail,
        slots: ModelSlots,
        store: BlobStore,
        *,
        load: Callable[[Bundle], Scorer],
        swapped: Callable[[Slot, Model | None], None],
        metrics: Metrics,
    ) -> None:
        self._tail = tail
        self._slots = slots
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
        wanted: dict[Slot, SlotChange] = {}
        while not self._stopping.is_set():
            for record in self._poll():
                if (change := self._read(record)) is not None:
                    wanted[change.slot] = change
            if not self._tail.caught_up:
                continue
            for slot in _FOLLOWED:
                if slot in wanted and self._put(wanted[slot]):
                    del wanted[slot]
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
        """The change a record asks for; None for slots that are not followed, tombstones and broken records."""
        if record.value is None:
            return None
        try:
            change = messages.decode(record, SlotChange)
        except VeristreamError as error:
            self._refuse(error)
            return None
        return change if change.slot in _FOLLOWED else None

    def _put(self, change: SlotChange) -> bool:
        """Puts a model into a slot, or empties it; returns whether the matter is settled."""
        slot, lineup = change.slot, self._slots.lineup
        if change.uri is None or change.digest is None:
            self._empty(slot, change.reason or "no reason given")
            return True
        known = lineup.loaded(change.digest)
        if slot != "champion" and known is not lineup.holds(slot):
            self._empty(slot, "another model is to come")
        try:
            model = known or self._fetched(change.uri, change.digest)
        except BlobUnavailable as error:
            _log.warning("waiting for the new %s: %s", slot, error)
            self._stopping.wait(_RETRY_S)
            return False
        except VeristreamError as error:
            self._refuse(error)
            return True
        self._arrange(slot, model, change.traffic_share)
        return True

    def _fetched(self, uri: str, digest: str) -> Model:
        data = self._store.read(uri, limit=MAX_BYTES)
        return warmed_up(self._load(Bundle.unpack(data, digest=digest, where=uri)))

    def _empty(self, slot: Slot, reason: str) -> None:
        if slot == "champion":
            _log.warning("the champion slot was emptied (%s); the present model stays", reason)
        elif (before := self._slots.lineup.holds(slot)) is not None:
            self._install(slot, self._slots.lineup.with_trial(slot, None))
            _log.info("the %s %s is let go: %s", slot, before.ref.digest, reason)

    def _arrange(self, slot: Slot, model: Model, share: float) -> None:
        lineup = self._slots.lineup
        if slot == "champion":
            if model is not lineup.champion:
                self._install(slot, lineup.with_champion(model))
                _log.info(
                    "model %s %s serves, %s is let go", model.ref.name, model.ref.digest, lineup.champion.ref.digest
                )
        else:
            self._install(slot, lineup.with_trial(slot, Trial(model, share)))
            _log.info("the %s is %s %s, for %.3g of the uploads", slot, model.ref.name, model.ref.digest, share)

    def _install(self, slot: Slot, lineup: Lineup) -> None:
        self._slots.lineup = lineup
        self._swapped(slot, lineup.holds(slot))

    def _refuse(self, error: VeristreamError) -> None:
        self._metrics.model_refused(error)
        _log.error("a change of model is refused; what serves stays: %s", error)
