"""Alarms as runs of an Evidently workspace, and Evidently's own UI over it."""

import json
from pathlib import Path

from drift.evaluation import BACKWARD, snapshot
from drift.figures import Figures
from drift.pages import figures_uri
from stream.errors import BlobNotFound, ConfigurationError
from stream.events import DriftReport
from stream.ports import BlobStore

# isort: split
# After drift.evaluation, which tells Evidently not to count its users.
from evidently.sdk.models import PanelMetric
from evidently.sdk.panels import bar_plot_panel
from evidently.ui.service.app import run_local
from evidently.ui.workspace import Project, Workspace

PROJECT = "Veristream drift"

_ADDED = "veristream.json"
_MOST_BYTES = 256 * 1024 * 1024


def add(folder: Path, alarms: list[DriftReport], store: BlobStore) -> tuple[int, int]:
    """Adds alarms to a workspace, each once; makes the workspace if there is none.

    Returns:
        How many were added, and of how many the figures are gone.

    Raises:
        ConfigurationError: The folder holds something else.
        BlobUnavailable: The store does not answer.
    """
    known = _known(folder)
    workspace = Workspace.create(str(folder))
    _keep(folder, known)
    found = list(workspace.search_project(PROJECT))
    project = found[0] if found else _project(workspace)
    added = gone = 0
    for alarm in alarms:
        if alarm.report_id in known:
            continue
        try:
            data = store.read(figures_uri(alarm), limit=_MOST_BYTES)
        except BlobNotFound:
            gone += 1
            continue
        workspace.add_run(project.id, snapshot(Figures.read(data), _title(alarm), at=alarm.at))
        known.add(alarm.report_id)
        added += 1
        _keep(folder, known)
    return added, gone


def serve(folder: Path, host: str, port: int) -> None:
    """Serves a workspace with Evidently's own UI, until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: The folder is no workspace of ours. Evidently would show, and make, an empty one.
    """
    if not (folder / _ADDED).exists():
        remedy = f"Make it first: veristream drift workspace {folder}"
        raise ConfigurationError("there is no workspace to show", where=str(folder), remedy=remedy)
    run_local(host, port, str(folder))


def _project(workspace: Workspace) -> Project:
    """A project whose first page shows every alarm, so that nobody lands on an empty one."""
    about = "The alarms of veristream drift run. Each one's own report, with every column, is under Reports."
    project = workspace.create_project(PROJECT, about)
    for column in ("score", "residual"):
        values = [
            PanelMetric(metric="ValueDrift", legend=legend, metric_labels={"column": column, "method": method})
            for method, legend in (("kl_div", "of window from reference"), (BACKWARD, "of reference from window"))
        ]
        title = f"Divergence of the {column} at each alarm"
        project.dashboard.add_panel(bar_plot_panel(title, values, "kl_div in both directions, nats", size="half"))
    return project


def _keep(folder: Path, known: set[str]) -> None:
    (folder / _ADDED).write_text(json.dumps(sorted(known)))


def _known(folder: Path) -> set[str]:
    """Which alarms are in the workspace."""
    path = folder / _ADDED
    if not path.exists():
        if folder.is_dir() and any(folder.iterdir()):
            remedy = "Name an empty folder, or one that this command has made"
            raise ConfigurationError("this is no workspace of ours", where=str(folder), remedy=remedy)
        return set()
    try:
        return set(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"the list of alarms cannot be read: {error}", where=str(path)) from error


def _title(alarm: DriftReport) -> str:
    return f"alarm {alarm.report_id[:12]}, model {alarm.model_digest[:12]}"
