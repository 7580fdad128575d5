"""``veristream topics``: which topics there are, whether the broker has them, and the contract as files."""

import json
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream import schemas
from stream.errors import ConfigurationError
from stream.settings import load
from stream.topics import Report, State, Topic, ensure, layout

app = typer.Typer(help="Create and inspect the topics.", no_args_is_help=True, add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout")]

_STYLES = {State.CREATED: "green", State.EXISTS: "green", State.DIFFERS: "yellow", State.MISSING: "red"}
_DAY_MS = 24 * 60 * 60 * 1000


@app.command("list")
def list_topics(as_json: AsJson = False) -> None:
    """Show the topics this project uses and how each is kept."""
    topics = list(layout(load().topics).values())
    if as_json:
        _print_json({"topics": [_facts(topic) for topic in topics]})
        return
    table = Table("topic", "partitions", "kept", "largest batch", "key", "what is on it", box=None, header_style="bold")
    for topic in topics:
        size = f"{topic.max_message_bytes / 1024:,.0f} KiB"
        table.add_row(topic.name, str(topic.partitions), _kept(topic), size, topic.key, topic.description)
    Console().print(table)


@app.command("ensure")
def ensure_topics(as_json: AsJson = False) -> None:
    """Create the topics that are missing; say what differs and alter nothing. Exits with 1 when one is missing."""
    reports = ensure(load())
    if as_json:
        _print_json({"topics": [report.model_dump(mode="json") for report in reports]})
    else:
        Console().print(_table(reports))
    if any(report.state is State.MISSING for report in reports):
        raise typer.Exit(1)


@app.command("schemas")
def write_schemas(
    write: Annotated[bool, typer.Option("--write/--check", help="Bring the files up to date, or only compare")] = False,
) -> None:
    """Compare the committed JSON Schemas and AsyncAPI document with the code, or write them anew."""
    names = schemas.write() if write else schemas.stale()
    for name in names:
        Console(stderr=True).print(f"{'wrote' if write else 'out of date:'} {schemas.FOLDER.name}/{name}")
    if names and not write:
        raise ConfigurationError(
            f"{len(names)} files of the contract are out of date", remedy="Run `veristream topics schemas --write`"
        )


def _print_json(content: Mapping[str, object]) -> None:
    typer.echo(json.dumps(content))


def _table(reports: list[Report]) -> Table:
    table = Table("topic", "state", "remarks", box=None, header_style="bold")
    for report in reports:
        table.add_row(report.topic, f"[{_STYLES[report.state]}]{report.state}[/]", Text("; ".join(report.remarks)))
    return table


def _facts(topic: Topic) -> dict[str, object]:
    return {
        "topic": topic.name,
        "partitions": topic.partitions,
        "config": dict(topic.config),
        "key": topic.key,
        "description": topic.description,
    }


def _kept(topic: Topic) -> str:
    if topic.cleanup == "compact":
        return "last of each key"
    return "for ever" if topic.retention_ms < 0 else f"{topic.retention_ms // _DAY_MS} d"
