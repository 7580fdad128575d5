"""`veristream models promote`, `rollback` and `history`: which model speaks, changed and looked up by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.bundle import Bundle, shipped
from models.registry import Registry
from models.slotbook import SLOTS, SlotBook, Slots, history
from stream.blobs import open_store
from stream.clock import SystemClock
from stream.errors import ConfigurationError
from stream.kafka import KafkaProducer
from stream.settings import Settings, load

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-f]{6,63}")
_SHOWN = 12

_Reason = Annotated[str, typer.Option(help="Why, for whoever reads the history")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout")]


def promote(
    model: Annotated[
        str,
        typer.Argument(
            help="A bundle's folder or tar, or a shipped one, which is registered; or a registered one's digest, of "
            "which six letters are enough if the history knows it",
            metavar="BUNDLE|DIGEST",
        ),
    ],
    *,
    reason: _Reason = "by hand",
    as_json: _Json = False,
) -> None:
    """Let a model speak for all uploads at once; trials end, and the old champion can be rolled back to."""
    settings = load()
    registry = _registry(settings)
    if model in shipped() or Path(model).exists():
        bundle = Bundle.named(model)
        registry.register(bundle)
        digest = bundle.digest
    else:
        digest = _digest(model, registry)
    with _book(settings, registry) as book:
        slots = book.promote(digest, reason)
    _show(slots, as_json)
    if slots.previous is None and not as_json:
        Console(stderr=True).print("No champion was in the book before: there is nothing to roll back to.")


def rollback(*, reason: _Reason = "by hand", as_json: _Json = False) -> None:
    """End a trial that is under way; where there is none, put the previous champion back."""
    settings = load()
    with _book(settings, _registry(settings)) as book:
        slots = book.rollback(reason)
    _show(slots, as_json)


def show_history(
    *, limit: Annotated[int, typer.Option(min=1, help="The newest so many changes")] = 20, as_json: _Json = False
) -> None:
    """Show which models held which slots, since when and why; the newest change first. Asks no broker."""
    changes = history(_registry(load()))[::-1][:limit]
    if as_json:
        typer.echo(json.dumps({"changes": [_facts(change) for change in changes]}))
        return
    table = Table("", "at", "step", *SLOTS, "why", box=None, header_style="bold")
    for change in changes:
        at = change.at.isoformat(" ", "seconds").removesuffix("+00:00") if change.at else ""
        # As Text, because a reason must not be read as markup.
        table.add_row(
            str(change.revision), at, change.action, *(_cell(change, slot) for slot in SLOTS), Text(change.reason)
        )
    Console().print(table if changes else "No model was ever put into a slot; workers run the bundle they were given.")


def _digest(model: str, registry: Registry) -> str:
    if _DIGEST.fullmatch(model):
        return model
    if _SHORT.fullmatch(model):
        held = [change.held(slot) for change in history(registry) for slot in SLOTS]
        found = {each.digest for each in held if each is not None and each.digest.startswith(model)}
        if len(found) == 1:
            return found.pop()
        what = f"{len(found)} models in the history have a digest that begins with {model}"
    else:
        what = f"{model} is neither a bundle's folder or tar nor a digest"
    raise ConfigurationError(what, where="BUNDLE|DIGEST", remedy="`veristream models history` lists digests")


def _registry(settings: Settings) -> Registry:
    return Registry(open_store(settings.blobs))


@contextmanager
def _book(settings: Settings, registry: Registry) -> Iterator[SlotBook]:
    producer = KafkaProducer(settings.kafka, client_id="veristream-models")
    try:
        yield SlotBook(registry, producer, settings.topics, SystemClock())
    finally:
        producer.close()


def _facts(slots: Slots) -> dict[str, Any]:
    return slots.model_dump(mode="json", exclude={"change_id"})


def _show(slots: Slots, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_facts(slots)))
        return
    table = Table("slot", "model", title=f"Change {slots.revision}", caption=Text(f"{slots.action}: {slots.reason}"))
    for slot in SLOTS:
        held = slots.held(slot)
        table.add_row(slot, f"{held.digest}{_share(held.share)}" if held else "–")
    Console().print(table)


def _cell(slots: Slots, slot: Any) -> str:
    held = slots.held(slot)
    return f"{held.digest[:_SHOWN]}{_share(held.share)}" if held else "–"


def _share(share: float) -> str:
    return "" if share == 1.0 else f" ({share:.3g})"
