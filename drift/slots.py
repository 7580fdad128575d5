"""Which models there are, as the models topic says: whose embeddings are expected, who speaks, and how that came."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from models.slotbook import Slots
from stream import messages
from stream.errors import VeristreamError
from stream.events import Slot, SlotChange
from stream.records import Record

_log = logging.getLogger("veristream.drift")

_LOOK_AGAIN_S = 5.0
_MOST_UNKNOWN = 1000


class KnownModels:
    """The models whose embeddings are taken.

    A model is known once it was in any slot, or is the bundle that workers start with. The models topic is looked at
    afresh when an embedding of an unknown model comes: whoever puts a model into a slot says so before workers load it,
    so what is still unknown then is a mistake. Where nothing is known at all, every model is taken.

    Args:
        configured: Digest of the bundle that workers start with; empty where that cannot be told.
        look: Reads the models topic to its end.
    """

    def __init__(self, configured: str, look: Callable[[], Iterable[Record]]) -> None:
        self._configured = configured
        self._look = look
        self._slots: dict[Slot, SlotChange] = {}
        self._ever: set[str] = {configured} if configured else set()
        self._unknown: dict[str, float] = {}

    @property
    def champion(self) -> str:
        """Digest of the model that speaks; empty where that cannot be told."""
        change = self._slots.get("champion")
        return (change.digest if change is not None else None) or self._configured

    def address(self, digest: str) -> str | None:
        """Where a model's packed bundle lies, if a slot ever said so."""
        return next((change.uri for change in self._slots.values() if change.digest == digest and change.uri), None)

    def knows(self, digest: str) -> bool:
        """Whether a model's embeddings are taken; may read the models topic, once in some seconds for each model."""
        if digest in self._ever:
            return True
        now = time.monotonic()
        if now - self._unknown.get(digest, -_LOOK_AGAIN_S) >= _LOOK_AGAIN_S:
            if len(self._unknown) >= _MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[digest] = now
            try:
                for record in self._look():
                    self._note(record)
            except VeristreamError as error:
                _log.warning("the models topic cannot be looked at: %s", error)
                self._unknown.pop(digest)
                return True
        return digest in self._ever or not self._ever

    def apply(self, record: Record) -> SlotChange | None:
        """Takes a record of the models topic in; returns the change, None where the record cannot be read."""
        change = self._note(record)
        if change is not None:
            self._slots[change.slot] = change
        return change

    def _note(self, record: Record) -> SlotChange | None:
        if record.value is None:
            return None
        try:
            change = messages.decode(record, SlotChange)
        except VeristreamError as error:
            _log.warning("a record of the models topic is passed over: %s", error)
            return None
        if change.digest is not None:
            self._ever.add(change.digest)
        return change


def won(changes: Sequence[Slots], digest: str) -> datetime | None:
    """When a model became the champion by a trial, in the reign that lasts and is its first; None otherwise.

    Args:
        changes: Every change of slots, oldest first; the topic, being compacted, has forgotten most.
        digest: The model.
    """
    at: datetime | None = None
    tried = False
    for change in changes:
        reigns = change.champion is not None and change.champion.digest == digest
        if at is not None and not reigns:
            return None
        if reigns and at is None:
            if not tried:
                return None
            at = change.at
        tried = tried or any(held is not None and held.digest == digest for held in (change.challenger, change.shadow))
    return at
