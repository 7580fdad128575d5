"""The pages an alarm leaves in the blob store: Evidently's report, the suspects, and the figures both were made of."""

import logging
from collections.abc import Callable
from functools import partial

import numpy as np

from drift.evaluator import Evaluator
from drift.facts import Facts
from drift.figures import Figures
from drift.judgement import along
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
        figures, place = _figures(alarm), folder(alarm.report)
        self._store.write(f"{place}/{_FIGURES}", figures.to_bytes(), media_type=_NPZ)
        title = f"Drift alarm of {alarm.report.at:%Y-%m-%d %H:%M:%S} UTC"
        page = self._evaluator.page(figures, title=title, about=_about(alarm.report))
        return self._store.write(f"{place}/report.html", page, media_type=_HTML)

    def _suspects(self, report: DriftReport) -> str:
        found = find(report.suspects, self._facts, self._settings, self._store)
        page = render(report, found).encode()
        return self._store.write(f"{folder(report)}/suspects.html", page, media_type=_HTML)


def _figures(alarm: Alarm) -> Figures:
    """Every column, and one more for each shift that is beyond its threshold, for it may show in no other."""
    reference, judgement = alarm.inforce.reference, alarm.judgement
    vectors, scores = arrays(alarm.window.sightings)
    level = reference.thresholds_for(len(vectors))
    if level is None or judgement.along is None:
        raise ReferenceInvalid("an alarm on a window that is too small to judge", where=alarm.report.report_id)
    beyond = [place for place, found in enumerate(judgement.shifts) if found.alarmed]
    shifts = [judgement.shifts[place] for place in beyond]
    before = along(reference, reference.vectors, reference.scores, judgement.movements)
    return Figures(
        np.hstack([alarm.inforce.columns, before[:, beyond]]),
        np.hstack([reference.columns(vectors, scores), judgement.along[:, beyond]]),
        (*reference.names, *(f"shift, {found.name}" for found in shifts)),
        level.values,
        np.array([[found.value for found in shifts], [found.threshold for found in shifts]]),
    )


def _about(report: DriftReport) -> str:
    return (
        f"{report.reason}. Model {report.model_digest[:12]}, reference {report.reference[:12]}, the last window of "
        f"{report.window.size:,} embeddings; report {report.report_id[:12]}. Below is every column by itself, in both "
        "directions, each held against the threshold that was calibrated for it, the farthest beyond first. Where the "
        "mean has moved beyond its threshold there is a column named shift: how far each upload lies in the direction "
        "of that movement, in deviations of the reference. The page of suspects has every figure beside its threshold."
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
