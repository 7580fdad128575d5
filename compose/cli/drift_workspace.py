"""`veristream drift workspace` and `veristream drift ui`: alarms in Evidently's own workspace, and its UI over it."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from compose.cli.drift_show import AsJson, Depth, reports
from compose.cli.extras import needing
from stream.blobs import open_store
from stream.settings import load


def workspace(
    folder: Annotated[Path, typer.Argument(help="The workspace's folder; made if there is none")],
    depth: Depth = 2000,
    as_json: AsJson = False,
) -> None:
    """Write the alarms into an Evidently workspace, each once. Needs the `drift` extra and the blob store."""
    module = needing("drift", "An Evidently workspace", "drift.workspace")
    alarms = [report for report in reports(depth) if report.status == "alarm" and report.report_uri is not None]
    added, gone = module.add(folder, alarms, open_store(load().blobs))
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "alarms": len(alarms), "added": added, "gone": gone}))
        return
    console = Console()
    console.print(f"{added} of {len(alarms)} alarms added" + (f", the figures of {gone} are gone" if gone else ""))
    console.print(f"veristream drift ui {folder}", style="dim", soft_wrap=True)


def ui(
    folder: Annotated[Path, typer.Argument(help="The workspace's folder")],
    host: Annotated[str, typer.Option(help="Address to listen on; Evidently asks nobody who they are")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port")] = 8000,
) -> None:
    """Serve a workspace with Evidently's own UI, until Ctrl-C. Needs the `drift` extra."""
    needing("drift", "Evidently's UI", "drift.workspace").serve(folder, host, port)
