"""`veristream drift status` and `veristream drift report`: what the monitor found, from the drift topic."""

import json
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from stream import messages
from stream.blobs import open_store
from stream.errors import ConfigurationError, ContractError, VeristreamError
from stream.events import DriftReport
from stream.settings import load
from stream.snapshot import newest
from stream.topics import layout

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout")]
Depth = Annotated[int, typer.Option(min=1, help="Look at this many of the newest reports")]

_STYLES = {"ok": "green", "warning": "yellow", "alarm": "bold red", "recovered": "cyan"}
_SHOWN, _STATUS = 12, 11
_LARGEST_PAGE = 256 * 1024 * 1024


def reports(depth: int) -> list[DriftReport]:
    """The newest reports, oldest first.

    Raises:
        BrokerError: The broker does not answer, or refuses.
    """
    settings = load()
    found = []
    for record in newest(settings.kafka, layout(settings.topics)["drift"].name, depth):
        try:
            found.append(messages.decode(record, DriftReport))
        except ContractError as error:
            Console(stderr=True).print(Text(f"passed over: {error}", style="dim"))
    return found


def status(depth: Depth = 2000, as_json: AsJson = False) -> None:
    """Show the latest evaluation of every model and tenant, and early warnings that came after it."""
    latest: dict[tuple[str, str, str, bool], DriftReport] = {}
    for report in reports(depth):
        of = (report.model_digest, report.kind, report.tenant or "")
        # An early warning is about a window that is not full yet: it says nothing of an alarm that stands.
        early = report.kind == "embeddings" and not report.window.ends
        if not early:
            latest.pop((*of, True), None)
        latest[*of, early] = report
    rows = [latest[key] for key in sorted(latest)]
    if as_json:
        typer.echo(json.dumps({"evaluations": [_facts(report) for report in rows]}))
        return
    console = Console(highlight=False)
    for report in rows:
        # As Text, because tenants' names come from outside.
        facts = (
            f"{report.model_digest[:_SHOWN]}  {report.kind}, {report.tenant or 'all tenants'}, {report.window.size:,}  "
            f"{report.at:%Y-%m-%d %H:%M:%S}"
        )
        console.print(Text.assemble((f"{report.status:<{_STATUS}}", _STYLES[report.status]), (facts, "bold")))
        console.print(Padding(Text(report.reason), (0, 0, 0, _STATUS)))
    if not rows:
        console.print("nothing was evaluated yet")


def report(
    depth: Depth = 2000,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the pages in a browser")] = True,
    to: Annotated[Path | None, typer.Option(help="Copy the pages into this folder; made if there is none")] = None,
    as_json: AsJson = False,
) -> None:
    """Open the last alarm's pages: Evidently's report and the suspects. Exits with 1 where there was no alarm.

    Pages that lie in S3 are copied first, because no browser opens s3://: into --to, else into a temporary folder that
    stays, since browsers read it when they please. They show people's pictures: delete the copies when you are done.
    """
    alarms = [report for report in reports(depth) if report.status == "alarm"]
    if not alarms:
        raise VeristreamError("there was no alarm", where="drift", remedy=f"Looked at {depth} reports; see --depth")
    last = alarms[-1]
    if as_json:
        typer.echo(json.dumps(_facts(last)))
        return
    console = Console()
    console.print(
        Text.assemble(("alarm ", _STYLES["alarm"]), f"{last.at:%Y-%m-%d %H:%M:%S} ", last.model_digest[:_SHOWN])
    )
    console.print(Text(last.reason))
    if last.suspects:
        console.print(Text(f"suspects: {', '.join(last.suspects[:_SHOWN])}"))
    for name, uri in (("Evidently's report", last.report_uri), ("suspects", last.suspects_uri)):
        console.print(Text(f"{name}: {uri or 'was not made'}"), soft_wrap=True)
    pages = [uri for uri in (last.report_uri, last.suspects_uri) if uri is not None]
    if to is not None or (show and not all(page.startswith("file://") for page in pages)):
        folder, pages = _copied(pages, to)
        console.print(f"copied to {folder}; delete it when you are done", style="dim", soft_wrap=True)
    if show:
        for page in pages:
            webbrowser.open(page)


def _copied(uris: list[str], to: Path | None) -> tuple[Path, list[str]]:
    """Copies pages to where a browser can open them; returns the folder and their addresses.

    Raises:
        BlobNotFound, BlobForbidden, BlobUnavailable: A page cannot be read.
        ConfigurationError: The folder cannot be written.
    """
    store = open_store(load().blobs)
    pages = {uri.rpartition("/")[2]: store.read(uri, limit=_LARGEST_PAGE) for uri in uris}
    try:
        if to is not None:
            to.mkdir(parents=True, exist_ok=True)
        folder = to.resolve() if to is not None else Path(tempfile.mkdtemp(prefix="veristream-alarm-"))
        for name, page in pages.items():
            (folder / name).write_bytes(page)
    except OSError as error:
        raise ConfigurationError(f"the pages cannot be copied: {error.strerror}", where=str(to or "")) from error
    return folder, [(folder / name).as_uri() for name in pages]


def _facts(report: DriftReport) -> dict[str, Any]:
    return report.model_dump(mode="json")
