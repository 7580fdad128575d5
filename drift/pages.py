"""The pages an alarm leaves in the blob store: Evidently's report, the suspects, and the figures both were made of."""

import io
import logging
from collections.abc import Callable
from functools import partial

import numpy as np

from drift.evaluator import Evaluator
from drift.facts import Facts
from drift.metrics import DriftMetrics
from drift.monitor import Alarm
from drift.suspects import find
from drift.suspects_page import render
from drift.windows import arrays
from stream.errors import BlobNotFound, ReferenceInvalid, VeristreamError
from stream.events import DriftReport
from stream.ports import BlobStore
from stream.settings import Settings

_log = logging.getLogger("veristream.drift")

_FIGURES = "window.npz"
_HTML, _NPZ = "text/html; charset=utf-8", "application/x-npz"


class Pages:
    """Makes and stores pages.

    Args:
        settings: Where uploads are read, and what may be opened.
        store: Where pages go.
        evaluator: Who renders Evidently's report.
        facts: Where uploads lie.
        metrics: Who counts.
    """

    def __init__(
        self, settings: Settings, store: BlobStore, evaluator: Evaluator, facts: Facts, metrics: DriftMetrics
    ) -> None:
        self._settings = settings
        self._store = store
        self._evaluator = evaluator
        self._facts = facts
        self._metrics = metrics

    def publish(self, alarm: Alarm) -> DriftReport:
        """Stores the pages and returns the report with their addresses.

        A page that cannot be made or stored is left out: an alarm is worth more than its pages.
        """
        if not self._settings.blobs.store:
            return alarm.report
        report = alarm.report.model_copy(update={"report_uri": self._tried(partial(self._evidently, alarm))})
        return report.model_copy(update={"suspects_uri": self._tried(partial(self._suspects, report))})

    def _tried(self, step: Callable[[], str]) -> str | None:
        try:
            return step()
        except VeristreamError as error:
            self._metrics.failed(error)
            _log.error("a page of an alarm could not be made: %s", error)
            return None

    def _evidently(self, alarm: Alarm) -> str:
        reference = alarm.inforce.reference
        current = reference.columns(*arrays(alarm.window.sightings))
        level = reference.thresholds_for(len(current))
        if level is None:
            raise ReferenceInvalid("an alarm on a window that is too small to judge", where=alarm.report.report_id)
        figures, before = io.BytesIO(), alarm.inforce.columns
        np.savez_compressed(
            figures, reference=before, current=current, names=np.array(reference.names), thresholds=level.values
        )
        place = folder(alarm.report)
        self._store.write(f"{place}/{_FIGURES}", figures.getvalue(), media_type=_NPZ)
        page = self._evaluator.page(
            before, current, reference.names, level.values,
            title=f"Drift alarm of {alarm.report.at:%Y-%m-%d %H:%M:%S} UTC", about=_about(alarm.report),
        )  # fmt: skip
        return self._store.write(f"{place}/report.html", page, media_type=_HTML)

    def _suspects(self, report: DriftReport) -> str:
        found = find(report.suspects, self._facts, self._settings, self._store)
        page = render(report, found).encode()
        return self._store.write(f"{folder(report)}/suspects.html", page, media_type=_HTML)


def _about(report: DriftReport) -> str:
    return (
        f"{report.reason}. Model {report.model_digest[:12]}, reference {report.reference[:12]}, the last window of "
        f"{report.window.size:,} embeddings; report {report.report_id[:12]}. Below is every column by itself, in both "
        "directions, each held against the threshold that was calibrated for it; the page of suspects has every "
        "statistic beside its threshold, those of all columns together included."
    )


def figures_uri(report: DriftReport) -> str:
    """URI of the figures an alarm's page was made of; they lie beside the page.

    Raises:
        BlobNotFound: No page was made.
    """
    if report.report_uri is None:
        raise BlobNotFound("no page was made of this alarm", where=report.report_id)
    return report.report_uri.rpartition("/")[0] + f"/{_FIGURES}"


def folder(report: DriftReport) -> str:
    """Where an alarm's files lie in the blob store."""
    return f"drift/{report.report_id}"
