"""Holds the gate for one job: fetches the golden set and the job's held-out slice, and has both bundles judged."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

from models.bundle import MAX_BYTES, Bundle
from models.evaluation.pictures import Collection, index, sampled
from retrain.gate import GateReport, evaluate
from retrain.golden import golden
from stream.errors import ConfigurationError, JobInterrupted
from stream.ports import BlobStore
from stream.settings import RetrainSettings

_SEED = 0


class Gatekeeper:
    """Judges challengers as the settings say.

    Args:
        settings: The golden set, the limits, and how many threads there are.
        store: Where bundles and slices lie.
    """

    def __init__(self, settings: RetrainSettings, store: BlobStore) -> None:
        self._settings = settings
        self._store = store
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ends a judgement that is under way, from any thread; it can be asked for again in another life."""
        self._stopping.set()

    def judge(
        self, champion: Bundle, challenger: Bundle, slice_uri: str | None, lesson_uri: str | None = None
    ) -> GateReport:
        """Judges a challenger.

        Args:
            champion: The bundle in force.
            challenger: The bundle that would take its place.
            slice_uri: Zip of the labelled pictures that the job held out; None where there is none.
            lesson_uri: Zip of those that it learned from; None where there is none.

        Raises:
            ConfigurationError: The golden set cannot be read.
            ModelError: A bundle cannot be run.
            BlobUnavailable: The store does not answer.
            JobInterrupted: It was stopped.
        """
        with TemporaryDirectory(prefix="veristream-gate-") as temporary:
            folder, unusable = Path(temporary), list[str]()
            report = evaluate(
                champion, challenger, golden=self._golden(folder),
                drifted=self._labelled(slice_uri, folder / "slice.zip", "the drifted slice", unusable),
                lesson=self._labelled(lesson_uri, folder / "lesson.zip", "the lesson", unusable),
                limits=self._settings.gate, threads=self._settings.threads, seed=_SEED, advance=self._go_on,
            )  # fmt: skip
        reasons = (*unusable, *report.reasons)
        return GateReport(not reasons, reasons, report.figures)

    def check(self) -> str:
        """Says in words what the golden set is.

        Raises:
            ConfigurationError: It is named and cannot be read.
        """
        if not self._settings.golden:
            return "no golden set"
        with TemporaryDirectory(prefix="veristream-gate-") as temporary:
            found = self._golden(Path(temporary))
            digest = hashlib.sha256(found[0].path.read_bytes()).hexdigest() if found[0].path.is_file() else "a folder"
            return f"golden set of {sum(len(part.entries) for part in found)} pictures ({digest[:12]})"

    def _labelled(self, uri: str | None, path: Path, name: str, unusable: list[str]) -> list[Collection]:
        if uri is None:
            return []
        path.write_bytes(self._store.read(uri, limit=MAX_BYTES))
        try:
            return index([path])
        except ConfigurationError as error:
            unusable.append(f"{name} cannot be used: {error.what}")
            return []

    def _go_on(self, _: int) -> None:
        if self._stopping.is_set():
            raise JobInterrupted("the gate was stopped", remedy="The next coordinator asks again")

    def _golden(self, folder: Path) -> list[Collection]:
        found = golden(self._settings.golden, self._store, folder)
        return sampled(found, self._settings.gate.per_source, seed=_SEED)
