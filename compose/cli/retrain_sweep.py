"""`veristream retrain sweep`: delete pictures that were kept for long enough, or say which would be."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from retrain.retention import sweep as swept_now
from stream.blobs import open_store
from stream.clock import SystemClock
from stream.settings import load

_MIB = 1 << 20


def sweep(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout")] = False,
) -> None:
    """Delete pictures that people labelled, once they are older than VERISTREAM_RETRAIN__KEEP_DAYS.

    Copies that a younger job chose or learned from stay. The coordinator does the same once a day.
    """
    settings = load()
    days = settings.retrain.keep_days
    found = swept_now(open_store(settings.blobs), days=days, now=SystemClock().now(), dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps({"days": days, "dry_run": dry_run, **asdict(found)}))
        return
    did = "would be deleted" if dry_run else "deleted"
    period = f"older than {days:g} days" if days else "(all are kept for ever)"
    Console(highlight=False).print(
        f"{found.copies} copies of labelled pictures and {found.zips} zips of jobs {period} {did}: "
        f"{found.bytes / _MIB:.1f} MiB; {found.kept} copies stay"
    )
