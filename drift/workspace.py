"""Alarms as runs of an Evidently workspace, for those who would rather look at them in Evidently's own UI."""

import io
import json
from pathlib import Path

import numpy as np

from drift.evaluation import snapshot
from drift.pages import figures_uri
from stream.errors import BlobNotFound, ConfigurationError
from stream.events import DriftReport
from stream.ports import BlobStore

from evidently.ui.workspace import Workspace  # isort: skip  after drift.evaluation, which says not to count users

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
    found = list(workspace.search_project(PROJECT))
    project = found[0] if found else workspace.create_project(PROJECT)
    added = gone = 0
    for alarm in alarms:
        if alarm.report_id in known:
            continue
        try:
            data = store.read(figures_uri(alarm), limit=_MOST_BYTES)
        except BlobNotFound:
            gone += 1
            continue
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            names = [str(name) for name in file["names"]]
            run = snapshot(file["reference"], file["current"], names, file["thresholds"], _title(alarm), at=alarm.at)
        workspace.add_run(project.id, run)
        known.add(alarm.report_id)
        added += 1
        (folder / _ADDED).write_text(json.dumps(sorted(known)))
    return added, gone


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
