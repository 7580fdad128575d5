"""What the drift service is made of, put together from the settings."""

import logging
import threading
from contextlib import ExitStack
from datetime import UTC, datetime

from drift.baselines import Baselines
from drift.evaluator import Evaluator
from drift.facts import Facts
from drift.intake import Intake
from drift.keeper import Keeper, wanted
from drift.labels import Labels
from drift.metrics import DriftMetrics
from drift.monitor import Monitor
from drift.pages import Pages
from drift.policy import Rules
from drift.publisher import Publisher
from drift.reference import Reference
from drift.refill import bookmarks, past
from drift.slots import KnownModels, won
from drift.windows import Windows
from models.bundle import MAX_BYTES, Bundle
from models.manifest import REFERENCE
from models.registry import Registry
from models.slotbook import history
from stream.blobs import open_store
from stream.clock import SystemClock
from stream.errors import VeristreamError
from stream.events import SlotChange
from stream.kafka import KafkaProducer
from stream.settings import Settings
from stream.snapshot import read_all
from stream.tail import KafkaTail
from stream.topics import layout

_log = logging.getLogger("veristream.drift")

_CLIENT = "veristream-drift"
_POLL_S = 0.2
_MINIMUM = Rules().minimum
_MOST_POLLS = 50


class Parts:
    """The service's parts.

    Args:
        settings: All of them.
        stack: Closes what must be closed.

    Raises:
        ConfigurationError: A setting does not fit.
        BrokerError: The broker does not answer, or refuses.
    """

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        names, drift = layout(settings.topics), settings.drift
        self.clock = SystemClock()
        self.evaluator = Evaluator()
        stack.callback(self.evaluator.close)
        self.evaluator.launch()
        self.metrics = DriftMetrics()
        self.stopping = threading.Event()
        self.store = open_store(settings.blobs)
        self.facts = Facts(drift.verdicts)
        self.baselines = Baselines(wanted(drift))
        self.bookmarks = bookmarks(settings)
        stack.callback(self.bookmarks.close)
        self.producer = KafkaProducer(settings.kafka, client_id=_CLIENT)
        stack.callback(self.producer.close)
        self.publisher = Publisher(self.producer, self.bookmarks, settings.topics, self.metrics, self.stopping)
        self._configured = _bundle(settings)
        digest = self._configured.digest if self._configured is not None else ""
        models = names["models"].name
        self._models = KnownModels(digest, lambda: read_all(settings.kafka, [models]))
        self._tail = KafkaTail(settings.kafka, models, client_id=_CLIENT)
        stack.callback(self._tail.close)
        self._following = False
        self._reigning: str | None = None
        earlier = past(settings)
        self.windows = Windows(drift.window, drift.window_age_s, drift.tenants, earlier.ends)
        self.intake = Intake(self.windows, self.baselines, self._models, self.metrics, self.publisher.reject)
        self.labels = Labels(
            self.facts,
            self.metrics,
            self.clock,
            self.publisher.reject,
            cooldown_s=drift.cooldown_s,
            alarm_at=earlier.labels_alarm_at,
        )
        self._registry = Registry(self.store) if settings.blobs.store else None
        self.keeper = Keeper(
            self._registry,
            self._bundled,
            self.evaluator,
            self.baselines,
            settings=drift,
            metrics=self.metrics,
            told=self._told,
        )
        pages = Pages(settings, self.store, self.evaluator, self.facts, self.metrics)
        rules = Rules(minimum=min(_MINIMUM, drift.window), cooldown_s=drift.cooldown_s)
        self.monitor = Monitor(
            self.keeper,
            self.evaluator,
            pages,
            rules=rules,
            states=earlier.states,
            metrics=self.metrics,
            clock=self.clock,
        )

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(self.clock.now(), UTC)

    def follow_models(self) -> None:
        """Takes in what the models topic says; the first time, everything it holds."""
        try:
            if not self._following:
                for _ in range(_MOST_POLLS):
                    for record in self._tail.poll(_POLL_S):
                        self._changed(self._models.apply(record))
                    if self._tail.caught_up:
                        break
                self._following = True
            for record in self._tail.poll(0.0):
                self._changed(self._models.apply(record))
        except VeristreamError as error:
            self.metrics.failed(error)
            _log.warning("the models topic cannot be followed: %s", error)
        self._crown()
        self._settle()

    def _changed(self, change: SlotChange | None) -> None:
        if change is not None and change.digest is not None and change.slot in {"shadow", "challenger"}:
            self.baselines.watch(change.digest)

    def _crown(self) -> None:
        """A new champion may have been promoted after a trial, while this ran or before; the book of slots knows."""
        champion = self._models.champion
        if not self._following or champion == self._reigning or self._registry is None:
            return
        try:
            at = won(history(self._registry), champion)
        except VeristreamError as error:
            self.metrics.failed(error)
            _log.warning("how model %s became the champion is unknown: %s", champion, error)
            if error.retryable:
                return
            at = None
        self._reigning = champion
        if at is not None:
            self.keeper.promoted(champion, at)

    def _settle(self) -> None:
        """The champion's embeddings are kept no longer once its reference stands."""
        champion = self._models.champion
        if self.keeper.stands(champion):
            self.baselines.settle(champion)

    def _told(self, reference: Reference) -> None:
        self.intake.expect(reference.model_digest, reference.projection.dimensions)

    def _bundled(self, model_digest: str) -> bytes | None:
        if self._configured is not None and self._configured.digest == model_digest:
            return self._configured.files.get(REFERENCE)
        uri = self._models.address(model_digest)
        if uri is None:
            return None
        data = self.store.read(uri, limit=MAX_BYTES)
        return Bundle.unpack(data, digest=model_digest, where=uri).files.get(REFERENCE)


def _bundle(settings: Settings) -> Bundle | None:
    """What workers start with, which no slot need ever have held."""
    try:
        return Bundle.named(settings.worker.bundle)
    except VeristreamError as error:
        _log.warning("the bundle that workers start with cannot be read here: %s", error)
        return None
