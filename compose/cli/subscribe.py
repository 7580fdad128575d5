"""`veristream subscribe`: verdicts as they are decided, for people or for pipes."""

import uuid
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from compose.cli.signals import until_signalled
from consumers.subscriber import VerdictSubscriber
from stream.errors import ContractError
from stream.events import Verdict, VerdictName
from stream.records import Record
from stream.settings import load
from stream.telemetry import configure_logging

app = typer.Typer(add_completion=False, help="Print verdicts as they are decided.")

_STYLES: dict[VerdictName, str] = {"ai_generated": "bold red", "authentic": "green", "uncertain": "yellow"}


def _verdict_names(given: list[str] | None) -> list[VerdictName] | None:
    """Checks names; typer knows no lists of literals."""
    unknown = [name for name in given or [] if name not in _STYLES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(_STYLES)}")
    return [name for name in _STYLES if name in given] if given else None


@app.command()
def subscribe(
    *,
    verdict: Annotated[
        list[str] | None,
        typer.Option(help="Only these: ai_generated, authentic, uncertain; may be repeated"),
    ] = None,
    min_p_ai: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only what is at least this probable to be machine-made")
    ] = None,
    tenant: Annotated[list[str] | None, typer.Option(help="Only of these tenants; may be repeated")] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Keep the position in this group; without it, watch from now on"),
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(help="Kafka, as HOST:PORT")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as on the topic")] = False,
) -> None:
    """Prints verdicts until Ctrl-C or --limit. Records that are no verdicts are named on stderr and passed over."""
    settings = load()
    configure_logging(settings.telemetry)
    console, complaints = Console(highlight=False), Console(stderr=True, highlight=False)

    def malformed(record: Record, error: ContractError) -> None:
        complaints.print(Text(f"{record.place} is no verdict: {error}", style="dim"))

    def show(found: Verdict) -> None:
        if as_json:
            typer.echo(found.to_json())
        else:
            console.print(line(found), soft_wrap=True)

    stop = until_signalled()
    with VerdictSubscriber(
        bootstrap or settings,
        group or f"veristream-subscribe-{uuid.uuid4().hex[:12]}",
        verdicts=_verdict_names(verdict),
        min_p_ai=min_p_ai,
        tenants=tenant or None,
        start="earliest" if group else "latest",
        on_malformed=malformed,
    ) as verdicts:
        verdicts.run(show, stop=stop, limit=limit)


def line(verdict: Verdict) -> Text:
    """One verdict on one line: when, what, how sure, how fast, and on what."""
    image = verdict.image
    return Text.assemble(
        (f"{verdict.decided_at:%H:%M:%S} ", "dim"),
        (f"{verdict.verdict:<12} ", _STYLES[verdict.verdict]),
        f"{verdict.p_ai:6.1%}  ",
        verdict.upload_id,
        (f"  {image.width}×{image.height} {image.media_type.removeprefix('image/')}", "dim"),
        (f"  {verdict.timings_ms.total:.0f} ms  {verdict.model.name} {verdict.model.digest[:8]}", "dim"),
    )
