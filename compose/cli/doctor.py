"""`veristream doctor`: tells what was found and what is wrong, in words."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from compose.findings import examine
from compose.variables import variables
from stream.settings import Settings, load

app = typer.Typer(add_completion=False, help="Tell what was found and what is wrong, in words.")

_MARKS = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "wrong": ("✗", "bold red"),
    "off": ("–", "bright_black"),
}


@app.command()
def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout")] = False,
    list_settings: Annotated[
        bool, typer.Option("--settings", help="List every VERISTREAM_ variable instead: value, default, meaning")
    ] = False,
) -> None:
    """Looks at Kafka, topics, Redis, blobs, execution providers, the bundle and versions, as the settings say.

    The exit code is 1 if something that is needed is wrong; every finding says what to do next.
    """
    settings = load()
    if list_settings:
        _list(settings, as_json=as_json)
        return
    found = []
    console = Console()
    for finding in examine(settings):
        found.append(finding)
        if not as_json:
            mark, style = _MARKS[finding.state]
            console.print(Text.assemble((f"{mark} ", style), (f"{finding.name}: ", "bold"), finding.found))
            if finding.remedy:
                console.print(Text(f"    {finding.remedy}", style="dim"))
    ok = all(finding.state != "wrong" for finding in found)
    if as_json:
        typer.echo(json.dumps({"ok": ok, "findings": [finding._asdict() for finding in found]}))
    if not ok:
        raise typer.Exit(1)


def _list(settings: Settings, *, as_json: bool) -> None:
    listed = list(variables(settings))
    if as_json:
        entries = {
            entry.name: {"value": entry.shown, "default": entry.default, "description": entry.description}
            for entry in listed
        }
        typer.echo(json.dumps(entries))
        return
    table = Table(title="Settings")
    for column in ("variable", "value", "default", "meaning"):
        table.add_column(column, overflow="fold")
    for entry in listed:
        value = Text(entry.shown, style="bold yellow" if entry.value != entry.default and not entry.secret else "")
        table.add_row(entry.name, value, entry.default, entry.description)
    Console().print(table)
