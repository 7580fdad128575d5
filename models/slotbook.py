"""The book of slots: which model speaks, which is on trial, which can be gone back to, and how that came about.

The book is one small object in the registry's store, `slots.json`, replaced with a conditional put, so that of two who
change it at once one wins and the other hears of it. The models topic tells the workers. The book is written first: a
process that dies before it told the topic leaves a book that is right and a topic that lags, and `SlotBook.republish`
mends that; no order of crashes leaves a topic that says what nobody decided.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import AwareDatetime, Field

from models.registry import Registry
from stream import messages
from stream.errors import BlobChanged, BlobNotFound, DeliveryFailed, SlotConflict, SlotRefused, VeristreamError
from stream.events import Event, Part, Slot, SlotChange
from stream.ports import Clock, Producer
from stream.settings import TopicSettings
from stream.topics import layout

NAME = "slots.json"
SOURCE = "veristream/slots"
# The champion first: whoever follows the topic finds a promoted challenger still loaded.
SLOTS: tuple[Slot, ...] = ("champion", "challenger", "shadow", "previous")

_MAX_BYTES = 4 * 1024 * 1024
_KEPT = 500
_ANSWER_S = 10.0

Action = Literal["none", "shadow", "canary", "promote", "rollback", "clear"]


class Held(Part):
    """A model in a slot, and the share of uploads it is given there."""

    digest: str
    uri: str
    share: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0


class Slots(Part):
    """The slots between two changes, and the change that brought them about; ``revision`` counts changes."""

    revision: int = 0
    champion: Held | None = None
    challenger: Held | None = None
    shadow: Held | None = None
    previous: Held | None = None
    action: Action = "none"
    reason: str = ""
    at: AwareDatetime | None = None
    change_id: str = ""

    def held(self, slot: Slot) -> Held | None:
        """What a slot holds."""
        found: Held | None = getattr(self, slot)
        return found


class Book(Event):
    """`slots.json`: the changes in order, the last of which is in force."""

    changes: tuple[Slots, ...] = ()


_Edit = Callable[[Slots], dict[str, Held | None]]


class SlotBook:
    """Reads and changes the slots. Each change is a conditional put, then events; both are repeated by `republish`.

    A change that is in force already is told again and not written again, so that a process that died half-way may
    simply take the step anew.

    Args:
        registry: Where bundles and the book lie.
        producer: Who sends the events.
        topics: How topics are named.
        clock: Time.
    """

    def __init__(self, registry: Registry, producer: Producer, topics: TopicSettings, clock: Clock) -> None:
        self._registry = registry
        self._producer = producer
        self._topic = layout(topics)["models"].name
        self._clock = clock

    def read(self) -> Slots:
        """The slots as they are; empty before the first change.

        Raises:
            MalformedEvent: The book cannot be read.
            BlobUnavailable: The store does not answer.
        """
        return _last(_open(self._registry)[0])

    def history(self) -> tuple[Slots, ...]:
        """Every change that is kept, oldest first; see `history`."""
        return history(self._registry)

    def shadow(self, digest: str, share: float = 1.0, *, reason: str, seen: Slots | None = None) -> Slots:
        """Lets a model score a share of the uploads beside the champion; it never speaks. Ends a canary.

        Args:
            digest: A registered bundle.
            share: Share of the uploads.
            reason: Why, in words.
            seen: The slots that the decision was taken on; a change since then is a conflict. This and what is raised
                is the same for `canary`, `promote`, `rollback` and `clear`.

        Returns:
            The slots afterwards.

        Raises:
            SlotConflict: Somebody else was quicker; nothing was changed.
            SlotRefused: The slots do not allow this.
            BundleInvalid: The bundle is not registered, or not whole.
            BlobUnavailable: The store does not answer.
            DeliveryFailed: The book is changed and the topic may not tell yet; call `republish`.
        """
        held = self._hold(digest, share)

        def edit(slots: Slots) -> dict[str, Held | None]:
            _refuse_champion(slots, digest)
            return {"shadow": held, "challenger": None}

        return self._change("shadow", reason, edit, seen)

    def canary(
        self, digest: str, share: float, *, reason: str, shadow: float = 0.0, seen: Slots | None = None
    ) -> Slots:
        """Lets a model speak for a share of the uploads; see `shadow`, which it ends.

        With ``shadow`` the same model goes on scoring that share beside the champion, wherever the champion speaks.
        """
        held = self._hold(digest, share)
        beside = held.model_copy(update={"share": shadow}) if shadow else None

        def edit(slots: Slots) -> dict[str, Held | None]:
            _refuse_champion(slots, digest)
            return {"challenger": held, "shadow": beside}

        return self._change("canary", reason, edit, seen)

    def promote(self, digest: str, reason: str, *, seen: Slots | None = None) -> Slots:
        """Lets a model speak for all uploads; the old champion can be gone back to, every trial ends. See `shadow`."""
        held = self._hold(digest, 1.0)

        def edit(slots: Slots) -> dict[str, Held | None]:
            ended: dict[str, Held | None] = {"challenger": None, "shadow": None}
            if slots.champion is not None and slots.champion.digest == digest:
                return ended
            return {"champion": held, "previous": slots.champion, **ended}

        return self._change("promote", reason, edit, seen)

    def rollback(self, reason: str, *, seen: Slots | None = None) -> Slots:
        """Ends a trial that is under way; else puts the previous champion back. See `shadow`.

        Raises:
            SlotRefused: There is neither a trial nor a previous champion.
        """

        def edit(slots: Slots) -> dict[str, Held | None]:
            if slots.challenger is not None or slots.shadow is not None:
                return {"challenger": None, "shadow": None}
            if slots.previous is None:
                remedy = "`veristream models history` lists earlier champions; promote one of them"
                raise SlotRefused("no trial is under way and no previous champion is held", remedy=remedy)
            return {"champion": slots.previous, "previous": None}

        return self._change("rollback", reason, edit, seen)

    def clear(self, reason: str, *, seen: Slots | None = None) -> Slots:
        """Ends every trial, should there be one; see `shadow`."""
        return self._change("clear", reason, lambda _: {"challenger": None, "shadow": None}, seen)

    def republish(self) -> Slots:
        """Tells the topic what the book says of every slot; harmless at any time.

        Raises:
            DeliveryFailed: The broker did not acknowledge it.
        """
        slots = self.read()
        if slots.revision:
            self._tell(slots, SLOTS)
        return slots

    def _hold(self, digest: str, share: float) -> Held:
        if not 0.0 <= share <= 1.0:
            raise SlotRefused(f"{share} is no share of the uploads", remedy="Give one from 0 to 1")
        # Opened, so that a bundle that is not whole is refused here and not by every worker.
        return Held(digest=self._registry.open(digest).digest, uri=self._registry.uri(digest), share=share)

    def _change(self, action: Action, reason: str, edit: _Edit, seen: Slots | None) -> Slots:
        book, revision = _open(self._registry)
        before = _last(book)
        if seen is not None and seen.change_id != before.change_id:
            raise _conflict(before)
        after = before.model_copy(update=edit(before))
        changed = tuple(slot for slot in SLOTS if after.held(slot) != before.held(slot))
        if not changed:
            return self.republish()
        change = after.model_copy(
            update={
                "revision": before.revision + 1,
                "action": action,
                "reason": reason,
                "at": datetime.fromtimestamp(self._clock.now(), UTC),
                "change_id": uuid4().hex,
            }
        )
        self._write(Book(changes=(*book.changes, change)[-_KEPT:]), revision)
        self._tell(change, changed)
        return change

    def _write(self, book: Book, revision: str | None) -> None:
        try:
            self._registry.store.replace(NAME, book.to_json(), media_type="application/json", revision=revision)
        except BlobChanged as error:
            # A put that was repeated because its answer was lost meets its own work.
            found = _last(_open(self._registry)[0])
            if found.change_id != _last(book).change_id:
                raise _conflict(found) from error

    def _tell(self, slots: Slots, changed: tuple[Slot, ...]) -> None:
        while True:
            self._send(slots, changed)
            # Another may have changed the book meanwhile and told the topic before us; the book has the last word.
            if (now := self.read()).revision == slots.revision:
                return
            slots, changed = now, SLOTS

    def _send(self, slots: Slots, changed: tuple[Slot, ...]) -> None:
        failed: list[VeristreamError] = []
        at = slots.at or datetime.fromtimestamp(self._clock.now(), UTC)
        for slot in changed:
            held = slots.held(slot)
            change = SlotChange(
                slot=slot,
                uri=held.uri if held else None,
                digest=held.digest if held else None,
                traffic_share=held.share if held else 0.0,
                reason=slots.reason,
                at=at,
            )
            record = messages.encode(
                change, topic=self._topic, key=slot, source=SOURCE, time=at, event_id=f"{slots.revision}/{slot}"
            )
            self._producer.send(record, lambda error: failed.append(error) if error else None)
        if self._producer.flush(_ANSWER_S) or failed:
            why = f": {failed[0].what}" if failed else ""
            remedy = "The book stands; tell the topic with `republish`, or take the same step again"
            raise DeliveryFailed(f"the models topic was not told{why}", where=self._topic, remedy=remedy)


def history(registry: Registry) -> tuple[Slots, ...]:
    """Every change of slots that is kept, oldest first; for whoever only reads.

    Raises:
        MalformedEvent: The book cannot be read.
        BlobUnavailable: The store does not answer.
    """
    return _open(registry)[0].changes


def _open(registry: Registry) -> tuple[Book, str | None]:
    uri = registry.store.uri(NAME)
    try:
        found = registry.store.revised(uri, limit=_MAX_BYTES)
    except BlobNotFound:
        return Book(), None
    return Book.from_json(found.data, where=uri), found.revision


def _last(book: Book) -> Slots:
    return book.changes[-1] if book.changes else Slots()


def _refuse_champion(slots: Slots, digest: str) -> None:
    if slots.champion is not None and slots.champion.digest == digest:
        raise SlotRefused(f"{digest} is the champion already", remedy="A model is tried against another one")


def _conflict(found: Slots) -> SlotConflict:
    what = f"somebody else was quicker: change {found.revision}, {found.action} ({found.reason or 'no reason given'})"
    return SlotConflict(what, where=NAME, remedy="Look at the slots as they are now and decide anew")
