"""Who reigns, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models.bundle import Bundle
from models.registry import Registry
from models.slotbook import SlotBook


@dataclass(frozen=True, slots=True)
class Champion:
    """The model in force: its digest, where it lies packed, and since when it speaks."""

    digest: str
    uri: str
    since: datetime


def reigning(book: SlotBook) -> Champion | None:
    """The champion; None where the book has none yet."""
    found: Champion | None = None
    for slots in reversed(book.history()):
        if slots.champion is None or slots.at is None or (found is not None and slots.champion.digest != found.digest):
            break
        found = Champion(slots.champion.digest, slots.champion.uri, slots.at)
    return found


def enthrone(book: SlotBook, registry: Registry, bundle: str) -> None:
    """Writes the bundle that workers start with into an empty book, so that there is a champion to go back to.

    A book that has one is told to the topic again: an earlier life may have died between the two.

    Args:
        book: The slots.
        registry: Where bundles lie.
        bundle: A shipped bundle's name, or a path.

    Raises:
        BundleInvalid: It cannot be read.
        SlotConflict: Somebody else was quicker.
    """
    if book.read().champion is not None:
        book.republish()
        return
    found = Bundle.named(bundle)
    registry.register(found)
    book.promote(found.digest, "the bundle that the workers start with")
