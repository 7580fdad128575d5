"""The pages an alarm leaves in the blob store: Evidently's report, the suspects, and the figures both were made of."""

import io
import logging

import numpy as np

from drift.evaluator import Evaluator
from drift.facts import Facts
from drift.metrics import DriftMetrics
from drift.monitor import Judged
from stream.errors import VeristreamError
from stream.events import DriftReport
from stream.ports import BlobStore
from stream.settings import Settings

_log = logging.getLogger("veristream.drift")

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

    def publish(self, report: DriftReport, judged: Judged) -> DriftReport:
        """Stores the pages and returns the report with their addresses.

        A page that cannot be made or stored is left out: an alarm is worth more than its pages.
        """
        if not self._settings.blobs.store:
            return report
        try:
            uri = self._evidently(report, judged)
        except VeristreamError as error:
            self._metrics.failed(error)
            _log.error("Evidently's report on an alarm could not be made: %s", error)
            uri = None
        return report.model_copy(update={"report_uri": uri})

    def _evidently(self, report: DriftReport, judged: Judged) -> str:
        reference, names, limits = judged.inforce.columns, judged.inforce.reference.names, judged.thresholds.values
        figures = io.BytesIO()
        np.savez_compressed(
            figures, reference=reference, current=judged.columns, names=np.array(names), thresholds=limits
        )
        self._store.write(f"{folder(report)}/window.npz", figures.getvalue(), media_type=_NPZ)
        page = self._evaluator.page(reference, judged.columns, names, limits, f"drift alarm {report.report_id}")
        return self._store.write(f"{folder(report)}/report.html", page, media_type=_HTML)


def folder(report: DriftReport) -> str:
    """Where an alarm's files lie in the blob store."""
    return f"drift/{report.report_id}"
